//! Whether what a service waits for has come far enough for its tasks to begin.
//!
//! It holds for every task that is made, not for those that run: a dependency that fails later stops
//! nothing.

use skep_state::State;
use skep_types::dependency::{self, Condition, Dependency};
use skep_types::{Service, ServiceMode, Task, TaskState};

use crate::slot::slots;

/// What a service waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The name of the service that has not come far enough.
    pub service: String,
    pub why: String,
}

/// A dependency that is not met; none if tasks of the service may begin. It is the one that a task was
/// told of if that still holds, and the first otherwise.
pub fn unmet(state: &State, service: &Service, told: &str) -> Option<Unmet> {
    let label = service.spec.annotations.labels.get(dependency::LABEL)?;
    // The control API lets none in that cannot be read: nobody could say what it waits for.
    let dependencies = dependency::parse(label).unwrap_or_default();
    let mut unmet = dependencies.iter().filter_map(|dependency| {
        let why = why(state, dependency)?;
        Some(Unmet { service: dependency.service.clone(), why })
    });
    let first = unmet.next()?;
    let known = first.why == told;
    if known { Some(first) } else { Some(unmet.find(|it| it.why == told).unwrap_or(first)) }
}

fn why(state: &State, dependency: &Dependency) -> Option<String> {
    let name = &dependency.service;
    let Some(service) = state.services().by_name(name) else {
        return Some(format!("waits for service {name}, which does not exist"));
    };
    let met = match dependency.condition {
        Condition::Started => is_started(state, service),
        Condition::Healthy => any(state, service, |task| task.status.state == TaskState::Running),
        Condition::Completed => is_completed(state, service),
    };
    let far = match dependency.condition {
        Condition::Started => "has not started",
        Condition::Healthy => "is not healthy",
        Condition::Completed => "has not completed successfully",
    };
    (!met).then(|| format!("waits for service {name}, which {far}"))
}

fn any(state: &State, service: &Service, holds: impl Fn(&Task) -> bool) -> bool {
    state.tasks_of_service(service.id).any(|task| task.is_wanted() && holds(task))
}

fn is_started(state: &State, service: &Service) -> bool {
    let started = |task: &Task| {
        matches!(task.status.state, TaskState::Starting | TaskState::Running | TaskState::Complete)
    };
    // What completed and is not tried again counts, too; it is not wanted any more.
    any(state, service, started) || is_completed(state, service)
}

/// Every slot's task of the run that stands came to its end with success.
fn is_completed(state: &State, service: &Service) -> bool {
    let mut complete = 0;
    for tasks in slots(state, service.id).into_values() {
        let mut current = tasks.iter().filter(|task| match service.job {
            Some(job) => task.job_iteration == Some(job.iteration),
            None => task.spec_version == service.spec_version,
        });
        let Some(newest) = current.next() else { continue };
        if newest.status.state != TaskState::Complete {
            return false;
        }
        complete += 1;
    }
    match service.spec.mode {
        ServiceMode::Replicated { replicas } => complete == replicas,
        ServiceMode::ReplicatedJob { total_completions, .. } => complete == total_completions,
        ServiceMode::Global | ServiceMode::GlobalJob => complete > 0,
    }
}
