//! A control plane on two cores: 10,000 nodes in session, a thousand of them over TLS, and a million
//! tasks; what it holds in memory, how soon it answers while a thousand tasks change every second,
//! what a snapshot costs the writes beside it, and how long a new manager takes to be restored.
//!
//! Everything runs in this one process, the nodes and the clients too.

mod api;
mod load;
mod shape;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use skep_bench_swarm::{Cost, Counts, Crowd, Host, Swarm, Way, resident_bytes};
use skep_state::State;

use crate::Arguments;
use crate::figures::Figure;
use api::Api;
use load::{Churn, Latencies, Writes};
use shape::Shape;

/// What anything waited for may take at most, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(10);

/// What was measured so far; each is told at once, for all of it takes long.
struct Figures {
    title: String,
    found: Vec<Figure>,
}

impl Figures {
    fn add(&mut self, what: &str, value: f64, unit: &'static str) {
        eprintln!("  {what}: {value:.1} {unit}");
        self.found.push(Figure::new(format!("{}: {what}", self.title), value, unit));
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What a second state of the same objects takes.
fn state_alone(state: &State) -> Result<f64> {
    let objects = state.to_objects();
    let before = resident_bytes()?;
    let objects_held = state.tasks().len() * size_of::<skep_types::Task>();
    let copy = State::from_objects(objects).context("the objects of a state give none")?;
    let after = resident_bytes()?;
    ensure!(copy == *state, "the objects of a state give another");
    // The list of objects went, whole, while the state came.
    Ok(mebibytes((after + objects_held as u64).saturating_sub(before)))
}

pub async fn measure(dir: &Path, arguments: &Arguments) -> Result<Vec<Figure>> {
    let shape = Shape::of(arguments)?;
    let title = format!("control-plane {} nodes, {} tasks", shape.nodes, shape.tasks);
    eprintln!("{title} …");
    let mut figures = Figures { title, found: Vec::new() };
    let swarm = Arc::new(Swarm::up(dir, 1).await?);
    let nodes = swarm.add_workers(shape.nodes).await?;
    let empty = resident_bytes()?;

    let (began, before) = (Instant::now(), Cost::now()?);
    let (tls, local) = nodes.split_at(shape.nodes.min(shape.tls));
    let local = Crowd::connect(&swarm, local, Way::InProcess).await?;
    let tls = Crowd::connect(&swarm, tls, Way::Tls).await?;
    figures.add("all nodes in session", began.elapsed().as_secs_f64(), "s");
    eprintln!("in session: {}", Cost::now()?.since(&before));
    let connected = resident_bytes()?;

    let (began, before) = (Instant::now(), Cost::now()?);
    shape.furnish(&swarm, &nodes).await?;
    told(&[&local, &tls], shape.tasks as u64).await?;
    figures.add("tasks written, and told to their nodes", began.elapsed().as_secs_f64(), "s");
    eprintln!("furnished: {}", Cost::now()?.since(&before));
    let told = |counter: fn(&Counts) -> &AtomicU64| {
        counter(local.counts()).load(Ordering::Relaxed)
            + counter(tls.counts()).load(Ordering::Relaxed)
    };
    eprintln!(
        "  {} messages of networks with {} MiB",
        told(|it| &it.network_messages),
        told(|it| &it.network_bytes) >> 20,
    );
    let leader = swarm.leader().await?;
    let whole = resident_bytes()?;
    figures.add("memory: what the tasks add", mebibytes(whole - connected), "MiB");
    figures.add("memory: manager, nodes and clients", mebibytes(whole), "MiB");
    figures.add("memory: sessions at both ends", mebibytes(connected - empty), "MiB");

    let api = Api::serve(Arc::clone(&leader.manager), dir).await?;
    let quiet = lists(&api, shape.quiet).await?;
    report_lists(&mut figures, "at rest", quiet);

    let churn = Churn::begin(Arc::clone(&leader.manager));
    let writes = Writes::begin(Arc::clone(&leader.manager));
    let before = Cost::now()?;
    let began = Instant::now();
    let busy = lists(&api, shape.seconds).await?;
    let spent = began.elapsed();
    let (changed, over) = churn.so_far();
    figures.add("task changes absorbed", changed as f64 / over.as_secs_f64(), "/s");
    let cost = Cost::now()?.since(&before);
    eprintln!("while tasks change, in {:.1} s: {cost}", spent.as_secs_f64());
    let used = cost.of("manager").as_secs_f64() / spent.as_secs_f64();
    figures.add("manager's processor time", 100.0 * used, "%");
    report_lists(&mut figures, "while tasks change", busy);
    let usual = writes.take();
    figures.add("write, p50", usual.at(0.5), "ms");
    figures.add("write, longest", usual.at(1.0), "ms");

    let (took, peak) = snapshot(leader).await?;
    let during = writes.take();
    figures.add("snapshot", took.as_secs_f64(), "s");
    figures.add("snapshot on disk", mebibytes(snapshot_bytes(dir)?), "MiB");
    figures.add("memory while it is made, beyond the usual", mebibytes(peak), "MiB");
    figures.add("longest write while it is made", during.at(1.0), "ms");

    let began = Instant::now();
    let follower = swarm.add_manager(dir).await?;
    restored(&follower, shape.tasks).await?;
    figures.add("new manager restored", began.elapsed().as_secs_f64(), "s");
    let during = writes.take();
    figures.add("longest write meanwhile", during.at(1.0), "ms");

    let (changed, over) = churn.end().await?;
    eprintln!("{changed} task changes in {:.0} s in all", over.as_secs_f64());
    writes.end().await;
    drop(api);
    figures.add("memory: state alone", state_alone(&leader.manager.view())?, "MiB");
    let lost = |crowd: &Crowd| crowd.counts().lost.load(Ordering::Relaxed);
    figures.add("sessions lost", (lost(&local) + lost(&tls)) as f64, "");
    local.leave().await;
    tls.leave().await;
    follower.stop().await;
    Arc::into_inner(swarm).context("the swarm is still used")?.down().await;
    Ok(figures.found)
}

/// Waits until the nodes have heard of so many tasks.
async fn told(crowds: &[&Crowd], tasks: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let assigned = |crowd: &&Crowd| crowd.counts().assigned.load(Ordering::Relaxed);
        let heard: u64 = crowds.iter().map(assigned).sum();
        if heard >= tasks {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nodes have heard of {heard} of {tasks} tasks");
        tokio::time::sleep(LOOK).await;
    }
}

/// The time to answer in full of each list, called in turn for so long.
struct Lists {
    services: Latencies,
    nodes: Latencies,
}

async fn lists(api: &Api, over: Duration) -> Result<Lists> {
    let mut lists = Lists { services: Latencies::default(), nodes: Latencies::default() };
    let deadline = Instant::now() + over;
    while Instant::now() < deadline {
        lists.services.add(api.get("/services?status=true").await?);
        tokio::time::sleep(5 * LOOK).await;
        lists.nodes.add(api.get("/nodes").await?);
        tokio::time::sleep(5 * LOOK).await;
    }
    Ok(lists)
}

fn report_lists(figures: &mut Figures, when: &str, lists: Lists) {
    for (name, latencies) in [("service ls", lists.services), ("node ls", lists.nodes)] {
        for (word, share) in [("p50", 0.5), ("p99", 0.99)] {
            figures.add(&format!("{name} {when}, {word}"), latencies.at(share), "ms");
        }
    }
}

/// Has the leader take a snapshot; gives how long it took and what it held beside the usual.
async fn snapshot(leader: &Host) -> Result<(Duration, u64)> {
    let manager = &leader.manager;
    let (wanted, usual, began) =
        (manager.standing().applied_index, resident_bytes()?, Instant::now());
    manager.begin_snapshot().await.map_err(|error| anyhow::anyhow!(error.message))?;
    let mut peak = 0;
    while manager.standing().snapshot_index < wanted {
        peak = peak.max(resident_bytes()?.saturating_sub(usual));
        if began.elapsed() > PATIENCE {
            bail!("no snapshot was taken");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok((began.elapsed(), peak))
}

/// The largest snapshot of any manager below a directory.
fn snapshot_bytes(dir: &Path) -> Result<u64> {
    let mut largest = 0;
    for manager in std::fs::read_dir(dir).context("failed to list managers")? {
        let snapshots = manager.context("failed to list managers")?.path().join("snapshots");
        let Ok(files) = std::fs::read_dir(snapshots) else { continue };
        for file in files {
            let file = file.and_then(|it| it.metadata()).context("failed to look at snapshots")?;
            largest = largest.max(file.len());
        }
    }
    Ok(largest)
}

/// Waits until a new manager has the state and follows on.
async fn restored(host: &Host, tasks: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let standing = host.manager.standing();
        if standing.view.tasks().len() >= tasks {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it has {} tasks", standing.view.tasks().len());
        tokio::time::sleep(LOOK).await;
    }
}
