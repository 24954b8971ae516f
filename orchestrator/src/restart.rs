//! What becomes of a task that ended: a successor now, later, or none.
//!
//! Attempts are counted in the tasks that stand in the slot, not in a leader's memory, so a new
//! leader goes on counting where the last one was (the reaper keeps as many as are needed).

use std::sync::Arc;
use std::time::Duration;

use skep_types::{
    DesiredState, RestartCondition, RestartPolicy, Revision, Service, Task, TaskState, Timestamp,
    drain,
};

use crate::absence::{self, Standing};
use crate::plan::Plan;
use crate::slot::is_still_there;

/// SwarmKit: a successor waits at most this long for the task before it to end.
pub const OLD_TASK_WAIT_MAX: Duration = Duration::from_secs(60);

/// Looks after the newest tasks of one slot of a service and gives the moment to look again.
///
/// `tasks` are those of the slot, newest first.
pub fn supervise(plan: &mut Plan<'_>, service: &Service, tasks: &[Arc<Task>]) -> Option<Timestamp> {
    // A newer one that was told to stop, while the one before it serves on, was given up by a
    // rollback.
    let place = tasks.iter().position(|task| task.is_wanted())?;
    let tasks = &tasks[place..];
    let newest = tasks.first()?;
    // What served beside its successor, and ended by itself meanwhile, is history.
    for ended in tasks[1..].iter().filter(|task| task.status.state.is_terminal()) {
        plan.desire(ended, DesiredState::Shutdown);
    }
    let policy = &service.spec.task.restart;
    if newest.desired_state == DesiredState::Ready && !newest.status.state.is_terminal() {
        return release(plan, service, newest, &tasks[1..]);
    }
    let standing = standing(plan, service, newest);
    if standing == Standing::Lost || crate::constraint_enforcer::evicts(plan.view(), newest) {
        plan.desire(newest, DesiredState::Shutdown);
        // The node is gone, being emptied or not the right one any more, not the task at fault: no
        // delay, no attempt counted. One that can be heard of is waited for.
        plan.fill_slot(service, newest.slot, tasks);
        return None;
    }
    if !newest.status.state.is_terminal() {
        return match standing {
            Standing::Away(until) => Some(until),
            Standing::Here | Standing::Lost => None,
        };
    }
    if newest.desired_state == DesiredState::Ready {
        // It ended (its image could not be had, say) before it was let go: the delay that it was
        // waiting for still holds, or successors would follow one another at once.
        let due = newest.meta.created_at.saturating_add(policy.delay);
        if plan.now() < due {
            return Some(due);
        }
    }
    plan.desire(newest, DesiredState::Shutdown);
    if !calls_for_successor(service, tasks, plan.now()) {
        return None;
    }
    if policy.delay.is_zero() {
        // One before it may still be stopping, where this one ended while it was held.
        plan.fill_slot(service, newest.slot, tasks);
        return None;
    }
    plan.create_task(service, newest.slot, DesiredState::Ready);
    Some(plan.now().saturating_add(policy.delay))
}

fn standing(plan: &Plan<'_>, service: &Service, task: &Task) -> Standing {
    let Some(node) = task.node_id else { return Standing::Here };
    let node = plan.view().nodes().get(node).map(Arc::as_ref);
    absence::standing(plan.view(), service, node, plan.now())
}

/// Lets a waiting successor go when its delay is over and those before it have ended. The delay is
/// for tasks that ended by themselves: the successor of one that an update told to stop has none.
fn release(
    plan: &mut Plan<'_>,
    service: &Service,
    waiting: &Task,
    before: &[Arc<Task>],
) -> Option<Timestamp> {
    let told = before.first().is_some_and(|task| !crate::progress::ended_by_itself(task));
    let delay = if told { Duration::ZERO } else { service.spec.task.restart.delay };
    let due = waiting.meta.created_at.saturating_add(delay);
    if plan.now() < due {
        return Some(due);
    }
    // The one that serves on beside it, in a start-first update, is not to end first.
    let still_there =
        before.iter().any(|task| !task.is_wanted() && is_still_there(plan.view(), task));
    // While it drains it has not been told to end yet.
    let drain = drain::of(&service.spec.annotations.labels).unwrap_or_default();
    let last = due.saturating_add(OLD_TASK_WAIT_MAX).saturating_add(drain);
    if still_there && plan.now() < last {
        return Some(last);
    }
    plan.release(waiting);
    None
}

/// Whether the policy lets the newest of a slot's tasks, which ended, have a successor.
pub(crate) fn calls_for_successor(service: &Service, tasks: &[Arc<Task>], now: Timestamp) -> bool {
    let Some(ended) = tasks.first() else { return true };
    let policy = &service.spec.task.restart;
    let condition_holds = match policy.condition {
        RestartCondition::None => false,
        RestartCondition::OnFailure => ended.status.state != TaskState::Complete,
        // A job's task that completed has done what it was for.
        RestartCondition::Any => service.job.is_none() || ended.status.state != TaskState::Complete,
    };
    let made = || attempts(policy, tasks, service.spec_version, now);
    condition_holds && (policy.max_attempts == 0 || made() < policy.max_attempts)
}

/// Restarts of this slot under the current spec, within the policy's window: every task but the
/// first of that spec was one.
fn attempts(policy: &RestartPolicy, tasks: &[Arc<Task>], current: Revision, now: Timestamp) -> u64 {
    let of_current = tasks.iter().filter(|task| task.spec_version == current);
    let restarts = of_current.clone().count().saturating_sub(1);
    of_current
        .take(restarts)
        .filter(|task| {
            policy.window.is_zero() || now.saturating_since(task.meta.created_at) <= policy.window
        })
        .count() as u64
}
