//! Jobs: tasks that are to come to their end, so many of them or one on each node, once for each
//! iteration.
//!
//! An update of the service begins a new iteration; the tasks of those before are told to stop and
//! stay as history. Slots are numbered from 0, as in SwarmKit.
//!
//! **Invariant:** a slot in which a task of the current iteration completed gets no other one.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_types::task::Slot;
use skep_types::{DesiredState, Node, Service, Task, TaskState, Timestamp};

use crate::absence::{self, Standing};
use crate::global::{constraints, takes_tasks};
use crate::plan::Plan;
use crate::slot::{has_ended, slots};
use crate::{constraint_enforcer, earliest, restart};

/// How far a slot has come in the current iteration.
enum Progress {
    /// No task yet.
    Free,
    Complete,
    /// A task is on its way, or has ended and is still to be looked after.
    Active,
    /// Its last task was told to stop, and has not ended yet.
    Stopping,
    /// Its last task ended because it was told to, or failed when it had been told to and its restart
    /// policy allows another: one may begin.
    Stopped,
    /// Its last task ended without success, and the restart policy allows no other.
    GaveUp,
}

/// Looks after the tasks of a replicated job and begins those that may be begun.
pub fn reconcile_replicated(
    plan: &mut Plan<'_>,
    service: &Service,
    max_concurrent: u64,
    total_completions: u64,
) -> Option<Timestamp> {
    let mut wake = None;
    for (slot, tasks) in slots(plan.view(), service.id) {
        let gone = !matches!(slot, Slot::Replica(number) if number < total_completions);
        let current = retire(plan, service, tasks, gone);
        match progress(service, &current) {
            Progress::Active => {
                wake = earliest(wake, restart::supervise(plan, service, &current));
            }
            Progress::Complete => stop(plan, &current),
            _ => {}
        }
    }
    // Once more, for a slot that has just given up makes room for another.
    let mut active = 0;
    let mut taken = BTreeSet::new();
    for (slot, tasks) in slots(plan.view(), service.id) {
        let current: Vec<_> = tasks.into_iter().filter(|task| of_this_run(service, task)).collect();
        match progress(service, &current) {
            Progress::Free | Progress::Stopped => continue,
            Progress::Active => active += 1,
            // DEVIATION: SwarmKit fills a slot again whose task failed for good, so that neither
            // `--restart-condition none` nor a limit of attempts holds for jobs.
            Progress::Complete | Progress::Stopping | Progress::GaveUp => {}
        }
        taken.insert(slot);
    }
    let room = max_concurrent.saturating_sub(active);
    let free = (0..total_completions).map(Slot::Replica).filter(|slot| !taken.contains(slot));
    for slot in free.take(usize::try_from(room).unwrap_or(usize::MAX)) {
        plan.create_task(service, slot, DesiredState::Running);
    }
    wake
}

/// Looks after the tasks of a global job and begins one on each node that is ready and was there
/// when the iteration began.
pub fn reconcile_global(plan: &mut Plan<'_>, service: &Service) -> Option<Timestamp> {
    let began = service.job.map(|job| job.last_execution).unwrap_or_default();
    let constraints = constraints(service);
    let mut all = slots(plan.view(), service.id);
    let nodes: Vec<Arc<Node>> = plan.view().nodes().iter().cloned().collect();
    let mut wake = None;
    for node in nodes {
        let slot = Slot::Node(node.id);
        let tasks = all.remove(&slot).unwrap_or_default();
        let current = retire(plan, service, tasks, false);
        let progress = progress(service, &current);
        if matches!(progress, Progress::Active) {
            match absence::standing(plan.view(), service, Some(&node), plan.now()) {
                Standing::Here
                    if current.iter().any(|task| {
                        task.is_wanted() && constraint_enforcer::evicts(plan.view(), task)
                    }) =>
                {
                    // There is no other node for it.
                    stop(plan, &current);
                }
                Standing::Here | Standing::Away(_) => {
                    wake = earliest(wake, restart::supervise(plan, service, &current));
                }
                Standing::Lost => stop(plan, &current),
            }
        } else if matches!(progress, Progress::Complete) {
            stop(plan, &current);
        }
        let fits = takes_tasks(&node)
            && node.meta.created_at <= began
            && constraints.iter().all(|constraint| constraint.holds(&node));
        if fits && matches!(progress, Progress::Free | Progress::Stopped) {
            plan.create_task(service, slot, DesiredState::Running);
        }
    }
    // What is left belongs to nodes that are gone.
    for tasks in all.into_values() {
        stop(plan, &tasks);
    }
    wake
}

/// Tells the tasks of earlier iterations to stop, or to be removed where their slot is `gone`, and
/// gives those of the current one.
fn retire(
    plan: &mut Plan<'_>,
    service: &Service,
    tasks: Vec<Arc<Task>>,
    gone: bool,
) -> Vec<Arc<Task>> {
    let (current, old): (Vec<_>, Vec<_>) =
        tasks.into_iter().partition(|task| of_this_run(service, task));
    for task in old {
        plan.desire(&task, if gone { DesiredState::Remove } else { DesiredState::Shutdown });
    }
    current
}

fn of_this_run(service: &Service, task: &Task) -> bool {
    task.job_iteration == service.job.map(|job| job.iteration)
}

/// Tells those to stop that did not complete: their node is none for them any more, or one that was
/// given up completed all the same.
fn stop(plan: &mut Plan<'_>, tasks: &[Arc<Task>]) {
    for task in tasks.iter().filter(|task| task.status.state != TaskState::Complete) {
        plan.desire(task, DesiredState::Shutdown);
    }
}

/// `tasks`: those of the current iteration in one slot, newest first.
fn progress(service: &Service, tasks: &[Arc<Task>]) -> Progress {
    let Some(newest) = tasks.first() else { return Progress::Free };
    if tasks.iter().any(|task| task.status.state == TaskState::Complete) {
        Progress::Complete
    } else if tasks.iter().any(|task| task.is_wanted()) {
        Progress::Active
    } else if matches!(newest.status.state, TaskState::Failed | TaskState::Rejected)
        && !restart::calls_for_successor(service, tasks, newest.meta.updated_at)
    {
        Progress::GaveUp
    } else if has_ended(newest) {
        Progress::Stopped
    } else {
        Progress::Stopping
    }
}
