//! The dispatcher's constants, with their source.

use std::time::Duration;

/// SwarmKit: a node is down after so many missed heartbeats.
pub const MISSED_HEARTBEATS: u32 = 3;
/// SwarmKit: nodes get twice the time after a change of leadership, for they must find the leader.
pub const MISSED_HEARTBEATS_AFTER_ELECTION: u32 = 6;
/// How long the stop of a task waits at most for nodes to confirm that they balance to it no more.
/// A node changes its rules within milliseconds, and one whose processors are all busy was seen to
/// take ten seconds. A node that is gone is no reason to wait so long: it loses its session after
/// [`MISSED_HEARTBEATS`] and does not count then. What is left are kernels that refuse, and an
/// update shall not stand still for them.
pub const WITHDRAWAL_MAX: Duration = Duration::from_secs(30);
/// How long a node may take from its session to asking for its networks before it is held for one
/// that balances nothing, as a dockerd that joined is. An agent makes two calls until then and gives
/// each 5 s.
pub const FOLLOWS_WITHIN: Duration = Duration::from_secs(10);
/// Messages of endpoints to one node that are kept apart until they are confirmed; beyond them the
/// newest are confirmed together.
pub const OUTSTANDING_MAX: usize = 64;
