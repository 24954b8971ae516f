//! Tasks whose node no longer meets their constraints: somebody changed its labels, its role, or
//! what it runs on.
//!
//! SwarmKit writes such a task down as rejected while its container still runs. Here it is told to
//! stop like one on a drained node, so that it leaves the balancers first and holds its addresses
//! until it has ended.
//!
//! **Invariant:** nodes that are paused or drained are left alone, as in SwarmKit: the one is not to
//! be touched, the other is emptied anyway.

use skep_state::State;
use skep_types::constraint::Constraint;
use skep_types::{Availability, NodeState, Task, TaskState};

/// Whether a task is on a node that its constraints do not allow any more.
pub fn evicts(state: &State, task: &Task) -> bool {
    // Before that the scheduler decides.
    if task.status.state < TaskState::Assigned || task.status.state.is_terminal() {
        return false;
    }
    let Some(spec) = state.spec(task.service_id, task.spec_version) else { return false };
    let constraints = &spec.task.placement.constraints;
    if constraints.is_empty() {
        return false;
    }
    let Some(node) = task.node_id.and_then(|id| state.nodes().get(id)) else { return false };
    // One that is not there is another reason to move, and its words may be old.
    if node.spec.availability != Availability::Active || node.status.state != NodeState::Ready {
        return false;
    }
    // What cannot be read was refused where the service was made.
    constraints.iter().filter_map(|text| Constraint::parse(text).ok()).any(|it| !it.holds(node))
}
