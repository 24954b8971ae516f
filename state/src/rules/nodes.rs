//! Nodes: Raft ids belong to one node, and the last manager cannot be lost by accident.

use skep_types::{Node, NodeRole, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::State;

pub fn check(state: &State, delta: &Delta<Node>) -> Result<(), Reason> {
    let was_manager = delta.before.as_ref().is_some_and(|node| node.spec.role == NodeRole::Manager);
    let is_manager = delta.after.as_ref().is_some_and(|node| node.spec.role == NodeRole::Manager);
    if was_manager && !is_manager && !any_manager(state) {
        return Err(Reason::LastManager);
    }
    let Some(node) = &delta.after else { return Ok(()) };
    validate::labels(&node.spec.annotations.labels)?;
    let before = delta.before.as_ref().and_then(|node| node.manager.as_ref());
    if let Some(manager) = &node.manager
        && before.map(|manager| manager.raft_id) != Some(manager.raft_id)
    {
        raft_id_is_free(state, node, manager.raft_id)?;
    }
    Ok(())
}

fn any_manager(state: &State) -> bool {
    state.nodes.iter().any(|node| node.spec.role == NodeRole::Manager)
}

fn raft_id_is_free(state: &State, node: &Node, raft_id: u64) -> Result<(), Reason> {
    let owner = state.nodes.iter().find(|other| {
        other.id != node.id && other.manager.as_ref().is_some_and(|m| m.raft_id == raft_id)
    });
    match owner {
        Some(owner) => Err(Reason::RaftIdTaken { raft_id, owner: owner.id.to_string() }),
        None => Ok(()),
    }
}
