//! Global services: a task on each node that may have one.
//!
//! As in SwarmKit, a node that the constraints shut out has none, and one that they come to shut out
//! loses it. Whether a node has room is the scheduler's to say.

use std::sync::Arc;

use skep_types::constraint::Constraint;
use skep_types::task::Slot;
use skep_types::{
    Availability, DesiredState, Node, NodeState, Service, Task, TaskState, Timestamp,
};

use crate::absence::{self, Standing};
use crate::plan::Plan;
use crate::slot::slots;
use crate::{earliest, restart};

/// Makes the tasks that are missing and looks after those that stand.
pub fn reconcile(plan: &mut Plan<'_>, service: &Service) -> Option<Timestamp> {
    let slots = slots(plan.view(), service.id);
    let nodes: Vec<_> = plan.view().nodes().iter().cloned().collect();
    let constraints = constraints(service);
    let matches = |node: &Node| constraints.iter().all(|constraint| constraint.holds(node));
    let mut wake = None;
    for node in nodes.iter().filter(|node| takes_tasks(node) && matches(node)) {
        let slot = Slot::Node(node.id);
        let tasks = slots.get(&slot).map_or(&[][..], Vec::as_slice);
        let was_tried = tasks.iter().any(|task| task.spec_version == service.spec_version);
        // Whatever became of newer ones: one that is wanted holds the slot.
        if tasks.iter().any(|task| task.is_wanted()) {
            wake = earliest(wake, restart::supervise(plan, service, tasks));
        } else if !was_tried || comes_back(service, tasks) {
            plan.fill_slot(service, slot, tasks);
        }
    }
    for (slot, tasks) in &slots {
        let Slot::Node(id) = slot else { continue };
        let node = plan.view().nodes().get(*id).filter(|node| matches(node)).cloned();
        let now = plan.now();
        match absence::standing(plan.view(), service, node.as_deref(), now) {
            Standing::Here => continue,
            Standing::Away(until) => {
                if tasks.iter().any(|task| task.is_wanted()) {
                    wake = earliest(wake, Some(until));
                }
                continue;
            }
            Standing::Lost => {}
        }
        for task in tasks {
            plan.desire(task, DesiredState::Shutdown);
        }
    }
    wake
}

/// What the service demands of nodes. A constraint that cannot be read was let in by nobody.
pub(crate) fn constraints(service: &Service) -> Vec<Constraint> {
    let texts = &service.spec.task.placement.constraints;
    texts.iter().filter_map(|text| Constraint::parse(text).ok()).collect()
}

pub(crate) fn takes_tasks(node: &Node) -> bool {
    node.status.state == NodeState::Ready && node.spec.availability == Availability::Active
}

/// Whether a slot none of whose tasks is wanted shall have another one: its node was drained or away
/// and is back. A task that failed meanwhile comes back if its policy lets it.
fn comes_back(service: &Service, tasks: &[Arc<Task>]) -> bool {
    let Some(newest) = tasks.first() else { return true };
    match newest.status.state {
        TaskState::Shutdown | TaskState::Orphaned => true,
        // Told to stop before its node was told of it: nobody will ever report its end.
        state if state < TaskState::Assigned => true,
        state if state.is_terminal() => {
            // Asked of the moment at which it was given up: time alone brings none back.
            restart::calls_for_successor(service, tasks, newest.meta.updated_at)
        }
        _ => false,
    }
}
