//! A host's own subtree in each cgroup hierarchy the machine has mounted, of either version.
//!
//! Groups hang at the root of each hierarchy and not under the caller's own: on version 2 a group
//! with processes may hand no controllers down.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::process::Process;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// With the options that mount it again: `memory`, `cpu,cpuacct`, `none,name=systemd`.
    V1 {
        options: String,
    },
    V2,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    pub mount: PathBuf,
    pub version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freezer {
    Frozen,
    Thawed,
}

/// Options of a version 1 superblock that are no controllers.
fn is_flag(option: &str) -> bool {
    const FLAGS: &[&str] =
        &["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods"];
    FLAGS.contains(&option) || option.starts_with("release_agent=")
}

/// Reads proc(5)'s `mountinfo`; each hierarchy once, though it may be mounted several times.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(mount) = left.split(' ').nth(4) else { continue };
        let mut right = right.split(' ');
        let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
        let version = match kind {
            Some("cgroup2") => Version::V2,
            Some("cgroup") => {
                let named = options.split(',').any(|option| option.starts_with("name="));
                let controllers = options.split(',').filter(|option| !is_flag(option));
                let controllers: Vec<&str> =
                    named.then_some("none").into_iter().chain(controllers).collect();
                Version::V1 { options: controllers.join(",") }
            }
            _ => continue,
        };
        if found.iter().all(|hierarchy| hierarchy.version != version) {
            found.push(Hierarchy { mount: mount.into(), version });
        }
    }
    found
}

impl Hierarchy {
    fn group(&self, fleet: &str, machine: &str) -> PathBuf {
        self.mount.join(limits::CGROUP).join(fleet).join(machine)
    }

    fn has(&self, controller: &str) -> bool {
        match &self.version {
            Version::V1 { options } => options.split(',').any(|option| option == controller),
            Version::V2 => false,
        }
    }

    /// Make a group below `parent`, ready to take processes.
    fn make(&self, parent: &Path, name: &str) -> Result<PathBuf> {
        let group = parent.join(name);
        match fs::create_dir(&group) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(group),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("failed to make cgroup {}", group.display()));
            }
        }
        if self.has("cpuset") {
            // A new cpuset is empty, and an empty one refuses processes.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let value = fs::read_to_string(parent.join(file))
                    .with_context(|| format!("failed to read {file} of {}", parent.display()))?;
                fs::write(group.join(file), value.trim())
                    .with_context(|| format!("failed to set {file} of {}", group.display()))?;
            }
        }
        Ok(group)
    }

    /// Hand down every controller that the machine lets go of: what it keeps (real-time processes
    /// hold `cpu` back) is missing on the hosts as it is missing for any daemon on this machine.
    fn delegate(&self, group: &Path) -> Result<()> {
        if self.version != Version::V2 {
            return Ok(());
        }
        let controllers = fs::read_to_string(group.join("cgroup.controllers"))
            .with_context(|| format!("failed to read controllers of {}", group.display()))?;
        for controller in controllers.split_whitespace() {
            let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        Ok(())
    }
}

/// The cgroups of one fleet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    fleet: String,
}

