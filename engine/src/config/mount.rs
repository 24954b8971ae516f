//! What a container's files are: its root, and what is mounted in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the root filesystem comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Rootfs {
    /// An overlay that the shim mounts in a mount namespace of its own, so that it goes away by
    /// itself. The topmost lower directory first.
    Overlay {
        lower: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
    },
    Directory(PathBuf),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// An absolute path in the container.
    pub target: PathBuf,
    pub source: MountSource,
    pub read_only: bool,
    /// `rprivate`, `private`, `rshared`, `shared`, `rslave`, `slave`; empty is the first.
    #[serde(default)]
    pub propagation: String,
    /// A bind without what is mounted below its source.
    #[serde(default)]
    pub non_recursive: bool,
    /// What is mounted below a read-only bind stays writable.
    #[serde(default)]
    pub read_only_non_recursive: bool,
    /// Further options of a bind, as mount(8) has them: `nosuid`, `nodev`, `noexec` …
    #[serde(default)]
    pub options: Vec<String>,
}

impl Mount {
    pub fn new(target: impl Into<PathBuf>, source: MountSource, read_only: bool) -> Mount {
        Mount {
            target: target.into(),
            source,
            read_only,
            propagation: String::new(),
            non_recursive: false,
            read_only_non_recursive: false,
            options: Vec::new(),
        }
    }

    /// None: the word is none.
    pub(crate) fn propagation(&self) -> Option<Propagation> {
        match self.propagation.as_str() {
            "" | "private" | "rprivate" => Some(Propagation::Private),
            "slave" | "rslave" => Some(Propagation::Slave),
            "shared" | "rshared" => Some(Propagation::Shared),
            _ => None,
        }
    }
}

/// Whether what is mounted later on the one side is seen on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Private,
    /// The container sees what the host does.
    Slave,
    /// Both see what the other does.
    Shared,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MountSource {
    /// An absolute path on the host, which must exist: a bind, or a volume's directory.
    Bind(PathBuf),
    /// Zero means no size limit of its own; mode zero means 1777.
    Tmpfs {
        size_bytes: u64,
        mode: u32,
        /// Further options of mount(8), over `noexec,nosuid,nodev`: `exec`, `uid=1000` …
        #[serde(default)]
        options: Vec<String>,
    },
}

/// Flags that binds and tmpfs may have alike, beside being read-only or not.
const FLAGS: [&str; 15] = [
    "defaults",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
];

pub(super) fn is_bind_option(option: &str) -> bool {
    FLAGS.contains(&option)
}

pub(super) fn is_tmpfs_option(option: &str) -> bool {
    const OWN: [&str; 5] = ["ro", "rw", "diratime", "nodiratime", "nostrictatime"];
    const VALUES: [&str; 7] = ["mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol"];
    match option.split_once('=') {
        Some((name, _)) => VALUES.contains(&name),
        None => FLAGS.contains(&option) || OWN.contains(&option),
    }
}
