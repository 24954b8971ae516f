//! Reads what a container uses from its cgroup.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Hierarchies;
use crate::stats::{BlockIo, CpuStats, MemoryStats, Stats};

/// Version 1 says "no limit" with the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;
/// Version 1 counts user and kernel time in hundredths of a second (USER_HZ).
const TICK_NS: u64 = 10_000_000;

struct Files<'a> {
    hierarchies: &'a Hierarchies,
    cgroup: &'a Path,
}

impl Hierarchies {
    /// One look at a cgroup. An error of kind "not found" tells that there is none.
    pub fn stats(&self, cgroup: &Path) -> io::Result<Stats> {
        let files = Files { hierarchies: self, cgroup };
        if !self.present(cgroup) {
            return Err(ErrorKind::NotFound.into());
        }
        let (cpu, memory, block_io) = match self.unified() {
            true => (files.cpu_unified(), files.memory_unified(), files.block_io_unified()),
            false => (files.cpu_legacy(), files.memory_legacy(), files.block_io_legacy()),
        };
        Ok(Stats {
            pids: files.number("pids", "pids.current").unwrap_or_default(),
            // "max" is no number.
            pids_limit: files.number("pids", "pids.max").unwrap_or_default(),
            cpu,
            memory,
            block_io,
        })
    }

    fn present(&self, cgroup: &Path) -> bool {
        self.roots.iter().any(|root| super::below(root, cgroup).exists())
    }
}

impl Files<'_> {
    fn text(&self, controller: &str, file: &str) -> Option<String> {
        let path: PathBuf = self.hierarchies.directory(controller, self.cgroup)?.join(file);
        fs::read_to_string(path).ok()
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        self.text(controller, file)?.trim().parse().ok()
    }

    /// Lines of a name and a number.
    fn table(&self, controller: &str, file: &str) -> BTreeMap<String, u64> {
        let text = self.text(controller, file).unwrap_or_default();
        let line = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }

    fn cpu_legacy(&self) -> CpuStats {
        let split = self.table("cpuacct", "cpuacct.stat");
        let throttling = self.table("cpu", "cpu.stat");
        let get = |table: &BTreeMap<String, u64>, name| table.get(name).copied().unwrap_or(0);
        let each = self.text("cpuacct", "cpuacct.usage_percpu").unwrap_or_default();
        CpuStats {
            total_ns: self.number("cpuacct", "cpuacct.usage").unwrap_or_default(),
            user_ns: get(&split, "user").saturating_mul(TICK_NS),
            kernel_ns: get(&split, "system").saturating_mul(TICK_NS),
            per_cpu_ns: each.split_whitespace().filter_map(|time| time.parse().ok()).collect(),
            periods: get(&throttling, "nr_periods"),
            throttled_periods: get(&throttling, "nr_throttled"),
            throttled_ns: get(&throttling, "throttled_time"),
        }
    }

    fn cpu_unified(&self) -> CpuStats {
        let table = self.table("cpu", "cpu.stat");
        let get = |name: &str| table.get(name).copied().unwrap_or(0);
        let ns = |name: &str| get(name).saturating_mul(1000);
        CpuStats {
            total_ns: ns("usage_usec"),
            user_ns: ns("user_usec"),
            kernel_ns: ns("system_usec"),
            per_cpu_ns: Vec::new(),
            periods: get("nr_periods"),
            throttled_periods: get("nr_throttled"),
            throttled_ns: ns("throttled_usec"),
        }
    }

    fn memory_legacy(&self) -> MemoryStats {
        let number = |file: &str| self.number("memory", file).unwrap_or_default();
        let limit = number("memory.limit_in_bytes");
        MemoryStats {
            usage: number("memory.usage_in_bytes"),
            max_usage: number("memory.max_usage_in_bytes"),
            limit: if limit < UNLIMITED { limit } else { 0 },
            failures: number("memory.failcnt"),
            detail: self.table("memory", "memory.stat"),
        }
    }

    fn memory_unified(&self) -> MemoryStats {
        let number = |file: &str| self.number("memory", file).unwrap_or_default();
        MemoryStats {
            usage: number("memory.current"),
            max_usage: 0,
            limit: number("memory.max"),
            failures: 0,
            detail: self.table("memory", "memory.stat"),
        }
    }

    fn block_io_legacy(&self) -> Vec<BlockIo> {
        let mut devices = BTreeMap::new();
        // Which of them counts depends on the devices' schedulers.
        let counted = ["blkio.bfq.", "blkio.", "blkio.throttle."].into_iter().any(|family| {
            for (file, bytes) in [("io_service_bytes", true), ("io_serviced", false)] {
                let text = self.text("blkio", &format!("{family}{file}_recursive"));
                for line in text.unwrap_or_default().lines() {
                    add_legacy(&mut devices, line, bytes);
                }
            }
            !devices.is_empty()
        });
        if counted { devices.into_values().collect() } else { Vec::new() }
    }

    fn block_io_unified(&self) -> Vec<BlockIo> {
        let text = self.text("io", "io.stat").unwrap_or_default();
        text.lines().filter_map(unified).collect()
    }
}

/// `8:0 Read 4096`; other operations than the two, and the line of the sum, are passed over.
fn add_legacy(devices: &mut BTreeMap<(u64, u64), BlockIo>, line: &str, bytes: bool) {
    let mut fields = line.split_whitespace();
    let (Some(device), Some(operation), Some(value)) =
        (fields.next().and_then(device), fields.next(), fields.next())
    else {
        return;
    };
    let Ok(value) = value.parse::<u64>() else { return };
    let (major, minor) = device;
    let empty = BlockIo { major, minor, ..BlockIo::default() };
    let entry = devices.entry(device).or_insert(empty);
    match (operation, bytes) {
        ("Read", true) => entry.read_bytes = value,
        ("Read", false) => entry.reads = value,
        ("Write", true) => entry.written_bytes = value,
        ("Write", false) => entry.writes = value,
        _ => {}
    }
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …`
fn unified(line: &str) -> Option<BlockIo> {
    let mut fields = line.split_whitespace();
    let (major, minor) = device(fields.next()?)?;
    let mut found = BlockIo { major, minor, ..BlockIo::default() };
    for (name, value) in fields.filter_map(|field| field.split_once('=')) {
        let Ok(value) = value.parse() else { continue };
        match name {
            "rbytes" => found.read_bytes = value,
            "wbytes" => found.written_bytes = value,
            "rios" => found.reads = value,
            "wios" => found.writes = value,
            _ => {}
        }
    }
    Some(found)
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_counting_devices_are_read() {
        let wanted =
            BlockIo { major: 8, minor: 16, read_bytes: 1, written_bytes: 2, reads: 3, writes: 4 };
        let mut devices = BTreeMap::new();
        for line in ["8:16 Read 1", "8:16 Write 2", "8:16 Sync 9", "Total 12"] {
            add_legacy(&mut devices, line, true);
        }
        for line in ["8:16 Read 3", "8:16 Write 4", "nonsense"] {
            add_legacy(&mut devices, line, false);
        }
        assert_eq!(devices.values().collect::<Vec<_>>(), [&wanted]);
        let line = "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0";
        assert_eq!(unified(line), Some(wanted));
    }
}
