//! The scheduler's constants, with their source.

use std::time::Duration;

/// SwarmKit: a node with so many failures of a service within [`FAILURE_WINDOW`] comes last.
pub const FAILURES_MAX: u32 = 5;
/// SwarmKit: the time in which failures are counted.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(5 * 60);

/// The reason that tasks wait is told again at most so often. It names amounts, which change with
/// every task that comes or goes anywhere: without a bound, each change would write every task
/// that waits.
pub const REASON_INTERVAL: Duration = Duration::from_secs(1);
/// And so much less often for each of them: no service's reasons come to more than 1,000 writes a
/// second.
pub const REASON_INTERVAL_PER_TASK: Duration = Duration::from_millis(1);
