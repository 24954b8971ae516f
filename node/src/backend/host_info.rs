//! What `/info` says of the host: what its kernel can hold containers to, what it guards them with, and what an operator should know.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use skep_containers::Cdi;
use skep_docker_api::json::{DeviceInfo, Info};
use skep_engine::apparmor::{self, Support as AppArmor};
use skep_engine::cgroup::Hierarchies;
use skep_engine::config::Seccomp;
use skep_engine::resources::Support;

use crate::config::Config;

/// Where Docker's own registry is, as clients name it.
const INDEX_SERVER: &str = "https://index.docker.io/v1/";

/// The engine's own id: made up once, and kept for as long as its state.
pub fn engine_id(data_root: &Path) -> io::Result<String> {
    let path = data_root.join("engine-id");
    let read = || fs::read_to_string(&path).map(|text| text.trim().to_owned());
    match read() {
        Ok(id) if !id.is_empty() => return Ok(id),
        Ok(_) => fs::remove_file(&path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = random_uuid();
    // Whoever comes second reads what the first wrote.
    match fs::File::options().write(true).create_new(true).open(&path) {
        Ok(mut file) => file.write_all(id.as_bytes()).map(|()| id),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(),
        Err(error) => Err(error),
    }
}

/// RFC 9562, version 4.
fn random_uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A switch of the kernel's; what cannot be read is off.
fn is_on(path: &str, on: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == on)
}

fn variable(names: [&str; 2]) -> String {
    names.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
}

/// A proxy's address may hold a password, which is nobody's business.
fn masked(proxy: String) -> String {
    let Some((scheme, rest)) = proxy.split_once("://") else { return proxy };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://xxxxx:xxxxx@{host}"),
        None => proxy,
    }
}

/// What backs the store's files, as `docker info` has it for overlay2.
fn backing(data_root: &Path) -> &'static str {
    use nix::sys::statfs;
    match statfs::statfs(data_root).map(|it| it.filesystem_type()) {
        Ok(statfs::EXT4_SUPER_MAGIC) => "extfs",
        Ok(statfs::XFS_SUPER_MAGIC) => "xfs",
        Ok(statfs::BTRFS_SUPER_MAGIC) => "btrfs",
        Ok(statfs::TMPFS_MAGIC) => "tmpfs",
        Ok(statfs::OVERLAYFS_SUPER_MAGIC) => "overlayfs",
        _ => "unknown",
    }
}

fn limits(info: &mut Info, support: &Support) {
    info.memory_limit = support.memory;
    info.swap_limit = support.swap;
    info.oom_kill_disable = support.oom_kill_disable;
    info.pids_limit = support.pids;
    info.cpu_cfs_period = support.cpu;
    info.cpu_cfs_quota = support.cpu;
    info.cpu_shares = support.cpu;
    info.cpu_set = support.cpuset;
}

/// Docker's words on what the kernel cannot do.
fn warnings(info: &Info) -> Vec<String> {
    let v1 = info.cgroup_version == "1";
    let missing = [
        (info.memory_limit, "No memory limit support"),
        (info.swap_limit, "No swap limit support"),
        // Version 2 has none, and there is nothing to be done about it.
        (info.oom_kill_disable || !v1, "No oom kill disable support"),
        (info.cpu_cfs_quota, "No cpu cfs quota support"),
        (info.cpu_cfs_period, "No cpu cfs period support"),
        (info.cpu_shares, "No cpu shares support"),
        (info.cpu_set, "No cpuset support"),
        (info.ipv4_forwarding, "IPv4 forwarding is disabled"),
    ];
    let missing = missing.into_iter().filter(|(there, _)| !there);
    missing.map(|(_, what)| format!("WARNING: {what}")).collect()
}

/// What drivers of devices know, with Docker's words on what is wrong with their descriptions.
fn devices(info: &mut Info, cdi: &Cdi) -> Vec<String> {
    let registry = cdi.registry();
    if cdi.enabled {
        let directories = cdi.directories.iter().map(|it| it.display().to_string());
        info.cdi_spec_dirs = directories.collect();
    }
    let device = |name: &String| DeviceInfo { source: "cdi".to_owned(), id: name.clone() };
    info.discovered_devices = registry.names().map(device).collect();
    let wrong = registry.errors.iter().map(|(path, error)| {
        format!("CDI: Error associated with spec file {}: {error}", path.display())
    });
    wrong.collect()
}

