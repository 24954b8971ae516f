//! What a container is made from. Parsed by the caller from a task's spec and an image's
//! configuration; checked in [`ContainerConfig::check`]; stored beside the container.
//!
//! **Invariant:** the contents of files are neither serialised nor shown.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::capabilities;
use crate::defaults;
use crate::error::{Error, Result};
pub use crate::resources::Resources;
use crate::shim::seccomp;
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
    /// Further rules of the device cgroup: `c 10:200 rwm`.
    #[serde(default)]
    pub device_rules: Vec<String>,
    #[serde(default)]
    pub seccomp: Seccomp,
    /// A profile that the kernel has; None: none. DEVIATION: Docker loads one of its own, for which
    /// it needs AppArmor's compiler.
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
    /// The size of /dev/shm; zero: Docker's.
    #[serde(default)]
    pub shm_bytes: u64,
}

/// Where what a container says is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    #[default]
    JsonFile,
    None,
    /// With Docker's options (`syslog-address`, `tag` …). The names in a tag are those of the
    /// annotations [`crate::logs::NAME_ANNOTATION`] and [`crate::logs::IMAGE_ANNOTATION`].
    Syslog(BTreeMap<String, String>),
    /// With Docker's options.
    Journald(BTreeMap<String, String>),
}

/// A device of the host that a container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub on_host: PathBuf,
    pub in_container: PathBuf,
    /// Of `rwm`.
    pub access: String,
}

/// A rule of the device cgroup, as Docker writes it: `c 10:* rwm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    /// `a`, `b` or `c`.
    pub kind: char,
    /// None: any.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// Of `rwm`.
    pub access: String,
}

impl DeviceRule {
    pub fn parse(text: &str) -> Option<DeviceRule> {
        let mut fields = text.split(' ');
        let (kind, device, access) = (fields.next()?, fields.next()?, fields.next()?);
        let kind = ["a", "b", "c"].contains(&kind).then(|| kind.chars().next())??;
        let (major, minor) = device.split_once(':')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
        let (major, minor) = (number(major)?, number(minor)?);
        let whole = fields.next().is_none() && is_access(access);
        whole.then(|| DeviceRule { kind, major, minor, access: access.to_owned() })
    }
}

/// What may be done with a device: to read, to write, to make its node.
fn is_access(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.chars().all(|c| "rwm".contains(c))
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

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's profile.
    #[default]
    Default,
    Unconfined,
    /// Docker's JSON.
    Profile(String),
}

/// Whose namespace of a kind a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    #[default]
    Private,
    Host,
    /// That of the process, as the host counts.
    Of(i32),
}

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

/// A file whose contents come with the configuration (a secret, a config). It is written to memory
/// in the container's own mount namespace and never to disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct File {
    /// An absolute path in the container.
    pub target: PathBuf,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    #[serde(skip)]
    pub content: Content,
}

/// Bytes that may be secret: wiped when dropped, not shown.
#[derive(Clone, Default)]
pub struct Content(zeroize::Zeroizing<Vec<u8>>);

