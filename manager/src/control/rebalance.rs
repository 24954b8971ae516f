//! Rebalancing: a service's tasks are spread anew, and none is moved that need not be.
//!
//! Which tasks move is planned on any manager's view; the leader takes the plan if it still fits. It is
//! then carried out as an update is, that many at a time and in the order that the service says.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_scheduler::Move;
use skep_state::{Change, State};
use skep_types::service::{Moving, UpdateState, UpdateStatus};
use skep_types::task::Slot;
use skep_types::{
    NodeId, Revision, Service, ServiceId, ServiceMode, Task, TaskId, Timestamp, defaults,
};

use super::services::find;
use super::{ControlError, Plan, plan};

/// What a rebalance would move now; nothing if the tasks are spread as they should be.
///
/// # Errors
/// The service has no tasks to spread, or is being changed.
pub fn moves(state: &State, id: ServiceId, now: Timestamp) -> Result<Vec<Move>, ControlError> {
    let service = find(state, id)?;
    check(state, service)?;
    Ok(skep_scheduler::rebalance(state, service, now))
}

pub fn decide(
    state: &State,
    id: ServiceId,
    revision: Revision,
    tasks: &BTreeMap<TaskId, NodeId>,
    now: Timestamp,
) -> Result<Plan, ControlError> {
    let service = find(state, id)?;
    check(state, service)?;
    if tasks.is_empty() || tasks.len() > defaults::REBALANCE_MOVES_MAX {
        return Err(ControlError::invalid(format!(
            "invalid number of tasks to move: expected 1 to {}, got {}",
            defaults::REBALANCE_MOVES_MAX,
            tasks.len()
        )));
    }
    let mut moving = BTreeMap::new();
    for (id, to) in tasks {
        let task = state.tasks().get(*id).filter(|task| task.has_place() && task.is_wanted());
        let task = task.filter(|task| task.service_id == service.id);
        // Everything may have changed since it was planned.
        let Some(Slot::Replica(slot)) = task.map(|task| task.slot) else {
            return Err(ControlError::out_of_sequence(format!(
                "task {id} changed since the rebalance was planned: try again"
            )));
        };
        moving.insert(*id, Moving { slot, to: *to });
    }
    let mut changed = Service::clone(service);
    changed.meta.revision = revision;
    changed.update_status = Some(UpdateStatus {
        state: UpdateState::Updating,
        started_at: now,
        completed_at: None,
        message: "rebalance in progress".to_owned(),
        moving,
    });
    Ok(plan(service.id, Change::Update(Arc::new(changed))))
}

fn check(state: &State, service: &Service) -> Result<(), ControlError> {
    let name = &service.spec.annotations.name;
    let mode = match service.spec.mode {
        ServiceMode::Replicated { .. } => None,
        ServiceMode::Global => Some("global"),
        ServiceMode::ReplicatedJob { .. } => Some("a replicated job"),
        ServiceMode::GlobalJob => Some("a global job"),
    };
    if let Some(mode) = mode {
        return Err(ControlError::invalid(format!(
            "rebalance can only be used with replicated mode: service {name} is {mode}"
        )));
    }
    let state_of = service.update_status.as_ref().map(|status| status.state);
    let under_way = matches!(state_of, Some(UpdateState::Updating | UpdateState::RollbackStarted))
        || state.tasks_of_service(service.id).any(|task| is_behind(state, service, task));
    if under_way {
        return Err(ControlError::precondition(format!(
            "service {name} is being updated: rebalance it when that is over"
        )));
    }
    Ok(())
}

/// Whether an update has still to replace a task.
fn is_behind(state: &State, service: &Service, task: &Task) -> bool {
    let spec = || state.spec(task.service_id, task.spec_version);
    task.has_place()
        && task.is_wanted()
        && task.spec_version != service.spec_version
        && spec().is_none_or(|spec| {
            spec.task != service.spec.task || spec.endpoint != service.spec.endpoint
        })
}
