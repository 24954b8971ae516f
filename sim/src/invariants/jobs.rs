//! Jobs: so many completions and no more, so many tasks at a time and no more, one run after another.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_state::{Delta, Event, State};
use skep_types::service::JobStatus;
use skep_types::task::Slot;
use skep_types::{
    Availability, DesiredState, NodeState, RestartCondition, Service, ServiceMode, Task, TaskState,
};

use super::convergence::waits;
use super::placement::meets_constraints;
use super::{Invariant, Origin, Seen, Settled, Verdict};

pub struct Jobs;

impl Invariant for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            let Event::Task(Delta { before: None, after: Some(task) }) = event else { continue };
            let Some(service) = seen.after.services().get(task.service_id) else { continue };
            let Some(job) = service.job else { continue };
            if seen.origin == Origin::Leader {
                begun(seen, service, job, task).map_err(|why| format!("{task:?}: {why}"))?;
            }
        }
        Ok(())
    }

    fn settled(&mut self, settled: &Settled<'_>) -> Verdict {
        for service in settled.truth.services().iter() {
            if let Some(job) = service.job {
                let found = at_rest(settled.truth, service, job);
                found.map_err(|why| {
                    let tasks = settled.truth.tasks_of_service(service.id);
                    let tasks: Vec<_> = tasks.collect();
                    format!("{}: {why}; {service:?}; {tasks:?}", service.spec.annotations.name)
                })?;
            }
        }
        Ok(())
    }
}

/// A task of a job is made.
fn begun(seen: &Seen<'_>, service: &Service, job: JobStatus, task: &Task) -> Verdict {
    if task.job_iteration != Some(job.iteration) || task.spec_version != service.spec_version {
        return Err("it is of another run than the one that stands".to_owned());
    }
    let run = |it: &&Arc<Task>| it.job_iteration == Some(job.iteration);
    let mut before = seen.before.tasks_in_slot(service.id, task.slot).filter(run);
    if before.any(|it| it.status.state == TaskState::Complete) {
        return Err("its slot has completed".to_owned());
    }
    match service.spec.mode {
        ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
            if !matches!(task.slot, Slot::Replica(number) if number < total_completions) {
                return Err("there is no such slot".to_owned());
            }
            let tasks = seen.after.tasks_of_service(service.id).filter(run);
            let live = tasks.filter(|it| is_live(it)).count() as u64;
            if live > max_concurrent {
                return Err(format!("{live} are under way of at most {max_concurrent}"));
            }
        }
        ServiceMode::GlobalJob => {
            let Slot::Node(id) = task.slot else { return Err("it has no node".to_owned()) };
            let node = seen.after.nodes().get(id);
            let Some(node) = node else { return Err("its node is gone".to_owned()) };
            // A successor, by its policy, follows where the first one was.
            let is_first = seen.after.tasks_in_slot(service.id, task.slot).filter(run).count() == 1;
            if is_first && !meets_constraints(node, &service.spec) {
                return Err("its node is none for it".to_owned());
            }
            if node.meta.created_at > job.last_execution {
                return Err("its node came after the run began".to_owned());
            }
        }
        _ => return Err("its service is no job".to_owned()),
    }
    Ok(())
}

fn is_live(task: &Task) -> bool {
    task.desired_state < DesiredState::Shutdown && !task.status.state.is_terminal()
}

fn at_rest(state: &State, service: &Service, job: JobStatus) -> Verdict {
    let mut slots: BTreeMap<Slot, Vec<&Arc<Task>>> = BTreeMap::new();
    for task in state.tasks_of_service(service.id) {
        if task.job_iteration == Some(job.iteration) {
            slots.entry(task.slot).or_default().push(task);
        } else if is_live(task) {
            return Err(format!("{} of an earlier run goes on", task.id));
        }
    }
    let (mut done, mut waiting) = (0, 0);
    for (slot, tasks) in &slots {
        let complete = tasks.iter().filter(|it| it.status.state == TaskState::Complete).count();
        if complete > 0 {
            done += 1;
            continue;
        }
        let live: Vec<_> = tasks.iter().filter(|task| is_live(task)).collect();
        match *live {
            [task] => {
                waits(state, task)?;
                waiting += 1;
            }
            [] if gave_up(service, tasks) => done += 1,
            // Its node takes no tasks now, or is none for it any more.
            [] if !is_served(state, service, *slot) => {}
            _ => return Err(format!("slot {slot:?} has {live:?}")),
        }
    }
    match service.spec.mode {
        ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
            let open = total_completions.saturating_sub(done + waiting);
            if open > 0 && waiting < max_concurrent {
                return Err(format!("{open} slots have no task, and {waiting} wait"));
            }
        }
        _ => {
            let missing = state.nodes().iter().find(|node| {
                let slot = Slot::Node(node.id);
                node.meta.created_at <= job.last_execution
                    && is_served(state, service, slot)
                    && !slots.contains_key(&slot)
            });
            if let Some(node) = missing {
                return Err(format!("node {} has no task", node.id));
            }
        }
    }
    Ok(())
}

fn is_served(state: &State, service: &Service, slot: Slot) -> bool {
    let Slot::Node(node) = slot else { return true };
    state.nodes().get(node).is_some_and(|node| {
        node.status.state == NodeState::Ready
            && node.spec.availability == Availability::Active
            && meets_constraints(node, &service.spec)
    })
}

fn gave_up(service: &Service, tasks: &[&Arc<Task>]) -> bool {
    let policy = &service.spec.task.restart;
    let stops = policy.condition == RestartCondition::None || policy.max_attempts > 0;
    stops
        && tasks.iter().any(|it| matches!(it.status.state, TaskState::Failed | TaskState::Rejected))
}
