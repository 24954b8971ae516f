//! What a container uses, as its cgroup counts it.

use std::collections::BTreeMap;

/// One look. What a kernel does not count is zero or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub pids: u64,
    /// Zero: none.
    pub pids_limit: u64,
    pub cpu: CpuStats,
    pub memory: MemoryStats,
    pub block_io: Vec<BlockIo>,
}

/// Nanoseconds since the container began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    pub total_ns: u64,
    pub user_ns: u64,
    pub kernel_ns: u64,
    /// Version 1 only.
    pub per_cpu_ns: Vec<u64>,
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
}

/// Bytes, but for `failures`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    pub usage: u64,
    /// Version 1 only.
    pub max_usage: u64,
    /// Zero: none.
    pub limit: u64,
    /// How often the limit was met; version 1 only.
    pub failures: u64,
    /// The kernel's own names: `cache`, `inactive_file` …
    pub detail: BTreeMap<String, u64>,
}

/// What went to and from one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockIo {
    pub major: u64,
    pub minor: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub reads: u64,
    pub writes: u64,
}
