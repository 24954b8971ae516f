//! The end of tasks: those of removed services are stopped and removed, and of each slot only so
//! much history is kept.

use std::sync::Arc;

use skep_state::Change;
use skep_types::{DesiredState, Task, TaskState, defaults};

use crate::plan::Plan;
use crate::slot::slots;

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
        let kept = u64::from(limit).max(counted);
        for tasks in slots(plan.view(), service.id).into_values() {
            let ended =
                tasks.iter().filter(|task| has_ended(task) && !crate::slot::is_wanted(task));
            for task in ended.skip(usize::try_from(kept).unwrap_or(usize::MAX)) {
                plan.act(Change::<Task>::Remove(task.id, None));
            }
        }
    }
}

/// Whether no container of the task can still be running: it has ended, or no node was ever told
/// of it (a global service's task names its node before it is assigned).
fn has_ended(task: &Task) -> bool {
    task.status.state.is_terminal() || task.status.state < TaskState::Assigned
}
