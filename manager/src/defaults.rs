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

/// What a user or a node may ask for at once: what the reconcilers write into the same objects later
/// (addresses, ports, how an update stands) still fits a transaction then.
pub const REQUEST_BYTES_MAX: usize = TRANSACTION_BYTES_MAX - (128 << 10);

/// Objects too large for the log that are told of in one leadership: beyond, the log says enough.
pub const OVERSIZED_TOLD_MAX: usize = 100;

/// A batch is closed at this size; with one more transaction it still fits a Raft command.
pub const BATCH_BYTES: usize = 1 << 19;

/// Log entries under way: while the disks take one, the next travels and others are applied. Full
/// ones together are well within what the Raft node takes in flight, so handing one in never waits.
pub const ENTRIES_UNDER_WAY_MAX: usize = 6;
const _: () = {
    use skep_raft::defaults::{COMMAND_BYTES_MAX, IN_FLIGHT_BYTES_MAX};
    assert!(BATCH_BYTES + TRANSACTION_BYTES_MAX <= COMMAND_BYTES_MAX);
    assert!((ENTRIES_UNDER_WAY_MAX + 1) * COMMAND_BYTES_MAX <= IN_FLIGHT_BYTES_MAX);
};

/// The same for entries that are not full: one syncs while the next is gathered and sent. More would
/// only be smaller, and each wakes everyone who follows the state.
pub const ENTRIES_UNDER_WAY: usize = 2;

/// Parts of plans under way that the next pass does not wait for: a second's work, and far from
/// [`IN_FLIGHT_MAX`].
pub const PARTS_UNDER_WAY: usize = 64;

/// Between two passes of the reconcilers: changes that come together are looked at together.
pub const PASS_INTERVAL: Duration = Duration::from_millis(10);

/// Between two looks at what a node is assigned, for the same reason.
pub const ASSIGNMENT_INTERVAL: Duration = Duration::from_millis(10);

/// How long a container waits for a network that is new to have its subnet: the leader's next pass
/// gives it one, if there is one left.
pub const SUBNET_WITHIN: Duration = Duration::from_secs(5);

/// Endpoints and services in what became of networks that is kept for nodes that have not heard it
/// yet: some seconds of a swarm that makes tens of thousands of tasks a second, in some 20 MiB. A
/// node that is further behind is told its networks whole.
pub const JOURNALS_MAX: usize = 1 << 17;

/// Whole networks that are kept encoded, so that many nodes that ask at the same time, as after a
/// change of leader, are told one encoding: two million endpoints. Where they do not fit, each is
/// made again for nearly every node.
pub const WHOLE_NETWORKS_BYTES_MAX: usize = 256 << 20;

/// Between two looks at what became of a node's networks. The first of several changes is told at
/// once; each message costs a confirmation, and those of all nodes of a network come together.
pub const NETWORKS_INTERVAL_MIN: Duration = Duration::from_millis(20);

/// What each node in session adds to it: where something changes all the time that every node is to
/// know, the leader sends 10,000 messages a second, which is about one core's work. With ten thousand
/// nodes each of them is a second behind then.
pub const NETWORKS_SHARE: Duration = Duration::from_micros(100);

/// Endpoints or services in one part of what is told of a network: some 12 KiB.
pub const NETWORK_PART_MAX: usize = 100;

/// What one message of a network bears beside its last part. Both ends keep a buffer of the largest
/// message for each node.
pub const NETWORK_MESSAGE_BYTES: usize = 8 << 10;

/// Between two attempts at something that failed for want of a quorum or a peer.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Between two looks at how full the pools of addresses are.
pub const POOLS_INTERVAL: Duration = Duration::from_secs(30);

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

/// Logs that are read at the same time: each holds [`LOG_QUEUE`] messages at most, and more
/// terminals than this hardly look on.
pub const LOG_SUBSCRIPTIONS_MAX: usize = 128;

/// Messages that wait for one reader of logs: with agents' batches of 64 KiB about a mebibyte.
pub const LOG_QUEUE: usize = 16;

/// What one message of published logs may hold: an agent's batch and one longest line fit twice.
pub const LOG_MESSAGE_BYTES_MAX: usize = 256 << 10;

/// How long a reader of logs may take nothing before it loses its stream: a third of what a
/// node's session survives without a heartbeat, for a publisher may share its connection with it.
pub const LOG_READER_PATIENCE: Duration = Duration::from_secs(5);

/// How long nodes that do not listen for subscriptions are waited for: an agent is back in
/// session within two seconds.
pub const LOG_LISTENER_PATIENCE: Duration = Duration::from_secs(3);
/// What a leader keeps of a node's word on its networks: 32 findings of 1 KiB and something more, so
/// that 10,000 nodes in trouble take some 400 MiB at most.
pub const UPKEEP_BYTES_MAX: usize = 40 << 10;
