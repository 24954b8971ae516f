//! From a container's configuration to the OCI runtime specification, with Docker's defaults. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::devices::Node;
use super::user::Identity;
use super::userns::Joined;
use super::{cgroup_mounts, hooks, trees};
use crate::config::{
    ContainerConfig, DeviceRule, Mount, MountSource, Namespace, NetworkNamespace, Ulimit,
    ulimit_type,
};
use crate::defaults;

/// What the host and the shim's preparations add to the configuration.
pub struct Prepared<'a> {
    pub rootfs: &'a Path,
    pub identity: &'a Identity,
    pub capabilities: &'a [&'static str],
    /// Where each file of the configuration was written, in order.
    pub files: &'a [PathBuf],
    /// The namespaces to join.
    pub joined: &'a Joined,
    /// Of the host, to be made in the container.
    pub devices: &'a [Node],
    /// Where the source of each mount was prepared, in order; None: it is where it is.
    pub sources: &'a [Option<PathBuf>],
    /// What each CPU tells of its heat.
    pub thermal: Vec<String>,
    /// The /dev/shm of another container or of the host; None: one of its own.
    pub shared_memory: Option<&'a Path>,
    pub cgroup: &'a Path,
    pub cgroups: Cgroups<'a>,
}

/// What of the cgroup tree the container sees.
pub enum Cgroups<'a> {
    /// Version 1: the names of the hierarchies.
    Legacy(Vec<&'a str>),
    Unified,
}

/// Docker's; some name what only some kernels have.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The specification, as libcontainer reads it from a bundle.
pub fn build(config: &ContainerConfig, prepared: &Prepared) -> Value {
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "root": { "path": prepared.rootfs, "readonly": config.read_only },
        "process": process(config, prepared.identity, prepared.capabilities),
        "mounts": mounts(config, prepared),
        "linux": linux(config, prepared),
    });
    if let Some(hooks) = hooks::spec(&config.hooks) {
        spec["hooks"] = hooks;
    }
    // Another's names are not to be changed.
    if config.uts == Namespace::Private {
        spec["hostname"] = hostname(config).into();
        if !config.domainname.is_empty() {
            spec["domainname"] = config.domainname.clone().into();
        }
    }
    spec
}

fn hostname(config: &ContainerConfig) -> String {
    match config.hostname.as_str() {
        // Docker's: the first twelve characters of the id.
        "" => config.id.chars().take(12).collect(),
        name => name.to_owned(),
    }
}

