//! From a container's documents to what the runtime is told. Pure, but for the user's words that are
//! checked on the way.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use skep_docker_api::ApiError;
use skep_docker_api::json::{ContainerUpdateRequest, HostConfig, Map};
use skep_engine::apparmor;
use skep_engine::block_io::{BlockIo, DeviceShare};
use skep_engine::config::{
    Device, LogDriver, LogLimits, Mount, MountSource, Namespace, NetworkNamespace, Resources,
    Rootfs, Seccomp, Ulimit,
};
use skep_engine::logs::{IMAGE_ANNOTATION, NAME_ANNOTATION};
use skep_engine::{ContainerConfig, Signal};
use skep_idmap::IdMaps;

use crate::defaults::Defaults;
use crate::etc::EtcFiles;
use crate::record::Record;

/// What the node adds to a container's documents at its start.
pub struct Ground {
    pub rootfs: Rootfs,
    /// Each mount's source on the host, in the order of the record's.
    pub sources: Vec<MountSource>,
    pub etc: EtcFiles,
    /// None: the host's.
    pub network: Option<PathBuf>,
    pub pid: Namespace,
    pub ipc: Namespace,
    pub log: PathBuf,
    /// None: the host's user namespace.
    pub id_maps: Option<IdMaps>,
    pub defaults: Arc<Defaults>,
}

pub fn build(record: &Record, ground: Ground) -> Result<ContainerConfig, ApiError> {
    let (config, host) = (&record.config, &record.host_config);
    let mut made = ContainerConfig::new(&record.id, ground.rootfs, record.command());
    made.env.clone_from(&config.env);
    if config.tty && !config.env.iter().any(|it| it.starts_with("TERM=")) {
        made.env.insert(0, "TERM=xterm".to_owned());
    }
    made.cwd.clone_from(&config.working_dir);
    made.user.clone_from(&config.user);
    made.groups = host.group_add.clone().unwrap_or_default();
    made.hostname.clone_from(&config.hostname);
    made.domainname.clone_from(&config.domainname);
    made.tty = config.tty;
    made.open_stdin = config.open_stdin;
    made.stdin_once = config.stdin_once;
    made.init = host.init.unwrap_or(ground.defaults.init);
    made.read_only = host.readonly_rootfs;
    let mounts = record.mounts.iter().zip(ground.sources);
    made.mounts = mounts
        .map(|(mount, source)| Mount {
            propagation: mount.propagation.clone(),
            non_recursive: mount.non_recursive,
            read_only_non_recursive: mount.read_only_non_recursive,
            ..Mount::new(&mount.target, source, mount.read_only)
        })
        .collect();
    made.hosts_path = Some(ground.etc.hosts);
    made.hostname_path = Some(ground.etc.hostname);
    made.resolv_conf_path = Some(ground.etc.resolv_conf);
    made.network = ground.network.map_or(NetworkNamespace::Host, NetworkNamespace::Join);
    made.capability_add = host.cap_add.clone().unwrap_or_default();
    made.capability_drop = host.cap_drop.clone().unwrap_or_default();
    made.sysctls.clone_from(&host.sysctls);
    let ulimits = host.ulimits.iter().flatten();
    made.ulimits =
        ulimits.map(|it| Ulimit { name: it.name.clone(), soft: it.soft, hard: it.hard }).collect();
    ground.defaults.add_ulimits(&mut made.ulimits);
    made.resources = resources(host);
    made.cgroup_parent = cgroup_parent(&host.cgroup_parent);
    made.oom_score_adj = i32::try_from(host.oom_score_adj).unwrap_or(i32::MAX);
    made.stop_signal.clone_from(&config.stop_signal);
    (made.log_driver, made.log) = log(&host.log_config.kind, &host.log_config.config)?;
    made.log_path = Some(ground.log);
    made.privileged = host.privileged;
    let devices = host.devices.iter().flatten();
    made.devices = devices
        .map(|it| Device {
            on_host: it.path_on_host.clone().into(),
            in_container: match it.path_in_container.as_str() {
                "" => it.path_on_host.clone().into(),
                path => path.into(),
            },
            access: match it.cgroup_permissions.as_str() {
                "" => "rwm".to_owned(),
                access => access.to_owned(),
            },
        })
        .collect();
    made.device_rules = host.device_cgroup_rules.clone().unwrap_or_default();
    made.no_new_privileges = ground.defaults.no_new_privileges;
    // Who has every privilege is not filtered, unless it is asked for.
    if !host.privileged {
        made.seccomp = ground.defaults.seccomp.clone();
    }
    security(host, &mut made)?;
    made.masked_paths.clone_from(&host.masked_paths);
    made.read_only_paths.clone_from(&host.readonly_paths);
    made.id_maps = ground.id_maps;
    made.pid = ground.pid;
    made.ipc = ground.ipc;
    made.uts = match host.uts_mode.as_str() {
        "host" => Namespace::Host,
        _ => Namespace::Private,
    };
    made.cgroup = match host.cgroupns_mode.as_str() {
        "host" => Namespace::Host,
        _ => Namespace::Private,
    };
    // The shared namespace has its own already.
    if made.ipc == Namespace::Private {
        made.shm_bytes = u64::try_from(host.shm_size).unwrap_or(0);
    }
    made.no_shared_memory = host.ipc_mode == "none";
    made.labels.clone_from(&config.labels);
    made.annotations.clone_from(&host.annotations);
    // What log drivers may call it.
    made.annotations.insert(NAME_ANNOTATION.to_owned(), record.name.clone());
    made.annotations.insert(IMAGE_ANNOTATION.to_owned(), config.image.clone());
    Ok(made)
}

