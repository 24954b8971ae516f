//! What a task's container is made from: image, process, mounts, and the files it is given.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{ConfigId, Payload, SecretId};

/// A bind, volume or tmpfs mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    /// An absolute path (bind), a volume's name (volume; empty for an anonymous one), or empty.
    pub source: String,
    /// An absolute path in the container.
    pub target: String,
    pub read_only: bool,
    /// For binds: whether what is mounted later on the one side is seen on the other.
    pub propagation: Propagation,
    /// For binds: leave out what is mounted below the source.
    pub non_recursive: bool,
    /// For read-only binds: leave what is mounted below the source writable.
    pub read_only_non_recursive: bool,
    /// Labels of a volume that is made for the mount.
    pub volume_labels: BTreeMap<String, String>,
    /// Name and options of the driver of a volume that is made for the mount.
    pub volume_driver: Option<(String, BTreeMap<String, String>)>,
    /// Leave a new volume empty rather than fill it from the image.
    pub volume_nocopy: bool,
    /// For tmpfs: zero means no limit.
    pub tmpfs_size_bytes: i64,
    /// For tmpfs: permission bits; zero means 0o1777.
    pub tmpfs_mode: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MountKind {
    #[default]
    Bind,
    Volume,
    Tmpfs,
}

/// Linux's ways to pass mounts on; the recursive ones, of what lies below too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    RecursivePrivate,
    Private,
    RecursiveShared,
    Shared,
    RecursiveSlave,
    Slave,
}

impl Propagation {
    const ALL: [Self; 6] = [
        Self::RecursivePrivate,
        Self::Private,
        Self::RecursiveShared,
        Self::Shared,
        Self::RecursiveSlave,
        Self::Slave,
    ];

    /// Docker's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RecursivePrivate => "rprivate",
            Self::Private => "private",
            Self::RecursiveShared => "rshared",
            Self::Shared => "shared",
            Self::RecursiveSlave => "rslave",
            Self::Slave => "slave",
        }
    }

    /// The one of that word; an empty one is the default.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "" => Some(Self::default()),
            word => Self::ALL.into_iter().find(|it| it.word() == word),
        }
    }
}

/// Where and how a secret or config appears as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTarget {
    /// A secret's name is relative to /run/secrets; a config's to /.
    pub name: String,
    pub uid: String,
    pub gid: String,
    /// Permission bits.
    pub mode: u32,
}

/// A secret that a container reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretReference {
    pub secret_id: SecretId,
    pub secret_name: String,
    pub target: FileTarget,
}

/// A config that a container reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigReference {
    pub config_id: ConfigId,
    pub config_name: String,
    pub target: FileTarget,
}

/// How a container's health is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthConfig {
    /// Empty: the image's. `["NONE"]`: no check. `["CMD", …]` or `["CMD-SHELL", command]`.
    pub test: Vec<String>,
    /// Zero means the image's or Docker's default, here and below.
    pub interval: Duration,
    pub timeout: Duration,
    pub retries: i64,
    pub start_period: Duration,
    pub start_interval: Duration,
}

/// DNS settings beside the embedded server's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConfig {
    pub nameservers: Vec<String>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// A limit of the kernel's on a process (`nofile` and its kin).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// What one container of a service is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// A reference, with the digest it stood for when the service was made, where known.
    pub image: String,
    pub labels: BTreeMap<String, String>,
    /// Replaces the image's entrypoint; empty keeps it.
    pub command: Vec<String>,
    /// Replaces the image's command; empty keeps it.
    pub args: Vec<String>,
    pub hostname: String,
    /// `NAME=value`, or `NAME` alone to unset the image's.
    pub env: Vec<String>,
    pub dir: String,
    pub user: String,
    pub groups: Vec<String>,
    pub tty: bool,
    pub open_stdin: bool,
    pub read_only: bool,
    /// None: the daemon's default.
    pub init: Option<bool>,
    pub mounts: Vec<Mount>,
    /// Empty: the image's, or SIGTERM.
    pub stop_signal: String,
    /// None: [`crate::defaults::STOP_GRACE_PERIOD`].
    pub stop_grace_period: Option<Duration>,
    /// Lines of /etc/hosts: `address host…`, as SwarmKit has them.
    pub hosts: Vec<String>,
    pub dns: DnsConfig,
    pub health: Option<HealthConfig>,
    pub secrets: Vec<SecretReference>,
    pub configs: Vec<ConfigReference>,
    pub sysctls: BTreeMap<String, String>,
    pub capability_add: Vec<String>,
    pub capability_drop: Vec<String>,
    pub ulimits: Vec<Ulimit>,
    /// From -1000 (never) to 1000 (first of all): whom the kernel ends where memory runs out.
    pub oom_score_adj: i32,
    /// The login for the image's registry, as Docker's clients send it; empty: none.
    pub registry_auth: Payload,
}