/// Fills in the host's part. It blocks on small files of the kernel's alone.
pub fn fill(info: &mut Info, config: &Config) {
    // As is said by who applies them: the engine has one profile of its own for system calls.
    let seccomp = fs::read_to_string("/proc/self/status").is_ok_and(|it| it.contains("\nSeccomp:"));
    let apparmor = apparmor::support();
    let profile = match config.settings.containers.seccomp {
        Seccomp::Default => "name=seccomp,profile=builtin",
        Seccomp::Unconfined => "name=seccomp,profile=unconfined",
        Seccomp::Profile(_) => "name=seccomp,profile=custom",
    };
    let mut unified = false;
    match Hierarchies::find() {
        Ok(hierarchies) => {
            unified = hierarchies.unified();
            limits(info, &hierarchies.support());
        }
        Err(error) => tracing::warn!(%error, "failed to look at the host's cgroups"),
    }
    info.cgroup_driver = "cgroupfs".to_owned();
    info.cgroup_version = if unified { "2" } else { "1" }.to_owned();
    info.security_options = [
        (apparmor == AppArmor::Full, "name=apparmor"),
        (seccomp, profile),
        (config.id_maps.is_some(), "name=userns"),
        (config.settings.containers.no_new_privileges, "name=no-new-privileges"),
        (unified, "name=cgroupns"),
    ]
    .into_iter()
    .filter(|(there, _)| *there)
    .map(|(_, option)| option.to_owned())
    .collect();
    info.ipv4_forwarding = is_on("/proc/sys/net/ipv4/ip_forward", "1");
    info.driver = skep_containers::DRIVER.to_owned();
    info.driver_status = [
        ("Backing Filesystem", backing(&config.data_root)),
        ("Supports d_type", "true"),
        ("Native Overlay Diff", "true"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    info.nfd = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    info.index_server_address = INDEX_SERVER.to_owned();
    let told = &config.settings.registries.proxies;
    let or = |told: &Option<String>, names| told.clone().unwrap_or_else(|| variable(names));
    info.http_proxy = masked(or(&told.http, ["HTTP_PROXY", "http_proxy"]));
    info.https_proxy = masked(or(&told.https, ["HTTPS_PROXY", "https_proxy"]));
    info.no_proxy = or(&told.except, ["NO_PROXY", "no_proxy"]);
    let mut said = config.api.warnings();
    said.extend(warnings(info));
    if apparmor == AppArmor::WithoutParser {
        let text = "WARNING: AppArmor is enabled, but there is no apparmor_parser: containers have no \
                    profile unless they name one";
        said.push(text.to_owned());
    }
    said.extend(devices(info, &config.settings.containers.cdi));
    info.warnings = (!said.is_empty()).then_some(said);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let id = engine_id(dir.path()).unwrap();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
        assert_eq!(engine_id(dir.path()).unwrap(), id);
        // One that was cut off while it was written is no id.
        fs::write(dir.path().join("engine-id"), "").unwrap();
        assert_ne!(engine_id(dir.path()).unwrap(), id);
    }

    #[test]
    fn a_proxy_s_password_is_not_shown() {
        assert_eq!(masked("http://u:p@proxy:3128".to_owned()), "http://xxxxx:xxxxx@proxy:3128");
        assert_eq!(masked("http://proxy:3128".to_owned()), "http://proxy:3128");
    }

    #[test]
    fn what_the_kernel_cannot_do_is_said() {
        let mut info = Info { cgroup_version: "2".to_owned(), ..Info::default() };
        info.ipv4_forwarding = true;
        let all = Support {
            memory: true,
            swap: false,
            swappiness: false,
            reservation: true,
            oom_kill_disable: false,
            pids: true,
            cpu: true,
            cpuset: true,
            blkio_weight: true,
            blkio_rates: true,
            realtime: false,
        };
        limits(&mut info, &all);
        assert_eq!(warnings(&info), ["WARNING: No swap limit support"]);
        info.cgroup_version = "1".to_owned();
        assert!(warnings(&info).contains(&"WARNING: No oom kill disable support".to_owned()));
    }
}
