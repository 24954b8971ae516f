//! What a running container does and uses, as `top` and `stats` show it.

use std::collections::BTreeMap;
use std::process::Stdio;

use skep_docker_api::ApiError;
use skep_docker_api::json::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    ThrottlingData, TopResponse,
};
use skep_engine::Container;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::process::Command;

use crate::containers::{Result, runtime};

/// Its processes, by the host's `ps` with the arguments that are given.
pub async fn top(container: &Container, args: &str) -> Result<TopResponse> {
    let pids = container.processes().await.map_err(runtime)?;
    let args = if args.trim().is_empty() { "-ef" } else { args };
    let output = Command::new("ps").args(args.split_whitespace()).stdin(Stdio::null()).output();
    let output =
        output.await.map_err(|error| ApiError::system(format!("error running ps: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ApiError::invalid(format!("error running ps: {said}")));
    }
    table(&String::from_utf8_lossy(&output.stdout), &pids)
}

fn table(text: &str, pids: &[i32]) -> Result<TopResponse> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err(ApiError::invalid("Couldn't find PID field in ps output"));
    };
    let mut processes = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pid = words.get(column).and_then(|word| word.parse::<i32>().ok());
        if !pid.is_some_and(|pid| pids.contains(&pid)) {
            continue;
        }
        // The last column is the command, blanks and all.
        let (head, tail) = words.split_at(titles.len().saturating_sub(1).min(words.len()));
        let mut row: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
        row.push(tail.join(" "));
        processes.push(row);
    }
    Ok(TopResponse { titles, processes })
}

fn moment() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

/// One look at what it uses; the look before goes into it.
pub async fn stats(container: &Container, name: &str, before: Option<&Stats>) -> Result<Stats> {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let used = container.stats().await.map_err(runtime)?;
    let pid = container.pid().await.map_err(runtime)?;
    let entry = |it: &skep_engine::stats::BlockIo, op: &str, value| BlkioEntry {
        major: it.major,
        minor: it.minor,
        op: op.to_owned(),
        value,
    };
    let bytes = used.block_io.iter();
    let bytes = bytes
        .flat_map(|it| [entry(it, "read", it.read_bytes), entry(it, "write", it.written_bytes)]);
    let counts = used.block_io.iter();
    let counts = counts.flat_map(|it| [entry(it, "read", it.reads), entry(it, "write", it.writes)]);
    let cpu = used.cpu;
    Ok(Stats {
        name: format!("/{name}"),
        id: container.id().to_owned(),
        read: moment(),
        preread: before.map_or_else(|| NEVER.to_owned(), |it| it.read.clone()),
        pids_stats: PidsStats { current: used.pids, limit: used.pids_limit },
        blkio_stats: BlkioStats {
            io_service_bytes_recursive: Some(bytes.collect()),
            io_serviced_recursive: Some(counts.collect()),
            ..BlkioStats::default()
        },
        num_procs: 0,
        cpu_stats: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: cpu.total_ns,
                percpu_usage: Some(cpu.per_cpu_ns).filter(|it| !it.is_empty()),
                usage_in_kernelmode: cpu.kernel_ns,
                usage_in_usermode: cpu.user_ns,
            },
            system_cpu_usage: system_cpu_ns(),
            online_cpus: std::thread::available_parallelism()
                .map_or(1, |it| u32::try_from(it.get()).unwrap_or(u32::MAX)),
            throttling_data: ThrottlingData {
                periods: cpu.periods,
                throttled_periods: cpu.throttled_periods,
                throttled_time: cpu.throttled_ns,
            },
        },
        precpu_stats: before.map(|it| it.cpu_stats.clone()).unwrap_or_default(),
        memory_stats: MemoryStats {
            usage: used.memory.usage,
            max_usage: used.memory.max_usage,
            stats: used.memory.detail,
            failcnt: used.memory.failures,
            limit: match used.memory.limit {
                0 => host_memory(),
                limit => limit,
            },
        },
        networks: pid.and_then(networks),
    })
}

/// All time of all CPUs: user, nice, system, idle, iowait, irq, softirq.
fn system_cpu_ns() -> u64 {
    // Linux counts in hundredths of a second there, on every architecture.
    const TICK_NS: u64 = 10_000_000;
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).take(7).filter_map(|it| it.parse::<u64>().ok());
    ticks.sum::<u64>() * TICK_NS
}

fn host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The counters of its interfaces, its loopback's aside.
fn networks(pid: i32) -> Option<BTreeMap<String, NetworkStats>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let one = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let n: Vec<u64> = rest.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = n[..]
        else {
            return None;
        };
        let stats = NetworkStats {
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        };
        (name.trim() != "lo").then(|| (name.trim().to_owned(), stats))
    };
    let found: BTreeMap<_, _> = text.lines().filter_map(one).collect();
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_container() {
        let text = "UID   PID  PPID CMD\nroot  7  1 sleep 1 2\nroot  8  1 other\n";
        let shown = table(text, &[7]).unwrap();
        assert_eq!(shown.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(shown.processes, [["root", "7", "1", "sleep 1 2"]]);
        assert!(table("UID CMD\n", &[7]).is_err());
    }
}
