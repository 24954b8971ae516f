//! A new placement breaks no constraint and no limit, and reserves no more than its node has. What
//! constraints mean is said here once more, for the few forms that the simulation's users write.

use std::collections::{BTreeMap, BTreeSet};

use skep_state::{Delta, Event, State};
use skep_types::{
    Availability, DesiredState, Node, NodeState, ServiceSpec, Task, TaskId, TaskState,
};

use super::ports::host_ports;
use super::{Invariant, Origin, Seen, Verdict};

pub struct Placement;

impl Invariant for Placement {
    fn name(&self) -> &'static str {
        "placement"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        if seen.origin != Origin::Leader {
            return Ok(());
        }
        let placed: Vec<&Task> = seen.events.iter().filter_map(placed).collect();
        for task in &placed {
            // A service's specs have limits of their own: what a later one lets in after this task is
            // not this task's.
            let others = placed.iter().filter(|other| other.spec_version != task.spec_version);
            let beside = others.map(|other| other.id).collect();
            let Some(spec) = seen.after.spec(task.service_id, task.spec_version) else { continue };
            let node = task.node_id.and_then(|node| seen.after.nodes().get(node));
            let Some(node) = node else { return Err(format!("{task:?} went to no node")) };
            if let Some(why) = refusal(seen.after, node, spec, task, &beside) {
                return Err(format!("task {} went to node {}, but {why}", task.id, node.id));
            }
        }
        Ok(())
    }
}

/// The task that a change gave a node; it may be made by the same change.
fn placed(event: &Event) -> Option<&Task> {
    let Event::Task(Delta { before, after: Some(task) }) = event else { return None };
    let had_one = before.as_ref().is_some_and(|it| it.status.state >= TaskState::Assigned);
    (!had_one && task.status.state >= TaskState::Assigned).then_some(&**task)
}

/// Why a node cannot have a task, which it may have already; none if it can. Those `beside` it do not
/// count among the replicas of its service.
pub fn refusal(
    state: &State,
    node: &Node,
    spec: &ServiceSpec,
    task: &Task,
    beside: &BTreeSet<TaskId>,
) -> Option<String> {
    if node.status.state != NodeState::Ready || node.spec.availability != Availability::Active {
        return Some("it takes no tasks".to_owned());
    }
    if let Some(constraint) = broken_constraint(node, spec) {
        return Some(format!("{constraint} does not hold"));
    }
    let (mut cpus, mut memory) = (reserved(spec).0, reserved(spec).1);
    let mut generic: BTreeMap<&str, i64> = BTreeMap::new();
    let mut of_service = 1;
    for (other, theirs) in holders(state, node, task.id) {
        cpus += reserved(theirs).0;
        memory += reserved(theirs).1;
        for unit in &theirs.task.resources.reservations.generic {
            *generic.entry(unit.kind()).or_default() += unit.amount();
        }
        // One that stops makes room for its successor.
        let stays = other.desired_state < DesiredState::Shutdown && !beside.contains(&other.id);
        of_service += u64::from(other.service_id == task.service_id && stays);
        if host_ports(spec).any(|port| host_ports(theirs).any(|it| it == port)) {
            return Some(format!("task {} holds its host port", other.id));
        }
    }
    let has = node.description.as_ref().map(|it| &it.resources);
    let has = has.map_or((0, 0), |it| (it.nano_cpus, it.memory_bytes));
    if (reserved(spec).0 > 0 && cpus > has.0) || (reserved(spec).1 > 0 && memory > has.1) {
        return Some(format!("{cpus} CPUs and {memory} bytes are reserved of {has:?}"));
    }
    for unit in &spec.task.resources.reservations.generic {
        let declared = node.description.iter().flat_map(|it| &it.resources.generic);
        let of_kind = declared.filter(|it| it.kind() == unit.kind());
        let has: i64 = of_kind.map(|it| it.amount()).sum();
        let held = generic.get(unit.kind()).copied().unwrap_or_default();
        if held + unit.amount() > has {
            return Some(format!("{held} of {has} {} are held", unit.kind()));
        }
    }
    let most = spec.task.placement.max_replicas_per_node;
    if most > 0 && of_service > most {
        return Some(format!("it would have {of_service} replicas of at most {most}"));
    }
    None
}

fn reserved(spec: &ServiceSpec) -> (i64, i64) {
    let reserved = &spec.task.resources.reservations;
    (reserved.nano_cpus, reserved.memory_bytes)
}

/// The tasks that hold what they reserved on a node, until their containers have ended.
fn holders<'a>(
    state: &'a State,
    node: &Node,
    but: TaskId,
) -> impl Iterator<Item = (&'a Task, &'a ServiceSpec)> {
    let tasks = state.tasks_on_node(node.id).filter(move |task| {
        task.id != but && (TaskState::Assigned..=TaskState::Running).contains(&task.status.state)
    });
    tasks.filter_map(|it| Some((&**it, &**state.spec(it.service_id, it.spec_version)?)))
}

/// A constraint or platform that a node does not meet.
pub fn broken_constraint<'a>(node: &Node, spec: &'a ServiceSpec) -> Option<&'a str> {
    let description = node.description.as_ref();
    let arm = description.is_some_and(|it| it.architecture == "aarch64");
    if !spec.task.placement.platforms.is_empty() && !arm {
        return Some("platform arm64");
    }
    first_broken(node, spec)
}

/// Whether a global service has a task on a node, which may wait there for other reasons.
pub fn meets_constraints(node: &Node, spec: &ServiceSpec) -> bool {
    first_broken(node, spec).is_none()
}

fn first_broken<'a>(node: &Node, spec: &'a ServiceSpec) -> Option<&'a str> {
    let description = node.description.as_ref();
    let arm = description.is_some_and(|it| it.architecture == "aarch64");
    let broken = spec.task.placement.constraints.iter().find(|text| {
        let mut words = text.split(' ');
        let (key, operator, value) = (words.next(), words.next(), words.next().unwrap_or(""));
        let is = match key {
            Some("node.labels.zone") => {
                node.spec.annotations.labels.get("zone").is_some_and(|zone| zone == value)
            }
            Some("node.role") => node.spec.role.to_string() == value,
            Some("node.platform.arch") => !arm,
            Some("node.hostname") => description.is_some_and(|it| it.hostname == value),
            key => panic!("the simulation's users write no {key:?}"),
        };
        is != (operator == Some("=="))
    });
    broken.map(String::as_str)
}
