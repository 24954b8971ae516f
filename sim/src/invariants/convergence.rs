//! A swarm at rest is what its users want: every slot is served, or waits for a node that there is
//! none of, or gave up as its restart policy says; every update has ended, or says why not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::State;
use skep_types::service::UpdateState;
use skep_types::task::Slot;
use skep_types::{
    Availability, DesiredState, NodeState, RestartCondition, Service, ServiceMode, Task, TaskState,
};

use super::placement::{meets_constraints, refusal};
use super::{Invariant, Settled, Verdict};

pub struct Convergence;

impl Invariant for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn settled(&mut self, settled: &Settled<'_>) -> Verdict {
        hosts(settled)?;
        for service in settled.truth.services().iter().filter(|it| !it.spec.mode.is_job()) {
            let found = look(settled, service);
            found
                .map_err(|why| format!("{}: {why}; {service:?}", service.spec.annotations.name))?;
        }
        Ok(())
    }
}

/// Every node is in session and has told what it had to, and runs what the state says.
fn hosts(settled: &Settled<'_>) -> Verdict {
    let state = settled.truth;
    for (node, agent) in settled.agents.iter().filter(|(_, agent)| !agent.removed) {
        let known = state.nodes().get(*node);
        let ready = known.is_some_and(|node| node.status.state == NodeState::Ready);
        if known.is_some() && !(ready && agent.in_session() && agent.is_quiet()) {
            return Err(format!("node {node} is not at rest: {agent:?}"));
        }
        for (id, container) in &agent.containers {
            let runs =
                state.tasks().get(*id).is_some_and(|it| it.status.state == TaskState::Running);
            if runs != container.is_running() {
                return Err(format!("the state is wrong on container {id}: {container:?}"));
            }
        }
    }
    let running = state.tasks().iter().filter(|task| task.status.state == TaskState::Running);
    let containers: usize = settled.running.values().map(|place| place.len()).sum();
    match running.count() {
        count if count == containers => Ok(()),
        count => Err(format!("{count} tasks run in {containers} containers")),
    }
}

enum Found {
    Serves,
    Waits,
    GaveUp,
}

fn look(settled: &Settled<'_>, service: &Arc<Service>) -> Verdict {
    let state = settled.truth;
    let mut slots: BTreeMap<Slot, Vec<&Arc<Task>>> = BTreeMap::new();
    for task in state.tasks_of_service(service.id) {
        slots.entry(task.slot).or_default().push(task);
    }
    let mut waits = false;
    let mut filled = 0;
    for (slot, tasks) in &slots {
        if let Slot::Node(id) = slot {
            let node = state.nodes().get(*id).filter(|it| meets_constraints(it, &service.spec));
            let availability = node.map_or(Availability::Drain, |node| node.spec.availability);
            if availability == Availability::Drain
                && let Some(task) =
                    tasks.iter().find(|it| it.desired_state < DesiredState::Shutdown)
            {
                return Err(format!("{task:?} is on a node that is none for it"));
            }
            // One that is paused keeps what it has, and gets nothing.
            if availability != Availability::Active {
                continue;
            }
        }
        match look_at(state, service, tasks)? {
            Some(Found::Waits) => {
                waits = true;
                filled += 1;
            }
            Some(Found::Serves | Found::GaveUp) => filled += 1,
            None => {}
        }
    }
    let wanted = match service.spec.mode {
        ServiceMode::Replicated { replicas } => replicas,
        _ => state
            .nodes()
            .iter()
            .filter(|node| node.spec.availability == Availability::Active)
            .filter(|node| meets_constraints(node, &service.spec))
            .count() as u64,
    };
    if filled != wanted {
        return Err(format!("{filled} slots of {wanted} are filled"));
    }
    let status = service.update_status.as_ref().map(|status| status.state);
    match status {
        Some(UpdateState::Updating | UpdateState::RollbackStarted) if !waits => {
            Err("its update never ends".to_owned())
        }
        None | Some(UpdateState::Completed | UpdateState::RollbackCompleted) => {
            all_current(state, service)
        }
        _ => Ok(()),
    }
}

