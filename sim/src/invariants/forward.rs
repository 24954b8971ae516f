//! Nothing goes backwards: a task's state, what is asked of it, and every object's revision. What a
//! task was made as, it stays; one that has ended by itself does not end again otherwise.

use std::sync::Arc;

use skep_state::{Delta, Event};
use skep_types::{Task, TaskState};

use super::{Invariant, Seen, Verdict};

pub struct Forward;

impl Invariant for Forward {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            if let Event::Task(Delta { before: Some(before), after: Some(after) }) = event {
                goes_forward(before, after)?;
            }
        }
        if seen.after.epoch() < seen.before.epoch() {
            return Err("an earlier leadership changed the state of a later one".to_owned());
        }
        Ok(())
    }
}

fn goes_forward(before: &Arc<Task>, after: &Arc<Task>) -> Verdict {
    let (old, new) = (before.status.state, after.status.state);
    let forward = new >= old
        && after.desired_state >= before.desired_state
        && after.meta.revision == before.meta.revision.next()
        && after.meta.created_at == before.meta.created_at;
    let ends_once = !old.is_terminal() || new == old || new >= TaskState::Remove;
    let same = (after.service_id, after.slot, after.spec_version)
        == (before.service_id, before.slot, before.spec_version)
        && (before.node_id.is_none() || before.node_id == after.node_id);
    match forward && ends_once && same {
        true => Ok(()),
        false => Err(format!("task {} went from {before:?} to {after:?}", after.id)),
    }
}
