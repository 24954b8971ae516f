//! The updater takes no more slots down at a time than its parallelism, and none in a start-first
//! update; nor does a rebalance. Slots that are down for other reasons (a node's, a task's own end) are
//! none of its. A task that serves, as it should and where it should, is not told to stop at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_state::{Delta, Event, State};
use skep_types::resources::GenericResource;
use skep_types::service::UpdateState;
use skep_types::task::Slot;
use skep_types::{
    Availability, DesiredState, Node, NodeId, NodeState, Service, ServiceId, Task, TaskState,
    UpdateOrder,
};

use super::placement::{broken_constraint, meets_constraints};
use super::slots::order;
use super::{Invariant, Origin, Seen, Verdict};

/// The slots that the updater has taken down and that did not come back.
#[derive(Default)]
pub struct Update {
    down: BTreeSet<(ServiceId, Slot)>,
}

impl Invariant for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            let Event::Task(Delta { before, after: Some(task) }) = event else { continue };
            let place = (task.service_id, task.slot);
            let ended_by_itself = matches!(
                task.status.state,
                TaskState::Complete | TaskState::Failed | TaskState::Rejected
            );
            if serves(task)
                || ended_by_itself
                || task.desired_state == DesiredState::Remove
                || matches_no_node(task)
            {
                self.down.remove(&place);
            }
            let Some(before) = before else { continue };
            let told = serves(before) && task.desired_state == DesiredState::Shutdown;
            let Some(service) = seen.after.services().get(task.service_id) else { continue };
            let is_job = service.spec.mode.is_job();
            if !told || is_job || seen.origin != Origin::Leader || goes_anyway(seen, service, task)
            {
                continue;
            }
            if !is_updaters(seen, service, task) {
                return Err(format!("nothing wanted {task:?} to stop"));
            }
            self.taken_down(seen.after, service, task)?;
        }
        Ok(())
    }
}

impl Update {
    fn taken_down(&mut self, state: &State, service: &Arc<Service>, task: &Task) -> Verdict {
        let place = (service.id, task.slot);
        if order(service) == UpdateOrder::StartFirst {
            return Err(format!("a start-first update stopped {task:?} before its successor ran"));
        }
        // A slot that was given up, by a change of scale say, has no task that may come back.
        self.down.retain(|(service, slot)| {
            // Nor does a node that takes none now give a global service one back.
            let takes_none = matches!(slot, Slot::Node(node) if !takes_tasks(state, *node));
            let mut tasks = state.tasks_of_service(*service).filter(|it| it.slot == *slot);
            !takes_none && tasks.any(|task| task.desired_state < DesiredState::Shutdown)
        });
        let first = (service.id, Slot::Replica(0));
        let down = self.down.range(first..).take_while(|(id, _)| *id == service.id);
        let down = down.filter(|(_, slot)| *slot != task.slot).count() as u64;
        let parallelism = match is_rollback(service) {
            true => service.spec.rollback.parallelism,
            false => service.spec.update.parallelism,
        };
        if parallelism > 0 && down >= parallelism {
            let name = &service.spec.annotations.name;
            return Err(format!("{name}: {down} of {parallelism} are down, and {task:?} followed"));
        }
        self.down.insert(place);
        Ok(())
    }
}

/// A global service's task on a node that is none for it waits for good.
fn matches_no_node(task: &Task) -> bool {
    matches!(task.slot, Slot::Node(_))
        && task.status.state == TaskState::Pending
        && !task.status.error.is_empty()
}

fn takes_tasks(state: &State, node: NodeId) -> bool {
    state.nodes().get(node).is_some_and(|node| {
        node.status.state == NodeState::Ready && node.spec.availability == Availability::Active
    })
}

fn serves(task: &Task) -> bool {
    task.desired_state == DesiredState::Running && task.status.state == TaskState::Running
}

fn is_rollback(service: &Service) -> bool {
    let state = service.update_status.as_ref().map(|status| status.state);
    matches!(state, Some(UpdateState::RollbackStarted | UpdateState::RollbackCompleted))
}

/// Whether a serving task is an old one, or is to move.
fn is_updaters(seen: &Seen<'_>, service: &Service, task: &Task) -> bool {
    let spec = seen.after.spec(task.service_id, task.spec_version);
    let is_old = spec.is_some_and(|spec| {
        spec.task != service.spec.task || spec.endpoint != service.spec.endpoint
    });
    is_old || seen.before.services().get(service.id).is_some_and(|it| it.moves(task.id))
}

/// Whether its node, or another task of its slot, is a reason to stop a serving one.
fn goes_anyway(seen: &Seen<'_>, service: &Service, task: &Task) -> bool {
    let node = task.node_id.and_then(|node| seen.before.nodes().get(node));
    let spec = seen.after.spec(task.service_id, task.spec_version);
    let (Some(node), Some(spec)) = (node, spec) else { return true };
    let node_keeps = node.status.state != NodeState::Down
        && node.spec.availability != Availability::Drain
        && broken_constraint(node, spec).is_none()
        // A global service leaves a node that its new constraints do not allow.
        && (matches!(task.slot, Slot::Replica(_)) || meets_constraints(node, &service.spec));
    let node_keeps = node_keeps && !lacks_generic(seen.before, node, task);
    let another_serves =
        seen.after.tasks_of_service(task.service_id).any(|it| it.slot == task.slot && serves(it));
    !node_keeps || another_serves
}

/// Whether a node has not what a task was given of it, or not for all that have some of it.
fn lacks_generic(state: &State, node: &Node, task: &Task) -> bool {
    let declared = node.description.iter().flat_map(|it| &it.resources.generic);
    let declared: Vec<&GenericResource> = declared.collect();
    let count = |kind: &str| -> i64 {
        let counted = declared.iter().filter(|it| matches!(it, GenericResource::Discrete { .. }));
        counted.filter(|it| it.kind() == kind).map(|it| it.amount()).sum()
    };
    task.generic.iter().any(|unit| match unit {
        GenericResource::Named { .. } => !declared.contains(&unit),
        GenericResource::Discrete { kind, .. } => {
            let live = state.tasks_on_node(node.id).filter(|it| !it.status.state.is_terminal());
            let held = live.flat_map(|it| &it.generic).filter(|it| it.kind() == kind);
            held.map(GenericResource::amount).sum::<i64>() > count(kind)
        }
    })
}
