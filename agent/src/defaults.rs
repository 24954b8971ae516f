//! The agent's bounds and waits, each with its source.

use std::time::Duration;

/// SwarmKit: what an agent gives one call.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// SwarmKit: the first wait after a session broke, and the longest. The longest is ours: a healed
/// node shall be back within a second or so, and a manager takes thousands of such calls.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// A manager that does not even shake hands within this is not worth waiting for: another may.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// SwarmKit: how often the node looks whether its description changed.
pub const DESCRIBE_INTERVAL: Duration = Duration::from_secs(20);
/// SwarmKit: a heartbeat before the manager has said the period.
pub const HEARTBEAT_FIRST: Duration = Duration::from_secs(5);
/// A message of the manager at most. All that a node is to run comes in one when its session begins,
/// secrets of 500 KiB among it, and a network in one with everybody on it: some 100 bytes for each of
/// 100,000 tasks and more.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Statuses in one report; the rest follow in the next.
pub const REPORT_MAX: usize = 1000;
/// Statuses that come together are sent together.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(10);
/// Tasks whose images and mounts are made ready at the same time: beyond a few they only share
/// the same disk.
pub const PREPARING_MAX: usize = 8;
/// Between two attempts at a step on a task that failed for a reason of the host's own.
pub const STEP_RETRY: Duration = Duration::from_secs(1);
/// Between two attempts to listen for log subscriptions while the session stands: as patient as
/// a manager that has only just come to lead needs, well within the 3 s that it waits for us.
pub const LISTEN_RETRY: Duration = Duration::from_millis(500);
/// Log subscriptions that are served at the same time: as many as a manager keeps open.
pub const SUBSCRIPTIONS_MAX: usize = 128;
/// Messages of logs that wait for one subscription's call: the manager takes them as its reader
/// does, and the readers here wait.
pub const PUBLISH_QUEUE: usize = 4;
/// Lines in one message of logs: with lines of 16 KiB within the manager's bound of 256 KiB.
pub const LOG_BATCH_LINES: usize = 12;
/// Between two looks whether a task that is followed has a container by now.
pub const LOG_LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Between two attempts at what the kernel would not do for this node's networks, and at the most.
/// Most often it is a task that went in the middle of it; the stop of other tasks waits meanwhile,
/// for 5 s at most.
pub const NETWORK_RETRY_MIN: Duration = Duration::from_millis(50);
pub const NETWORK_RETRY_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether the networks stand as they should, at least; and how many times as long
/// as a look takes, so that a node of a thousand tasks spends a hundredth of its time on it.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);
pub const UPKEEP_SHARE: u32 = 100;
/// Findings that are told and remembered, and bytes of each of their two texts: a manager keeps 40 KiB
/// for each node.
pub const FINDINGS_MAX: usize = 32;
pub const FINDING_BYTES_MAX: usize = 512;
/// Messages of networks that are taken together: far more than come while the kernel is changed
/// once.
pub const NETWORK_MESSAGES_MAX: usize = 256;

/// Docker: how long a container that is started waits until it is on a network of the swarm.
pub const ATTACHED_WITHIN: Duration = Duration::from_secs(20);