/// What one process of the container is: its first, or one that joins it.
pub fn process(
    config: &ContainerConfig,
    identity: &Identity,
    capabilities: &[&'static str],
) -> Value {
    // Other users get what execve would leave them: nothing but a bound.
    let held: &[&str] = if identity.uid == 0 { capabilities } else { &[] };
    let mut process = json!({
        "terminal": config.tty,
        "user": {
            "uid": identity.uid,
            "gid": identity.gid,
            "additionalGids": identity.groups,
        },
        "args": config.args,
        "env": environment(config, &identity.home, &hostname(config)),
        "cwd": if config.cwd.is_empty() { "/" } else { &config.cwd },
        "capabilities": {
            "bounding": capabilities,
            "effective": held,
            "permitted": held,
            "inheritable": [],
            "ambient": [],
        },
        "rlimits": config.ulimits.iter().map(rlimit).collect::<Vec<_>>(),
        "oomScoreAdj": config.oom_score_adj,
    });
    if config.no_new_privileges {
        process["noNewPrivileges"] = true.into();
    }
    if let Some(profile) = config.apparmor.as_deref().filter(|profile| *profile != "unconfined") {
        process["apparmorProfile"] = profile.into();
    }
    process
}

/// The last of two variables of one name counts, in the place of the first.
fn environment(config: &ContainerConfig, home: &str, hostname: &str) -> Vec<String> {
    let mut variables = vec![
        ("PATH".to_owned(), defaults::PATH.to_owned()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
    ];
    if config.tty {
        variables.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    let given = config.env.iter().filter_map(|variable| variable.split_once('='));
    for (name, value) in given {
        match variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => variables.push((name.to_owned(), value.to_owned())),
        }
    }
    if !variables.iter().any(|(name, _)| name == "HOME") {
        variables.push(("HOME".to_owned(), home.to_owned()));
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn rlimit(ulimit: &Ulimit) -> Value {
    let amount = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    json!({
        "type": ulimit_type(&ulimit.name),
        "soft": amount(ulimit.soft),
        "hard": amount(ulimit.hard),
    })
}

fn mounts(config: &ContainerConfig, prepared: &Prepared) -> Vec<Value> {
    let mut mounts = default_mounts(config, prepared);
    if prepared.joined.user.is_some() && config.ipc == Namespace::Host {
        // One of the host's cannot be mounted anew from within a user namespace.
        let mqueue = Path::new("/dev/mqueue");
        mounts.retain(|(target, _)| Path::new(target) != mqueue);
        if mqueue.exists() {
            mounts.push(("/dev/mqueue", bind(mqueue, mqueue, false)));
        }
    }
    let own: Vec<&Path> = config.mounts.iter().map(|mount| mount.target.as_path()).collect();
    mounts.retain(|(target, _)| !own.contains(&Path::new(target)));
    if config.no_shared_memory {
        mounts.retain(|(target, _)| *target != "/dev/shm");
    }
    let mut all: Vec<Value> = mounts.into_iter().map(|(_, mount)| mount).collect();

    // Shallow ones first, so that none hides another.
    let mut given: Vec<(PathBuf, Value)> = Vec::new();
    for (mount, source) in config.mounts.iter().zip(prepared.sources) {
        given.push((mount.target.clone(), user_mount(mount, source.as_deref())));
    }
    // libcontainer makes devices below /dev only, and in a user namespace none can be made.
    let near = prepared.joined.user.is_some();
    for node in prepared.devices.iter().filter(|node| near || !node.path.starts_with("/dev")) {
        given.push((node.path.clone(), bind(&node.path, &node.on_host, false)));
    }
    let network_files = [
        ("/etc/resolv.conf", &config.resolv_conf_path),
        ("/etc/hostname", &config.hostname_path),
        ("/etc/hosts", &config.hosts_path),
    ];
    for (target, source) in network_files {
        if let Some(source) = source
            && !own.contains(&Path::new(target))
        {
            given.push((target.into(), bind(Path::new(target), source, false)));
        }
    }
    for (file, source) in config.files.iter().zip(prepared.files) {
        given.push((file.target.clone(), bind(&file.target, source, true)));
    }
    given.sort_by_key(|(target, _)| target.components().count());
    all.extend(given.into_iter().map(|(_, mount)| mount));
    all
}

fn default_mounts(config: &ContainerConfig, prepared: &Prepared) -> Vec<(&'static str, Value)> {
    let mount = |target: &'static str, kind: &str, source: &str, options: &[&str]| {
        let mount =
            json!({ "destination": target, "type": kind, "source": source, "options": options });
        (target, mount)
    };
    let bytes = if config.shm_bytes == 0 { defaults::SHM_BYTES } else { config.shm_bytes };
    let shm = format!("size={bytes}");
    let shm = match prepared.shared_memory {
        None => {
            let options = ["nosuid", "noexec", "nodev", "mode=1777", &shm];
            mount("/dev/shm", "tmpfs", "shm", &options)
        }
        Some(path) => ("/dev/shm", bind(Path::new("/dev/shm"), path, false)),
    };
    let kernel = if config.privileged { "rw" } else { "ro" };
    let access = if config.writable_cgroups { "rw" } else { kernel };
    let cgroups = cgroup_mounts::mounts(&prepared.cgroups, prepared.cgroup, &config.pid, access);
    // A place of one's own covers all that is there.
    let cgroups = cgroups.into_iter().map(|it| ("/sys/fs/cgroup", it));
    let mut all = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", kernel]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        shm,
    ];
    all.extend(cgroups);
    all
}

fn user_mount(mount: &Mount, prepared: Option<&Path>) -> Value {
    match &mount.source {
        MountSource::Bind(source) => {
            let mut bound = bind(&mount.target, prepared.unwrap_or(source), mount.read_only);
            if mount.non_recursive {
                bound["options"][0] = "bind".into();
            }
            if mount.read_only && mount.read_only_non_recursive {
                bound["options"] = json!([bound["options"][0], "ro"]);
            }
            if let Some(options) = bound["options"].as_array_mut() {
                options.extend(mount.options.iter().map(|it| it.as_str().into()));
            }
            bound
        }
        MountSource::Tmpfs { size_bytes, mode, options: further } => {
            let mut options: Vec<String> =
                ["nosuid", "noexec", "nodev"].iter().map(|o| (*o).to_owned()).collect();
            if *size_bytes > 0 {
                options.push(format!("size={size_bytes}"));
            }
            if *mode != 0 {
                options.push(format!("mode={mode:o}"));
            }
            if mount.read_only {
                options.push("ro".to_owned());
            }
            options.extend(further.iter().cloned());
            json!({
                "destination": mount.target,
                "type": "tmpfs",
                "source": "tmpfs",
                "options": options,
            })
        }
    }
}

fn bind(target: &Path, source: &Path, read_only: bool) -> Value {
    // What is mounted below a read-only bind is read-only too, as in Docker since 25.
    let options: &[&str] = if read_only { &["rbind", "ro", "rro"] } else { &["rbind", "rw"] };
    json!({ "destination": target, "type": "bind", "source": source, "options": options })
}

fn linux(config: &ContainerConfig, prepared: &Prepared) -> Value {
    let mut namespaces = vec![json!({ "type": "mount" })];
    let kinds = [
        ("pid", "pid", &config.pid, &prepared.joined.pid),
        ("ipc", "ipc", &config.ipc, &prepared.joined.ipc),
        ("uts", "uts", &config.uts, &None),
        ("cgroup", "cgroup", &config.cgroup, &None),
    ];
    for (kind, file, whose, kept) in kinds {
        match (whose, kept) {
            (Namespace::Private, _) => namespaces.push(json!({ "type": kind })),
            (Namespace::Host, _) => {}
            (Namespace::Of(_), Some(path)) => {
                namespaces.push(json!({ "type": kind, "path": path }));
            }
            (Namespace::Of(pid), None) => {
                namespaces.push(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }));
            }
        }
    }
    if let Some(path) = &prepared.joined.user {
        namespaces.push(json!({ "type": "user", "path": path }));
    }
    if let Some(path) = &prepared.joined.network {
        namespaces.push(json!({ "type": "network", "path": path }));
    }
    let or = |own: &Option<Vec<String>>, dockers: &[&str]| match own {
        Some(own) => own.clone(),
        None if config.privileged => Vec::new(),
        None => dockers.iter().map(|path| (*path).to_owned()).collect(),
    };
    let mut masked = or(&config.masked_paths, &MASKED);
    if config.masked_paths.is_none() && !config.privileged {
        masked.extend(prepared.thermal.iter().cloned());
    }
    let mut read_only = or(&config.read_only_paths, &READ_ONLY);
    if !(config.privileged || config.writable_cgroups) {
        read_only.extend(cgroup_mounts::read_only(&prepared.cgroups, &config.pid));
    }
    json!({
        "namespaces": namespaces,
        "cgroupsPath": prepared.cgroup,
        "rootfsPropagation": trees::root_propagation(&config.mounts),
        "maskedPaths": masked,
        "readonlyPaths": read_only,
        "sysctl": sysctls(config),
        "devices": devices(prepared),
        "resources": resources(config, prepared.devices),
    })
}

