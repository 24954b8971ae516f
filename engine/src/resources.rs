//! How much a container may take, Docker's rules for it, and what of it this kernel can hold to.

use serde::{Deserialize, Serialize};

use crate::block_io::{BlockIo, DeviceShare};
use crate::defaults::{CPU_PERIOD_US, MEMORY_BYTES_MIN};
use crate::error::{Error, Result};

/// Zero means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    pub memory_bytes: i64,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    pub pids: i64,
    #[serde(default)]
    pub cpu_shares: u64,
    /// Microseconds, with `cpu_quota`; not together with `nano_cpus`.
    #[serde(default)]
    pub cpu_period: u64,
    #[serde(default)]
    pub cpu_quota: i64,
    /// `0-2,4`; empty means all.
    #[serde(default)]
    pub cpuset_cpus: String,
    #[serde(default)]
    pub cpuset_mems: String,
    #[serde(default)]
    pub memory_reservation_bytes: i64,
    /// Memory and swap together; zero is twice the memory, -1 no limit.
    #[serde(default)]
    pub memory_swap_bytes: i64,
    #[serde(default)]
    pub memory_swappiness: Option<u64>,
    #[serde(default)]
    pub oom_kill_disable: bool,
    /// 10 to 1000.
    #[serde(default)]
    pub blkio_weight: u16,
    /// Of single devices.
    #[serde(default)]
    pub block_io: BlockIo,
    /// Microseconds of realtime in each period of so many microseconds.
    #[serde(default)]
    pub cpu_rt_period: u64,
    #[serde(default)]
    pub cpu_rt_runtime: u64,
}

/// Which limits a host's cgroups know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    pub memory: bool,
    pub swap: bool,
    pub swappiness: bool,
    pub reservation: bool,
    pub oom_kill_disable: bool,
    pub pids: bool,
    pub cpu: bool,
    pub cpuset: bool,
    pub blkio_weight: bool,
    pub blkio_rates: bool,
    pub realtime: bool,
}

/// A share of time: so many microseconds in each period, or without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bandwidth {
    pub period_us: u64,
    pub quota_us: Option<i64>,
}

impl Resources {
    /// Refuses, in Docker's words, what makes no sense on any host, and CPUs that this one lacks.
    pub fn check(&self) -> Result<()> {
        let online = |kind| std::fs::read_to_string(format!("/sys/devices/system/{kind}/online"));
        // A kernel without NUMA has one node and does not say so.
        let cpus = online("cpu").unwrap_or_default();
        let nodes = online("node").unwrap_or_else(|_| "0".to_owned());
        self.check_with(cpus.trim(), nodes.trim()).map_err(Error::Invalid)
    }

    fn check_with(&self, cpus_online: &str, nodes_online: &str) -> Result<(), String> {
        let (memory, swap) = (self.memory_bytes, self.memory_swap_bytes);
        let reservation = self.memory_reservation_bytes;
        if memory < 0 || reservation < 0 || swap < -1 {
            return Err("a memory limit is negative".into());
        }
        if memory != 0 && memory < MEMORY_BYTES_MIN {
            return Err("Minimum memory limit allowed is 6MB".into());
        }
        if memory > 0 && swap > 0 && swap < memory {
            return Err(
                "Minimum memoryswap limit should be larger than memory limit, see usage".into()
            );
        }
        if memory == 0 && swap > 0 {
            return Err(
                "You should always set the Memory limit when using Memoryswap limit, see usage"
                    .into(),
            );
        }
        if let Some(swappiness @ 101..) = self.memory_swappiness {
            return Err(format!(
                "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
            ));
        }
        if reservation > 0 && reservation < MEMORY_BYTES_MIN {
            return Err("Minimum memory reservation allowed is 6MB".into());
        }
        if memory > 0 && memory < reservation {
            return Err("Minimum memory limit can not be less than memory reservation limit, see \
                        usage"
                .into());
        }
        if self.pids < -1 {
            return Err("the limit of processes is negative".into());
        }
        self.check_cpu(cpus_online)?;
        available(&self.cpuset_cpus, cpus_online, "cpuset cpus", "CPUs")?;
        available(&self.cpuset_mems, nodes_online, "cpuset mems", "memory nodes")?;
        if self.blkio_weight != 0 && !(10..=1000).contains(&self.blkio_weight) {
            return Err("Range of blkio weight is from 10 to 1000".into());
        }
        self.block_io.check()
    }

