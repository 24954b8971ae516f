//! The tasks of one slot, newest first, and what they amount to.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_state::State;
use skep_types::task::Slot;
use skep_types::{Availability, NodeState, ServiceId, Task, TaskState};

/// All tasks of a service by slot; within a slot, the one made last comes first.
pub fn slots(state: &State, service: ServiceId) -> BTreeMap<Slot, Vec<Arc<Task>>> {
    let mut slots: BTreeMap<Slot, Vec<Arc<Task>>> = BTreeMap::new();
    for task in state.tasks_of_service(service) {
        slots.entry(task.slot).or_default().push(Arc::clone(task));
    }
    for tasks in slots.values_mut() {
        newest_first(tasks);
    }
    slots
}

/// Puts tasks of one slot into the order in which they are looked at. One pass may make two of them, of
/// which the one of the later spec is the newer.
pub fn newest_first(tasks: &mut [Arc<Task>]) {
    let made = |task: &Arc<Task>| (task.meta.created_at, task.spec_version, task.id);
    tasks.sort_by_key(|task| std::cmp::Reverse(made(task)));
}

/// Whether a task serves: it runs, and its node is not known to be down.
pub fn serves(state: &State, task: &Task) -> bool {
    let node = task.node_id.and_then(|node| state.nodes().get(node));
    task.status.state == TaskState::Running
        && node.is_some_and(|node| node.status.state != NodeState::Down)
}

/// Whether a task's node is there, up, and not drained. One that is not may still keep its tasks for
/// a while: see [`crate::absence`].
pub fn node_keeps(state: &State, task: &Task) -> bool {
    let Some(node) = task.node_id else { return true };
    state.nodes().get(node).is_some_and(|node| {
        node.status.state != NodeState::Down && node.spec.availability != Availability::Drain
    })
}

/// Whether a container of the task may still be running where it can be heard of: its end is worth
/// waiting for. Of a node that is down or gone nothing is heard.
pub fn is_still_there(state: &State, task: &Task) -> bool {
    let node = task.node_id.and_then(|node| state.nodes().get(node));
    !has_ended(task) && node.is_some_and(|node| node.status.state != NodeState::Down)
}

/// Whether no container of the task can still be running: it has ended, or no node was ever told
/// of it (a global service's task names its node before it is assigned).
pub fn has_ended(task: &Task) -> bool {
    task.status.state.is_terminal() || task.status.state < TaskState::Assigned
}
