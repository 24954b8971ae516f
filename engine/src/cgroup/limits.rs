//! Writes a container's limits to its cgroup, when it is made and when they change.
//!
//! Not left to libcontainer, so that a container that is made and one that is changed are the same.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Hierarchies, MOUNTS};
use crate::resources::{Bandwidth, Resources, Support};

/// The kernel's own numbers.
const SHARES: u64 = 1024;
const WEIGHT: u64 = 100;
const SWAPPINESS: u64 = 60;

/// What is in the cgroup's files before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// The kernel's defaults, which need not be written.
    Defaults,
    /// Other limits.
    Limits,
}

/// The files of one container's cgroup.
pub(super) struct Files<'a> {
    pub(super) hierarchies: &'a Hierarchies,
    cgroup: &'a Path,
    before: Before,
}

impl Hierarchies {
    /// What limits this host can hold a container to.
    pub fn support(&self) -> Support {
        if self.unified() {
            let text = fs::read_to_string(Path::new(MOUNTS).join("cgroup.controllers"));
            let text = text.unwrap_or_default();
            let has = |name: &str| text.split_whitespace().any(|known| known == name);
            return Support {
                memory: has("memory"),
                swap: has("memory") && self.has_swap_limit(),
                swappiness: false,
                reservation: has("memory"),
                oom_kill_disable: false,
                pids: has("pids"),
                cpu: has("cpu"),
                cpuset: has("cpuset"),
                blkio_weight: has("io"),
                blkio_rates: has("io"),
                realtime: false,
            };
        }
        let at_root = |controller: &str, file: &str| {
            let directory = self.directory(controller, Path::new("/"));
            directory.is_some_and(|directory| directory.join(file).exists())
        };
        Support {
            memory: at_root("memory", "memory.limit_in_bytes"),
            swap: self.has_swap_limit(),
            swappiness: at_root("memory", "memory.swappiness"),
            reservation: at_root("memory", "memory.soft_limit_in_bytes"),
            oom_kill_disable: at_root("memory", "memory.oom_control"),
            // The root has no limit of its own.
            pids: at_root("pids", "cgroup.procs"),
            cpu: at_root("cpu", "cpu.shares") && at_root("cpu", "cpu.cfs_quota_us"),
            cpuset: at_root("cpuset", "cpuset.cpus"),
            // The scheduler's weight is not the root's; what it counts there tells of it.
            blkio_weight: at_root("blkio", "blkio.weight")
                || at_root("blkio", "blkio.bfq.io_service_bytes"),
            blkio_rates: at_root("blkio", "blkio.throttle.read_bps_device"),
            realtime: at_root("cpu", "cpu.rt_runtime_us"),
        }
    }

    /// Sets all limits of a cgroup. They must have been checked and fitted to this host.
    pub fn limit(&self, cgroup: &Path, limits: &Resources, before: Before) -> io::Result<()> {
        let files = Files { hierarchies: self, cgroup, before };
        if self.unified() {
            files.memory_unified(limits)?;
            files.cpu_unified(limits)?;
        } else {
            files.memory_legacy(limits)?;
            files.cpu_legacy(limits)?;
            files.realtime(limits)?;
        }
        files.pids(limits)?;
        files.cpuset("cpuset.cpus", &limits.cpuset_cpus)?;
        files.cpuset("cpuset.mems", &limits.cpuset_mems)?;
        files.block_io(limits)
    }
}

