//! A rebalance moves the tasks that it named and leaves all others alone, knows no end but that of an
//! update, and of a swarm at rest leaves nothing to move.

use skep_state::{Delta, Event, State};
use skep_types::service::UpdateState;
use skep_types::{Service, Task};

use super::{Invariant, Origin, Seen, Spread, Verdict};

pub struct Rebalance;

impl Invariant for Rebalance {
    fn name(&self) -> &'static str {
        "rebalance"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            let Event::Service(Delta { before, after: Some(service) }) = event else { continue };
            let before = before.as_deref();
            if seen.origin == Origin::User {
                begins(seen.before, before, service)?;
            } else {
                goes_on(before, service)?;
            }
        }
        Ok(())
    }

    fn spread(&mut self, spread: &Spread<'_>) -> Verdict {
        let Spread { before, after, service: id, tasks, .. } = spread;
        let Some(service) = after.services().get(*id) else { return Ok(()) };
        let state = service.update_status.as_ref().map(|status| status.state);
        if state != Some(UpdateState::Completed) {
            // A successor may wait for another service, or for an address.
            return Ok(());
        }
        // Of other services one may come to have room that waited for it.
        let stood = before.tasks_of_service(*id).filter(|it| it.is_wanted() && it.has_place());
        for task in stood {
            let now = after.tasks_in_slot(task.service_id, task.slot).filter(|it| it.is_wanted());
            let now: Vec<&Task> = now.map(|it| &**it).collect();
            match tasks.get(&task.id) {
                None if now.iter().any(|it| it.id == task.id) => {}
                None => return Err(format!("{task:?} was not to move, and became {now:?}")),
                Some(to) if now.iter().any(|it| it.node_id == Some(*to)) => {}
                Some(to) => return Err(format!("{task:?} was to go to {to}, and became {now:?}")),
            }
        }
        let left = skep_scheduler::rebalance(after, service, spread.now);
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("{tasks:?} moved, and {left:?} are to move now: {service:?}")),
        }
    }
}

/// What the leader lets in: tasks that have a place and are to keep it otherwise, of one service.
fn begins(state: &State, before: Option<&Service>, service: &Service) -> Verdict {
    for (id, moving) in service.moving().into_iter().flatten() {
        let slot = skep_types::task::Slot::Replica(moving.slot);
        let stands =
            |task: &Task| task.service_id == service.id && task.slot == slot && task.is_wanted();
        if !state.tasks().get(*id).is_some_and(|task| stands(task)) {
            return Err(format!("{id} is to move, and is no task of {service:?}"));
        }
    }
    match before {
        Some(before) if service.moving().is_some() && before.spec != service.spec => {
            Err(format!("a rebalance changed the spec of {service:?}"))
        }
        _ => Ok(()),
    }
}

/// The leader adds nothing to what is to move, and drops all of it when the rebalance ends.
fn goes_on(before: Option<&Service>, service: &Service) -> Verdict {
    let Some(moving) = service.moving() else { return Ok(()) };
    let status = service.update_status.as_ref().map(|status| status.state);
    if status != Some(UpdateState::Updating) {
        return Err(format!("the rebalance is over, and tasks are to move still: {service:?}"));
    }
    match before.and_then(Service::moving) == Some(moving) {
        true => Ok(()),
        false => Err(format!("other tasks are to move now: {service:?}, before {before:?}")),
    }
}