impl Cgroups {
    pub fn of(fleet: &str) -> Result<Self> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")
            .context("failed to read the machine's mounts")?;
        let hierarchies = parse(&mountinfo);
        if hierarchies.is_empty() {
            bail!("no cgroup hierarchy is mounted on this machine");
        }
        Ok(Self { hierarchies, fleet: fleet.to_owned() })
    }

    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The fleet's own group; the registry's lock is held, for [`Self::remove`] takes away the
    /// parent when it is empty.
    pub fn create(&self) -> Result<()> {
        for hierarchy in &self.hierarchies {
            hierarchy.delegate(&hierarchy.mount)?;
            let all = hierarchy.make(&hierarchy.mount, limits::CGROUP)?;
            hierarchy.delegate(&all)?;
            let fleet = hierarchy.make(&all, &self.fleet)?;
            hierarchy.delegate(&fleet)?;
        }
        Ok(())
    }

    pub fn create_machine(&self, machine: &str) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let fleet = hierarchy.group(&self.fleet, "");
            let group = hierarchy.make(&fleet, machine)?;
            hierarchy.make(&group, limits::INIT_LEAF)?;
            hierarchy.make(&group, limits::DAEMON_LEAF)?;
        }
        Ok(())
    }

    /// Opened for writing: a process that writes `0` there joins. `leaf` may be empty.
    pub fn doors(&self, machine: &str, leaf: &str) -> Result<Vec<File>> {
        self.hierarchies
            .iter()
            .map(|hierarchy| {
                let path = hierarchy.group(&self.fleet, machine).join(leaf).join("cgroup.procs");
                OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .with_context(|| format!("failed to open {}", path.display()))
            })
            .collect()
    }

    /// The calling process enters. Allocates nothing: it also runs between fork and exec.
    pub fn join(doors: &mut [File]) -> std::io::Result<()> {
        doors.iter_mut().try_for_each(|door| door.write_all(b"0"))
    }

    /// Stop, or let go on, every process of a machine, its containers included.
    pub fn freeze(&self, machine: &str, wanted: Freezer) -> Result<()> {
        let v1 = self.hierarchies.iter().find(|hierarchy| hierarchy.has("freezer"));
        let v2 = self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
        let hierarchy = v1.or(v2).context("this machine has no freezer cgroup")?;
        let group = hierarchy.group(&self.fleet, machine);
        let (file, value, seen, proof) = match (v1.is_some(), wanted) {
            (true, Freezer::Frozen) => ("freezer.state", "FROZEN", "freezer.state", "FROZEN"),
            (true, Freezer::Thawed) => ("freezer.state", "THAWED", "freezer.state", "THAWED"),
            (false, Freezer::Frozen) => ("cgroup.freeze", "1", "cgroup.events", "frozen 1"),
            (false, Freezer::Thawed) => ("cgroup.freeze", "0", "cgroup.events", "frozen 0"),
        };
        let deadline = Instant::now() + limits::FREEZE_WITHIN;
        loop {
            // Version 1 may stay half-way and wants to be told again.
            fs::write(group.join(file), value)
                .with_context(|| format!("failed to write {file} of {}", group.display()))?;
            let state = fs::read_to_string(group.join(seen))
                .with_context(|| format!("failed to read {seen} of {}", group.display()))?;
            if state.lines().any(|line| line == proof) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{machine} is not {wanted:?} after {:?}", limits::FREEZE_WITHIN);
            }
            std::thread::sleep(limits::LOOK_EVERY);
        }
    }

    pub fn remove_machine(&self, machine: &str) -> Result<()> {
        let mut groups = self.hierarchies.iter().map(|h| h.group(&self.fleet, machine));
        groups.try_for_each(|group| remove_tree(&group))
    }

    /// All that the fleet has, and the parent with the last fleet; the registry's lock is held.
    pub fn remove(&self) -> Result<()> {
        for hierarchy in &self.hierarchies {
            remove_tree(&hierarchy.group(&self.fleet, ""))?;
            // Others' fleets keep it.
            let _ = fs::remove_dir(hierarchy.mount.join(limits::CGROUP));
        }
        Ok(())
    }
}

/// Kill what is in a group. Processes known by their records are gone by then; this finds those of
/// a fleet whose making or whose caller was broken off.
fn kill_all(group: &Path) -> Result<()> {
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for process in processes.lines().filter_map(|pid| Process::find(pid.parse().ok()?)) {
        process.signal(Signal::SIGKILL)?;
    }
    Ok(())
}

/// Children first. A group stays busy for a moment after its last process has gone.
fn remove_tree(group: &Path) -> Result<()> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to list {}", group.display()));
        }
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    let deadline = Instant::now() + limits::GONE_WITHIN;
    loop {
        kill_all(group)?;
        match fs::remove_dir(group) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(limits::LOOK_EVERY);
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("failed to remove cgroup {}", group.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read_from_the_mounts() {
        let mounts = "\
25 20 0:22 / /proc rw - proc proc rw
30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
31 25 0:27 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd
32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 25 0:28 / /other rw - cgroup cgroup rw,cpu,cpuacct
";
        let v1 = |mount: &str, options: &str| Hierarchy {
            mount: mount.into(),
            version: Version::V1 { options: options.into() },
        };
        assert_eq!(
            parse(mounts),
            [
                Hierarchy { mount: "/sys/fs/cgroup/unified".into(), version: Version::V2 },
                v1("/sys/fs/cgroup/systemd", "none,name=systemd"),
                v1("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"),
            ]
        );
    }
}
