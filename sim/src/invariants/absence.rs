//! A short absence moves nothing: within the grace no task of a node that is down gets a successor,
//! but for another reason than the absence.

use skep_state::{Delta, Event};
use skep_types::{Availability, DesiredState, NodeState, Task, TaskState, down_grace};

use super::{Invariant, Origin, Seen, Verdict};

pub struct Absence;

impl Invariant for Absence {
    fn name(&self) -> &'static str {
        "absence"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        if seen.origin != Origin::Leader {
            return Ok(());
        }
        for event in seen.events {
            let Event::Task(Delta { before: Some(before), after: Some(task) }) = event else {
                continue;
            };
            let is_told = before.desired_state < DesiredState::Shutdown
                && task.desired_state >= DesiredState::Shutdown;
            // A rebalance moves what it was asked to, though its node was there when it was planned.
            let moves =
                seen.before.services().get(task.service_id).is_some_and(|it| it.moves(task.id));
            if is_told && !moves && is_within_grace(seen, task) && is_replaced(seen, task) {
                return Err(format!("{task:?} was replaced, and its node is away for a moment"));
            }
        }
        Ok(())
    }
}

fn is_within_grace(seen: &Seen<'_>, task: &Task) -> bool {
    let node = task.node_id.and_then(|node| seen.before.nodes().get(node));
    let Some(node) = node.filter(|node| node.status.state == NodeState::Down) else { return false };
    let Some(service) = seen.after.services().get(task.service_id) else { return false };
    let cluster = seen.after.cluster().map(|cluster| &cluster.spec);
    let away = task.meta.updated_at.saturating_since(node.status.since);
    node.spec.availability != Availability::Drain
        && task.status.state <= TaskState::Running
        && away < down_grace::of(&service.spec, cluster)
}

/// By one of the same spec: an update replaces what it finds, wherever that is.
fn is_replaced(seen: &Seen<'_>, task: &Task) -> bool {
    seen.events.iter().any(|event| match event {
        Event::Task(Delta { before: None, after: Some(other) }) => {
            // A job runs again, whatever its tasks do.
            other.job_iteration == task.job_iteration
                && (other.service_id, other.slot, other.spec_version)
                    == (task.service_id, task.slot, task.spec_version)
        }
        _ => false,
    })
}
