//! What `apply` may do in a swarm, by its feature level: a manager of an older version would not know
//! what to make of an object that is new, so there is none before all managers know it.

/// Containers that were started by hand may be on networks of the swarm.
pub const ATTACHMENTS: u32 = 2;

/// The highest that this version knows.
pub const NEWEST: u32 = ATTACHMENTS;
