//! What is asked of containers and exec sessions, and what comes back, beside the container itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::shape::{null_default, omitempty, shape};
use super::{
    ContainerConfig, ContainerSummary, EndpointSettings, HostConfig, ImageDeleteItem, ImageSummary,
    Nothing, Volume,
};

shape! {
    NetworkingConfig { "EndpointsConfig" endpoints_config: BTreeMap<String, EndpointSettings> }

    ContainerCreateResponse { "Id" id: String, "Warnings" warnings: Vec<String> }

    /// The id of what was made, where Docker calls it `Id`.
    MadeResponse { "Id" id: String }

    WaitError { "Message" message: String }

    ContainerWaitResponse { "StatusCode" status_code: i64, "Error" error: Option<WaitError> => "omitempty" }

    TopResponse { "Titles" titles: Vec<String>, "Processes" processes: Vec<Vec<String>> }

    /// `Kind` is 0 for changed, 1 for added, 2 for deleted.
    Change { "Path" path: String, "Kind" kind: u8 }

    ExecCreateRequest {
        "User" user: String,
        "Privileged" privileged: bool,
        "Tty" tty: bool,
        "ConsoleSize" console_size: Option<[u64; 2]> => "omitempty",
        "AttachStdin" attach_stdin: bool,
        "AttachStderr" attach_stderr: bool,
        "AttachStdout" attach_stdout: bool,
        "DetachKeys" detach_keys: String,
        [redacted] "Env" env: Vec<String>,
        "WorkingDir" working_dir: String,
        "Cmd" cmd: Vec<String>,
        "Detach" detach: bool,
    }

    ExecStartRequest {
        "Detach" detach: bool,
        "Tty" tty: bool,
        "ConsoleSize" console_size: Option<[u64; 2]> => "omitempty",
    }

    ExecProcess {
        "tty" tty: bool,
        "entrypoint" entrypoint: String,
        "arguments" arguments: Vec<String>,
        "privileged" privileged: Option<bool> => "omitempty",
        "user" user: String => "omitempty",
    }

    ExecInspect {
        "ID" id: String,
        "Running" running: bool,
        "ExitCode" exit_code: Option<i64>,
        "ProcessConfig" process_config: ExecProcess,
        "OpenStdin" open_stdin: bool,
        "OpenStderr" open_stderr: bool,
        "OpenStdout" open_stdout: bool,
        "CanRemove" can_remove: bool,
        "ContainerID" container_id: String,
        "DetachKeys" detach_keys: String,
        "Pid" pid: i64,
    }

    NetworkConnectRequest {
        "Container" container: String,
        "EndpointConfig" endpoint_config: Option<EndpointSettings> => "omitempty",
    }

    NetworkDisconnectRequest { "Container" container: String, "Force" force: bool }

    ContainersPruneResponse { "ContainersDeleted" containers_deleted: Option<Vec<String>>, "SpaceReclaimed" space_reclaimed: u64 }

    NetworksPruneResponse { "NetworksDeleted" networks_deleted: Option<Vec<String>> }

    VolumesPruneResponse { "VolumesDeleted" volumes_deleted: Option<Vec<String>>, "SpaceReclaimed" space_reclaimed: u64 }

    ImagesPruneResponse { "ImagesDeleted" images_deleted: Option<Vec<ImageDeleteItem>>, "SpaceReclaimed" space_reclaimed: u64 }

    /// `GET /system/df`.
    DiskUsage {
        "LayersSize" layers_size: i64,
        "Images" images: Option<Vec<ImageSummary>>,
        "Containers" containers: Option<Vec<ContainerSummary>>,
        "Volumes" volumes: Option<Vec<Volume>>,
        "BuildCache" build_cache: Option<Vec<Nothing>>,
    }
}

/// `POST /containers/create`: the configuration's own keys, and two parts beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerCreateRequest {
    #[serde(flatten)]
    pub config: ContainerConfig,
    #[serde(rename = "HostConfig", default, deserialize_with = "null_default")]
    pub host_config: HostConfig,
    #[serde(rename = "NetworkingConfig", default, deserialize_with = "null_default")]
    pub networking_config: Option<NetworkingConfig>,
}

/// When waiting for a container ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    #[default]
    NotRunning,
    NextExit,
    Removed,
}

impl WaitCondition {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }
}

/// How a container is stopped; what is not said is the container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// Empty: its own.
    pub signal: String,
    /// Seconds until it is killed; below zero: never.
    pub timeout: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it first.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
    /// Not the container: a link of that name.
    pub link: bool,
}

/// What is wanted of an attachment; with `logs`, what was said before comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachOptions {
    pub logs: bool,
    pub stream: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Empty: the default ones.
    pub detach_keys: String,
}

/// `POST /commit`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitOptions {
    pub container: String,
    pub repo: String,
    pub tag: String,
    pub comment: String,
    pub author: String,
    /// Dockerfile instructions, one each.
    pub changes: Vec<String>,
    pub pause: bool,
}

/// How an archive is unpacked in a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchivePutOptions {
    /// A folder is never replaced by a file, nor a file by a folder.
    pub no_overwrite_dir_non_dir: bool,
    /// All of it becomes the container's user's; otherwise each has the owner in the archive.
    pub copy_uid_gid: bool,
}
