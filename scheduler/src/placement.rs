//! Tasks that are all alike: each to the best node, or all the rest told why there is none.

use skep_types::{Revision, ServiceId, TaskId, Timestamp};

use crate::cluster::Cluster;
use crate::defaults::{FAILURES_MAX, REASON_INTERVAL, REASON_INTERVAL_PER_TASK};
use crate::filter::Refusal;
use crate::host::Host;
use crate::hosts::Place;
use crate::scheduler::{Decision, Round};
use crate::spread::{Load, Tree, path};
use crate::tally::{Tally, Told, Version, bound_node};
use crate::why::Pending;

/// Tasks of one version of a service's spec.
pub struct Group<'a> {
    cluster: &'a mut Cluster,
    service: ServiceId,
    revision: Revision,
}

impl<'a> Group<'a> {
    pub fn new(cluster: &'a mut Cluster, service: ServiceId, revision: Revision) -> Self {
        Self { cluster, service, revision }
    }

    fn tally(&self) -> &Tally {
        &self.cluster.services[&self.service]
    }

    fn version(&self) -> &Version {
        self.tally().version(self.revision).expect("a version of which tasks wait")
    }

    fn version_mut(&mut self) -> &mut Version {
        let tally = self.cluster.services.get_mut(&self.service).expect("a service that waits");
        tally.version_mut(self.revision).expect("a version of which tasks wait")
    }

    /// Why the host cannot take one more task of the group.
    fn check(&self, host: &Host, place: Place) -> Result<(), Refusal> {
        let version = self.version();
        self.cluster.kinds.needs(version.kind).check(host)?;
        let max = version.max_replicas;
        if max > 0 && u64::from(self.tally().counts.tasks_on(place)) >= max {
            return Err(Refusal::MaxReplicas);
        }
        Ok(())
    }

    /// Tasks whose node is given go there or nowhere.
    pub fn confirm(&mut self, round: &mut Round) {
        let mut tasks: Vec<TaskId> = self.version().bound.keys().copied().collect();
        tasks.sort_unstable();
        for id in tasks {
            let task = &self.version().bound[&id].task;
            let node = bound_node(task).and_then(|node| self.cluster.hosts.find(node));
            let checked =
                node.map(|place| (place, self.check(self.cluster.hosts.get(place), place)));
            let node = match checked {
                Some((place, Ok(()))) => {
                    self.cluster.decide(self.service, self.revision, id, place);
                    Ok(self.cluster.hosts.get(place).id())
                }
                Some((place, Err(refusal))) if self.cluster.hosts.get(place).node().is_some() => {
                    let version = self.version();
                    let needs = self.cluster.kinds.needs(version.kind);
                    let refusals = [(self.cluster.hosts.get(place), refusal)].into_iter();
                    Err(Pending::refused(needs, version.max_replicas, refusals))
                }
                _ => Err(Pending::node_gone()),
            };
            self.say(id, node, round);
        }
    }

    /// Says what is decided, unless the task's status has it already.
    fn say(&self, id: TaskId, node: Result<skep_types::NodeId, Pending>, round: &mut Round) {
        let version = self.version();
        let waiting = version.free.get(&id).or_else(|| version.bound.get(&id));
        let told = waiting.map(|waiting| waiting.task.status.error.as_str());
        match &node {
            Err(pending) if told == Some(pending.as_str()) => {}
            _ => round.decisions.push(Decision { task: id, node }),
        }
    }

    /// Tasks that may go anywhere are spread.
    pub fn place(&mut self, now: Timestamp, round: &mut Round) {
        let mut tasks: Vec<TaskId> = self.version().free.keys().copied().collect();
        if tasks.is_empty() {
            return;
        }
        tasks.sort_unstable();
        let needs = std::sync::Arc::clone(self.cluster.kinds.needs(self.version().kind));
        let mut tree = Tree::default();
        if needs.unreadable.is_none() {
            for (place, host) in self.cluster.hosts.iter() {
                let Some(node) = host.node() else { continue };
                let path = path(&needs.spread, node);
                tree.count(&path, self.tally().counts.tasks_on(place));
                if self.check(host, place).is_ok() {
                    tree.offer(&path, self.load(host, place));
                }
            }
        }
        let mut left = tasks.into_iter();
        while let Some(load) = tree.take() {
            let place = load.place;
            let Some(id) = left.next() else { return };
            self.cluster.decide(self.service, self.revision, id, place);
            let host = self.cluster.hosts.get(place);
            round.decisions.push(Decision { task: id, node: Ok(host.id()) });
            let Some(node) = host.node() else { continue };
            let path = path(&needs.spread, node);
            tree.count(&path, 1);
            if self.check(host, place).is_ok() {
                tree.offer(&path, self.load(host, place));
            }
        }
        self.explain(left.collect(), now, round);
    }

    fn load(&self, host: &Host, place: Place) -> Load {
        let failures = self.tally().counts.failures_on(place);
        Load {
            failures: if failures < FAILURES_MAX { 0 } else { failures },
            of_service: self.tally().counts.tasks_on(place),
            in_all: host.tasks(),
            node: host.id(),
            place,
        }
    }

    /// Tells those that found no node why. Nothing frees room within a pass, so one reason holds
    /// for all of them.
    fn explain(&mut self, tasks: Vec<TaskId>, now: Timestamp, round: &mut Round) {
        if tasks.is_empty() {
            return;
        }
        let moment = self.cluster.hosts.now();
        let version = self.version();
        let untold = version.untold > 0;
        let told = version.told.as_ref();
        let due = told.is_none_or(|told| told.again <= now);
        let current = told.is_some_and(|told| told.at == moment);
        let behind = told.is_some_and(|told| told.behind || !current);
        if !untold && !behind && told.is_some() {
            return;
        }
        if !untold && !due {
            round.wake = round.wake.into_iter().chain(told.map(|told| told.again)).min();
            return;
        }
        let pending = match told {
            Some(told) if current => told.pending.clone(),
            _ => self.why(),
        };
        for id in &tasks {
            // New ones are told at once; the others when it is their time.
            if due || version.free[id].task.status.error.is_empty() {
                self.say(*id, Err(pending.clone()), round);
            }
        }
        let again = match told {
            Some(told) if !due => told.again,
            _ => {
                let tasks = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
                let for_all = REASON_INTERVAL_PER_TASK.saturating_mul(tasks);
                now.saturating_add(REASON_INTERVAL + for_all)
            }
        };
        if behind && !due {
            round.wake = round.wake.into_iter().chain([again]).min();
        }
        self.version_mut().told = Some(Told { pending, at: moment, behind: behind && !due, again });
    }

    fn why(&self) -> Pending {
        let version = self.version();
        let needs = self.cluster.kinds.needs(version.kind);
        if let Some(error) = &needs.unreadable {
            return Pending::unreadable(error);
        }
        let nodes = self.cluster.hosts.iter().filter(|(_, host)| host.node().is_some());
        let refusals =
            nodes.filter_map(|(place, host)| Some((host, self.check(host, place).err()?)));
        Pending::refused(needs, version.max_replicas, refusals)
    }
}
