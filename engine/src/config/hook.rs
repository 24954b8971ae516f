//! Programs of the host that are run as a container comes and goes, as the OCI runtime
//! specification has them. Each reads the container's state from its standard input.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// When a program is run, and where: of the specification's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookPoint {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookPoint {
    pub const ALL: [HookPoint; 6] = [
        HookPoint::Prestart,
        HookPoint::CreateRuntime,
        HookPoint::CreateContainer,
        HookPoint::StartContainer,
        HookPoint::Poststart,
        HookPoint::Poststop,
    ];

    /// As the specification writes it.
    pub fn name(self) -> &'static str {
        match self {
            HookPoint::Prestart => "prestart",
            HookPoint::CreateRuntime => "createRuntime",
            HookPoint::CreateContainer => "createContainer",
            HookPoint::StartContainer => "startContainer",
            HookPoint::Poststart => "poststart",
            HookPoint::Poststop => "poststop",
        }
    }
}

/// One that fails keeps the container from running, but for those after its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub point: HookPoint,
    /// An absolute path: on the host, and for `startContainer` in the container.
    pub path: PathBuf,
    /// The first is the program's own name; empty: its path.
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// After so many seconds it is ended, and has failed.
    pub timeout_s: Option<u32>,
}