impl Content {
    pub fn new(bytes: Vec<u8>) -> Content {
        Content(zeroize::Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkNamespace {
    /// A new one with nothing but a loopback interface, which is up.
    #[default]
    New,
    /// The one bound at this path.
    Join(PathBuf),
    Host,
}

/// A limit of the kernel's (`nofile`, `core` …); -1 means none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    pub file_bytes_max: u64,
    pub files_max: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits {
            file_bytes_max: defaults::LOG_FILE_BYTES_MAX,
            files_max: defaults::LOG_FILES_MAX,
        }
    }
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
            shm_bytes: 0,
        }
    }

    /// The signal that asks the container to end.
    pub fn stop_signal(&self) -> Signal {
        Signal::parse(&self.stop_signal).unwrap_or(Signal::TERM)
    }

    /// Refuses what could not work, before anything is made.
    pub fn check(&self) -> Result<()> {
        check_id(&self.id)?;
        crate::logs::check(self)?;
        if self.args.first().is_none_or(|command| command.is_empty()) {
            return Err(Error::Invalid("no command specified".into()));
        }
        let strings =
            self.args.iter().chain(&self.env).chain([&self.cwd, &self.user, &self.hostname]);
        if strings.chain(&self.groups).any(|text| text.contains('\0')) {
            return Err(Error::Invalid("a string holds a NUL byte".into()));
        }
        if let Some(bad) = self.env.iter().find(|v| v.starts_with('=') || !v.contains('=')) {
            return Err(Error::Invalid(format!("invalid environment variable: {bad}")));
        }
        if !self.cwd.is_empty() && !self.cwd.starts_with('/') {
            return Err(Error::Invalid(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                self.cwd
            )));
        }
        if !self.stop_signal.is_empty() && Signal::parse(&self.stop_signal).is_none() {
            return Err(Error::Invalid(format!("Invalid signal: {}", self.stop_signal)));
        }
        if !(-1000..=1000).contains(&self.oom_score_adj) {
            return Err(Error::Invalid(format!(
                "Invalid value {}, range for oom score adj is [-1000, 1000]",
                self.oom_score_adj
            )));
        }
        self.check_privileges()?;
        self.check_paths()?;
        self.check_amounts()
    }

    fn check_privileges(&self) -> Result<()> {
        let capabilities = capabilities::of(self)?;
        seccomp::filter(self, &capabilities).map_err(Error::Invalid)?;
        if let Some(profile) = self.apparmor.as_deref()
            && profile != "unconfined"
            && !apparmor_enabled()
        {
            return Err(Error::Invalid(format!(
                "AppArmor is not enabled on this host: profile {profile:?} cannot be applied"
            )));
        }
        for rule in &self.device_rules {
            if DeviceRule::parse(rule).is_none() {
                return Err(Error::Invalid(format!("invalid device cgroup rule format: '{rule}'")));
            }
        }
        for device in &self.devices {
            check_target(&device.in_container)?;
            if !is_access(&device.access) {
                return Err(Error::Invalid(format!("invalid device mode: {}", device.access)));
            }
            if let Err(error) = std::fs::metadata(&device.on_host) {
                let reason = match error.kind() {
                    ErrorKind::NotFound => "no such file or directory".to_owned(),
                    _ => error.to_string(),
                };
                return Err(Error::Invalid(format!(
                    "error gathering device information while adding custom device {:?}: {reason}",
                    device.on_host
                )));
            }
        }
        let paths = self.masked_paths.iter().chain(&self.read_only_paths).flatten();
        if let Some(path) = paths.into_iter().find(|path| !path.starts_with('/')) {
            return Err(Error::Invalid(format!("invalid masked or read-only path: {path}")));
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<()> {
        for mount in &self.mounts {
            check_target(&mount.target)?;
            if mount.propagation().is_none() {
                return Err(Error::Invalid(format!(
                    "invalid propagation mode: {}",
                    mount.propagation
                )));
            }
            if let MountSource::Tmpfs { options, .. } = &mount.source
                && let Some(bad) = options.iter().find(|option| !is_tmpfs_option(option))
            {
                return Err(Error::Invalid(format!("Invalid tmpfs option {bad:?}")));
            }
            if let MountSource::Bind(source) = &mount.source {
                if !source.is_absolute() {
                    return Err(Error::Invalid(format!(
                        "invalid mount path: '{}' mount path must be absolute",
                        source.display()
                    )));
                }
                if !source.exists() {
                    return Err(Error::Invalid(format!(
                        "invalid mount config for type \"bind\": bind source path does not exist: {}",
                        source.display()
                    )));
                }
            }
        }
        let mut targets: Vec<&Path> = self.mounts.iter().map(|m| m.target.as_path()).collect();
        for file in &self.files {
            check_target(&file.target)?;
            targets.push(&file.target);
        }
        targets.sort();
        if let Some(pair) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Invalid(format!("Duplicate mount point: {}", pair[0].display())));
        }
        let given = [&self.hosts_path, &self.hostname_path, &self.resolv_conf_path];
        for path in given.into_iter().flatten() {
            if !path.is_file() {
                return Err(Error::Invalid(format!("no such file: {}", path.display())));
            }
        }
        match &self.rootfs {
            Rootfs::Directory(path) if !path.is_dir() => {
                Err(Error::Invalid(format!("no such directory: {}", path.display())))
            }
            Rootfs::Overlay { lower, .. } if lower.is_empty() => {
                Err(Error::Invalid("an overlay needs at least one lower directory".into()))
            }
            _ => Ok(()),
        }
    }

    fn check_amounts(&self) -> Result<()> {
        self.resources.check()?;
        for ulimit in &self.ulimits {
            if ulimit_type(&ulimit.name).is_none() {
                return Err(Error::Invalid(format!("invalid ulimit type: {}", ulimit.name)));
            }
            if ulimit.hard >= 0 && (ulimit.soft > ulimit.hard || ulimit.soft < 0) {
                return Err(Error::Invalid(format!(
                    "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                    ulimit.soft, ulimit.hard
                )));
            }
        }
        let bytes: usize = self.files.iter().map(|file| file.content.bytes().len()).sum();
        if bytes > defaults::FILES_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "files hold {bytes} bytes, at most {} are allowed",
                defaults::FILES_BYTES_MAX
            )));
        }
        if self.log.files_max == 0 || self.log.file_bytes_max < defaults::LOG_LINE_BYTES_MAX as u64
        {
            return Err(Error::Invalid("the log's limits leave no room for a line".into()));
        }
        Ok(())
    }
}

/// The kernel's name of a limit that users call `nofile`.
pub fn ulimit_type(name: &str) -> Option<String> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    NAMES.contains(&name).then(|| format!("RLIMIT_{}", name.to_ascii_uppercase()))
}

fn is_tmpfs_option(option: &str) -> bool {
    const FLAGS: [&str; 20] = [
        "defaults",
        "ro",
        "rw",
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
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
    ];
    const VALUES: [&str; 7] = ["mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol"];
    match option.split_once('=') {
        Some((name, _)) => VALUES.contains(&name),
        None => FLAGS.contains(&option),
    }
}

/// Whether the kernel has AppArmor, and it is switched on.
pub(crate) fn apparmor_enabled() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with('Y'))
}

/// An id is a file's name on disk and in the cgroup tree.
pub fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let first = id.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if !first || !id.chars().all(allowed) || id.len() > defaults::ID_CHARS_MAX {
        return Err(Error::Invalid(format!("invalid container id: {id:?}")));
    }
    Ok(())
}

fn check_target(target: &Path) -> Result<()> {
    if !target.is_absolute() {
        return Err(Error::Invalid(format!(
            "invalid mount path: '{}' mount path must be absolute",
            target.display()
        )));
    }
    if target == Path::new("/") {
        return Err(Error::Invalid("invalid specification: destination can't be '/'".into()));
    }
    if target.components().any(|part| part == Component::ParentDir) {
        return Err(Error::Invalid(format!("a mount's path leads upwards: {}", target.display())));
    }
    Ok(())
}
