//! Rebalancing: a service's tasks are spread anew, and none is moved that need not be.
//!
//! Which tasks move is planned on any manager's view; the leader takes the plan if it still fits
//! (`skep_orchestrator::rebalance`). Here are its bounds, and refusals in words.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_orchestrator::rebalance::{Refusal, begin, check};
use skep_scheduler::Move;
use skep_state::{Change, State};
use skep_types::{NodeId, Revision, Service, ServiceId, ServiceMode, TaskId, Timestamp, defaults};

use super::services::find;
use super::{ControlError, Plan, plan};

/// What a rebalance would move now; nothing if the tasks are spread as they should be.
///
/// # Errors
/// The service has no tasks to spread, or is being changed.
pub fn moves(state: &State, id: ServiceId, now: Timestamp) -> Result<Vec<Move>, ControlError> {
    let service = find(state, id)?;
    check(state, service).map_err(|refusal| refused(service, refusal))?;
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
    if tasks.is_empty() || tasks.len() > defaults::REBALANCE_MOVES_MAX {
        return Err(ControlError::invalid(format!(
            "invalid number of tasks to move: expected 1 to {}, got {}",
            defaults::REBALANCE_MOVES_MAX,
            tasks.len()
        )));
    }
    let begun = begin(state, service, tasks, now);
    let mut changed = begun.map_err(|refusal| refused(service, refusal))?;
    changed.meta.revision = revision;
    Ok(plan(service.id, Change::Update(Arc::new(changed))))
}

fn refused(service: &Service, refusal: Refusal) -> ControlError {
    let name = &service.spec.annotations.name;
    match refusal {
        Refusal::NotReplicated(mode) => {
            let mode = match mode {
                ServiceMode::Replicated { .. } => "replicated",
                ServiceMode::Global => "global",
                ServiceMode::ReplicatedJob { .. } => "a replicated job",
                ServiceMode::GlobalJob => "a global job",
            };
            ControlError::invalid(format!(
                "rebalance can only be used with replicated mode: service {name} is {mode}"
            ))
        }
        Refusal::Updating => ControlError::precondition(format!(
            "service {name} is being updated: rebalance it when that is over"
        )),
        Refusal::Gone(id) => ControlError::out_of_sequence(format!(
            "task {id} changed since the rebalance was planned: try again"
        )),
    }
}
