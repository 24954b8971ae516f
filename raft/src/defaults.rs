//! Every timer and bound of this crate, each with its reason.
//!
//! Not configuration: what a cluster may choose is in [`crate::Config`], which starts from these.

use std::time::Duration;

/// A leader's heartbeat. Four are lost before a follower stops believing in the leader, so that one
/// lost packet or one slow disk sync changes nothing. etcd's default is the same.
pub const HEARTBEAT: Duration = Duration::from_millis(100);

/// The election timeout is drawn from this range. openraft adds it to the leader's lease, which is
/// the range's upper end: a follower campaigns 600 to 800 ms after the last heartbeat, and with a
/// pre-vote, a vote and one commit the next leader answers within a second.
pub const ELECTION_MIN: Duration = Duration::from_millis(200);
pub const ELECTION_MAX: Duration = Duration::from_millis(400);

/// How long one AppendEntries with entries may take: 1 MiB over a slow link, and a sync at the far
/// end of a busy disk. Liveness does not hang on it, heartbeats travel apart.
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(2);

/// How long sending and installing a whole snapshot may take: 1 GiB at 10 MiB/s, and some.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);

/// Delays between attempts to reach a peer that does not answer; the cap is what a manager that
/// returns waits at most before it is fed again.
pub const BACKOFF: &str = "50ms 100ms 200ms ...500ms";

/// A proposal that is not committed after this long is reported as of unknown outcome: ten times
/// the failover goal, so it only happens when the quorum is lost.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a read waits for a quorum to confirm the leader.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a joining manager may take to catch up before the join is given up.
pub const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(120);

/// A learner may become a voter when it misses at most this many entries: one batch or two, so the
/// new quorum does not stall on it.
pub const CATCH_UP_LAG: u64 = 64;

/// How long handing leadership over may take before it is given up.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a peer has to answer a heartbeat to count as reachable: two leader leases.
pub const REACHABLE_WITHIN: Duration = Duration::from_millis(800);

/// One command at most: Swarm's transaction limit is 1.5 MiB; with its envelope it must stay under
/// gRPC's 4 MiB message.
pub const COMMAND_BYTES_MAX: usize = 2 << 20;

/// One AppendEntries carries entries up to this many bytes (and always at least one): half of
/// gRPC's limit is left for one entry of the largest size.
pub const APPEND_BYTES_MAX: usize = 1 << 20;

/// And at most this many entries, so that a batch of tiny ones is decoded in a moment.
pub const APPEND_ENTRIES_MAX: u64 = 1024;

/// Bytes of proposals in flight; a proposer waits when they are used up. Some ten full batches,
/// which is more than the disk takes in one failover.
pub const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;

/// What a proposal counts at least, which bounds their number (4,096 in flight).
pub const IN_FLIGHT_BYTES_MIN: usize = 4 << 10;

/// SwarmKit's values: a snapshot every 10,000 entries, of which 500 are kept for slow followers.
pub const SNAPSHOT_ENTRIES: u64 = 10_000;
pub const SNAPSHOT_KEEP: u64 = 500;

/// A snapshot on disk is sealed in pieces of this size, so that damage is found piece by piece.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

/// Operations that wait for the log's disk thread; the Raft core waits beyond this.
pub const WRITE_QUEUE: usize = 1024;

/// One sync to disk takes up to this many bytes of entries.
pub const WRITE_BATCH_BYTES: usize = 4 << 20;

/// Recent entries held in memory for replication and apply; older ones are read from disk.
pub const LOG_CACHE_BYTES: usize = 8 << 20;

/// redb's page cache; its default of 1 GiB is for databases that are read. The log is written.
pub const REDB_CACHE_BYTES: usize = 8 << 20;

/// Applied entries whose events are kept for those who follow the state. A leader under full load
/// applies some hundred batches in a second; who lags further is told how two views differ, which
/// costs a look at both.
pub const EVENTS_MAX: usize = 1024;
