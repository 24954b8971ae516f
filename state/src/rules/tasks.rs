//! Tasks: they go forward only, keep what they are made from, and own their addresses while they live.

use skep_types::{Revision, ServiceId, Task, TaskState};

use super::services::claim_address;
use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::{AddressOwner, State};

/// Live tasks of one slot: the one that serves and, in a start-first update, its successor.
const LIVE_PER_SLOT_MAX: usize = 2;

pub fn check(state: &mut State, delta: &Delta<Task>) -> Result<(), Reason> {
    if let Some(task) = &delta.after {
        match &delta.before {
            Some(before) => moves_forward(before, task)?,
            None => spec_exists(state, task)?,
        }
    }
    index(state, delta.before.as_deref(), delta.after.as_deref())?;
    match (&delta.before, &delta.after) {
        (None, Some(task)) => slot_has_room(state, task),
        (Some(task), None) => {
            forget_spec(state, task.service_id, task.spec_version);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_live(task: &Task) -> bool {
    !task.status.state.is_terminal() && TaskState::from(task.desired_state) < TaskState::Shutdown
}

fn spec_exists(state: &State, task: &Task) -> Result<(), Reason> {
    match state.spec(task.service_id, task.spec_version) {
        Some(_) => Ok(()),
        None => Err(Reason::NoSuchSpec {
            service: task.service_id.to_string(),
            version: task.spec_version,
        }),
    }
}

fn slot_has_room(state: &State, task: &Task) -> Result<(), Reason> {
    let live = state
        .tasks_of_service(task.service_id)
        .filter(|other| other.slot == task.slot && is_live(other))
        .count();
    if is_live(task) && live > LIVE_PER_SLOT_MAX {
        let service = task.service_id.to_string();
        return Err(Reason::SlotFull { service, live: live - 1 });
    }
    Ok(())
}

fn moves_forward(before: &Task, after: &Task) -> Result<(), Reason> {
    if after.status.state < before.status.state {
        return Err(Reason::backwards(after.id, before.status.state, after.status.state));
    }
    if after.desired_state < before.desired_state {
        let (from, to) = (before.desired_state.into(), after.desired_state.into());
        return Err(Reason::backwards(after.id, from, to));
    }
    let fixed = |what| Err(Reason::Fixed { id: after.id.to_string(), what });
    if after.service_id != before.service_id {
        return fixed("service");
    }
    if after.slot != before.slot {
        return fixed("slot");
    }
    if after.spec_version != before.spec_version {
        return fixed("spec version");
    }
    if before.node_id.is_some() && after.node_id != before.node_id {
        return fixed("node");
    }
    Ok(())
}

/// Moves a task's places in the indexes from `before` to `after`.
pub fn index(state: &mut State, before: Option<&Task>, after: Option<&Task>) -> Result<(), Reason> {
    if let Some(before) = before {
        state.tasks_by_service.remove(&(before.service_id, before.id));
        if let Some(node) = before.node_id {
            state.tasks_by_node.remove(&(node, before.id));
        }
        for (network, address) in held_addresses(before) {
            state.addresses.remove(&(network, address));
        }
    }
    let Some(after) = after else { return Ok(()) };
    state.tasks_by_service.insert((after.service_id, after.id));
    if let Some(node) = after.node_id {
        state.tasks_by_node.insert((node, after.id));
    }
    for claim in held_addresses(after) {
        claim_address(state, claim, AddressOwner::Task(after.id))?;
    }
    Ok(())
}

/// A task that has ended gives its addresses back.
fn held_addresses(
    task: &Task,
) -> impl Iterator<Item = (skep_types::NetworkId, std::net::IpAddr)> + '_ {
    let networks = if task.status.state.is_terminal() { &[][..] } else { &task.networks[..] };
    networks.iter().flat_map(|at| at.addresses.iter().map(|address| (at.network, address.addr())))
}

/// Drops a spec when the last task made from it is gone and its service has moved on.
fn forget_spec(state: &mut State, service: ServiceId, version: Revision) {
    let standing = state.services.get(service).is_some_and(|service| {
        service.spec_version == version || service.previous_spec_version == Some(version)
    });
    if !standing && !state.tasks_of_service(service).any(|task| task.spec_version == version) {
        state.specs.remove(&(service, version));
    }
}
