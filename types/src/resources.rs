//! Amounts of a host's means: what a node has, what a task reserves and may use.

pub use crate::generic::GenericResource;

/// Amounts; zero means none (on a node) or no limit (on a task).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    pub memory_bytes: i64,
    /// Processes and threads; a limit only.
    pub pids: i64,
    pub generic: Vec<GenericResource>,
}

/// What a task may use at most, and what the scheduler keeps for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceRequirements {
    pub limits: Resources,
    pub reservations: Resources,
}