    fn check_cpu(&self, online: &str) -> Result<(), String> {
        if self.nano_cpus > 0 && self.cpu_period > 0 {
            return Err("Conflicting options: Nano CPUs and CPU Period cannot both be set".into());
        }
        if self.nano_cpus > 0 && self.cpu_quota > 0 {
            return Err("Conflicting options: Nano CPUs and CPU Quota cannot both be set".into());
        }
        let count = numbers(online).map_or(0, |cpus| cpus.len()).max(1);
        // The kernel takes no quota under a millisecond, which is 0.01 CPUs of Docker's period.
        let most = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        if self.nano_cpus != 0 && !(10_000_000..=most).contains(&self.nano_cpus) {
            return Err(format!(
                "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
            ));
        }
        if self.cpu_period != 0 && !(1000..=1_000_000).contains(&self.cpu_period) {
            return Err("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s \
                        (i.e. 1000000)"
                .into());
        }
        if (1..1000).contains(&self.cpu_quota) {
            return Err("CPU cfs quota can not be less than 1ms (i.e. 1000)".into());
        }
        if self.cpu_rt_period != 0 && self.cpu_rt_runtime > self.cpu_rt_period {
            return Err("cpu real-time runtime cannot be higher than cpu real-time period".into());
        }
        Ok(())
    }

    /// Takes away what the host cannot do, and says so in Docker's words. Refuses, as Docker does,
    /// realtime where there is none.
    pub fn fit(&mut self, host: &Support) -> Result<Vec<String>> {
        if (self.cpu_rt_period != 0 || self.cpu_rt_runtime != 0) && !host.realtime {
            return Err(Error::Invalid(
                "Your kernel does not support CPU real-time scheduler".into(),
            ));
        }
        const ABSENT: &str = "or the cgroup is not mounted.";
        let mut warnings = Vec::new();
        let mut warn = |text: String| warnings.push(text);
        if self.memory_bytes > 0 && !host.memory {
            warn(format!(
                "Your kernel does not support memory limit capabilities {ABSENT} Limitation \
                 discarded."
            ));
            (self.memory_bytes, self.memory_swap_bytes) = (0, -1);
        }
        if self.memory_bytes > 0 && self.memory_swap_bytes != -1 && !host.swap {
            warn(format!(
                "Your kernel does not support swap limit capabilities {ABSENT} Memory limited \
                 without swap."
            ));
            self.memory_swap_bytes = -1;
        }
        if self.memory_swappiness.is_some() && !host.swappiness {
            warn(format!(
                "Your kernel does not support memory swappiness capabilities {ABSENT} Memory \
                 swappiness discarded."
            ));
            self.memory_swappiness = None;
        }
        if self.memory_reservation_bytes > 0 && !host.reservation {
            warn(format!(
                "Your kernel does not support memory soft limit capabilities {ABSENT} Limitation \
                 discarded."
            ));
            self.memory_reservation_bytes = 0;
        }
        if self.oom_kill_disable && !host.oom_kill_disable {
            warn(
                "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
            );
            self.oom_kill_disable = false;
        }
        if self.oom_kill_disable && self.memory_bytes == 0 {
            warn(
                "OOM killer is disabled for the container, but no memory limit is set, this can \
                 result in the system running out of resources."
                    .to_owned(),
            );
        }
        if self.pids > 0 && !host.pids {
            warn(format!(
                "Your kernel does not support PIDs limit capabilities {ABSENT} PIDs limit \
                 discarded."
            ));
            self.pids = 0;
        }
        if self.cpu_shares > 0 && !host.cpu {
            warn(format!("Your kernel does not support CPU shares {ABSENT} Shares discarded."));
            self.cpu_shares = 0;
        }
        if (self.cpu_period != 0 || self.cpu_quota != 0) && !host.cpu {
            warn(
                "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."
                    .to_owned(),
            );
            (self.cpu_period, self.cpu_quota) = (0, 0);
        }
        let placed = !self.cpuset_cpus.is_empty() || !self.cpuset_mems.is_empty();
        if placed && !host.cpuset {
            warn(format!("Your kernel does not support cpuset {ABSENT} Cpuset discarded."));
            self.cpuset_cpus.clear();
            self.cpuset_mems.clear();
        }
        if self.blkio_weight > 0 && !host.blkio_weight {
            warn(format!(
                "Your kernel does not support Block I/O weight {ABSENT} Weight discarded."
            ));
            self.blkio_weight = 0;
        }
        warnings.extend(self.fit_block_io(host));
        Ok(warnings)
    }

    fn fit_block_io(&mut self, host: &Support) -> Vec<String> {
        let block_io = &mut self.block_io;
        let lists: [(&mut Vec<DeviceShare>, bool, &str, &str); 5] = [
            (&mut block_io.weights, host.blkio_weight, "Block I/O weight_device", "Weight-device"),
            (
                &mut block_io.read_bps,
                host.blkio_rates,
                "BPS Block I/O read limit",
                "Block I/O BPS read limit",
            ),
            (
                &mut block_io.write_bps,
                host.blkio_rates,
                "BPS Block I/O write limit",
                "Block I/O BPS write limit",
            ),
            (
                &mut block_io.read_iops,
                host.blkio_rates,
                "IOPS Block read limit",
                "Block I/O IOPS read limit",
            ),
            (
                &mut block_io.write_iops,
                host.blkio_rates,
                "IOPS Block write limit",
                "Block I/O IOPS write limit",
            ),
        ];
        let mut warnings = Vec::new();
        for (shares, known, what, discarded) in lists {
            if !known && !shares.is_empty() {
                shares.clear();
                warnings.push(format!(
                    "Your kernel does not support {what} or the cgroup is not mounted. \
                     {discarded} discarded."
                ));
            }
        }
        warnings
    }

