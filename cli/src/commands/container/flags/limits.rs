//! Flags about a container's share of the host. The first group is also `update`'s.

use clap::Args;
use skep_docker_api::json::{
    ContainerUpdateRequest, HostConfig, ThrottleDevice, Ulimit, WeightDevice,
};

use super::refuse;
use crate::failure::Outcome;
use crate::values::{amount, device, integer, ulimit};

#[derive(Debug, Args)]
pub struct Limits {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", value_parser = integer::short)]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    cpu_quota: Option<i64>,
    /// Limit CPU real-time period in microseconds
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    cpu_rt_period: Option<i64>,
    /// Limit CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int", value_parser = integer::signed)]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = amount::nano_cpus)]
    cpus: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Kernel memory limit (deprecated)
    #[arg(long, value_name = "bytes", value_parser = amount::bytes, hide = true)]
    kernel_memory: Option<i64>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", value_parser = amount::bytes)]
    memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = amount::bytes)]
    memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = swap)]
    memory_swap: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    pids_limit: Option<i64>,
}

fn swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { amount::bytes(text) }
}

impl Limits {
    /// Whether any of them was given.
    pub fn any(&self) -> bool {
        let numbers = [
            self.blkio_weight.map(i64::from),
            self.cpu_period,
            self.cpu_quota,
            self.cpu_rt_period,
            self.cpu_rt_runtime,
            self.cpu_shares,
            self.cpus,
            self.kernel_memory,
            self.memory,
            self.memory_reservation,
            self.memory_swap,
            self.pids_limit,
        ];
        numbers.iter().any(Option::is_some)
            || self.cpuset_cpus.is_some()
            || self.cpuset_mems.is_some()
    }

    pub fn apply(&self, host: &mut HostConfig) {
        host.blkio_weight = self.blkio_weight.unwrap_or(0);
        host.cpu_period = self.cpu_period.unwrap_or(0);
        host.cpu_quota = self.cpu_quota.unwrap_or(0);
        host.cpu_realtime_period = self.cpu_rt_period.unwrap_or(0);
        host.cpu_realtime_runtime = self.cpu_rt_runtime.unwrap_or(0);
        host.cpu_shares = self.cpu_shares.unwrap_or(0);
        host.nano_cpus = self.cpus.unwrap_or(0);
        host.cpuset_cpus = self.cpuset_cpus.clone().unwrap_or_default();
        host.cpuset_mems = self.cpuset_mems.clone().unwrap_or_default();
        host.memory = self.memory.unwrap_or(0);
        host.memory_reservation = self.memory_reservation.unwrap_or(0);
        host.memory_swap = self.memory_swap.unwrap_or(0);
        host.pids_limit = Some(self.pids_limit.unwrap_or(0));
    }

    /// The same in a request to change them: what is zero stays as it is.
    pub fn update(&self, request: &mut ContainerUpdateRequest) {
        let mut host = HostConfig::default();
        self.apply(&mut host);
        *request = ContainerUpdateRequest {
            blkio_weight: host.blkio_weight,
            cpu_period: host.cpu_period,
            cpu_quota: host.cpu_quota,
            cpu_realtime_period: host.cpu_realtime_period,
            cpu_realtime_runtime: host.cpu_realtime_runtime,
            cpu_shares: host.cpu_shares,
            nano_cpus: host.nano_cpus,
            cpuset_cpus: host.cpuset_cpus,
            cpuset_mems: host.cpuset_mems,
            memory: host.memory,
            memory_reservation: host.memory_reservation,
            memory_swap: host.memory_swap,
            pids_limit: self.pids_limit.filter(|limit| *limit != 0),
            ..Default::default()
        };
    }
}

#[derive(Debug, Args)]
pub struct RareLimits {
    /// Block IO weight (relative device weight)
    #[arg(long, value_name = "list", value_parser = device::weight)]
    blkio_weight_device: Vec<WeightDevice>,
    /// CPU count (Windows only)
    #[arg(long, value_name = "int", value_parser = integer::signed, hide = true)]
    cpu_count: Option<i64>,
    /// CPU percent (Windows only)
    #[arg(long, value_name = "int", value_parser = integer::signed, hide = true)]
    cpu_percent: Option<i64>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_name = "list", value_parser = device::bytes_rate)]
    device_read_bps: Vec<ThrottleDevice>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_name = "list", value_parser = device::operations_rate)]
    device_read_iops: Vec<ThrottleDevice>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_name = "list", value_parser = device::bytes_rate)]
    device_write_bps: Vec<ThrottleDevice>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_name = "list", value_parser = device::operations_rate)]
    device_write_iops: Vec<ThrottleDevice>,
    /// Maximum IO bandwidth limit for the system drive (Windows only)
    #[arg(long, value_name = "bytes", value_parser = amount::bytes, hide = true)]
    io_maxbandwidth: Option<i64>,
    /// Maximum IOps limit for the system drive (Windows only)
    #[arg(long, value_name = "uint", value_parser = integer::unsigned, hide = true)]
    io_maxiops: Option<u64>,
    /// Tune container memory swappiness (0 to 100)
    #[arg(long, value_name = "int", value_parser = integer::signed, default_value = "-1")]
    memory_swappiness: i64,
    /// Disable OOM Killer
    #[arg(long)]
    oom_kill_disable: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    oom_score_adj: Option<i64>,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes", value_parser = amount::bytes)]
    shm_size: Option<i64>,
    /// Ulimit options
    #[arg(long, value_name = "ulimit", value_parser = ulimit::parse)]
    ulimit: Vec<Ulimit>,
}

impl RareLimits {
    pub fn apply(&self, host: &mut HostConfig) -> Outcome {
        let swappiness = self.memory_swappiness;
        if swappiness != -1 && !(0..=100).contains(&swappiness) {
            return refuse(format!(
                "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
            ));
        }
        host.memory_swappiness = Some(swappiness);
        host.oom_kill_disable = Some(self.oom_kill_disable);
        host.oom_score_adj = self.oom_score_adj.unwrap_or(0);
        host.shm_size = self.shm_size.unwrap_or(0);
        host.cpu_count = self.cpu_count.unwrap_or(0);
        host.cpu_percent = self.cpu_percent.unwrap_or(0);
        host.io_maximum_iops = self.io_maxiops.unwrap_or(0);
        host.io_maximum_bandwidth =
            u64::try_from(self.io_maxbandwidth.unwrap_or(0)).unwrap_or_default();
        host.blkio_weight_device = Some(self.blkio_weight_device.clone());
        host.blkio_device_read_bps = Some(self.device_read_bps.clone());
        host.blkio_device_write_bps = Some(self.device_write_bps.clone());
        host.blkio_device_read_iops = Some(self.device_read_iops.clone());
        host.blkio_device_write_iops = Some(self.device_write_iops.clone());
        host.ulimits = Some(ulimit::distinct(&self.ulimit));
        Ok(())
    }
}
