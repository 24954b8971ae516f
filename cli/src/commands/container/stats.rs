//! `skep stats`: what containers use, once or for as long as somebody looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use futures::TryStreamExt;
use skep_docker_api::json::{ContainerListOptions, EventOptions, Stats};
use skep_docker_api::{Client, ClientError, Filters};
use tokio::task::JoinSet;

use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::human::{memory, short_id, size};
use crate::output::list::{Columns, Row, Shape};
use crate::output::print;

#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(hide = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: Columns = Columns {
    headers: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    table: "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
};

/// How often the picture is drawn (Docker's value).
const PERIOD: Duration = Duration::from_millis(500);
/// A container that says nothing for so long is shown without numbers (Docker's value).
const FIRST_WAIT: Duration = Duration::from_secs(2);

fn percent(share: f64) -> String {
    format!("{share:.2}%")
}

/// The share of one processor since the look before, so that two busy ones are 200 %.
fn cpu(stats: &Stats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let own = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let all = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let count = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len) as f64,
        count => f64::from(count),
    };
    if own > 0.0 && all > 0.0 { own / all * count * 100.0 } else { 0.0 }
}

/// Without pages of files that the kernel would give back at once.
fn used(stats: &Stats) -> u64 {
    let memory = &stats.memory_stats;
    let idle = ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|key| memory.stats.get(*key))
        .copied()
        .unwrap_or(0);
    if idle < memory.usage { memory.usage - idle } else { memory.usage }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The words of a container of which nothing is known.
const NOTHING: &str = "--";

fn row(given: &str, stats: Option<&Stats>, cut: bool) -> Row {
    let Some(stats) = stats else {
        let unknown = ["Name", "ID", "CPUPerc", "MemPerc", "NetIO", "BlockIO", "PIDs"];
        let mut row: Row = unknown.into_iter().map(|key| (key, NOTHING.into())).collect();
        row.insert("MemUsage", "-- / --".into());
        row.insert("Container", given.into());
        return row;
    };
    let (usage, limit) = (used(stats), stats.memory_stats.limit);
    let share = if limit > 0 { usage as f64 / limit as f64 * 100.0 } else { 0.0 };
    let networks = || stats.networks.iter().flatten().map(|(_, network)| network);
    let received: u64 = networks().map(|network| network.rx_bytes).sum();
    let sent: u64 = networks().map(|network| network.tx_bytes).sum();
    let moved = |letter: char| -> u64 {
        let entries = stats.blkio_stats.io_service_bytes_recursive.iter().flatten();
        entries
            .filter(|entry| entry.op.to_lowercase().starts_with(letter))
            .map(|entry| entry.value)
            .sum()
    };
    let id = if cut { short_id(&stats.id) } else { stats.id.clone() };
    Row::from([
        ("Container", given.into()),
        ("Name", stats.name.strip_prefix('/').unwrap_or(&stats.name).into()),
        ("ID", id.into()),
        ("CPUPerc", percent(cpu(stats)).into()),
        ("MemUsage", format!("{} / {}", memory(bytes(usage)), memory(bytes(limit))).into()),
        ("MemPerc", percent(share).into()),
        ("NetIO", format!("{} / {}", size(bytes(received)), size(bytes(sent))).into()),
        ("BlockIO", format!("{} / {}", size(bytes(moved('r'))), size(bytes(moved('w')))).into()),
        ("PIDs", stats.pids_stats.current.to_string().into()),
    ])
}

/// What is known of each, in the order in which they were met.
#[derive(Default)]
struct Board {
    order: Vec<String>,
    latest: BTreeMap<String, Option<Stats>>,
    failures: Vec<ClientError>,
}

type Shared = Arc<Mutex<Board>>;

fn locked(board: &Shared) -> std::sync::MutexGuard<'_, Board> {
    // A panic while it was held would have ended the command.
    board.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Watches one container until it ends; with `once`, until its first numbers.