pub fn resources(host: &HostConfig) -> Resources {
    Resources {
        memory_bytes: host.memory,
        nano_cpus: host.nano_cpus,
        pids: host.pids_limit.unwrap_or(0).max(0),
        cpu_shares: u64::try_from(host.cpu_shares).unwrap_or(0),
        cpu_period: u64::try_from(host.cpu_period).unwrap_or(0),
        cpu_quota: host.cpu_quota,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpuset_mems: host.cpuset_mems.clone(),
        memory_reservation_bytes: host.memory_reservation,
        memory_swap_bytes: host.memory_swap,
        memory_swappiness: host.memory_swappiness.and_then(|it| u64::try_from(it).ok()),
        oom_kill_disable: host.oom_kill_disable.unwrap_or(false),
        blkio_weight: host.blkio_weight,
        block_io: BlockIo {
            weights: shares(&host.blkio_weight_device, |it| (&it.path, it.weight.into())),
            read_bps: shares(&host.blkio_device_read_bps, |it| (&it.path, it.rate)),
            write_bps: shares(&host.blkio_device_write_bps, |it| (&it.path, it.rate)),
            read_iops: shares(&host.blkio_device_read_iops, |it| (&it.path, it.rate)),
            write_iops: shares(&host.blkio_device_write_iops, |it| (&it.path, it.rate)),
        },
        cpu_rt_period: u64::try_from(host.cpu_realtime_period).unwrap_or(0),
        cpu_rt_runtime: u64::try_from(host.cpu_realtime_runtime).unwrap_or(0),
    }
}

fn shares<T>(given: &Option<Vec<T>>, read: impl Fn(&T) -> (&String, u64)) -> Vec<DeviceShare> {
    let share = |it| {
        let (path, amount) = read(it);
        DeviceShare { path: path.into(), amount }
    };
    given.iter().flatten().map(share).collect()
}

/// From the root, as it is written or not, and never above it.
fn cgroup_parent(given: &str) -> Option<PathBuf> {
    let mut path = PathBuf::from("/");
    for part in Path::new(given).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            _ => {}
        }
    }
    (path != Path::new("/")).then_some(path)
}

/// What an update says goes over what stands; zero and nothing leave it.
pub fn update(host: &mut HostConfig, asked: &ContainerUpdateRequest) {
    let silent = ContainerUpdateRequest::default();
    macro_rules! over {
        ($($key:ident),*) => { $(
            if asked.$key != silent.$key {
                host.$key.clone_from(&asked.$key);
            }
        )* };
    }
    over!(
        cpu_shares,
        memory,
        nano_cpus,
        blkio_weight,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        pids_limit
    );
    if !asked.restart_policy.name.is_empty() {
        host.restart_policy = asked.restart_policy.clone();
    }
}

fn security(host: &HostConfig, made: &mut ContainerConfig) -> Result<(), ApiError> {
    for option in host.security_opt.iter().flatten() {
        // Both `=` and, from old clients, `:`.
        let parts = option.split_once('=').or_else(|| option.split_once(':'));
        match parts {
            None if option == "no-new-privileges" => made.no_new_privileges = true,
            Some(("no-new-privileges", "true")) => made.no_new_privileges = true,
            Some(("no-new-privileges", "false")) => made.no_new_privileges = false,
            Some(("seccomp", "unconfined")) => made.seccomp = Seccomp::Unconfined,
            Some(("seccomp", "builtin")) => made.seccomp = Seccomp::Default,
            Some(("seccomp", profile)) => made.seccomp = Seccomp::Profile(profile.to_owned()),
            Some(("apparmor", profile)) => made.apparmor = Some(profile.to_owned()),
            // Without SELinux a label means nothing, as in Docker.
            Some(("label", _)) => {}
            None if option == "writable-cgroups" => made.writable_cgroups = true,
            Some(("writable-cgroups", "true" | "1")) => made.writable_cgroups = true,
            Some(("writable-cgroups", "false" | "0")) => made.writable_cgroups = false,
            Some(("systempaths", "unconfined")) => {
                made.masked_paths = Some(Vec::new());
                made.read_only_paths = Some(Vec::new());
            }
            _ => {
                return Err(ApiError::invalid(format!("invalid --security-opt 2: {option:?}")));
            }
        }
    }
    Ok(())
}