    /// Memory and swap together in bytes; None: no limit.
    pub(crate) fn swap_limit(&self) -> Option<i64> {
        match (self.memory_bytes, self.memory_swap_bytes) {
            (..=0, _) | (_, ..=-1) => None,
            // Docker's default: as much swap again.
            (memory, 0) => Some(memory.saturating_mul(2)),
            (_, swap) => Some(swap),
        }
    }

    pub(crate) fn bandwidth(&self) -> Bandwidth {
        if self.nano_cpus > 0 {
            let quota = i128::from(self.nano_cpus) * i128::from(CPU_PERIOD_US) / 1_000_000_000;
            let quota_us = Some(i64::try_from(quota).unwrap_or(i64::MAX));
            return Bandwidth { period_us: CPU_PERIOD_US, quota_us };
        }
        Bandwidth {
            period_us: if self.cpu_period == 0 { CPU_PERIOD_US } else { self.cpu_period },
            quota_us: (self.cpu_quota > 0).then_some(self.cpu_quota),
        }
    }
}

fn available(asked: &str, online: &str, option: &str, what: &str) -> Result<(), String> {
    if asked.is_empty() {
        return Ok(());
    }
    let wanted = numbers(asked).ok_or_else(|| format!("Invalid value {asked} for {option}"))?;
    let known = numbers(online).unwrap_or_default();
    if wanted.iter().all(|number| known.contains(number)) {
        return Ok(());
    }
    Err(format!("Requested {what} are not available - requested {asked}, available: {online}"))
}

/// `0-2,4` as numbers; None if it is no such list, or reaches further than any kernel's CPUs.
fn numbers(list: &str) -> Option<Vec<u32>> {
    // The kernel's own bound (CONFIG_NR_CPUS).
    const MOST: u32 = 8192;
    let mut all = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Resources)) -> String {
        let mut resources = Resources::default();
        change(&mut resources);
        resources.check_with("0-3", "0").err().unwrap_or_default()
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        const MB: i64 = 1 << 20;
        assert_eq!(check(|_| {}), "");
        assert_eq!(check(|r| r.memory_bytes = 5 * MB), "Minimum memory limit allowed is 6MB");
        assert_eq!(
            check(|r| (r.memory_bytes, r.memory_swap_bytes) = (20 * MB, 10 * MB)),
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        );
        assert!(check(|r| r.memory_swap_bytes = 10 * MB).starts_with("You should always set"));
        assert_eq!(check(|r| (r.memory_bytes, r.memory_swap_bytes) = (20 * MB, -1)), "");
        assert!(check(|r| r.memory_swappiness = Some(101)).starts_with("Invalid value: 101"));
        assert!(
            check(|r| (r.memory_bytes, r.memory_reservation_bytes) = (20 * MB, 30 * MB))
                .starts_with("Minimum memory limit can not be less")
        );
        assert_eq!(
            check(|r| (r.nano_cpus, r.cpu_quota) = (1_000_000_000, 5000)),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
        );
        assert_eq!(
            check(|r| r.nano_cpus = 5_000_000_000),
            "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"
        );
        assert!(check(|r| r.cpu_period = 10).starts_with("CPU cfs period can not be less"));
        assert!(check(|r| r.cpu_quota = 10).starts_with("CPU cfs quota can not be less"));
        assert_eq!(
            check(|r| r.cpuset_cpus = "2-5".into()),
            "Requested CPUs are not available - requested 2-5, available: 0-3"
        );
        assert_eq!(check(|r| r.cpuset_cpus = "x".into()), "Invalid value x for cpuset cpus");
        assert_eq!(check(|r| r.cpuset_cpus = "0,2-3".into()), "");
        assert!(
            check(|r| (r.cpu_rt_period, r.cpu_rt_runtime) = (1000, 2000))
                .starts_with("cpu real-time runtime cannot be higher")
        );
        assert_eq!(check(|r| r.blkio_weight = 5), "Range of blkio weight is from 10 to 1000");
    }

    #[test]
    fn what_a_host_lacks_is_discarded_and_said() {
        let none = Support {
            memory: true,
            swap: false,
            swappiness: false,
            reservation: true,
            oom_kill_disable: false,
            pids: true,
            cpu: true,
            cpuset: true,
            blkio_weight: false,
            blkio_rates: false,
            realtime: false,
        };
        let mut resources = Resources {
            memory_bytes: 64 << 20,
            oom_kill_disable: true,
            blkio_weight: 100,
            ..Resources::default()
        };
        let rate = DeviceShare { path: "/dev/sda".into(), amount: 1 };
        resources.block_io.read_bps.push(rate);
        let warnings = resources.fit(&none).unwrap();
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert_eq!((resources.swap_limit(), resources.blkio_weight), (None, 0));
        assert!(resources.block_io.read_bps.is_empty());
        resources.cpu_rt_runtime = 1000;
        assert!(resources.fit(&none).is_err());
    }
}
