//! What a service says of its update, in Docker's words.

use std::sync::Arc;

use skep_types::service::{UpdateState, UpdateStatus};
use skep_types::{Service, Task};

use crate::plan::Plan;

/// Says that an update began; gives the service as it is then.
pub fn begin(plan: &mut Plan<'_>, service: &Service) -> Option<Service> {
    let mut begun = service.clone();
    begun.update_status = Some(UpdateStatus {
        state: UpdateState::Updating,
        started_at: plan.now(),
        completed_at: None,
        message: "update in progress".to_owned(),
        moving: Default::default(),
    });
    plan.update(begun);
    plan.view().services().get(service.id).map(|stored| Service::clone(stored))
}

pub fn complete(plan: &mut Plan<'_>, service: &Service) {
    let (state, message) = match is_rollback(service) {
        true => (UpdateState::RollbackCompleted, "rollback completed"),
        false if service.moving().is_some() => (UpdateState::Completed, "rebalance completed"),
        false => (UpdateState::Completed, "update completed"),
    };
    write(plan, service, state, message.to_owned());
}

pub fn pause(plan: &mut Plan<'_>, service: &Service, failed: &Task) {
    let (state, what) = match is_rollback(service) {
        true => (UpdateState::RollbackPaused, "rollback"),
        false if service.moving().is_some() => (UpdateState::Paused, "rebalance"),
        false => (UpdateState::Paused, "update"),
    };
    let id = failed.id;
    let message = format!("{what} paused due to failure or early termination of task {id}");
    write(plan, service, state, message);
}

/// Goes back to the previous spec; false if there is none, or it cannot stand any more (what it
/// names was removed meanwhile).
pub fn roll_back(plan: &mut Plan<'_>, service: &Service, failed: &Task) -> bool {
    let Some(previous) = &service.previous_spec else { return false };
    let id = failed.id;
    let mut back = service.clone();
    back.spec = Arc::clone(previous);
    // As in SwarmKit, the spec that failed is not gone back to by a later rollback.
    back.previous_spec = None;
    back.previous_spec_version = None;
    back.update_status = Some(UpdateStatus {
        state: UpdateState::RollbackStarted,
        started_at: plan.now(),
        completed_at: None,
        message: format!("update rolled back due to failure or early termination of task {id}"),
        moving: Default::default(),
    });
    plan.update(back)
}

fn is_rollback(service: &Service) -> bool {
    service.update_status.as_ref().is_some_and(|it| it.state == UpdateState::RollbackStarted)
}

fn write(plan: &mut Plan<'_>, service: &Service, state: UpdateState, message: String) {
    let mut changed = service.clone();
    let now = plan.now();
    if let Some(status) = &mut changed.update_status {
        status.state = state;
        status.message = message;
        // Done, or given up: what was not moved stays where it is.
        status.moving.clear();
        if matches!(state, UpdateState::Completed | UpdateState::RollbackCompleted) {
            status.completed_at = Some(now);
        }
    }
    plan.update(changed);
}
