//! How far an update has come, read from the tasks of its service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_state::State;
use skep_types::service::UpdateState;
use skep_types::task::Slot;
use skep_types::{Service, Task, TaskState, Timestamp};

use crate::slot::serves;

/// What became of a slot that has a task of the service's current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// Its new task does not run yet.
    UnderWay,
    /// Its new task runs, since then.
    Running(Timestamp),
    /// A new task ended by itself while the update went on.
    Failed(Arc<Task>),
    /// Nothing is expected of it now: its node takes no tasks, or no node matches a global task.
    Idle,
}

impl Moved {
    /// When the new task ran or failed; none while it is under way.
    pub fn arrived(&self) -> Option<Timestamp> {
        match self {
            Self::UnderWay => None,
            Self::Running(since) => Some(*since),
            Self::Failed(task) => Some(task.meta.updated_at),
            Self::Idle => Some(Timestamp(0)),
        }
    }
}

/// The slots of a service, by how far the update has come with them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Still to be moved, in the order in which they are to be: those that do not serve first.
    pub dirty: Vec<Slot>,
    pub moved: BTreeMap<Slot, Moved>,
    /// Those of the moved ones that had a task of an earlier version.
    pub replaced: BTreeSet<Slot>,
    /// Slots that an update or a rebalance before this one took down and whose task, which is as it
    /// should be, does not run yet: the service's scale or its labels changed meanwhile.
    pub inherited: usize,
}

impl Progress {
    pub fn of(state: &State, service: &Service, slots: &BTreeMap<Slot, Vec<Arc<Task>>>) -> Self {
        let monitor = monitor(service);
        let mut progress = Self::default();
        let mut dirty = Vec::new();
        for (slot, tasks) in slots {
            let new: Vec<&Arc<Task>> = match service.moving() {
                None => {
                    let is_new = |task: &&Arc<Task>| task.spec_version == service.spec_version;
                    tasks.iter().filter(is_new).collect()
                }
                // Slots of which no task is to move are none of a rebalance's business, but for those
                // that are down already; in the others what was made after that task, and since the
                // rebalance began, is new: an earlier one may have failed there.
                Some(moving) => {
                    let leaves = |task: &Arc<Task>| moving.contains_key(&task.id);
                    let Some(place) = tasks.iter().position(leaves) else {
                        progress.inherited += usize::from(is_taken_down(tasks));
                        continue;
                    };
                    let began = service.update_status.as_ref().map(|it| it.started_at);
                    let is_new =
                        |task: &&Arc<Task>| began.is_none_or(|at| task.meta.created_at >= at);
                    tasks[..place].iter().filter(is_new).collect()
                }
            };
            let mut live =
                tasks.iter().filter(|it| it.is_wanted() && !it.status.state.is_terminal());
            if !new.is_empty() {
                progress.moved.insert(*slot, moved(*slot, &new, monitor));
                if new.len() < tasks.len() {
                    progress.replaced.insert(*slot);
                }
            } else if live.clone().next().is_some()
                && !live.clone().any(|task| is_current(state, service, task))
            {
                let serves = live.any(|task| serves(state, task));
                dirty.push((serves, *slot));
            } else if is_inherited(state, service, *slot, tasks) {
                progress.inherited += 1;
            }
        }
        dirty.sort();
        progress.dirty = dirty.into_iter().map(|(_, slot)| slot).collect();
        progress
    }

    /// The new tasks that ended by themselves, one of each slot at most.
    pub fn failures(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.moved.values().filter_map(|moved| match moved {
            Moved::Failed(task) => Some(task),
            _ => None,
        })
    }

    pub fn running_since(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.moved.values().filter_map(|moved| match moved {
            Moved::Running(since) => Some(*since),
            _ => None,
        })
    }
}

/// How long a new task is watched for failure.
fn monitor(service: &Service) -> Duration {
    use UpdateState::{RollbackCompleted, RollbackPaused, RollbackStarted};
    match service.update_status.as_ref().map(|status| status.state) {
        Some(RollbackStarted | RollbackPaused | RollbackCompleted) => service.spec.rollback.monitor,
        _ => service.spec.update.monitor,
    }
}

/// Whether a new task's end counts as a failure of the update: it never ran, or ended while it was
/// watched. Both moments are its node's own.
fn fails_update(task: &Task, monitor: Duration) -> bool {
    ended_by_itself(task)
        && task
            .status
            .running_since
            .is_none_or(|since| task.status.timestamp.saturating_since(since) <= monitor)
}

/// `tasks`: those of a slot that has none of the current version, and is not dirty.
fn is_inherited(state: &State, service: &Service, slot: Slot, tasks: &[Arc<Task>]) -> bool {
    let live = tasks.iter().filter(|task| task.is_wanted() && !task.status.state.is_terminal());
    let serves = live.clone().any(|task| task.status.state == TaskState::Running);
    let comes = live.clone().any(|task| !waits_for_good(slot, task));
    comes && !serves && tasks.iter().any(|task| !is_current(state, service, task))
}

/// Whether a slot's task was told to stop, by a rebalance that was broken off say, and its successor
/// comes. One that waits for a node with room may wait for long, and for this rebalance.
fn is_taken_down(tasks: &[Arc<Task>]) -> bool {
    let Some(place) = tasks.iter().position(|task| task.is_wanted()) else { return false };
    let (successor, before) = (&tasks[place], tasks.get(place + 1));
    let comes = successor.status.state < TaskState::Running && successor.status.error.is_empty();
    comes && before.is_some_and(|task| !task.is_wanted() && !ended_by_itself(task))
}

/// A global service has a task on nodes that do not match, too; it never gets further.
fn waits_for_good(slot: Slot, task: &Task) -> bool {
    matches!(slot, Slot::Node(_))
        && task.status.state == TaskState::Pending
        && !task.status.error.is_empty()
}

/// `new`: the slot's tasks of the current version, newest first.
fn moved(slot: Slot, new: &[&Arc<Task>], monitor: Duration) -> Moved {
    if let Some(task) = new.iter().rev().find(|task| fails_update(task, monitor)) {
        return Moved::Failed(Arc::clone(task));
    }
    let Some(task) = new.iter().find(|task| task.is_wanted()) else { return Moved::Idle };
    match task.status.state {
        // The last change of a task that runs is that it came to run.
        TaskState::Running => Moved::Running(task.meta.updated_at),
        _ if waits_for_good(slot, task) => Moved::Idle,
        _ => Moved::UnderWay,
    }
}

/// Whether a task ended without being told to.
pub(crate) fn ended_by_itself(task: &Task) -> bool {
    matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected)
}

/// Whether a task is what the service's current spec would make, and where it shall be: labels of the
/// service, its scale and how it is updated make no difference.
pub(crate) fn is_current(state: &State, service: &Service, task: &Task) -> bool {
    if service.moves(task.id) {
        return false;
    }
    task.spec_version == service.spec_version
        || state.spec(task.service_id, task.spec_version).is_some_and(|spec| {
            spec.task == service.spec.task && spec.endpoint == service.spec.endpoint
        })
}
