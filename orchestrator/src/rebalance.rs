//! A rebalance that a user asks for: whether a service's tasks can be spread anew now, and how that
//! begins.
//!
//! Which tasks move is the scheduler's to say, on any manager's view; the leader takes what it said if
//! it still fits. It is then carried out as an update is ([`crate::update`]), that many at a time and
//! in the order that the service says.

use std::collections::BTreeMap;

use skep_state::State;
use skep_types::service::{Moving, UpdateState, UpdateStatus};
use skep_types::task::Slot;
use skep_types::{NodeId, Service, ServiceMode, Task, TaskId, Timestamp};

use crate::progress::is_current;

/// Why a service's tasks are not spread anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Only replicas may be on any node, and for good.
    NotReplicated(ServiceMode),
    /// An update has still to replace tasks, or another rebalance to move them.
    Updating,
    /// The task was to move, and is none of the service's any more that runs or is about to.
    Gone(TaskId),
}

/// Whether a service can be spread anew now.
///
/// # Errors
/// It has no replicas, or is being changed.
pub fn check(state: &State, service: &Service) -> Result<(), Refusal> {
    let ServiceMode::Replicated { .. } = service.spec.mode else {
        return Err(Refusal::NotReplicated(service.spec.mode));
    };
    let state_of = service.update_status.as_ref().map(|status| status.state);
    let under_way = matches!(state_of, Some(UpdateState::Updating | UpdateState::RollbackStarted));
    let is_behind = |task: &Task| holds(task) && !is_current(state, service, task);
    if under_way || state.tasks_of_service(service.id).any(|task| is_behind(task)) {
        return Err(Refusal::Updating);
    }
    Ok(())
}

/// The service as it is while these tasks leave their nodes for others.
///
/// # Errors
/// As of [`check`]; or everything changed since it was planned.
pub fn begin(
    state: &State,
    service: &Service,
    tasks: &BTreeMap<TaskId, NodeId>,
    now: Timestamp,
) -> Result<Service, Refusal> {
    check(state, service)?;
    let mut moving = BTreeMap::new();
    for (id, to) in tasks {
        let task = state.tasks().get(*id).filter(|task| holds(task));
        let task = task.filter(|task| task.service_id == service.id);
        let Some(Slot::Replica(slot)) = task.map(|task| task.slot) else {
            return Err(Refusal::Gone(*id));
        };
        moving.insert(*id, Moving { slot, to: *to });
    }
    let mut begun = service.clone();
    begun.update_status = Some(UpdateStatus {
        state: UpdateState::Updating,
        started_at: now,
        completed_at: None,
        message: "rebalance in progress".to_owned(),
        moving,
    });
    Ok(begun)
}

/// Whether a task has a place that it is to keep.
fn holds(task: &Task) -> bool {
    task.has_place() && task.is_wanted()
}
