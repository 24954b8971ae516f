//! The dispatcher's constants, with their source.

/// SwarmKit: a node is down after so many missed heartbeats.
pub const MISSED_HEARTBEATS: u32 = 3;
/// SwarmKit: nodes get twice the time after a change of leadership, for they must find the leader.
pub const MISSED_HEARTBEATS_AFTER_ELECTION: u32 = 6;
