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
/// Statuses in one report; the rest follow in the next.
pub const REPORT_MAX: usize = 1000;
/// Statuses that come together are sent together.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(10);
/// Tasks whose images and mounts are made ready at the same time: beyond a few they only share
/// the same disk.
pub const PREPARING_MAX: usize = 8;
/// Between two attempts at a step on a task that failed for a reason of the host's own.
pub const STEP_RETRY: Duration = Duration::from_secs(1);
