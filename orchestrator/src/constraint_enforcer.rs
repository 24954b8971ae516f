//! Tasks whose node no longer meets what they ask of it: somebody changed its labels, its role, or
//! what it runs on; it has less memory, fewer processors or fewer generic resources than its tasks
//! reserve; or two of its tasks want one port of it.
//!
//! SwarmKit writes such a task down as rejected while its container still runs. Here it is told to
//! stop like one on a drained node, so that it leaves the balancers first and holds its addresses
//! until it has ended. Of tasks that have no room together the youngest go.
//!
//! **Invariant:** nodes that are paused or drained are left alone, as in SwarmKit: the one is not to
//! be touched, the other is emptied anyway.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_state::State;
use skep_types::constraint::Constraint;
use skep_types::resources::GenericResource;
use skep_types::service::{PortConfig, Protocol, PublishMode};
use skep_types::task::Slot;
use skep_types::{
    Availability, DesiredState, Node, NodeId, NodeState, Resources, Service, ServiceSpec, Task,
    TaskState, generic,
};

use crate::plan::Plan;
use crate::slot::newest_first;

/// Whether a task is on a node that its constraints do not allow any more.
pub fn evicts(state: &State, task: &Task) -> bool {
    // Before that the scheduler decides.
    if task.status.state < TaskState::Assigned || task.status.state.is_terminal() {
        return false;
    }
    let Some(spec) = state.spec(task.service_id, task.spec_version) else { return false };
    let constraints = &spec.task.placement.constraints;
    if constraints.is_empty() {
        return false;
    }
    let node = task.node_id.and_then(|id| state.nodes().get(id));
    let Some(node) = node.filter(|node| is_looked_at(node)) else { return false };
    // What cannot be read was refused where the service was made.
    constraints.iter().filter_map(|text| Constraint::parse(text).ok()).any(|it| !it.holds(node))
}

/// One that is not there is another reason to move, and its words may be old.
fn is_looked_at(node: &Node) -> bool {
    node.spec.availability == Availability::Active && node.status.state == NodeState::Ready
}

/// Tells those tasks of nodes to stop that have no room there together with older ones. Each has a
/// successor at once, which waits for a node that has the room; a global service's slot is left to
/// its reconciler, unless an older task serves there on: it would see none missing.
pub fn enforce(plan: &mut Plan<'_>, nodes: BTreeSet<NodeId>) {
    for node in nodes {
        for task in without_room(plan.view(), node) {
            plan.desire(&task, DesiredState::Shutdown);
            let service = plan.view().services().get(task.service_id).cloned();
            let goes_on =
                |service: &Arc<Service>| service.job.map(|job| job.iteration) == task.job_iteration;
            let Some(service) = service.filter(goes_on) else { continue };
            let of_slot = plan.view().tasks_in_slot(service.id, task.slot);
            let mut tasks: Vec<Arc<Task>> = of_slot.cloned().collect();
            newest_first(&mut tasks);
            // In a start-first update its successor may be there already; one that was the successor
            // itself has another, while the task before it serves on.
            let place = tasks.iter().position(|other| other.id == task.id);
            let (newer, older) = tasks.split_at(place.unwrap_or(tasks.len()));
            let any_wanted = |tasks: &[Arc<Task>]| tasks.iter().any(|task| task.is_wanted());
            let is_replica = matches!(task.slot, Slot::Replica(_));
            if !any_wanted(newer) && (is_replica || any_wanted(older)) {
                plan.fill_slot(&service, task.slot, &tasks);
            }
        }
    }
}

/// The tasks of a node that is looked at for which it has not what they hold, youngest last.
fn without_room(state: &State, node: NodeId) -> Vec<Arc<Task>> {
    let node = state.nodes().get(node).filter(|node| is_looked_at(node));
    let Some(description) = node.and_then(|node| node.description.as_ref()) else {
        return Vec::new();
    };
    let holds = |task: &&Arc<Task>| task.is_wanted() && task.has_place();
    let node_id = node.map(|node| node.id);
    let mut tasks: Vec<&Arc<Task>> =
        node_id.into_iter().flat_map(|id| state.tasks_on_node(id)).filter(holds).collect();
    tasks.sort_by_key(|task| (task.meta.created_at, task.id));
    let mut room = Room { has: &description.resources, held: Held::default() };
    let mut lacks = |task: &&&Arc<Task>| {
        // A task cannot stand without the spec that it was made from.
        state.spec(task.service_id, task.spec_version).is_some_and(|spec| !room.take(task, spec))
    };
    tasks.iter().filter(|task| lacks(task)).map(|task| Arc::clone(task)).collect()
}

#[derive(Debug, Default)]
struct Held {
    nano_cpus: i64,
    memory_bytes: i64,
    generic: Vec<GenericResource>,
    ports: BTreeSet<(Protocol, u16)>,
}

/// Whether tasks of a spec hold anything of a node that it can run out of.
pub fn holds_room(spec: &ServiceSpec) -> bool {
    let reserved = &spec.task.resources.reservations;
    reserved.nano_cpus > 0
        || reserved.memory_bytes > 0
        || !reserved.generic.is_empty()
        || host_ports(spec).next().is_some()
}

fn host_ports(spec: &ServiceSpec) -> impl Iterator<Item = (Protocol, u16)> + '_ {
    let on_host =
        |port: &&PortConfig| port.publish_mode == PublishMode::Host && port.published_port != 0;
    spec.endpoint.ports.iter().filter(on_host).map(|port| (port.protocol, port.published_port))
}

/// What a node has, and what of it older tasks hold.
struct Room<'a> {
    has: &'a Resources,
    held: Held,
}

impl Room<'_> {
    /// Whether there is all that a task holds; it holds it then.
    fn take(&mut self, task: &Task, spec: &ServiceSpec) -> bool {
        let reserved = &spec.task.resources.reservations;
        let fits = |has: i64, held: i64, need: i64| need <= 0 || need <= has.saturating_sub(held);
        let ports: BTreeSet<_> = host_ports(spec).collect();
        let has_all = fits(self.has.nano_cpus, self.held.nano_cpus, reserved.nano_cpus)
            && fits(self.has.memory_bytes, self.held.memory_bytes, reserved.memory_bytes)
            && task.generic.iter().all(|one| self.has_generic(one))
            && self.held.ports.is_disjoint(&ports);
        if has_all {
            self.held.nano_cpus = self.held.nano_cpus.saturating_add(reserved.nano_cpus);
            self.held.memory_bytes = self.held.memory_bytes.saturating_add(reserved.memory_bytes);
            self.held.generic.extend(task.generic.iter().cloned());
            self.held.ports.extend(ports);
        }
        has_all
    }

    /// Whether the node has what a task was given of it, and no older one holds it.
    fn has_generic(&self, given: &GenericResource) -> bool {
        let (has, held) = (&self.has.generic, &self.held.generic);
        match given {
            GenericResource::Named { .. } => has.contains(given) && !held.contains(given),
            GenericResource::Discrete { kind, value } => {
                // One that has names now counts no more.
                let counted =
                    |it: &&GenericResource| matches!(it, GenericResource::Discrete { .. });
                let has: Vec<GenericResource> = has.iter().filter(counted).cloned().collect();
                *value <= generic::amount(&has, kind).saturating_sub(generic::amount(held, kind))
            }
        }
    }
}
