//! The end of tasks: those of removed services are stopped and removed, and of each slot only so
//! much history is kept.

use std::sync::Arc;

use skep_state::Change;
use skep_types::{DesiredState, Task, defaults};

use crate::plan::Plan;
use crate::slot::{has_ended, slots};

/// Ended tasks of a slot that an update needs to see: the one it replaced, and a failed one.
const UPDATE_HISTORY_MIN: u64 = 2;

/// Tasks whose service is gone are to stop and be removed.
pub fn shut_down_orphans(plan: &mut Plan<'_>) {
    let orphans: Vec<Arc<Task>> = plan
        .view()
        .tasks()
        .iter()
        .filter(|task| plan.view().services().get(task.service_id).is_none())
        .cloned()
        .collect();
    for task in orphans {
        plan.desire(&task, DesiredState::Remove);
    }
}

/// Removes tasks that are to be removed and have ended (or never reached a node), and the oldest
/// of each slot beyond the limit.
pub fn trim_history(plan: &mut Plan<'_>) {
    let limit = plan
        .view()
        .cluster()
        .map_or(defaults::TASK_HISTORY_LIMIT, |cluster| cluster.spec.task_history_limit);
    let removable: Vec<Arc<Task>> = plan
        .view()
        .tasks()
        .iter()
        .filter(|task| task.desired_state == DesiredState::Remove && has_ended(task))
        .cloned()
        .collect();
    for task in removable {
        plan.act(Change::<Task>::Remove(task.id, None));
    }
    let services: Vec<_> = plan.view().services().iter().cloned().collect();
    for service in services {
        // As many as the restart policy must be able to count, where that is more.
        let counted = match service.spec.task.restart.max_attempts {
            0 => 0,
            attempts => attempts.saturating_add(1),
        };
        // An update reads from the one before that a slot was moved, and from one that failed that
        // it did.
        let told = if service.update_status.is_some() { UPDATE_HISTORY_MIN } else { 0 };
        let kept = u64::from(limit).max(counted).max(told);
        for tasks in slots(plan.view(), service.id).into_values() {
            let ended =
                tasks.iter().filter(|task| has_ended(task) && !crate::slot::is_wanted(task));
            for task in ended.skip(usize::try_from(kept).unwrap_or(usize::MAX)) {
                plan.act(Change::<Task>::Remove(task.id, None));
            }
        }
    }
}
