//! What is counted of one service: where its tasks are, where they failed, which of them wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_types::task::Slot;
use skep_types::{NodeId, Revision, Service, ServiceSpec, Task, TaskId, Timestamp};

use crate::filter::Needs;
use crate::hash::IdMap;
use crate::hosts::{Moment, Place};
use crate::kinds::{Kind, Kinds};
use crate::why::Pending;

/// A service, by its tasks.
#[derive(Debug, Default)]
pub struct Tally {
    /// The current and the previous version, while the service stands.
    standing: Option<(Revision, Option<Revision>)>,
    /// Few: the standing ones and those that tasks were made from.
    versions: Vec<Version>,
    pub counts: Counts,
    /// Of a service that is rebalanced: the nodes that the successors of these slots shall go to.
    pub pins: Arc<BTreeMap<Slot, NodeId>>,
}

/// How many of a service's tasks are where, and how many failed where.
#[derive(Debug, Default)]
pub struct Counts {
    /// Tasks that are to stay, by host.
    on: IdMap<Place, u32>,
    /// Failures of late, by host.
    failures: IdMap<Place, u32>,
}

/// What tasks of one version of a service's spec need, and those that wait.
#[derive(Debug)]
pub struct Version {
    pub revision: Revision,
    pub kind: Kind,
    pub max_replicas: u64,
    /// Tasks made from it that stand, whatever their state.
    tasks: usize,
    /// Tasks for any node that fits.
    pub free: IdMap<TaskId, Waiting>,
    /// Tasks whose node is given.
    pub bound: IdMap<TaskId, Waiting>,
    /// Of the free ones, those that were not told yet why they wait.
    pub untold: usize,
    /// What those that wait were told last.
    pub told: Option<Told>,
}

/// A task without a place.
#[derive(Debug)]
pub struct Waiting {
    pub task: Arc<Task>,
    /// Decided by the last pass, and counted, but not yet seen to stand.
    pub placed: Option<Place>,
    /// When its given node was asked last.
    pub checked: Option<Moment>,
}

/// A reason, and when it was found.
#[derive(Debug, Clone)]
pub struct Told {
    pub pending: Pending,
    pub at: Moment,
    /// Some were left with an older one.
    pub behind: bool,
    /// Not to be told anew before.
    pub again: Timestamp,
}

impl Tally {
    pub fn version(&self, revision: Revision) -> Option<&Version> {
        self.versions.iter().find(|version| version.revision == revision)
    }

    pub fn version_mut(&mut self, revision: Revision) -> Option<&mut Version> {
        self.versions.iter_mut().find(|version| version.revision == revision)
    }

    /// The two parts that change while tasks are placed.
    pub fn counts_and_version(
        &mut self,
        revision: Revision,
    ) -> (&mut Counts, Option<&mut Version>) {
        let version = self.versions.iter_mut().find(|version| version.revision == revision);
        (&mut self.counts, version)
    }

    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Follows the service's object; gone if none.
    pub(crate) fn stand(&mut self, service: Option<&Service>, kinds: &mut Kinds) {
        self.standing = service.map(|it| (it.spec_version, it.previous_spec_version));
        let moving = service.and_then(Service::moving).into_iter().flatten();
        let pins: BTreeMap<Slot, NodeId> =
            moving.map(|(_, it)| (Slot::Replica(it.slot), it.to)).collect();
        if pins != *self.pins {
            self.pins = Arc::new(pins);
        }
        if let Some(service) = service {
            self.add(service.spec_version, &service.spec, kinds);
            if let (Some(version), Some(spec)) =
                (service.previous_spec_version, &service.previous_spec)
            {
                self.add(version, spec, kinds);
            }
        }
        self.drop_unused(kinds);
    }

    /// Takes a version in, if it is new.
    pub(crate) fn add(&mut self, revision: Revision, spec: &ServiceSpec, kinds: &mut Kinds) {
        if self.version(revision).is_none() {
            self.versions.push(Version {
                revision,
                kind: kinds.enter(Needs::of(spec)),
                max_replicas: spec.task.placement.max_replicas_per_node,
                tasks: 0,
                free: IdMap::default(),
                bound: IdMap::default(),
                untold: 0,
                told: None,
            });
        }
    }

    /// Counts a task that was made, or one that was removed.
    pub(crate) fn count_task(&mut self, revision: Revision, made: bool, kinds: &mut Kinds) {
        let Some(version) = self.version_mut(revision) else { return };
        if made {
            version.tasks += 1;
        } else {
            version.tasks -= 1;
            if version.tasks == 0 {
                self.drop_unused(kinds);
            }
        }
    }

    /// As the state does with specs: those stay that stand and those that tasks were made from.
    fn drop_unused(&mut self, kinds: &mut Kinds) {
        let standing = self.standing;
        self.versions.retain(|version| {
            let used = version.tasks > 0
                || standing.is_some_and(|(current, previous)| {
                    current == version.revision || previous == Some(version.revision)
                });
            if !used {
                kinds.leave(version.kind);
            }
            used
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.counts.on.is_empty() && self.counts.failures.is_empty()
    }
}

impl Counts {
    pub fn tasks_on(&self, place: Place) -> u32 {
        self.on.get(&place).copied().unwrap_or(0)
    }

    /// Hosts with tasks that are to stay, with how many.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = (Place, u32)> {
        self.on.iter().map(|(place, tasks)| (*place, *tasks))
    }

    /// Failures of late on a host.
    pub fn failures_on(&self, place: Place) -> u32 {
        if self.failures.is_empty() { 0 } else { self.failures.get(&place).copied().unwrap_or(0) }
    }

    /// Hosts where tasks failed of late, with how often.
    pub fn failing(&self) -> impl Iterator<Item = (Place, u32)> {
        self.failures.iter().map(|(place, failures)| (*place, *failures))
    }

    pub(crate) fn add_task(&mut self, place: Place) {
        *self.on.entry(place).or_default() += 1;
    }

    pub(crate) fn remove_task(&mut self, place: Place) {
        count_down(&mut self.on, place);
    }

    pub(crate) fn add_failure(&mut self, place: Place) {
        *self.failures.entry(place).or_default() += 1;
    }

    pub(crate) fn remove_failure(&mut self, place: Place) {
        count_down(&mut self.failures, place);
    }
}

fn count_down(counts: &mut IdMap<Place, u32>, place: Place) {
    if let Some(count) = counts.get_mut(&place) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&place);
        }
    }
}

impl Version {
    /// Takes in a task that waits.
    pub(crate) fn wait(&mut self, task: &Arc<Task>) {
        let waiting = Waiting { task: Arc::clone(task), placed: None, checked: None };
        if bound_node(task).is_some() {
            self.bound.insert(task.id, waiting);
        } else {
            self.untold += usize::from(task.status.error.is_empty());
            self.free.insert(task.id, waiting);
        }
    }

    /// Takes out a task that waited.
    pub(crate) fn unwait(&mut self, task: &Task) -> Option<Waiting> {
        if let Some(waiting) = self.free.remove(&task.id) {
            self.untold -= usize::from(waiting.task.status.error.is_empty());
            return Some(waiting);
        }
        self.bound.remove(&task.id)
    }

    pub fn anybody_waits(&self) -> bool {
        !self.free.is_empty() || !self.bound.is_empty()
    }
}

/// The node that a task is for, where it is for one only: each of a global service is.
pub fn bound_node(task: &Task) -> Option<NodeId> {
    task.node_id.or(match task.slot {
        Slot::Node(node) => Some(node),
        Slot::Replica(_) => None,
    })
}
