//! What can be seen of a container: its state and how it ended.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Made, its command not run yet.
    Created,
    Running,
    /// Frozen, its command begun.
    Paused,
    Exited,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The command's own code, 128 plus the signal that killed it, or
    /// [`crate::defaults::EXIT_CODE_UNKNOWN`].
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory within its limit.
    pub oom_killed: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// Why the status is not the command's own: it could not be run, or nobody saw its end.
    #[serde(default)]
    pub error: Option<String>,
    /// Log entries that could not be written (a full disk).
    #[serde(default)]
    pub log_entries_dropped: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    pub status: Status,
    /// The first process, as the host counts; None once the container has ended.
    pub pid: Option<i32>,
    pub created_at: OffsetDateTime,
    pub started_at: Option<OffsetDateTime>,
    pub exit: Option<ExitStatus>,
}