impl Files<'_> {
    pub(super) fn path(&self, controller: &str, file: &str) -> io::Result<PathBuf> {
        let directory = self.hierarchies.directory(controller, self.cgroup).ok_or_else(|| {
            let message = format!("this host has no {controller} cgroup");
            io::Error::new(ErrorKind::Unsupported, message)
        })?;
        Ok(directory.join(file))
    }

    pub(super) fn path_at_root(&self, controller: &str) -> io::Result<PathBuf> {
        let root = Files { cgroup: Path::new("/"), ..*self };
        root.path(controller, "").map(|path| path.components().collect())
    }

    pub(super) fn write(
        &self,
        controller: &str,
        file: &str,
        value: impl ToString,
    ) -> io::Result<()> {
        let (path, value) = (self.path(controller, file)?, value.to_string());
        fs::write(&path, &value).map_err(|error| {
            let message = format!("failed to write {value} to {}: {error}", path.display());
            io::Error::new(error.kind(), message)
        })
    }

    /// Writes a value that was asked for, or the kernel's own if there may be another.
    pub(super) fn write_or<T: ToString>(
        &self,
        (controller, file): (&str, &str),
        value: Option<T>,
        default: T,
    ) -> io::Result<()> {
        match (value, self.before) {
            (Some(value), _) => self.write(controller, file, value),
            (None, Before::Defaults) => Ok(()),
            // A host that lacks the file has nothing to be undone.
            (None, Before::Limits) => match self.path(controller, file) {
                Ok(path) if path.exists() => self.write(controller, file, default),
                _ => Ok(()),
            },
        }
    }

    fn memory_legacy(&self, limits: &Resources) -> io::Result<()> {
        const LIMIT: &str = "memory.limit_in_bytes";
        const BOTH: &str = "memory.memsw.limit_in_bytes";
        if limits.memory_bytes > 0 || self.before == Before::Limits {
            let memory = if limits.memory_bytes > 0 { limits.memory_bytes } else { -1 };
            let both = limits.swap_limit();
            let now = self.read_number("memory", LIMIT);
            // The kernel keeps memory from exceeding memory and swap at any moment.
            let grows = both.is_none_or(|both| now.is_some_and(|now| now < both as u64));
            let both = both.unwrap_or(-1);
            let set_both = || match self.hierarchies.has_swap_limit() {
                true => self.write("memory", BOTH, both),
                false => Ok(()),
            };
            if self.before == Before::Defaults && both == -1 {
                self.memory_limit(LIMIT, memory)?;
            } else if grows {
                set_both()?;
                self.memory_limit(LIMIT, memory)?;
            } else {
                self.memory_limit(LIMIT, memory)?;
                set_both()?;
            }
        }
        let reservation =
            (limits.memory_reservation_bytes > 0).then_some(limits.memory_reservation_bytes);
        self.write_or(("memory", "memory.soft_limit_in_bytes"), reservation, -1)?;
        self.write_or(
            ("memory", "memory.swappiness"),
            limits.memory_swappiness,
            self.parents_swappiness(),
        )?;
        let disable = limits.oom_kill_disable.then_some(1);
        self.write_or(("memory", "memory.oom_control"), disable, 0)
    }

    /// A limit below what is used and cannot be given back is refused by the kernel as busy.
    fn memory_limit(&self, file: &str, bytes: i64) -> io::Result<()> {
        self.write("memory", file, bytes).map_err(|error| {
            if error.kind() != ErrorKind::ResourceBusy {
                return error;
            }
            let number = |file| self.read_number("memory", file).unwrap_or_default();
            io::Error::other(format!(
                "unable to set memory limit to {bytes} (current usage: {}, peak usage: {})",
                number("memory.usage_in_bytes"),
                number("memory.max_usage_in_bytes"),
            ))
        })
    }

    fn parents_swappiness(&self) -> u64 {
        let path = self.path("memory", "memory.swappiness").ok();
        let path = path.and_then(|path| Some(path.parent()?.parent()?.join("memory.swappiness")));
        let text = path.and_then(|path| fs::read_to_string(path).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(SWAPPINESS)
    }

    fn memory_unified(&self, limits: &Resources) -> io::Result<()> {
        let max = || "max".to_owned();
        let memory = limits.memory_bytes;
        let swap = limits.swap_limit().map(|both| both.saturating_sub(memory).to_string());
        // Swap first: memory that is over its new limit has a place to go, or has none, at once.
        if self.hierarchies.has_swap_limit() {
            self.write_or(("memory", "memory.swap.max"), swap, max())?;
        }
        let memory = (memory > 0).then(|| memory.to_string());
        self.write_or(("memory", "memory.max"), memory, max())?;
        let reservation = limits.memory_reservation_bytes;
        let reservation = (reservation > 0).then_some(reservation);
        self.write_or(("memory", "memory.low"), reservation, 0)
    }

    fn cpu_legacy(&self, limits: &Resources) -> io::Result<()> {
        let shares = (limits.cpu_shares > 0).then_some(limits.cpu_shares);
        self.write_or(("cpu", "cpu.shares"), shares, SHARES)?;
        let bandwidth = limits.bandwidth();
        if bandwidth == Resources::default().bandwidth() && self.before == Before::Defaults {
            return Ok(());
        }
        // A period is refused if the old quota were too much or too little of it.
        self.write("cpu", "cpu.cfs_quota_us", -1)?;
        self.write("cpu", "cpu.cfs_period_us", bandwidth.period_us)?;
        match bandwidth.quota_us {
            Some(quota) => self.write("cpu", "cpu.cfs_quota_us", quota),
            None => Ok(()),
        }
    }

    fn cpu_unified(&self, limits: &Resources) -> io::Result<()> {
        let weight = (limits.cpu_shares > 0).then(|| cpu_weight(limits.cpu_shares));
        self.write_or(("cpu", "cpu.weight"), weight, WEIGHT)?;
        let text = |bandwidth: Bandwidth| match bandwidth.quota_us {
            Some(quota) => format!("{quota} {}", bandwidth.period_us),
            None => format!("max {}", bandwidth.period_us),
        };
        let (wanted, none) = (text(limits.bandwidth()), text(Resources::default().bandwidth()));
        self.write_or(("cpu", "cpu.max"), (wanted != none).then_some(wanted), none)
    }

    fn pids(&self, limits: &Resources) -> io::Result<()> {
        let most = (limits.pids > 0).then(|| limits.pids.to_string());
        self.write_or(("pids", "pids.max"), most, "max".to_owned())
    }

    fn cpuset(&self, file: &str, wanted: &str) -> io::Result<()> {
        if !wanted.is_empty() {
            return self.write("cpuset", file, wanted);
        }
        let Ok(own) = self.path("cpuset", file) else { return Ok(()) };
        let now = fs::read_to_string(&own).unwrap_or_default();
        if self.before == Before::Defaults || now.trim().is_empty() {
            return Ok(());
        }
        // No kernel lets the last of a set go while processes are in it, but for a few new ones of
        // version 2. The parent's set is as good.
        let all = match self.hierarchies.unified() {
            true => format!("{file}.effective"),
            false => file.to_owned(),
        };
        let parent = own.parent().and_then(Path::parent).map(|parent| parent.join(all));
        let all = fs::read_to_string(parent.ok_or(ErrorKind::NotFound)?)?;
        self.write("cpuset", file, all.trim())
    }

    fn read_number(&self, controller: &str, file: &str) -> Option<u64> {
        fs::read_to_string(self.path(controller, file).ok()?).ok()?.trim().parse().ok()
    }
}

/// From version 1's 2 to 262144 to version 2's 1 to 10000, as runc 1.2 does, which Docker 28 runs.
fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_runcs() {
        assert_eq!([2, 1024, 262_144].map(cpu_weight), [1, 39, 10_000]);
    }
}
