//! The cgroups of shims and containers, on version 1 hierarchies and on the unified one.
//!
//! Limits are set by libcontainer when it makes a container. Here is the rest: a leaf for the shims
//! outside the daemon's cgroup, the end of whatever is left in a container's cgroup, and its
//! removal.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::defaults::{CGROUP_REMOVE_TIMEOUT, KILL_TIMEOUT, POLL_INTERVAL};

const MOUNTS: &str = "/sys/fs/cgroup";
/// The leaf of all shims below the parent. No container's id can be this: ids start with a letter
/// or digit.
const SHIMS: &str = "_shims";

/// The mounted hierarchies of this host.
#[derive(Debug, Clone)]
pub struct Hierarchies {
    roots: Vec<PathBuf>,
    unified: bool,
}

impl Hierarchies {
    /// Reads what is mounted. On a hybrid host the empty unified hierarchy counts as one more.
    pub fn find() -> io::Result<Hierarchies> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mut roots: Vec<PathBuf> = Vec::new();
        let mut unified = false;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(target), Some(kind)) = (fields.next(), fields.next()) else { continue };
            if !target.starts_with(MOUNTS) || !matches!(kind, "cgroup" | "cgroup2") {
                continue;
            }
            unified |= kind == "cgroup2" && target == MOUNTS;
            if !roots.iter().any(|root| root == Path::new(target)) {
                roots.push(target.into());
            }
        }
        if roots.is_empty() {
            return Err(io::Error::new(ErrorKind::NotFound, "no cgroup hierarchy is mounted"));
        }
        Ok(Hierarchies { roots, unified })
    }

    /// Whether this host has version 2 alone.
    pub fn unified(&self) -> bool {
        self.unified
    }

    /// Names of the hierarchies below the mount (`memory`, `cpu,cpuacct` …).
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let below = self.roots.iter().filter_map(|root| root.strip_prefix(MOUNTS).ok()?.to_str());
        below.filter(|name| !name.is_empty())
    }

    /// Moves the calling process to the shims' leaf. `cpuset` is left alone: an inherited set of
    /// CPUs is right for a shim, and a new cpuset cgroup would have none.
    pub fn join_shims(&self, parent: &Path) -> io::Result<()> {
        for root in self.roots.iter().filter(|root| !root.ends_with("cpuset")) {
            let leaf = below(root, parent).join(SHIMS);
            fs::create_dir_all(&leaf)?;
            fs::write(leaf.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// Opens a container's cgroup in each hierarchy that has it: a process that writes `0` to each
    /// is then in it, also from a namespace where there is no such path.
    pub fn doors(&self, cgroup: &Path) -> io::Result<Vec<File>> {
        let doors = self.roots.iter().map(|root| below(root, cgroup).join("cgroup.procs"));
        let present = doors.filter(|door| door.exists());
        present.map(|door| File::options().write(true).open(door)).collect()
    }

    /// Takes an access right to devices back that libcontainer always gives; version 1 only.
    pub fn deny_device(&self, cgroup: &Path, rule: &str) -> io::Result<()> {
        match self.roots.iter().find(|root| root.ends_with("devices")) {
            Some(root) => fs::write(below(root, cgroup).join("devices.deny"), rule),
            None => Ok(()),
        }
    }

    /// Whether the kernel counts swap per cgroup (it is a boot option on some).
    pub fn has_swap_limit(&self) -> bool {
        let file = "memory.memsw.limit_in_bytes";
        self.unified || self.roots.iter().any(|root| root.join(file).exists())
    }

    /// How many processes of the cgroup the kernel killed for want of memory.
    pub fn oom_kills(&self, cgroup: &Path) -> u64 {
        let count = |path: PathBuf| {
            let text = fs::read_to_string(path).ok()?;
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        };
        let places = self.roots.iter().flat_map(|root| {
            let directory = below(root, cgroup);
            [directory.join("memory.events"), directory.join("memory.oom_control")]
        });
        places.filter_map(count).max().unwrap_or(0)
    }

    /// Ends every process of a cgroup and removes it from all hierarchies. What is not there is
    /// fine.
    pub fn destroy(&self, cgroup: &Path) -> io::Result<()> {
        self.kill_all(cgroup)?;
        let mut last = Ok(());
        for root in &self.roots {
            if let Err(error) = remove(&below(root, cgroup)) {
                last = Err(error);
            }
        }
        last
    }

    /// Removes the shims' leaf and the parent, if nobody is in them.
    pub fn remove_parent(&self, parent: &Path) {
        for root in &self.roots {
            let parent = below(root, parent);
            // Busy is the common case: another runtime shares the parent.
            let _ = fs::remove_dir(parent.join(SHIMS));
            let _ = fs::remove_dir(parent);
        }
    }

    fn kill_all(&self, cgroup: &Path) -> io::Result<()> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        loop {
            let mut left = 0;
            for root in &self.roots {
                let Ok(pids) = fs::read_to_string(below(root, cgroup).join("cgroup.procs")) else {
                    continue;
                };
                for pid in pids.lines().filter_map(|line| line.parse().ok()) {
                    // Gone already is as good.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    left += 1;
                }
            }
            if left == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                let message =
                    format!("{left} processes of cgroup {} outlive SIGKILL", cgroup.display());
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

/// A cgroup's path is written with a leading slash.
fn below(root: &Path, cgroup: &Path) -> PathBuf {
    root.join(cgroup.strip_prefix("/").unwrap_or(cgroup))
}

/// Removes a cgroup and those below it, waiting while the kernel still counts a dead process.
fn remove(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + CGROUP_REMOVE_TIMEOUT;
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                remove(&entry.path())?;
            }
        }
        thread::sleep(POLL_INTERVAL);
    }
}
