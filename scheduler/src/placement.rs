//! The pass over all pending tasks: groups of the same service and spec are placed together.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_state::State;
use skep_types::task::Slot;
use skep_types::{NodeId, Revision, ServiceId, ServiceSpec, Task, TaskId, TaskState};

use crate::defaults::FAILURES_MAX;
use crate::filter::{Demand, Refusal};
use crate::host::Host;
use crate::spread::{Load, Tree, path};
use crate::why::Pending;

/// Where a task goes, or why it goes nowhere now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub task: TaskId,
    pub node: Result<NodeId, Pending>,
}

/// Failures of a service on a node within [`crate::defaults::FAILURE_WINDOW`], counted by the
/// caller, who has the clock.
pub type Failures = BTreeMap<(ServiceId, NodeId), usize>;

/// Places every pending task that has no node, and confirms those of global services, whose node
/// is given.
pub fn schedule(state: &State, failures: &Failures) -> Vec<Decision> {
    let mut groups: BTreeMap<(ServiceId, Revision), Vec<&Arc<Task>>> = BTreeMap::new();
    for task in state.tasks().iter().filter(|task| is_waiting(task)) {
        groups.entry((task.service_id, task.spec_version)).or_default().push(task);
    }
    if groups.is_empty() {
        return Vec::new();
    }
    let mut hosts: BTreeMap<NodeId, Host> =
        state.nodes().iter().map(|node| (node.id, Host::of(state, node))).collect();
    let mut decisions = Vec::new();
    for ((service, version), tasks) in groups {
        let Some(spec) = state.spec(service, version) else { continue };
        let group = Group { service, spec, failures };
        decisions.extend(group.place(&tasks, &mut hosts));
    }
    decisions
}

fn is_waiting(task: &Task) -> bool {
    task.status.state == TaskState::Pending
        && TaskState::from(task.desired_state) < TaskState::Shutdown
}

/// Tasks that are all alike.
struct Group<'a> {
    service: ServiceId,
    spec: &'a ServiceSpec,
    failures: &'a Failures,
}

impl Group<'_> {
    fn place(&self, tasks: &[&Arc<Task>], hosts: &mut BTreeMap<NodeId, Host>) -> Vec<Decision> {
        let demand = match Demand::of(self.service, self.spec) {
            Ok(demand) => demand,
            Err(error) => {
                let pending = Pending::unreadable(&error);
                let refuse =
                    |task: &&Arc<Task>| Decision { task: task.id, node: Err(pending.clone()) };
                return tasks.iter().map(refuse).collect();
            }
        };
        let (bound, free): (Vec<&Arc<Task>>, Vec<&Arc<Task>>) =
            tasks.iter().partition(|task| bound_node(task).is_some());
        let mut decisions: Vec<Decision> =
            bound.iter().map(|task| self.confirm(task, &demand, hosts)).collect();
        if !free.is_empty() {
            decisions.extend(self.spread(&free, &demand, hosts));
        }
        decisions
    }

    /// A task of a global service goes to its node or nowhere.
    fn confirm(
        &self,
        task: &Task,
        demand: &Demand<'_>,
        hosts: &mut BTreeMap<NodeId, Host>,
    ) -> Decision {
        let host = bound_node(task).and_then(|node| hosts.get_mut(&node));
        let node = match host {
            None => Err(Pending::refused(self.spec, &[])),
            // Its own node already counts it where the task carries the node.
            Some(host) if task.node_id.is_some() => demand
                .check_standing(host)
                .map(|()| host.node.id)
                .map_err(|refusal| Pending::refused(self.spec, &[(&*host, refusal)])),
            Some(host) => match demand.check(host) {
                Ok(()) => {
                    host.take(self.service, self.spec);
                    Ok(host.node.id)
                }
                Err(refusal) => Err(Pending::refused(self.spec, &[(&*host, refusal)])),
            },
        };
        Decision { task: task.id, node }
    }

    fn spread(
        &self,
        tasks: &[&Arc<Task>],
        demand: &Demand<'_>,
        hosts: &mut BTreeMap<NodeId, Host>,
    ) -> Vec<Decision> {
        let preferences = &self.spec.task.placement.spread;
        let mut tree = Tree::default();
        for host in hosts.values() {
            let path = path(preferences, &host.node);
            tree.count(&path, host.count(self.service));
            if demand.check(host).is_ok() {
                tree.offer(&path, self.load(host));
            }
        }
        let mut decisions = Vec::with_capacity(tasks.len());
        let mut left = tasks.iter();
        for task in left.by_ref() {
            let host = tree.take().and_then(|load| hosts.get_mut(&load.node));
            let Some(host) = host else {
                let pending = self.why(demand, hosts);
                decisions.push(Decision { task: task.id, node: Err(pending.clone()) });
                // Nothing frees room within a pass: the same holds for all that are left.
                decisions.extend(
                    left.map(|task| Decision { task: task.id, node: Err(pending.clone()) }),
                );
                break;
            };
            host.take(self.service, self.spec);
            let path = path(preferences, &host.node);
            tree.count(&path, 1);
            if demand.check(host).is_ok() {
                tree.offer(&path, self.load(host));
            }
            decisions.push(Decision { task: task.id, node: Ok(host.node.id) });
        }
        decisions
    }

    fn load(&self, host: &Host) -> Load {
        let failures = self.failures.get(&(self.service, host.node.id)).copied().unwrap_or(0);
        Load {
            failing: failures >= FAILURES_MAX,
            of_service: host.count(self.service),
            in_all: host.tasks,
            node: host.node.id,
        }
    }

    fn why(&self, demand: &Demand<'_>, hosts: &BTreeMap<NodeId, Host>) -> Pending {
        let refusals: Vec<(&Host, Refusal)> = hosts
            .values()
            .filter_map(|host| demand.check(host).err().map(|refusal| (host, refusal)))
            .collect();
        Pending::refused(self.spec, &refusals)
    }
}

fn bound_node(task: &Task) -> Option<NodeId> {
    task.node_id.or(match task.slot {
        Slot::Node(node) => Some(node),
        Slot::Replica(_) => None,
    })
}
