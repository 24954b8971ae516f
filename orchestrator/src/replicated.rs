//! Replicated services: so many slots, each with a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_state::State;
use skep_types::task::Slot;
use skep_types::{DesiredState, NodeId, Service, Task, TaskState, Timestamp};

use crate::plan::Plan;
use crate::slot::{serves, slots};
use crate::{earliest, restart};

/// Brings the slots of a service to their number and looks after those that stand.
pub fn reconcile(plan: &mut Plan<'_>, service: &Service, replicas: u64) -> Option<Timestamp> {
    let slots = slots(plan.view(), service.id);
    let wanted = |tasks: &Vec<Arc<Task>>| tasks.iter().any(|task| task.is_wanted());
    // A slot that gave up under this spec is filled all the same: it shall not be tried again
    // merely because something else changed.
    let gave_up = |tasks: &Vec<Arc<Task>>| {
        tasks.first().is_some_and(|newest| {
            newest.spec_version == service.spec_version
                && newest.status.state.is_terminal()
                && newest.status.state < TaskState::Remove
        })
    };
    let filled: Vec<Slot> = slots
        .iter()
        .filter(|(_, tasks)| wanted(tasks) || gave_up(tasks))
        .map(|(slot, _)| *slot)
        .collect();
    let kept = keep(plan.view(), &filled, &slots, replicas);
    let mut wake = None;
    for (slot, tasks) in &slots {
        if kept.contains(slot) {
            wake = earliest(wake, restart::supervise(plan, service, tasks));
        } else {
            for task in tasks {
                plan.desire(task, DesiredState::Remove);
            }
        }
    }
    let missing = (replicas as usize).saturating_sub(kept.len());
    let free = (1..).map(Slot::Replica).filter(|slot| !kept.contains(slot));
    for slot in free.take(missing) {
        // One of a slot that was given up may still be stopping.
        plan.fill_slot(service, slot, slots.get(&slot).map_or(&[], Vec::as_slice));
    }
    wake
}

/// Which slots stay when there may be too many: running ones before others, then so that the
/// nodes that hold most lose first, then the lowest numbers.
fn keep(
    state: &State,
    filled: &[Slot],
    slots: &BTreeMap<Slot, Vec<Arc<Task>>>,
    replicas: u64,
) -> std::collections::BTreeSet<Slot> {
    if filled.len() as u64 <= replicas {
        return filled.iter().copied().collect();
    }
    // Place of each slot among those on its node: the n-th slot of every node stays before the
    // n+1-th of any.
    let mut on_node: BTreeMap<Option<NodeId>, usize> = BTreeMap::new();
    let mut ranked: Vec<(bool, usize, Slot)> = Vec::with_capacity(filled.len());
    let mut order: Vec<(bool, Slot)> = filled
        .iter()
        .map(|slot| {
            // In a start-first update the task that serves is not the newest.
            let counts = |task: &Arc<Task>| task.is_wanted() && serves(state, task);
            (!slots[slot].iter().any(counts), *slot)
        })
        .collect();
    order.sort();
    for (idle, slot) in order {
        let node = slots[&slot].first().and_then(|task| task.node_id);
        let place = on_node.entry(node).or_default();
        ranked.push((idle, *place, slot));
        *place += 1;
    }
    ranked.sort();
    ranked.into_iter().take(replicas as usize).map(|(_, _, slot)| slot).collect()
}
