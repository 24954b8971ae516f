//! The end of tasks: those of removed services are stopped and removed, and of each slot only so
//! much history is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_state::Change;
use skep_types::task::Slot;
use skep_types::{
    Attachment, AttachmentId, DesiredState, NodeId, NodeState, Service, Task, TaskId, TaskState,
    Timestamp, defaults,
};

use crate::earliest;
use crate::plan::Plan;
use crate::slot::{has_ended, newest_first};

/// Ended tasks of a slot that an update needs to see: the one it replaced, and a failed one.
const UPDATE_HISTORY_MIN: u64 = 2;

/// Tasks whose service is gone are to stop and be removed.
pub fn shut_down_orphans(plan: &mut Plan<'_>, orphans: BTreeSet<TaskId>) {
    for id in orphans {
        let Some(task) = plan.view().tasks().get(id).cloned() else { continue };
        if plan.view().services().get(task.service_id).is_none() {
            plan.desire(&task, DesiredState::Remove);
        }
    }
}

/// Of tasks on a node that left the swarm nothing more is heard: they are given up, and with them
/// their addresses; a global service's slot goes with its node. Gives up those, too, whose node is
/// down for as long as SwarmKit waits. `lost` keeps the nodes that are down, for the moment to look
/// again is given.
pub fn give_up_lost(plan: &mut Plan<'_>, lost: &mut BTreeSet<NodeId>) -> Option<Timestamp> {
    let mut wake = None;
    let (now, view) = (plan.now(), plan.view().clone());
    lost.retain(|id| match view.nodes().get(*id).map(|node| &node.status) {
        None => {
            give_up(plan, *id, true);
            false
        }
        Some(status) if status.state == NodeState::Down => {
            let due = status.since.saturating_add(defaults::NODE_DOWN_PERIOD);
            if now < due {
                wake = earliest(wake, Some(due));
                return true;
            }
            give_up(plan, *id, false);
            false
        }
        Some(_) => false,
    });
    wake
}

fn give_up(plan: &mut Plan<'_>, node: NodeId, is_gone: bool) {
    // A node that comes back after all attaches anew what it still has.
    let attachments: Vec<AttachmentId> =
        plan.view().attachments_on_node(node).map(|it| it.id).collect();
    for id in attachments {
        plan.act(Change::<Attachment>::Remove(id, None));
    }
    let tasks: Vec<Arc<Task>> = plan.view().tasks_on_node(node).cloned().collect();
    for task in tasks {
        if !has_ended(&task) {
            let mut orphaned = Task::clone(&task);
            orphaned.status.state = TaskState::Orphaned;
            orphaned.status.message = "the node is gone or down for too long".to_owned();
            orphaned.status.timestamp = plan.now();
            plan.update(orphaned);
        }
        if is_gone && task.slot == Slot::Node(node) && !task.is_wanted() {
            plan.act(Change::<Task>::Remove(task.id, None));
        }
    }
}

/// Removes tasks that are to be removed and have ended (or never reached a node).
pub fn remove(plan: &mut Plan<'_>, removable: BTreeSet<TaskId>) {
    for id in removable {
        let task = plan.view().tasks().get(id);
        if task.is_some_and(|it| it.desired_state == DesiredState::Remove && has_ended(it)) {
            plan.act(Change::<Task>::Remove(id, None));
        }
    }
}

/// Removes the oldest ended tasks of each slot of a service beyond the limit.
pub fn trim_history(plan: &mut Plan<'_>, service: &Service) {
    let limit = plan
        .view()
        .cluster()
        .map_or(defaults::TASK_HISTORY_LIMIT, |cluster| cluster.spec.task_history_limit);
    // As many as the restart policy must be able to count, where that is more.
    let counted = match service.spec.task.restart.max_attempts {
        0 => 0,
        attempts => attempts.saturating_add(1),
    };
    // An update reads from the one before that a slot was moved, and from one that failed that
    // it did.
    let told = if service.update_status.is_some() { UPDATE_HISTORY_MIN } else { 0 };
    let kept = usize::try_from(u64::from(limit).max(counted).max(told)).unwrap_or(usize::MAX);
    let is_history = |task: &&Arc<Task>| has_ended(task) && !task.is_wanted();
    // Slot by slot, as they come.
    let mut full = Vec::new();
    let mut slot: Option<(Slot, usize)> = None;
    for task in plan.view().tasks_of_service(service.id).filter(is_history) {
        let count = match slot {
            Some((same, count)) if same == task.slot => count + 1,
            _ => 1,
        };
        slot = Some((task.slot, count));
        if count == kept.saturating_add(1) {
            full.push(task.slot);
        }
    }
    for slot in full {
        let mut tasks: Vec<Arc<Task>> =
            plan.view().tasks_in_slot(service.id, slot).filter(is_history).cloned().collect();
        newest_first(&mut tasks);
        for task in &tasks[kept.min(tasks.len())..] {
            plan.act(Change::<Task>::Remove(task.id, None));
        }
    }
}
