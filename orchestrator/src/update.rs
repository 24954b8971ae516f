//! Rolling updates and rollbacks: a service's slots are moved to its current spec, so many at a
//! time, and the new tasks are watched.
//!
//! **Invariant:** nothing is remembered. A task that was made for the update that runs names the
//! service's current spec version; how far it came, and when, stands in the task; which way the
//! update goes stands in the service's status. So a new leader goes on where the last one was.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_state::State;
use skep_types::service::UpdateState;
use skep_types::task::Slot;
use skep_types::{
    DesiredState, FailureAction, Service, ServiceMode, Task, TaskState, Timestamp, UpdateConfig,
    UpdateOrder,
};

use crate::earliest;
use crate::global::takes_tasks;
use crate::plan::Plan;
use crate::progress::{Moved, Progress};
use crate::slot::{node_keeps, slots};
use crate::update_status as status;

/// What a look at a service's update came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more to do now; look again at that moment, if there is one.
    Settled(Option<Timestamp>),
    /// The service went back to its previous spec: what was decided for it is to be decided anew.
    RolledBack,
}

/// Takes a service's update as far as it can go now.
pub fn reconcile(plan: &mut Plan<'_>, service: &Service) -> Outcome {
    if service.spec.mode.is_job() {
        return Outcome::Settled(None);
    }
    if service.update_status.is_none() && is_settled(plan.view(), service) {
        return Outcome::Settled(None);
    }
    if rolls_back(plan, service) {
        return Outcome::RolledBack;
    }
    for tasks in slots(plan.view(), service.id).values() {
        retire(plan, service, tasks);
    }
    let all = slots_to_move(plan.view(), service);
    let progress = Progress::of(plan.view(), service, &all);
    let state = service.update_status.as_ref().map(|status| status.state);
    match state {
        Some(UpdateState::Paused | UpdateState::RollbackPaused) => Outcome::Settled(None),
        None if progress.dirty.is_empty() => Outcome::Settled(None),
        None => {
            let Some(begun) = status::begin(plan, service) else { return Outcome::Settled(None) };
            Outcome::Settled(advance(plan, &begun, &all, &progress, &begun.spec.update))
        }
        // A slot may turn up late, with a node that was away: it follows without a new status.
        Some(UpdateState::Completed) => {
            Outcome::Settled(move_slots(plan, service, &all, &progress, &service.spec.update))
        }
        Some(UpdateState::RollbackCompleted) => {
            Outcome::Settled(move_slots(plan, service, &all, &progress, &service.spec.rollback))
        }
        Some(UpdateState::Updating) => {
            let config = &service.spec.update;
            let Some(failed) = too_many_failures(&progress, config) else {
                return Outcome::Settled(advance(plan, service, &all, &progress, config));
            };
            status::pause(plan, service, failed);
            if service.moving().is_some()
                && let Some(paused) = plan.view().services().get(service.id).cloned()
            {
                // What was to move stays now, and its successor is one too many.
                for tasks in slots(plan.view(), service.id).values() {
                    retire(plan, &paused, tasks);
                }
            }
            Outcome::Settled(None)
        }
        Some(UpdateState::RollbackStarted) => {
            let config = &service.spec.rollback;
            match too_many_failures(&progress, config) {
                // Whatever its action: a rollback is never rolled back itself.
                Some(failed) => {
                    status::pause(plan, service, failed);
                    Outcome::Settled(None)
                }
                None => Outcome::Settled(advance(plan, service, &all, &progress, config)),
            }
        }
    }
}

/// Goes back to the previous spec where too many new tasks failed. Nothing was let go before that in
/// the same look: what is gone back to may still serve beside its successor.
fn rolls_back(plan: &mut Plan<'_>, service: &Service) -> bool {
    let config = &service.spec.update;
    let is_updating =
        service.update_status.as_ref().is_some_and(|it| it.state == UpdateState::Updating);
    // What is rebalanced has no other spec to go back to.
    if !is_updating
        || config.failure_action != FailureAction::Rollback
        || service.moving().is_some()
    {
        return false;
    }
    let all = slots_to_move(plan.view(), service);
    let progress = Progress::of(plan.view(), service, &all);
    let failed = too_many_failures(&progress, config);
    failed.is_some_and(|failed| status::roll_back(plan, service, failed))
}

/// The slots of a service, but for those of nodes that take no tasks: such a node keeps the task that
/// it has as it is.
fn slots_to_move(state: &State, service: &Service) -> BTreeMap<Slot, Vec<Arc<Task>>> {
    let mut all = slots(state, service.id);
    if service.spec.mode == ServiceMode::Global {
        all.retain(|slot, _| match slot {
            Slot::Node(node) => state.nodes().get(*node).is_some_and(|it| takes_tasks(it)),
            Slot::Replica(_) => true,
        });
    }
    all
}

