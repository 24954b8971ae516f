//! The manager's bounds and waits, each with its reason.

use std::time::Duration;

/// Transactions in flight or queued: far more than one pass of the reconcilers makes of a thousand
/// services, and small enough that a lost leadership fails them in a moment.
pub const IN_FLIGHT_MAX: usize = 4096;

/// Actions in one transaction of the reconcilers: at some 500 bytes each well under
/// [`TRANSACTION_BYTES_MAX`].
pub const ACTIONS_MAX: usize = 1000;

/// SwarmKit's bound on one transaction.
pub const TRANSACTION_BYTES_MAX: usize = 3 << 19;

/// A batch is closed at this size; with one more transaction it still fits a Raft command.
pub const BATCH_BYTES: usize = 1 << 19;

/// Between two passes of the reconcilers: changes that come together are looked at together.
pub const PASS_INTERVAL: Duration = Duration::from_millis(10);

/// Between two looks at what a node is assigned, for the same reason.
pub const ASSIGNMENT_INTERVAL: Duration = Duration::from_millis(10);

/// Between two attempts at something that failed for want of a quorum or a peer.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Messages that wait for one node's stream: a node that reads slower is told the sum of what it
/// missed with its next message.
pub const STREAM_QUEUE: usize = 4;

/// SwarmKit: an agent gives a call 5 s; a caller is worth as much patience.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a control call waits while the managers elect: the failover goal is a second.
pub const ELECTION_PATIENCE: Duration = Duration::from_secs(10);

/// Certificate requests that are remembered so that they come back with the certificate: more
/// than hosts that join within a minute.
pub const REQUESTS_REMEMBERED: usize = 1024;

/// Streams that one connection may hold open: an agent has four.
pub const STREAMS_PER_CONNECTION: u32 = 128;

/// What a stopping manager gives calls under way.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
