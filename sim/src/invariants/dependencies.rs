//! A task begins when what its service waits for has come so far; until then it says what that is.
//! How far is far enough is said here once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::{Delta, Event, State};
use skep_types::task::Slot;
use skep_types::{DesiredState, Service, ServiceMode, Task, TaskState};

use super::{Invariant, Origin, Seen, Settled, Verdict};

/// The label, as users write it.
pub const LABEL: &str = "com.docker.stack.depends-on";

pub struct Dependencies;

impl Invariant for Dependencies {
    fn name(&self) -> &'static str {
        "dependencies"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            let Event::Task(Delta { before, after: Some(task) }) = event else { continue };
            let began = task.status.state > TaskState::New
                && before.as_ref().is_none_or(|before| before.status.state == TaskState::New);
            if !began || seen.origin != Origin::Leader || is_gone(task) {
                continue;
            }
            let Some(service) = seen.after.services().get(task.service_id) else { continue };
            if let Some(why) = unmet(seen.after, service).first() {
                return Err(format!("{task:?} began, and {why}"));
            }
        }
        Ok(())
    }

    fn settled(&mut self, settled: &Settled<'_>) -> Verdict {
        let state = settled.truth;
        for task in state.tasks().iter().filter(|task| task.status.state == TaskState::New) {
            let Some(service) = state.services().get(task.service_id) else { continue };
            let (unmet, told) = (unmet(state, service), &task.status.error);
            let right = match unmet.is_empty() {
                true => !told.starts_with("waits for service"),
                false => unmet.contains(told),
            };
            if !right && !is_gone(task) {
                return Err(format!("{task:?} says what is not so; what holds: {unmet:?}"));
            }
        }
        Ok(())
    }
}

fn is_gone(task: &Task) -> bool {
    task.desired_state >= DesiredState::Shutdown
}

/// All that a service waits for, in the words of its tasks.
fn unmet(state: &State, service: &Service) -> BTreeSet<String> {
    let label = service.spec.annotations.labels.get(LABEL).map_or("", String::as_str);
    let entries = label.split(',').filter_map(|entry| entry.split_once(':'));
    entries.filter_map(|(name, condition)| why(state, name, condition)).collect()
}

fn why(state: &State, name: &str, condition: &str) -> Option<String> {
    let Some(service) = state.services().iter().find(|it| it.spec.annotations.name == name) else {
        return Some(format!("waits for service {name}, which does not exist"));
    };
    let tasks: Vec<&Arc<Task>> = state.tasks_of_service(service.id).collect();
    let wanted = |states: &[TaskState]| {
        tasks.iter().any(|task| !is_gone(task) && states.contains(&task.status.state))
    };
    let (met, far) = match condition {
        "service_started" => (
            wanted(&[TaskState::Starting, TaskState::Running, TaskState::Complete])
                || has_completed(service, &tasks),
            "has not started",
        ),
        "service_healthy" => (wanted(&[TaskState::Running]), "is not healthy"),
        "service_completed_successfully" => {
            (has_completed(service, &tasks), "has not completed successfully")
        }
        other => panic!("the simulation's users write no {other:?}"),
    };
    (!met).then(|| format!("waits for service {name}, which {far}"))
}

/// The newest task of every slot, of the run or spec that stands, came to its end with success.
fn has_completed(service: &Service, tasks: &[&Arc<Task>]) -> bool {
    let mut newest: BTreeMap<Slot, &Arc<Task>> = BTreeMap::new();
    for task in tasks {
        let stands = match service.job {
            Some(job) => task.job_iteration == Some(job.iteration),
            None => task.spec_version == service.spec_version,
        };
        let made = |task: &Arc<Task>| (task.meta.created_at, task.id);
        if stands && newest.get(&task.slot).is_none_or(|other| made(other) < made(task)) {
            newest.insert(task.slot, task);
        }
    }
    let all = newest.values().all(|task| task.status.state == TaskState::Complete);
    let count = newest.len() as u64;
    all && match service.spec.mode {
        ServiceMode::Replicated { replicas } => count == replicas,
        ServiceMode::ReplicatedJob { total_completions, .. } => count == total_completions,
        ServiceMode::Global | ServiceMode::GlobalJob => count > 0,
    }
}
