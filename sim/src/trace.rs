//! What happened in a run, a line for each change: for whoever looks into a violation.

use std::fmt::Write;
use std::time::Duration;

use skep_state::{Event, State};
use skep_types::{Service, Task};

use crate::invariants::Origin;

/// A line for each change of a transaction.
pub fn lines(at: Duration, origin: Origin, state: &State, events: &[Event]) -> Vec<String> {
    events.iter().map(|event| format!("{at:?} {origin:?} {}", line(state, event))).collect()
}

fn line(state: &State, event: &Event) -> String {
    match event {
        Event::Task(delta) => {
            let Some(any) = delta.after.as_ref().or(delta.before.as_ref()) else {
                return String::new();
            };
            let service = state.services().get(any.service_id);
            let name = service.map_or("gone", |service| &service.spec.annotations.name);
            let short = |task: &Task| {
                let (state, desired) = (task.status.state.name(), task.desired_state);
                format!("{state}/{desired:?} {}", task.status.error)
            };
            let mut line = format!("{name} {:?} v{} {}:", any.slot, any.spec_version, any.id);
            if let Some(node) = any.node_id {
                let _ = write!(line, " on {node}");
            }
            if let Some(before) = &delta.before {
                let _ = write!(line, " from {}", short(before));
            }
            match &delta.after {
                Some(after) => line + " to " + &short(after),
                None => line + " removed",
            }
        }
        Event::Service(delta) => {
            let short = |service: &Service| {
                let spec = &service.spec;
                let status = service.update_status.as_ref();
                let (update, back) = (&spec.update, &spec.rollback);
                let config = |it: &skep_types::UpdateConfig| {
                    format!("{:?} {} {:?}", it.order, it.parallelism, it.failure_action)
                };
                format!(
                    "service {} v{} {:?} {:?}; update {}, rollback {}, restart {:?}",
                    spec.annotations.name,
                    service.spec_version,
                    spec.mode,
                    status.map(|it| it.state),
                    config(update),
                    config(back),
                    spec.task.restart,
                )
            };
            match (&delta.before, &delta.after) {
                (_, Some(after)) => short(after),
                (before, None) => {
                    format!("removed {}", before.as_deref().map(short).unwrap_or_default())
                }
            }
        }
        Event::Node(delta) => {
            let Some(node) = delta.after.as_ref().or(delta.before.as_ref()) else {
                return String::new();
            };
            let removed = if delta.after.is_none() { " removed" } else { "" };
            let (state, availability) = (node.status.state, node.spec.availability);
            format!("node {} {state:?} {availability:?}{removed}", node.id)
        }
        other => format!("{other:?}"),
    }
}
