//! The container runtime of a node: a shim for each container over libcontainer, its log, and a
//! [`Runtime`] that creates, starts, stops, watches and deletes containers.
//!
//! What it is not: it knows no image, no network and no task. A root filesystem comes as layers
//! that are already there, a network as a namespace to join, a secret as bytes.
//!
//! **Invariant:** containers do not depend on the process that holds the [`Runtime`]. All it knows
//! stands on disk and with the shims; a `Runtime` that is opened after a crash finds every
//! container as it is, and the exit status of those that ended meanwhile.
//!
//! **Invariant:** libcontainer runs in the shim only, a process of its own with a single thread.

pub mod apparmor;
pub mod attach;
pub mod block_io;
pub mod capabilities;
pub mod cgroup;
pub mod config;
pub mod container;
pub mod defaults;
pub mod error;
pub mod exec;
pub mod logs;
pub mod resources;
pub mod runtime;
pub mod shim;
pub mod signal;
pub mod stats;
pub mod status;

mod filters;
mod launch;
mod layout;
mod lock;
mod master;
mod nursery;
mod passage;
mod process;
mod protocol;
mod record;
mod recover;
mod sealed;

pub use attach::{AttachOptions, Attached, Input};
pub use config::ContainerConfig;
pub use container::Container;
pub use error::{Error, Result};
pub use exec::{Exec, ExecConfig, ExecOutput, ExecSession, Terminal};
pub use logs::{LogEntry, LogQuery, LogStream};
pub use runtime::{Runtime, RuntimeConfig};
pub use signal::Signal;
pub use stats::Stats;
pub use status::{ContainerState, ExitStatus, Status};
