//! `GET /containers/{id}/stats`: what a container uses.

use std::collections::BTreeMap;

use super::shape::{null_default, omitempty, shape};

shape! {
    PidsStats { "current" current: u64 => "omitempty", "limit" limit: u64 => "omitempty" }

    BlkioEntry { "major" major: u64, "minor" minor: u64, "op" op: String, "value" value: u64 }

    BlkioStats {
        "io_service_bytes_recursive" io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
        "io_serviced_recursive" io_serviced_recursive: Option<Vec<BlkioEntry>>,
        "io_queue_recursive" io_queue_recursive: Option<Vec<BlkioEntry>>,
        "io_service_time_recursive" io_service_time_recursive: Option<Vec<BlkioEntry>>,
        "io_wait_time_recursive" io_wait_time_recursive: Option<Vec<BlkioEntry>>,
        "io_merged_recursive" io_merged_recursive: Option<Vec<BlkioEntry>>,
        "io_time_recursive" io_time_recursive: Option<Vec<BlkioEntry>>,
        "sectors_recursive" sectors_recursive: Option<Vec<BlkioEntry>>,
    }

    /// Nanoseconds.
    CpuUsage {
        "total_usage" total_usage: u64,
        "percpu_usage" percpu_usage: Option<Vec<u64>> => "omitempty",
        "usage_in_kernelmode" usage_in_kernelmode: u64,
        "usage_in_usermode" usage_in_usermode: u64,
    }

    ThrottlingData { "periods" periods: u64, "throttled_periods" throttled_periods: u64, "throttled_time" throttled_time: u64 }

    CpuStats {
        "cpu_usage" cpu_usage: CpuUsage,
        "system_cpu_usage" system_cpu_usage: u64 => "omitempty",
        "online_cpus" online_cpus: u32 => "omitempty",
        "throttling_data" throttling_data: ThrottlingData,
    }

    MemoryStats {
        "usage" usage: u64 => "omitempty",
        "max_usage" max_usage: u64 => "omitempty",
        "stats" stats: BTreeMap<String, u64> => "omitempty",
        "failcnt" failcnt: u64 => "omitempty",
        "limit" limit: u64 => "omitempty",
    }

    NetworkStats {
        "rx_bytes" rx_bytes: u64,
        "rx_packets" rx_packets: u64,
        "rx_errors" rx_errors: u64,
        "rx_dropped" rx_dropped: u64,
        "tx_bytes" tx_bytes: u64,
        "tx_packets" tx_packets: u64,
        "tx_errors" tx_errors: u64,
        "tx_dropped" tx_dropped: u64,
    }

    /// The processor's numbers come twice: now, and at the look before.
    Stats {
        "name" name: String => "omitempty",
        "id" id: String => "omitempty",
        "read" read: String,
        "preread" preread: String,
        "pids_stats" pids_stats: PidsStats,
        "blkio_stats" blkio_stats: BlkioStats,
        "num_procs" num_procs: u32,
        "cpu_stats" cpu_stats: CpuStats,
        "precpu_stats" precpu_stats: CpuStats,
        "memory_stats" memory_stats: MemoryStats,
        "networks" networks: Option<BTreeMap<String, NetworkStats>> => "omitempty",
    }
}
