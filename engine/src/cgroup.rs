//! The cgroups of shims and containers, on version 1 hierarchies and on the unified one.
//!
//! libcontainer makes a container's cgroups and restricts its devices. Here is the rest: a leaf for
//! the shims outside the daemon's cgroup, the limits, the freezer, what is used, the end of whatever
//! is left in a container's cgroup, and its removal.

mod block_io;
mod freezer;
mod limits;
mod realtime;
mod tun;
mod usage;

pub use limits::Before;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::defaults::{CGROUP_REMOVE_TIMEOUT, KILL_TIMEOUT, POLL_INTERVAL, POLL_INTERVAL_MIN};

const MOUNTS: &str = "/sys/fs/cgroup";
/// The leaf of all shims below the parent. No container's id can be this: ids start with a letter
/// or digit.
const SHIMS: &str = "_shims";
/// The leaf of the process that answers names, which outlives the daemon as shims do.
const NAMES: &str = "_names";
/// How deep a container's own cgroups are followed; the kernel has no bound by default.
const DEPTH_MAX: u32 = 64;

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

    /// Where a controller's files of a cgroup are; None if this host has no such controller.
    fn directory(&self, controller: &str, cgroup: &Path) -> Option<PathBuf> {
        if self.unified {
            return Some(below(Path::new(MOUNTS), cgroup));
        }
        // Some are mounted together: `cpu,cpuacct`.
        let has = |root: &&PathBuf| {
            let name = root.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.split(',').any(|one| one == controller))
        };
        self.roots.iter().find(has).map(|root| below(root, cgroup))
    }

    /// All processes of a cgroup and of those below it. None if there is no such cgroup.
    pub fn processes(&self, cgroup: &Path) -> Option<Vec<i32>> {
        let directory = self.roots.iter().map(|root| below(root, cgroup)).find(|d| d.exists())?;
        let mut pids = Vec::new();
        collect(&directory, DEPTH_MAX, &mut pids);
        pids.sort_unstable();
        pids.dedup();
        Some(pids)
    }

    /// Names of the hierarchies below the mount (`memory`, `cpu,cpuacct` …).
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let below = self.roots.iter().filter_map(|root| root.strip_prefix(MOUNTS).ok()?.to_str());
        below.filter(|name| !name.is_empty())
    }

    /// Moves the calling process, which must have a single thread, to the shims' leaf, out of the
    /// cgroup of the daemon that started it, with which it would be limited and ended. Where that is
    /// the root there is nothing to leave. `cpuset` is left alone: an inherited set of CPUs is right
    /// for a shim, and a new cpuset cgroup would have none.
    pub fn join_shims(&self, parent: &Path) -> io::Result<()> {
        self.join(&parent.join(SHIMS))
    }

    /// The same to the leaf of the process that answers names.
    pub fn join_names(&self, parent: &Path) -> io::Result<()> {
        self.join(&parent.join(NAMES))
    }

    fn join(&self, leaf: &Path) -> io::Result<()> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        for root in self.roots.iter().filter(|root| !root.ends_with("cpuset")) {
            let now = self.place_in(root, &own);
            if now.is_some_and(|now| now == "/" || Path::new(now) == leaf) {
                continue;
            }
            let leaf = below(root, leaf);
            fs::create_dir_all(&leaf)?;
            fs::write(door(&leaf), "0")?;
        }
        Ok(())
    }

    /// Where a process is in a hierarchy, by its table `number:controllers:path`.
    fn place_in<'a>(&self, root: &Path, table: &'a str) -> Option<&'a str> {
        let name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        table.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let same = match controllers.strip_prefix("name=").unwrap_or(controllers) {
                // Version 2: alone, or beside the hierarchies of version 1.
                "" => self.unified || name == "unified",
                controllers => controllers == name,
            };
            same.then_some(path)
        })
    }

    /// Opens a container's cgroup in each hierarchy that has it: a process of a single thread that
    /// writes `0` to each is then in it, also from a namespace where there is no such path.
    pub fn doors(&self, cgroup: &Path) -> io::Result<Vec<File>> {
        let doors = self.roots.iter().map(|root| door(&below(root, cgroup)));
        let present = doors.filter(|door| door.exists());
        present.map(|door| File::options().write(true).open(door)).collect()
    }

    /// Whether the kernel counts swap per cgroup (it is a boot option on some).
    pub fn has_swap_limit(&self) -> bool {
        if !self.unified {
            let file = "memory.memsw.limit_in_bytes";
            return self.roots.iter().any(|root| root.join(file).exists());
        }
        // The root has no such file: one of its children with the controller tells.
        let children = fs::read_dir(MOUNTS).into_iter().flatten().flatten();
        let mut counting = children.filter(|child| child.path().join("memory.max").exists());
        counting.next().is_none_or(|child| child.path().join("memory.swap.max").exists())
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

    /// The leaf of the process that answers names, in every hierarchy.
    pub fn of_names(&self, parent: &Path) -> Vec<PathBuf> {
        self.roots.iter().map(|root| below(root, &parent.join(NAMES))).collect()
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

    /// Removes the leaves of shims and of names and the parent, if nobody is in them.
    pub fn remove_parent(&self, parent: &Path) {
        for root in &self.roots {
            let parent = below(root, parent);
            // Busy is the common case: another runtime shares the parent.
            let _ = fs::remove_dir(parent.join(SHIMS));
            let _ = fs::remove_dir(parent.join(NAMES));
            let _ = fs::remove_dir(parent);
        }
    }

    /// Ends every process of a cgroup and waits until they are gone.
    pub fn kill_all(&self, cgroup: &Path) -> io::Result<()> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        let mut pause = POLL_INTERVAL_MIN;
        loop {
            let mut pids = Vec::new();
            for root in &self.roots {
                collect(&below(root, cgroup), DEPTH_MAX, &mut pids);
            }
            let left = pids.len();
            for pid in pids {
                // Gone already is as good.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if left == 0 {
                return Ok(());
            }
            // A frozen process of version 1 does not act on a signal, not even on this one. Where
            // it cannot be thawed the loop ends with an error of its own.
            let _ = self.thaw(cgroup);
            if Instant::now() > deadline {
                let message =
                    format!("{left} processes of cgroup {} outlive SIGKILL", cgroup.display());
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(POLL_INTERVAL);
        }
    }
}

/// Where a process of a single thread writes `0` to come in. Version 1 can take a thread alone, for
/// which the kernel need not hold up every fork of the machine; to do so takes it 10 ms or more.
fn door(directory: &Path) -> PathBuf {
    let threads = directory.join("tasks");
    if threads.exists() { threads } else { directory.join("cgroup.procs") }
}

/// A cgroup's path is written with a leading slash.
fn below(root: &Path, cgroup: &Path) -> PathBuf {
    root.join(cgroup.strip_prefix("/").unwrap_or(cgroup))
}

fn collect(directory: &Path, depth: u32, pids: &mut Vec<i32>) {
    let Ok(text) = fs::read_to_string(directory.join("cgroup.procs")) else { return };
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), depth - 1, pids);
        }
    }
}

/// Removes a cgroup and those below it, waiting while the kernel still counts a dead process.
fn remove(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + CGROUP_REMOVE_TIMEOUT;
    let mut pause = POLL_INTERVAL_MIN;
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
        thread::sleep(pause);
        pause = (pause * 2).min(POLL_INTERVAL);
    }
}
