//! Tasks: they go forward only, keep what they are made from, and own their addresses while they live.

use std::net::IpAddr;

use skep_types::{NetworkId, Revision, ServiceId, Task, TaskState};

use super::services::{address_is_free, is_standing};
use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::{AddressOwner, State};
use crate::tally;

/// Live tasks of one slot: the one that serves and, in a start-first update, its successor.
const LIVE_PER_SLOT_MAX: usize = 2;

pub fn check(state: &State, delta: &Delta<Task>) -> Result<(), Reason> {
    let Some(task) = &delta.after else { return Ok(()) };
    match &delta.before {
        Some(before) => moves_forward(before, task)?,
        None => {
            spec_exists(state, task)?;
            slot_has_room(state, task)?;
        }
    }
    super::claims::check(state, delta.before.as_deref(), task)?;
    claims_are_free(state, task)
}

/// Whether no other has the task's addresses.
pub fn claims_are_free(state: &State, task: &Task) -> Result<(), Reason> {
    for claim in held_addresses(task) {
        address_is_free(state, claim, AddressOwner::Task(task.id))?;
    }
    Ok(())
}

/// Whether what a task is made from stands.
pub fn spec_exists(state: &State, task: &Task) -> Result<(), Reason> {
    match state.spec(task.service_id, task.spec_version) {
        Some(_) => Ok(()),
        None => Err(Reason::NoSuchSpec {
            service: task.service_id.to_string(),
            version: task.spec_version,
        }),
    }
}

fn is_live(task: &Task) -> bool {
    !task.status.state.is_terminal() && TaskState::from(task.desired_state) < TaskState::Shutdown
}

fn slot_has_room(state: &State, task: &Task) -> Result<(), Reason> {
    let tasks = state.tasks_in_slot(task.service_id, task.slot);
    let live = tasks.filter(|other| is_live(other)).count();
    if is_live(task) && live >= LIVE_PER_SLOT_MAX {
        return Err(Reason::SlotFull { service: task.service_id.to_string(), live });
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
    let fixed = |what| Err(Reason::Fixed { kind: "task", id: after.id.to_string(), what });
    if after.service_id != before.service_id {
        return fixed("service");
    }
    if after.job_iteration != before.job_iteration {
        return fixed("run");
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
pub fn index(state: &mut State, before: Option<&Task>, after: Option<&Task>) {
    let slot = |task: &Task| (task.service_id, task.slot, task.id);
    // Neither its service nor its slot changes while a task stands.
    match (before, after) {
        (None, Some(task)) => {
            state.tasks_by_slot.insert(slot(task));
            if let Some(kept) = state.specs.get_mut(&(task.service_id, task.spec_version)) {
                kept.tasks = kept.tasks.saturating_add(1);
            }
        }
        (Some(task), None) => {
            state.tasks_by_slot.remove(&slot(task));
            release_spec(state, task.service_id, task.spec_version);
        }
        _ => {}
    }
    let nodes = (before.and_then(|it| it.node_id), after.and_then(|it| it.node_id));
    if nodes.0 != nodes.1 {
        if let (Some(task), Some(node)) = (before, nodes.0) {
            state.tasks_by_node.remove(&(node, task.id));
        }
        if let (Some(task), Some(node)) = (after, nodes.1) {
            state.tasks_by_node.insert((node, task.id));
        }
    }
    tally::count_task(state, before, after);
    let held = held_addresses;
    let same = match (before, after) {
        (Some(before), Some(after)) => held(before).eq(held(after)),
        _ => false,
    };
    if !same {
        for claim in before.into_iter().flat_map(held) {
            state.addresses.remove(&claim);
        }
        if let Some(task) = after {
            for claim in held(task) {
                state.addresses.insert(claim, AddressOwner::Task(task.id));
            }
        }
    }
}

/// A task that has ended gives its addresses back.
pub fn held_addresses(task: &Task) -> impl Iterator<Item = (NetworkId, IpAddr)> + '_ {
    let networks = if task.status.state.is_terminal() { &[][..] } else { &task.networks[..] };
    networks.iter().flat_map(|at| at.addresses.iter().map(|address| (at.network, address.addr())))
}

/// One task less was made from a spec: drops it when it was the last and the service has moved on.
fn release_spec(state: &mut State, service: ServiceId, version: Revision) {
    let Some(kept) = state.specs.get_mut(&(service, version)) else { return };
    kept.tasks = kept.tasks.saturating_sub(1);
    if kept.tasks == 0 && !is_standing(state, service, version) {
        state.specs.remove(&(service, version));
    }
}
