//! What a host sees of the file system: the machine's, with its own `/etc`, `/var/lib`, `/run`,
//! `/tmp`, `/var/tmp`, `/dev/shm`, `/proc`, `/sys` and cgroups.
//!
//! `/etc` and `/var/lib` are overlays, for mount points must be made in them (the machine may have
//! no `/var/lib/skep`) and the machine's must stay as they are.
//!
//! **Invariant:** nothing mounted here is seen outside the host's mount namespace.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::cgroup::{Hierarchy, Version};
use crate::limits;

/// Directories that a host has below its own, besides the daemon's log.
const OWN: &[&str] = &[
    "bin",
    "etc/upper",
    "etc/work",
    "var-lib/upper",
    "var-lib/work",
    "skep",
    "run/lock",
    "tmp",
    "var-tmp",
];

/// Those that do not outlive a restart of the host.
const VOLATILE: &[&str] = &["run", "tmp"];

/// Before the host starts, from outside: its directories, `/run` and `/tmp` empty.
pub fn prepare(dir: &Path) -> Result<()> {
    for name in VOLATILE {
        let path = dir.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("failed to empty {}", path.display()))?;
        }
    }
    for name in OWN {
        let path = dir.join(name);
        fs::create_dir_all(&path).with_context(|| format!("failed to make {}", path.display()))?;
    }
    for name in ["tmp", "var-tmp"] {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777))
            .with_context(|| format!("failed to open {} to all", path.display()))?;
    }
    Ok(())
}

/// The host's own version of files in `/etc`, as name and text; over those of the machine.
pub fn write_etc(dir: &Path, files: &[(&str, String)]) -> Result<()> {
    for (name, text) in files {
        let path = dir.join("etc/upper").join(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

fn mount_at(
    source: &Path,
    target: &str,
    kind: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> Result<()> {
    mount(Some(source), target, kind, flags, data)
        .with_context(|| format!("failed to mount {} on {target}", kind.unwrap_or("own directory")))
}

fn overlay(dir: &Path, lower: &str) -> Result<()> {
    let own = dir.join(lower.trim_start_matches('/').replace('/', "-"));
    let data = format!("lowerdir={lower},upperdir={0}/upper,workdir={0}/work", own.display());
    mount_at(Path::new("overlay"), lower, Some("overlay"), MsFlags::empty(), Some(&data))
}

/// A directory held open by its path, so that it can still be reached when a mount covers it.
struct Held {
    _file: File,
    path: PathBuf,
}

fn hold(path: &Path) -> Result<Held> {
    let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(Held { _file: file, path })
}

fn cgroups(hierarchies: &[Hierarchy]) -> Result<()> {
    let base = Path::new("/sys/fs/cgroup");
    if hierarchies.iter().all(|hierarchy| hierarchy.mount != base) {
        let none = MsFlags::empty();
        mount_at(Path::new("cgroup"), "/sys/fs/cgroup", Some("tmpfs"), none, Some("mode=755"))?;
    }
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.mount.starts_with(base)) {
        let target = hierarchy.mount.to_str().context("failed to read a cgroup's mount point")?;
        fs::create_dir_all(target).with_context(|| format!("failed to make {target}"))?;
        let (kind, options) = match &hierarchy.version {
            Version::V1 { options } => ("cgroup", Some(options.as_str())),
            Version::V2 => ("cgroup2", None),
        };
        mount_at(Path::new(kind), target, Some(kind), MsFlags::empty(), options)?;
    }
    Ok(())
}

/// Names such as `cpu` that point to `cpu,cpuacct`: read before the tree is covered.
fn cgroup_links() -> Vec<(PathBuf, PathBuf)> {
    let Ok(entries) = fs::read_dir("/sys/fs/cgroup") else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter_map(|path| fs::read_link(&path).ok().map(|to| (path, to))).collect()
}

/// By the host's first process, in its new namespaces. `dir` was made ready by [`prepare`].
pub fn enter(dir: &Path, hierarchies: &[Hierarchy]) -> Result<()> {
    // Slave: what the machine unmounts later is not kept busy here; nothing goes the other way.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .context("failed to part from the machine's mounts")?;
    overlay(dir, "/etc")?;
    overlay(dir, "/var/lib")?;
    let binds = [
        ("skep", limits::DATA_ROOT),
        ("bin", limits::BIN),
        ("run", "/run"),
        ("var-tmp", "/var/tmp"),
        ("tmp", "/tmp"),
    ];
    let held = binds
        .iter()
        .map(|(own, target)| Ok((hold(&dir.join(own))?, *target)))
        .collect::<Result<Vec<_>>>()?;
    for (own, target) in &held {
        fs::create_dir_all(target).with_context(|| format!("failed to make {target}"))?;
        mount_at(&own.path, target, None, MsFlags::MS_BIND, None)?;
    }
    let links = cgroup_links();
    let none = MsFlags::empty();
    mount_at(Path::new("sysfs"), "/sys", Some("sysfs"), none, None)?;
    cgroups(hierarchies)?;
    for (link, to) in links {
        symlink(&to, &link).with_context(|| format!("failed to link {}", link.display()))?;
    }
    mount_at(Path::new("shm"), "/dev/shm", Some("tmpfs"), none, Some("mode=1777"))?;
    mount_at(Path::new("proc"), "/proc", Some("proc"), none, None)
}
