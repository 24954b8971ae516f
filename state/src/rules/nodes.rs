//! Nodes: Raft ids belong to one node, and the last manager cannot be lost by accident.

use skep_types::{Node, NodeRole, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::State;
use crate::tally;

pub fn check(state: &State, delta: &Delta<Node>) -> Result<(), Reason> {
    let was_manager = delta.before.as_ref().filter(|node| is_manager(node));
    if let Some(before) = was_manager
        && !delta.after.as_ref().is_some_and(|node| is_manager(node))
        && !state.managers().any(|other| other.id != before.id && is_manager(other))
    {
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

fn is_manager(node: &Node) -> bool {
    node.spec.role == NodeRole::Manager
}

fn raft_id_is_free(state: &State, node: &Node, raft_id: u64) -> Result<(), Reason> {
    let has_it = |other: &Node| other.manager.as_ref().is_some_and(|it| it.raft_id == raft_id);
    match state.managers().find(|other| other.id != node.id && has_it(other)) {
        Some(owner) => Err(Reason::RaftIdTaken { raft_id, owner: owner.id.to_string() }),
        None => Ok(()),
    }
}

/// Keeps the managers apart, a few among thousands of nodes, and the counts of what runs.
pub fn index(state: &mut State, before: Option<&Node>, after: Option<&Node>) {
    tally::count_node(state, before, after);
    let counts = |node: &&Node| is_manager(node) || node.manager.is_some();
    match (before.filter(counts), after.filter(counts)) {
        (None, Some(node)) => {
            state.managers.insert(node.id);
        }
        (Some(node), None) => {
            state.managers.remove(&node.id);
        }
        _ => {}
    }
}
