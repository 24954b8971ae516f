//! No slot is meant to be served by two tasks but in a start-first update, and never by three.

use skep_state::{Delta, Event, State};
use skep_types::service::UpdateState;
use skep_types::{DesiredState, Service, Task, UpdateOrder};

use super::{Invariant, Seen, Verdict};

pub struct Slots;

impl Invariant for Slots {
    fn name(&self) -> &'static str {
        "slots"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            let Event::Task(Delta { before, after: Some(task) }) = event else { continue };
            let is_new = is_let_go(task) && before.as_ref().is_none_or(|before| !is_let_go(before));
            // Later actions of the same transaction may have told it to stop again.
            let stands = seen.after.tasks().get(task.id).is_some_and(|task| is_let_go(task));
            if is_new && stands {
                has_room(seen.after, task)?;
            }
        }
        Ok(())
    }
}

fn is_let_go(task: &Task) -> bool {
    task.desired_state == DesiredState::Running && !task.status.state.is_terminal()
}

fn has_room(state: &State, task: &Task) -> Verdict {
    let others = state
        .tasks_of_service(task.service_id)
        .filter(|other| other.id != task.id && other.slot == task.slot && is_let_go(other))
        .count();
    let service = state.services().get(task.service_id);
    let allowed = usize::from(service.is_some_and(|service| may_overlap(service)));
    match others <= allowed {
        true => Ok(()),
        false => Err(format!("{others} tasks beside {task:?} are let go in its slot")),
    }
}

/// Whether a service's update may, or may have had, two tasks in a slot: orders change with the spec
/// while an overlap that an earlier one asked for goes on. Half of the services never ask for any.
pub fn may_overlap(service: &Service) -> bool {
    !crate::objects::is_stop_first(service.id)
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
