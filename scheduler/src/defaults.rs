//! The scheduler's constants, with their source.

use std::time::Duration;

/// SwarmKit: a node with so many failures of a service within [`FAILURE_WINDOW`] comes last.
pub const FAILURES_MAX: usize = 5;
/// SwarmKit: the time in which failures are counted.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(5 * 60);