/// Docker lets every user of a container's own network bind low ports and send pings.
fn sysctls(config: &ContainerConfig) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    if config.network != NetworkNamespace::Host {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        // All groups, which a user namespace does not have: there it stays as it is, as in Docker.
        if config.id_maps.is_none() {
            sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
        }
    }
    sysctls.extend(config.sysctls.clone());
    sysctls
}

/// Docker's, which all users may read and write (libcontainer's own list would shut out an owner
/// that has no capability to override), and the host's as they are there.
/// In a user namespace the host's are mounted.
fn devices(prepared: &Prepared) -> Vec<Value> {
    let (hosts, mounted) = (prepared.devices, prepared.joined.user.is_some());
    let Identity { uid, gid, .. } = *prepared.identity;
    let below = hosts.iter().filter(|node| !mounted && node.path.starts_with("/dev"));
    let mut all: Vec<Value> = below
        .map(|node| {
            json!({
                "path": node.path, "type": node.kind, "major": node.major, "minor": node.minor,
                "fileMode": node.mode,
                "uid": node.uid.unwrap_or(uid), "gid": node.gid.unwrap_or(gid),
            })
        })
        .collect();
    for (path, major, minor) in DEVICES {
        if hosts.iter().all(|node| node.path != Path::new(path)) {
            all.push(json!({
                "path": path, "type": "c", "major": major, "minor": minor,
                "fileMode": 0o666, "uid": 0, "gid": 0,
            }));
        }
    }
    all
}

/// Which devices it may use. Limits are written by the shim itself.
fn resources(config: &ContainerConfig, hosts: &[Node]) -> Value {
    if config.privileged {
        return json!({ "devices": [{ "allow": true, "type": "a", "access": "rwm" }] });
    }
    let mut devices = vec![json!({ "allow": false, "access": "rwm" })];
    let may = |kind: &str, major: Option<u32>, minor: Option<u32>, access: &str| {
        let mut rule = json!({ "allow": true, "type": kind, "access": access });
        if let Some(major) = major {
            rule["major"] = major.into();
        }
        if let Some(minor) = minor {
            rule["minor"] = minor.into();
        }
        rule
    };
    devices.push(may("c", None, None, "m"));
    devices.push(may("b", None, None, "m"));
    let usable =
        [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)].map(|(a, b)| (a, Some(b)));
    for (major, minor) in usable.into_iter().chain([(136, None)]) {
        devices.push(may("c", Some(major), minor, "rwm"));
    }
    for node in hosts.iter().filter(|node| node.kind != "p" && !node.access.is_empty()) {
        devices.push(may(node.kind, Some(node.major), Some(node.minor), &node.access));
    }
    for rule in config.device_rules.iter().filter_map(|rule| DeviceRule::parse(rule)) {
        // A rule for all kinds is taken by the kernel to mean all devices, whatever it names.
        let kinds: &[&str] = match (rule.kind, rule.major, rule.minor) {
            ('a', None, None) => &["a"],
            ('a', ..) => &["b", "c"],
            ('b', ..) => &["b"],
            _ => &["c"],
        };
        for kind in kinds {
            devices.push(may(kind, rule.major, rule.minor, &rule.access));
        }
    }
    json!({ "devices": devices })
}