/// What became of a slot; none if it has only history.
fn look_at(
    state: &State,
    service: &Service,
    tasks: &[&Arc<Task>],
) -> Result<Option<Found>, String> {
    let wanted: Vec<_> =
        tasks.iter().filter(|task| task.desired_state < DesiredState::Shutdown).collect();
    if wanted.iter().any(|task| task.status.state == TaskState::Running) {
        return match wanted.len() {
            1 => Ok(Some(Found::Serves)),
            // A successor of a start-first update may wait for a node beside the one that serves.
            2 => wanted.iter().try_for_each(|task| waits(state, task)).map(|()| Some(Found::Waits)),
            _ => Err(format!("a slot has {wanted:?}")),
        };
    }
    match wanted.as_slice() {
        [] => gave_up(service, tasks),
        [task] => waits(state, task).map(|()| Some(Found::Waits)),
        _ => Err(format!("a slot is never served: {wanted:?}")),
    }
}

/// A task may wait for want of a node, and only then.
pub fn waits(state: &State, task: &Task) -> Verdict {
    if task.status.state == TaskState::Running {
        return Ok(());
    }
    let spec = state.spec(task.service_id, task.spec_version);
    let Some(spec) = spec.filter(|_| task.status.state <= TaskState::Pending) else {
        return Err(format!("{task:?} goes no further"));
    };
    if task.status.error.is_empty() {
        return Err(format!("{task:?} does not say why it waits"));
    }
    if task.status.state == TaskState::New {
        // Not the scheduler's yet: a network has no address left, and says so.
        return Ok(());
    }
    let mut nodes = state.nodes().iter().filter(|node| match task.slot {
        Slot::Node(only) => only == node.id,
        Slot::Replica(_) => true,
    });
    match nodes.find(|node| refusal(state, node, spec, task, &BTreeSet::new()).is_none()) {
        Some(node) => Err(format!("{task:?} waits, and node {} could have it", node.id)),
        None => Ok(()),
    }
}

fn gave_up(service: &Service, tasks: &[&Arc<Task>]) -> Result<Option<Found>, String> {
    let newest = tasks.iter().max_by_key(|task| (task.meta.created_at, task.id));
    let policy = &service.spec.task.restart;
    let stops = policy.condition != RestartCondition::Any || policy.max_attempts > 0;
    let by_itself = newest.is_some_and(|task| {
        matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected)
            && task.desired_state == DesiredState::Shutdown
    });
    Ok((stops && by_itself).then_some(Found::GaveUp))
}

fn ended_by_itself(task: &Task) -> bool {
    matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected)
}

/// What serves was made from what the service says now.
fn all_current(state: &State, service: &Service) -> Verdict {
    for task in state.tasks_of_service(service.id) {
        let Some(spec) = state.spec(service.id, task.spec_version) else { continue };
        let node = task.node_id.and_then(|node| state.nodes().get(node));
        let on_paused = node.is_some_and(|node| node.spec.availability == Availability::Pause);
        let exempt = on_paused && service.spec.mode == ServiceMode::Global;
        // Nor does one end whose start-first successor gave up, or waits for its node.
        let awaited = state.tasks_of_service(service.id).any(|it| {
            let waits =
                it.status.state <= TaskState::Pending && it.desired_state < DesiredState::Shutdown;
            it.slot == task.slot
                && (waits || (it.spec_version == service.spec_version && ended_by_itself(it)))
        });
        if task.status.state == TaskState::Running
            && !exempt
            && !awaited
            && (spec.task != service.spec.task || spec.endpoint != service.spec.endpoint)
        {
            return Err(format!("{task:?} is of an old spec"));
        }
    }
    Ok(())
}
