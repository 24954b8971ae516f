//! A task that serves is told to stop only when no node gives it connections any more, or a bound is
//! over, and after its service's drain time.
//!
//! A node that does not follow its networks at the leader is none that is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_dispatch::defaults::WITHDRAWAL_MAX;
use skep_state::{Delta, Event, State};
use skep_types::{DesiredState, ServiceId, Task, TaskId, TaskState, Timestamp, drain};

use super::{Heard, Invariant, Seen, Verdict};

/// When the state came to want the end of tasks that served then, and how long they were to drain.
#[derive(Default)]
pub struct Withdrawal {
    leaving: BTreeMap<TaskId, (Timestamp, Duration)>,
}

impl Invariant for Withdrawal {
    fn name(&self) -> &'static str {
        "withdrawal"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            if let Event::Service(Delta { after: Some(service), .. }) = event {
                self.drain_changed(seen.after, service.id);
            }
            let Event::Task(Delta { before, after }) = event else { continue };
            let Some(task) = after else {
                before.iter().for_each(|task| {
                    self.leaving.remove(&task.id);
                });
                continue;
            };
            let is_told = task.desired_state >= DesiredState::Shutdown;
            let was_told =
                before.as_ref().is_none_or(|it| it.desired_state >= DesiredState::Shutdown);
            if is_told && !was_told && serves(task) {
                let drain = drain_time(seen.after, task.service_id);
                self.leaving.insert(task.id, (seen.now, drain));
            }
            if task.status.state.is_terminal() {
                self.leaving.remove(&task.id);
            }
        }
        Ok(())
    }

    fn heard(&mut self, heard: &Heard<'_>) -> Verdict {
        let Some((told, drain)) = self.leaving.get(&heard.task) else { return Ok(()) };
        let Some(task) = heard.truth.tasks().get(heard.task) else { return Ok(()) };
        if heard.truth.services().get(task.service_id).is_none() {
            return Ok(());
        }
        let waited = heard.now.saturating_since(*told);
        if waited < *drain {
            return Err(format!(
                "{task:?} hears after {waited:?} that it is to stop, not {drain:?}"
            ));
        }
        if waited >= WITHDRAWAL_MAX {
            return Ok(());
        }
        let balances = heard
            .balancers
            .iter()
            .find(|(_, balanced)| balanced.values().any(|tasks| tasks.contains(&heard.task)));
        match balances {
            None => Ok(()),
            Some((node, _)) => Err(format!("node {node} balances to {task:?}, which is to stop")),
        }
    }
}

impl Withdrawal {
    /// What the label says holds from then on; what it let go stays so.
    fn drain_changed(&mut self, state: &State, service: ServiceId) {
        let drain = drain_time(state, service);
        for (id, (_, shortest)) in &mut self.leaving {
            if state.tasks().get(*id).is_some_and(|task| task.service_id == service) {
                *shortest = drain.min(*shortest);
            }
        }
    }
}

fn serves(task: &Task) -> bool {
    task.status.state == TaskState::Running && !task.networks.is_empty()
}

fn drain_time(state: &State, service: ServiceId) -> Duration {
    let service = state.services().get(service);
    service.and_then(|it| drain::of(&it.spec.annotations.labels).ok()).unwrap_or_default()
}
