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

/// What makes a pass fast or slow and nothing else: decisions are the same with any of it.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// A service that is on fewer hosts has no index of its own.
    pub own_hosts_min: usize,
    /// Hosts that are tested for a task in vain, in the order of all hosts, before an index of
    /// those that fit is built. Most needs are met by most hosts, and many are asked for once.
    pub tests_max: usize,
    /// Hosts in all indexes together; more, and those that were not used for longest are dropped
    /// and built anew when they are wanted. Some 80 bytes each: 40 MB, fifty indexes of 10,000.
    pub index_entries_max: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { own_hosts_min: 64, tests_max: 64, index_entries_max: 1 << 19 }
    }
}
