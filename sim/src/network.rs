//! Messages between managers and nodes: lost, doubled, delayed and overtaken.
//!
//! A call and its answer are messages of their own, so either may be lost. A stream is a connection:
//! a message of it that is lost breaks it, and both ends come to know.

use std::time::Duration;

use skep_dispatch::assignment::AssignedTask;
use skep_dispatch::{Report, SessionId};
use skep_types::{NetworkId, NodeId, TaskId};

use crate::balancers::Networks;
use crate::rng::Rng;
use crate::shape::Faults;

/// From a node to the managers.
#[derive(Debug, Clone)]
pub enum Call {
    /// The attempt's number comes back with the answer.
    Register(u64),
    Heartbeat(SessionId, u64),
    Report(SessionId, u64, Vec<Report>),
    /// The node asks for its networks.
    Follow(SessionId),
    /// Its kernel is as a message about its networks said.
    Confirm(SessionId, (u64, NetworkId)),
}

/// From the leader to a node.
#[derive(Debug, Clone)]
pub enum Answer {
    Registered {
        attempt: u64,
        session: SessionId,
    },
    /// The session is not, or no longer, the node's.
    Refused(SessionId),
    /// The node is none of the swarm's.
    Removed,
    Alive(SessionId, u64),
    Taken(SessionId, u64),
    Assigned(Assigned),
    Networks(Networks),
    /// A stream's connection broke.
    Broken(SessionId),
}

/// One message of the stream of assignments.
#[derive(Debug, Clone)]
pub struct Assigned {
    pub session: SessionId,
    /// The message before it; none for the first, which is complete.
    pub applies_to: Option<u64>,
    pub results_in: u64,
    pub tasks: Vec<AssignedTask>,
    pub removed: Vec<TaskId>,
}

/// What is under way.
#[derive(Debug, Clone)]
pub enum Message {
    ToManager { from: NodeId, manager: usize, call: Call },
    ToNode { to: NodeId, answer: Answer },
}

/// When copies of a message arrive, each after so long; none if it is lost.
pub fn deliveries(rng: &mut Rng, faults: &Faults) -> Vec<Duration> {
    if faults.loss > 0 && rng.once_in(faults.loss) {
        return Vec::new();
    }
    let copies = if faults.double > 0 && rng.once_in(faults.double) { 2 } else { 1 };
    (0..copies)
        .map(|_| {
            let extra = faults.delay.as_micros() as u64;
            // Most messages are quick.
            let extra = if rng.once_in(4) { rng.below(extra + 1) } else { 0 };
            Duration::from_micros(200 + rng.below(800) + extra)
        })
        .collect()
}
