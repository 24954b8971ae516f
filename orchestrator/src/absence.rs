//! What becomes of tasks whose node is away: a short absence moves nothing.
//!
//! The balancers leave a node out as soon as it is down (`skep_dispatch::endpoints`), and it gets no
//! new tasks. But its tasks stay its own for a grace, for most nodes that are down are back soon, with
//! their containers as they were. A node that is drained or removed is left at once.
//!
//! **Invariant:** nothing is remembered. Since when a node is down stands in its status, so a new
//! leader waits no longer than the last one would have.

use skep_state::State;
use skep_types::{Availability, Node, NodeState, Service, Timestamp, down_grace};

/// Whether a node keeps the tasks that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there, as far as anybody knows.
    Here,
    /// It is down, and may be back before that moment.
    Away(Timestamp),
    /// It is gone, being emptied, or down for too long.
    Lost,
}

/// What a node is to the tasks of a service that it has.
pub fn standing(state: &State, service: &Service, node: Option<&Node>, now: Timestamp) -> Standing {
    let Some(node) = node.filter(|node| node.spec.availability != Availability::Drain) else {
        return Standing::Lost;
    };
    if node.status.state != NodeState::Down {
        return Standing::Here;
    }
    let grace = down_grace::of(&service.spec, state.cluster().map(|cluster| &cluster.spec));
    let until = node.status.since.saturating_add(grace);
    if now < until { Standing::Away(until) } else { Standing::Lost }
}