async fn watch(client: Client, board: Shared, name: String, once: bool) {
    let looked = async {
        let mut stats = client.container_stats(&name, !once, false).await?;
        while let Some(stats) = stats.try_next().await? {
            locked(&board).latest.insert(name.clone(), Some(stats));
        }
        Ok(())
    };
    if let Err(error) = looked.await {
        locked(&board).failures.push(error);
    }
}

struct Watching {
    client: Client,
    board: Shared,
    tasks: JoinSet<()>,
    once: bool,
}

impl Watching {
    fn add(&mut self, name: &str) {
        let mut board = locked(&self.board);
        if !board.order.iter().any(|have| have == name) {
            board.order.push(name.into());
            board.latest.insert(name.into(), None);
            let task = watch(self.client.clone(), self.board.clone(), name.into(), self.once);
            self.tasks.spawn(task);
        }
    }

    fn forget(&self, name: &str) {
        let mut board = locked(&self.board);
        board.order.retain(|have| have != name);
        board.latest.remove(name);
    }

    /// Until each has numbers, or has had its time.
    async fn first(&self) {
        let waiting = async {
            let mut look = tokio::time::interval(Duration::from_millis(20));
            loop {
                look.tick().await;
                let board = locked(&self.board);
                let missing = board.latest.values().filter(|stats| stats.is_none()).count();
                if missing <= board.failures.len() {
                    break;
                }
            }
        };
        // Those without numbers are shown without.
        let _ = tokio::time::timeout(FIRST_WAIT, waiting).await;
    }

    fn draw(&self, args: &StatsArgs, format: Option<&String>) -> Outcome {
        let rows = {
            let board = locked(&self.board);
            let one = |name: &String| {
                row(name, board.latest.get(name).and_then(Option::as_ref), !args.no_trunc)
            };
            board.order.iter().map(one).collect::<Vec<_>>()
        };
        let text = COLUMNS.render(&Shape { format: format.cloned(), quiet: false }, rows)?;
        if args.no_stream {
            return print(&text);
        }
        // From the top left corner; each line clears what stood behind it, and the last all below.
        let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
        print(&format!("\x1b[H{lines}\x1b[J"))
    }
}

pub async fn run(session: &Session, args: StatsArgs) -> Outcome {
    let client = session.client.clone();
    let mut watching = Watching {
        client: client.clone(),
        board: Shared::default(),
        tasks: JoinSet::new(),
        once: args.no_stream,
    };
    let all = args.containers.is_empty();
    let mut events = None;
    if all {
        let mut filters = Filters::default();
        filters.add("type", "container");
        // Asked for before the list, so that none comes between.
        if !args.no_stream {
            let options = EventOptions { filters, ..Default::default() };
            events = Some(client.events(&options).await?);
        }
        let options = ContainerListOptions { all: args.all, ..Default::default() };
        for container in client.containers(&options).await? {
            watching.add(&short_id(&container.id));
        }
    } else {
        args.containers.iter().for_each(|name| watching.add(name));
    }
    watching.first().await;
    if !all {
        let failures = std::mem::take(&mut locked(&watching.board).failures);
        Failure::join(failures.into_iter().map(Failure::from).collect())?;
    }
    let format = args.format.clone().filter(|format| !format.is_empty());
    let format = format.or_else(|| session.config.text("statsFormat"));
    if args.no_stream {
        return watching.draw(&args, format.as_ref());
    }
    let mut period = tokio::time::interval(PERIOD);
    loop {
        let next = async {
            match &mut events {
                Some(events) => events.try_next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = period.tick() => {
                watching.draw(&args, format.as_ref())?;
                if !all && watching.tasks.is_empty() {
                    return Ok(());
                }
                while watching.tasks.try_join_next().is_some() {}
            }
            event = next => match event? {
                Some(event) => {
                    let id = short_id(&event.actor.id);
                    match event.action.as_str() {
                        "start" => watching.add(&id),
                        "create" if args.all => watching.add(&id),
                        "die" if !args.all => watching.forget(&id),
                        _ => {}
                    }
                }
                // The daemon went.
                None => return Ok(()),
            },
        }
    }
}
