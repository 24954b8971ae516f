//! One large service from its creation until every task has a node, and until every task runs:
//! through all of the leader, three managers' logs and the nodes' sessions.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skep_bench_swarm::{Cost, Crowd, Progress, Reached, Swarm, Way};
use skep_manager::control::Request;
use skep_types::network::IpamConfig;
use skep_types::service::NetworkAttachmentConfig;
use skep_types::{Annotations, NetworkId, NetworkSpec, ServiceMode, ServiceSpec, TaskSpec};

use crate::Arguments;
use crate::figures::Figure;

const NODES: usize = 1_000;
const TASKS: usize = 100_000;
const PATIENCE: Duration = Duration::from_secs(600);

/// SwarmKit's benchmark of its scheduler, 100,000 tasks of one service on 1,000 to 10,000 nodes: its
/// upper end, without Raft, allocation or nodes.
const SWARMKIT: f64 = 12_700.0;

pub async fn measure(dir: &Path, arguments: &Arguments) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for overlay in [false, true] {
        let words = if overlay { ", on an overlay" } else { "" };
        let dir = dir.join(if overlay { "overlay" } else { "plain" });
        let (reached, cost) = one_service(&dir, arguments, overlay).await?;
        let tasks = arguments.tasks.unwrap_or(TASKS) as f64;
        let rate = |time: Duration| tasks / time.as_secs_f64();
        figures.push(
            Figure::new(format!("leader to assigned{words}"), rate(reached.assigned), "tasks/s")
                .beside(SWARMKIT),
        );
        let running = rate(reached.running);
        figures.push(Figure::new(format!("leader to running{words}"), running, "tasks/s"));
        let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / tasks;
        let mut spent = |what: &str, spent: Duration| {
            let name = format!("leader processor time a task, {what}{words}");
            figures.push(Figure::new(name, micros(spent), "us"));
        };
        spent("to assigned", cost.assigned.total());
        spent("to running", cost.running.total());
        spent("of it nodes", cost.running.of("nodes"));
    }
    Ok(figures)
}

struct Costs {
    assigned: Cost,
    running: Cost,
}

async fn one_service(dir: &Path, arguments: &Arguments, overlay: bool) -> Result<(Reached, Costs)> {
    let (managers, nodes, tasks) =
        (arguments.managers, arguments.nodes.unwrap_or(NODES), arguments.tasks.unwrap_or(TASKS));
    let swarm = Arc::new(Swarm::up(dir, managers).await?);
    let workers = swarm.add_workers(nodes).await?;
    let crowd = Crowd::connect(&swarm, &workers, Way::Tls).await?;
    let leader = &swarm.leader().await?.manager;
    let term = leader.standing().term;
    let mut spec = service(tasks);
    if overlay {
        let id = leader.execute(Request::CreateNetwork(network())).await?.id;
        let target: NetworkId = id.parse().context("the network's id")?;
        spec.task.networks = vec![NetworkAttachmentConfig { target, aliases: vec![] }];
    }
    eprintln!("leader: {managers} managers, {nodes} nodes in session, {tasks} tasks …");
    let before = Cost::now()?;
    let mut progress = Progress::begin(leader, tasks);
    leader.execute(Request::CreateService(spec)).await?;
    progress.assigned(PATIENCE).await?;
    let assigned = Cost::now()?.since(&before);
    let reached = progress.reached(PATIENCE).await?;
    let running = Cost::now()?.since(&before);
    let (counts, standing) = (crowd.counts(), leader.standing());
    eprintln!("  assigned after {:.2?}: {assigned}", reached.assigned);
    eprintln!("  running after {:.2?}: {running}", reached.running);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    eprintln!(
        "  {} log entries, {} messages of assignments, {} reports, {} messages of networks with {} MiB",
        standing.last_log_index,
        count(&counts.messages),
        count(&counts.reports),
        count(&counts.network_messages),
        count(&counts.network_bytes) >> 20,
    );
    let lost = counts.lost.load(Ordering::Relaxed);
    ensure!(lost == 0, "{lost} sessions of nodes broke meanwhile");
    ensure!(standing.leads && standing.term == term, "the leader changed meanwhile");
    crowd.leave().await;
    Arc::into_inner(swarm).context("the swarm is still used")?.down().await;
    Ok((reached, Costs { assigned, running }))
}

fn service(replicas: usize) -> ServiceSpec {
    let mut task = TaskSpec::default();
    task.container.image = "web:latest".to_owned();
    ServiceSpec {
        task,
        ..ServiceSpec::new(
            Annotations { name: "web".to_owned(), ..Annotations::default() },
            ServiceMode::Replicated { replicas: replicas as u64 },
        )
    }
}

/// With room for a million tasks.
fn network() -> NetworkSpec {
    let subnet = "172.16.0.0/12".parse().expect("a constant network");
    NetworkSpec {
        annotations: Annotations { name: "front".to_owned(), ..Annotations::default() },
        driver: "overlay".to_owned(),
        ipam: vec![IpamConfig { subnet, range: None, gateway: None }],
        ..NetworkSpec::default()
    }
}