/// The profile that a container has, or had if it ran now: what Docker shows of it. Empty on a host
/// without AppArmor.
pub fn apparmor(host: &HostConfig) -> Option<String> {
    let options = host.security_opt.iter().flatten().rev();
    let mut named = options.filter_map(|it| it.split_once('=').or_else(|| it.split_once(':')));
    let named = named.find(|(option, _)| *option == "apparmor").map(|it| it.1);
    apparmor::profile_of(named, host.privileged).map(str::to_owned)
}

/// The driver and its bounds. DEVIATION: a log has Docker's `local` driver's bounds unless it is
/// told otherwise, for one without fills the disk.
pub fn log(kind: &str, options: &Map) -> Result<(LogDriver, LogLimits), ApiError> {
    let mut limits = LogLimits::default();
    match kind {
        "none" => return Ok((LogDriver::None, limits)),
        "syslog" => return Ok((LogDriver::Syslog(options.clone()), limits)),
        "journald" => return Ok((LogDriver::Journald(options.clone()), limits)),
        "" | "json-file" | "local" => {}
        other => {
            return Err(ApiError::invalid(format!(
                "logger: no log driver named '{other}' is registered"
            )));
        }
    }
    for (option, value) in options {
        let bad = || ApiError::invalid(format!("invalid value {value:?} of log opt {option}"));
        match option.as_str() {
            "max-size" if value == "-1" => limits.file_bytes_max = u64::MAX,
            "max-size" => limits.file_bytes_max = bytes(value).ok_or_else(bad)?,
            "max-file" => {
                limits.files_max = value.parse().ok().filter(|it| *it > 0).ok_or_else(bad)?
            }
            // Looked at where the log is read.
            "labels" | "env" => {}
            // These change nothing of what can be read back.
            "compress" | "labels-regex" | "env-regex" | "tag" | "mode" | "max-buffer-size" => {}
            _ => {
                return Err(ApiError::invalid(format!(
                    "unknown log opt '{option}' for {kind} log driver"
                )));
            }
        }
    }
    Ok((LogDriver::JsonFile, limits))
}

/// `10m` and its kin.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (number, factor) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        't' => (&text[..text.len() - 1], 1 << 40),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A signal in Docker's words of refusal.
pub fn signal(text: &str) -> Result<Signal, ApiError> {
    Signal::parse(text).ok_or_else(|| ApiError::invalid(format!("invalid signal: {text}")))
}

/// Tries what will be tried at the start, so that a refusal comes before anything is made.
pub fn check(record: &Record, defaults: Arc<Defaults>) -> Result<(), ApiError> {
    let ground = Ground {
        rootfs: Rootfs::Directory("/".into()),
        sources: Vec::new(),
        etc: EtcFiles::at(Path::new("/etc")),
        network: None,
        pid: Namespace::Private,
        ipc: Namespace::Private,
        log: PathBuf::from("/"),
        // What does not go together with maps was refused before.
        id_maps: None,
        defaults,
    };
    let mut made = build(record, ground)?;
    (made.hosts_path, made.hostname_path, made.resolv_conf_path) = (None, None, None);
    made.check().map_err(|error| match error {
        skep_engine::Error::Invalid(why) => ApiError::invalid(why),
        skep_engine::Error::Unsupported(why) => {
            ApiError::new(skep_docker_api::Kind::NotImplemented, why)
        }
        error => ApiError::system(skep_types::error_chain(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        assert_eq!(bytes("10m"), Some(10 << 20));
        assert_eq!(bytes("1G"), Some(1 << 30));
        assert_eq!(bytes("512kb"), Some(512 << 10));
        assert_eq!(bytes("many"), None);
    }

    #[test]
    fn a_parent_cgroup_is_never_above_the_root() {
        let path = |text| cgroup_parent(text).map(|path| path.display().to_string());
        assert_eq!(path(""), None);
        assert_eq!(path("/"), None);
        assert_eq!(path("a/b").as_deref(), Some("/a/b"));
        assert_eq!(path("/../a/./../b/").as_deref(), Some("/b"));
    }

    #[test]
    fn an_update_leaves_what_it_does_not_name() {
        let mut host = HostConfig { memory: 5, cpu_shares: 7, ..HostConfig::default() };
        let asked = ContainerUpdateRequest { memory: 9, ..ContainerUpdateRequest::default() };
        update(&mut host, &asked);
        assert_eq!((host.memory, host.cpu_shares), (9, 7));
    }

    #[test]
    fn log_options_are_checked() {
        let log_of = |kind: &str, pairs: &[(&str, &str)]| {
            let options = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            log(kind, &options)
        };
        let (_, limits) = log_of("local", &[("max-size", "1m"), ("max-file", "2")]).unwrap();
        assert_eq!((limits.file_bytes_max, limits.files_max), (1 << 20, 2));
        assert!(log_of("fluentd", &[]).is_err());
        assert!(log_of("json-file", &[("colour", "red")]).is_err());
        assert!(log_of("json-file", &[("max-file", "0")]).is_err());
    }
}