/// Whether every task was made from the current spec, and no slot has two that are to run: then
/// there is nothing to move and nothing to let go.
fn is_settled(state: &State, service: &Service) -> bool {
    let mut wanted = None;
    state.tasks_of_service(service.id).all(|task| {
        let second = task.is_wanted() && wanted.replace(task.slot) == Some(task.slot);
        task.spec_version == service.spec_version && !second
    })
}

/// Lets go of what a slot no longer needs: where a task of the current spec runs, all others;
/// where one is only on its way, those that do not serve either.
fn retire(plan: &mut Plan<'_>, service: &Service, tasks: &[Arc<Task>]) {
    let live = |task: &&Arc<Task>| task.is_wanted() && !task.status.state.is_terminal();
    let current: Vec<&Arc<Task>> =
        tasks.iter().filter(live).filter(|it| is_current(plan, service, it)).collect();
    let serves = |task: &Task| task.status.state == TaskState::Running;
    let Some(best) = current.iter().find(|task| serves(task)).or(current.first()).copied() else {
        return;
    };
    for task in tasks.iter().filter(|task| task.id != best.id && task.is_wanted()) {
        if serves(best) || !serves(task) || !node_keeps(plan.view(), task) {
            plan.desire(task, DesiredState::Shutdown);
        }
    }
}

fn is_current(plan: &Plan<'_>, service: &Service, task: &Task) -> bool {
    crate::progress::is_current(plan.view(), service, task)
}

/// The last failed task, if more failed than are tolerated.
fn too_many_failures<'a>(progress: &'a Progress, config: &UpdateConfig) -> Option<&'a Arc<Task>> {
    if config.failure_action == FailureAction::Continue {
        return None;
    }
    let failed = progress.failures().max_by_key(|task| (task.meta.updated_at, task.id))?;
    let changed = progress.dirty.len() + progress.moved.len();
    let share = progress.failures().count() as f64 / changed as f64;
    (share > f64::from(config.max_failure_ratio)).then_some(failed)
}

/// Moves what may be moved now, and ends the update when all slots are and were watched.
fn advance(
    plan: &mut Plan<'_>,
    service: &Service,
    all: &BTreeMap<Slot, Vec<Arc<Task>>>,
    progress: &Progress,
    config: &UpdateConfig,
) -> Option<Timestamp> {
    if !progress.dirty.is_empty() {
        return move_slots(plan, service, all, progress, config);
    }
    if progress.moved.values().any(|moved| matches!(moved, Moved::UnderWay)) {
        return None;
    }
    if config.failure_action != FailureAction::Continue {
        let watched = progress.running_since().max();
        let over = watched.map(|since| since.saturating_add(config.monitor));
        if let Some(over) = over.filter(|over| plan.now() < *over) {
            return Some(over);
        }
    }
    status::complete(plan, service);
    None
}

/// Gives the free workers their next slots. A worker is busy with a slot until its new task runs
/// or has failed, and rests for the delay after.
fn move_slots(
    plan: &mut Plan<'_>,
    service: &Service,
    all: &BTreeMap<Slot, Vec<Arc<Task>>>,
    progress: &Progress,
    config: &UpdateConfig,
) -> Option<Timestamp> {
    if progress.dirty.is_empty() {
        return None;
    }
    let mut wake = None;
    let mut busy = progress.inherited;
    for (slot, moved) in &progress.moved {
        // A slot that was made under this spec, by a change of scale, takes no worker.
        if !progress.replaced.contains(slot) {
            continue;
        }
        let Some(arrived) = moved.arrived() else {
            busy += 1;
            continue;
        };
        let rested = arrived.saturating_add(config.delay);
        if plan.now() < rested {
            busy += 1;
            wake = earliest(wake, Some(rested));
        }
    }
    let workers = match usize::try_from(config.parallelism).unwrap_or(usize::MAX) {
        0 => usize::MAX,
        some => some,
    };
    for slot in progress.dirty.iter().take(workers.saturating_sub(busy)) {
        replace(plan, service, *slot, &all[slot], config.order);
    }
    wake
}

/// Gives a slot a task of the current spec.
fn replace(
    plan: &mut Plan<'_>,
    service: &Service,
    slot: Slot,
    tasks: &[Arc<Task>],
    order: UpdateOrder,
) {
    let live: Vec<_> = tasks.iter().filter(|task| task.is_wanted()).collect();
    // While its successor starts, one task goes on: the one that serves, rather than one that an
    // earlier update left on its way.
    let running = live.iter().find(|task| task.status.state == TaskState::Running).copied();
    let stays = running.filter(|_| order == UpdateOrder::StartFirst).map(|task| task.id);
    for task in &live {
        if Some(task.id) != stays {
            plan.desire(task, DesiredState::Shutdown);
        }
    }
    plan.fill_slot(service, slot, tasks);
}
