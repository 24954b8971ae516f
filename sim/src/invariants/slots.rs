//! No slot is meant to be served by two tasks but in a start-first update, and never by three.
//!
//! A service's order may change while two tasks of a slot overlap by the one before: the overlap goes
//! on until one of them is not wanted any more, and nothing else may begin one.

use std::collections::{BTreeMap, BTreeSet};

use skep_state::{Delta, Event, State};
use skep_types::service::UpdateState;
use skep_types::task::Slot;
use skep_types::{DesiredState, Service, ServiceId, Task, TaskId, UpdateOrder};

use super::{Invariant, Seen, Verdict};

#[derive(Default)]
pub struct Slots {
    overlaps: Overlaps,
}

impl Invariant for Slots {
    fn name(&self) -> &'static str {
        "slots"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        self.overlaps.applied(seen)
    }
}

/// Which slots have two tasks for a start-first update, and which tasks may run beside which.
#[derive(Default)]
pub struct Overlaps {
    slots: BTreeSet<(ServiceId, Slot)>,
    beside: BTreeMap<TaskId, TaskId>,
}

impl Overlaps {
    /// Takes a change in, and asks whether what it makes has room.
    pub fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            let Event::Task(Delta { before, after }) = event else { continue };
            let Some(task) = after else {
                if let Some(task) = before {
                    self.beside.remove(&task.id);
                }
                continue;
            };
            // Later actions of the same transaction may have told it to stop again.
            let stands = seen.after.tasks().get(task.id).is_some_and(|task| serves(task));
            if before.is_none() && stands {
                self.made(seen.after, task)?;
            }
        }
        for event in seen.events {
            let Event::Task(Delta { before, after }) = event else { continue };
            let Some(task) = after.as_ref().or(before.as_ref()) else { continue };
            let place = (task.service_id, task.slot);
            let wanted = seen.after.tasks_in_slot(place.0, place.1).filter(|it| is_wanted(it));
            if self.slots.contains(&place) && wanted.count() < 2 {
                self.slots.remove(&place);
            }
        }
        Ok(())
    }

    /// Whether the two may run at the same time.
    pub fn may_run_beside(&self, one: TaskId, other: TaskId) -> bool {
        self.beside.get(&one) == Some(&other) || self.beside.get(&other) == Some(&one)
    }

    fn made(&mut self, state: &State, task: &Task) -> Verdict {
        let others: Vec<TaskId> = state
            .tasks_in_slot(task.service_id, task.slot)
            .filter(|other| other.id != task.id && serves(other))
            .map(|other| other.id)
            .collect();
        let [other] = *others else {
            return match others.is_empty() {
                true => Ok(()),
                false => Err(format!("{task:?} is made beside {others:?}")),
            };
        };
        let place = (task.service_id, task.slot);
        let service = state.services().get(task.service_id);
        let starts_first = service
            .is_some_and(|it| !it.spec.mode.is_job() && order(it) == UpdateOrder::StartFirst);
        if !starts_first && !self.slots.contains(&place) {
            return Err(format!("{task:?} is made beside {other} in no start-first update"));
        }
        self.slots.insert(place);
        self.beside.insert(task.id, other);
        Ok(())
    }
}

/// It serves, or will.
fn serves(task: &Task) -> bool {
    is_wanted(task) && !task.status.state.is_terminal()
}

fn is_wanted(task: &Task) -> bool {
    task.desired_state < DesiredState::Shutdown
}

/// The order in which the service's tasks are replaced now.
pub fn order(service: &Service) -> UpdateOrder {
    match service.update_status.as_ref().map(|status| status.state) {
        Some(
            UpdateState::RollbackStarted
            | UpdateState::RollbackPaused
            | UpdateState::RollbackCompleted,
        ) => service.spec.rollback.order,
        _ => service.spec.update.order,
    }
}
