//! What a daemon holds in memory when idle, and what each container adds.
//!
//! Proportional set size: a page that several processes share counts in parts.

use std::fs;

use anyhow::{Context, Result};

use super::figures::Figure;
use super::replicas::{end, run, sleepers};
use super::side::{Engine, HOSTS, Side, block_on};

const CONTAINERS: u64 = 30;

/// A line of `/proc/PID/smaps_rollup`, in MiB; a process that has ended has none.
fn held(pid: i32, line: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let found = text.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
    let kibibytes = found.and_then(|it| it.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.unwrap_or_default() / 1024.0
}

/// The sum over all hosts of the processes that these patterns name.
fn sum(side: &Side, commands: &[&str], line: &str) -> Result<f64> {
    let mut all = 0.0;
    for host in side.fleet.hosts() {
        for command in commands {
            all +=
                side.processes(&host, command)?.into_iter().map(|pid| held(pid, line)).sum::<f64>();
        }
    }
    Ok(all)
}

fn daemons(side: &Side) -> &'static [&'static str] {
    match side.engine {
        Engine::Skep(_) => &["skep daemon"],
        // Debian's containerd is started by dockerd and called by its bare name.
        Engine::Docker => &["^dockerd", "^containerd --config"],
    }
}

fn shims(side: &Side) -> &'static [&'static str] {
    match side.engine {
        Engine::Skep(_) => &["^skep-shim"],
        Engine::Docker => &["containerd-shim-runc"],
    }
}

/// The proportional set size of all hosts' daemons, in MiB.
pub fn of_daemons(side: &Side) -> Result<f64> {
    sum(side, daemons(side), "Pss")
}

/// The proportional set size of all containers' shims, in MiB.
pub fn of_shims(side: &Side) -> Result<f64> {
    sum(side, shims(side), "Pss")
}

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        side.form().await?;
        let hosts = HOSTS as f64;
        let resident = sum(side, daemons(side), "Rss")? / hosts;
        let before = of_daemons(side)?;
        let client = side.client(&side.fleet.host(1)).await?;
        run(&client, &sleepers(side, "held", CONTAINERS, None)).await.context("no containers")?;
        let after = of_daemons(side)?;
        let shims = of_shims(side)?;
        end(side, &client, "held").await?;
        side.leave().await?;
        let each = CONTAINERS as f64;
        Ok(vec![
            Figure::mebibytes("a manager's daemon, idle, resident", resident),
            Figure::mebibytes("a manager's daemon, idle, proportional", before / hosts),
            Figure::mebibytes("a container's shim, proportional", shims / each),
            Figure::mebibytes(
                "what a container adds in all, proportional",
                (shims + after - before) / each,
            ),
        ])
    })
}
