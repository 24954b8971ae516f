//! Nodes: role, availability, labels, and removal.

use std::sync::Arc;

use skep_state::{Change, State};
use skep_types::{Node, NodeId, NodeRole, NodeSpec, NodeState, Revision, validate};

use super::{ControlError, Plan, plan};

pub fn update(
    state: &State,
    id: NodeId,
    revision: Revision,
    spec: NodeSpec,
) -> Result<Plan, ControlError> {
    let node = find(state, id)?;
    validate::labels(&spec.annotations.labels)?;
    let mut changed = Node::clone(node);
    changed.meta.revision = revision;
    changed.spec = spec;
    Ok(plan(id, Change::Update(Arc::new(changed))))
}

pub fn remove(state: &State, id: NodeId, force: bool) -> Result<Plan, ControlError> {
    let node = find(state, id)?;
    if node.spec.role == NodeRole::Manager || node.manager.is_some() {
        return Err(ControlError::precondition(format!(
            "node {id} is a cluster manager and is a member of the raft cluster. It must be \
             demoted to worker before removal"
        )));
    }
    if !force && node.status.state == NodeState::Ready {
        return Err(ControlError::precondition(format!(
            "node {id} is not down and can't be removed"
        )));
    }
    Ok(plan(id, Change::<Node>::Remove(id, None)))
}

fn find(state: &State, id: NodeId) -> Result<&Arc<Node>, ControlError> {
    state.nodes().get(id).ok_or_else(|| ControlError::not_found("node", id))
}
