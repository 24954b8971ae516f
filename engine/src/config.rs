//! What a container is made from. Parsed by the caller from a task's spec and an image's
//! configuration; checked in [`ContainerConfig::check`]; stored beside the container.

mod check;
mod device;
mod file;
mod hook;
mod isolation;
mod logging;
mod mount;
mod ulimit;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use skep_idmap::IdMaps;

pub use self::check::check_id;
pub(crate) use self::device::DeviceRule;
pub use self::device::{Device, DeviceKind, DeviceNode};
pub use self::file::{Content, File};
pub use self::hook::{Hook, HookPoint};
pub use self::isolation::{Namespace, NetworkNamespace, Seccomp};
pub use self::logging::{LogDriver, LogLimits};
pub(crate) use self::mount::Propagation;
pub use self::mount::{Mount, MountSource, Rootfs};
pub use self::ulimit::{Ulimit, ulimit_type};
pub use crate::resources::Resources;
use crate::signal::Signal;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerConfig {
    pub id: String,
    pub rootfs: Rootfs,
    /// The command and its arguments; not empty.
    pub args: Vec<String>,
    /// `NAME=value`; a later one replaces an earlier one. PATH, HOSTNAME and HOME are added as
    /// Docker adds them.
    pub env: Vec<String>,
    /// An absolute path, made if missing; empty means `/`.
    pub cwd: String,
    /// `user`, `uid`, `user:group` …, resolved by the root filesystem's own files; empty is root.
    pub user: String,
    /// Further groups, by name or number.
    pub groups: Vec<String>,
    pub hostname: String,
    pub tty: bool,
    /// Run a tiny init as the first process.
    pub init: bool,
    pub read_only: bool,
    pub mounts: Vec<Mount>,
    pub files: Vec<File>,
    /// Files of the host shown as /etc/hosts, /etc/hostname and /etc/resolv.conf.
    pub hosts_path: Option<PathBuf>,
    pub hostname_path: Option<PathBuf>,
    pub resolv_conf_path: Option<PathBuf>,
    pub network: NetworkNamespace,
    /// Names with or without `CAP_`, or `ALL`.
    pub capability_add: Vec<String>,
    pub capability_drop: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: Vec<Ulimit>,
    pub resources: Resources,
    /// The cgroup that its own is below, as an absolute path; None: the runtime's. It is made where
    /// it is missing, and stays.
    #[serde(default)]
    pub cgroup_parent: Option<PathBuf>,
    pub oom_score_adj: i32,
    /// Empty: SIGTERM.
    pub stop_signal: String,
    pub log: LogLimits,
    pub labels: BTreeMap<String, String>,
    /// Kept and given back, not looked at.
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub domainname: String,
    /// Standard input is a pipe to whoever attaches; otherwise it is empty.
    #[serde(default)]
    pub open_stdin: bool,
    /// Standard input ends with the first client that was attached to it.
    #[serde(default)]
    pub stdin_once: bool,
    #[serde(default)]
    pub log_driver: LogDriver,
    /// The newest log file; None: beside the container, and gone with it.
    #[serde(default)]
    pub log_path: Option<PathBuf>,
    #[serde(default)]
    pub privileged: bool,
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Further devices, with what is said of their nodes. Of two at one place these count.
    #[serde(default)]
    pub device_nodes: Vec<DeviceNode>,
    /// In the order in which those of one point are run.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// Further rules of the device cgroup: `c 10:200 rwm`.
    #[serde(default)]
    pub device_rules: Vec<String>,
    #[serde(default)]
    pub seccomp: Seccomp,
    /// A profile that the kernel has, or `unconfined`; None: Docker's, where the host can have it.
    /// Of a container that is made: the one it has.
    #[serde(default)]
    pub apparmor: Option<String>,
    #[serde(default)]
    pub no_new_privileges: bool,
    /// None: Docker's.
    #[serde(default)]
    pub masked_paths: Option<Vec<String>>,
    /// None: Docker's.
    #[serde(default)]
    pub read_only_paths: Option<Vec<String>>,
    #[serde(default)]
    pub pid: Namespace,
    #[serde(default)]
    pub ipc: Namespace,
    #[serde(default)]
    pub uts: Namespace,
    #[serde(default)]
    pub cgroup: Namespace,
    /// The maps of a user namespace of its own; None: the host's. Who shares namespaces with
    /// another container shares its user namespace as well.
    #[serde(default)]
    pub id_maps: Option<IdMaps>,
    /// The size of /dev/shm; zero: Docker's.
    #[serde(default)]
    pub shm_bytes: u64,
    /// There is no /dev/shm.
    #[serde(default)]
    pub no_shared_memory: bool,
    /// Its cgroups are its own to divide.
    #[serde(default)]
    pub writable_cgroups: bool,
}

impl ContainerConfig {
    /// A container of this id, root and command, and Docker's defaults for all else.
    pub fn new(id: impl Into<String>, rootfs: Rootfs, args: Vec<String>) -> ContainerConfig {
        ContainerConfig {
            id: id.into(),
            rootfs,
            args,
            env: Vec::new(),
            cwd: String::new(),
            user: String::new(),
            groups: Vec::new(),
            hostname: String::new(),
            tty: false,
            init: false,
            read_only: false,
            mounts: Vec::new(),
            files: Vec::new(),
            hosts_path: None,
            hostname_path: None,
            resolv_conf_path: None,
            network: NetworkNamespace::New,
            capability_add: Vec::new(),
            capability_drop: Vec::new(),
            sysctls: BTreeMap::new(),
            ulimits: Vec::new(),
            resources: Resources::default(),
            cgroup_parent: None,
            oom_score_adj: 0,
            stop_signal: String::new(),
            log: LogLimits::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            domainname: String::new(),
            open_stdin: false,
            stdin_once: false,
            log_driver: LogDriver::default(),
            log_path: None,
            privileged: false,
            devices: Vec::new(),
            device_nodes: Vec::new(),
            hooks: Vec::new(),
            device_rules: Vec::new(),
            seccomp: Seccomp::default(),
            apparmor: None,
            no_new_privileges: false,
            masked_paths: None,
            read_only_paths: None,
            pid: Namespace::default(),
            ipc: Namespace::default(),
            uts: Namespace::default(),
            cgroup: Namespace::default(),
            id_maps: None,
            shm_bytes: 0,
            no_shared_memory: false,
            writable_cgroups: false,
        }
    }

    /// The signal that asks the container to end.
    pub fn stop_signal(&self) -> Signal {
        Signal::parse(&self.stop_signal).unwrap_or(Signal::TERM)
    }
}
