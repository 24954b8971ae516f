//! What daemon and shim say to each other: first a fork, then a launch (a memory file in, one report out), then
//! requests on the shim's socket, one line of JSON each way per connection (and then the streams,
//! for who attaches). A shim closes the connection at a request that it does not know.
//!
//! A daemon may be newer than the shims it finds, so fields are only ever added.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attach::AttachOptions;
use crate::config::ContainerConfig;
use crate::shim::filter::Filter;

/// What the process that shims are forked from is told at its start.
#[derive(Debug, Serialize, Deserialize)]
pub struct NurseryConfig {
    pub cgroup_parent: PathBuf,
}

/// What a fork is to be. Its standard streams come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Keeps a container, from a [`Launch`] to its end.
    Keep,
    /// Runs a command in one, of an [`ExecRequest`].
    Exec,
}

/// What became of a fork.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forked {
    /// With a descriptor of the process.
    Done,
    Failed {
        errno: i32,
    },
}

/// The head of the launch file; the contents of the files follow it in order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    pub config: ContainerConfig,
    /// Which system calls the container may make; None: all.
    pub filter: Option<Arc<Filter>>,
    /// Length of each file's contents.
    pub file_bytes: Vec<usize>,
    /// The container's own directories.
    pub state: PathBuf,
    pub run: PathBuf,
    pub cgroup_parent: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    Start,
    Kill {
        signal: i32,
    },
    /// Ends a container that was never started.
    Abandon,
    /// After the reply the connection carries the container's streams.
    Attach(AttachOptions),
    /// Sets the size of its terminal.
    Resize {
        rows: u16,
        columns: u16,
    },
    /// The connection ends when all is told of the container's end and the lock is free. The
    /// process itself may go on for as long as the kernel takes for its mounts.
    Wait,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    Done,
    AlreadyStarted,
    NotRunning,
    Failed {
        message: String,
        #[serde(default)]
        exit_code: Option<i32>,
    },
}

/// A command to be run in a container.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The container's first process, a child of the lock's holder.
    pub pid: i32,
    pub lock: PathBuf,
    pub cgroup: PathBuf,
    pub shims_parent: PathBuf,
    pub config: ContainerConfig,
    /// As of the container's first process.
    pub filter: Option<Arc<Filter>>,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    pub privileged: bool,
    pub streams: ExecStreams,
    /// It ends with who asked for it.
    pub bound: bool,
}

/// What of a command's streams somebody has.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum ExecStreams {
    /// Both outputs in one pipe.
    Merged,
    /// A pipe for each that is wanted.
    Pipes(AttachOptions),
    /// One for all, of this size.
    Terminal(Option<(u16, u16)>),
}

/// What becomes of it, a message for each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExecReport {
    Failed(Failure),
    /// With the other ends of its streams, in order: input, output, errors; or one terminal.
    Begun {
        begun: i32,
    },
    Ended {
        ended: i32,
    },
}

/// Why a container or a command cannot be, in words for the user.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub message: String,
    pub exit_code: Option<i32>,
}
