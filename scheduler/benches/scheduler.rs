//! How fast tasks get their nodes, in the shapes of SwarmKit's own benchmark of its scheduler.
//!
//!     cargo bench -p skep-scheduler --bench scheduler [-- NODESxTASKS… one-task memory --out FILE]
//!
//! Measured is what the scheduler does from the events that tasks were made to the events that they
//! were assigned: it takes those in, decides, and takes in what came of it. `with the state` counts
//! the transactions that assign the tasks, too, a thousand tasks in each.
//!
//! One-off tasks are a service each, as SwarmKit places tasks one by one that no service groups.
//! Constraints hold for every third node, as there.

mod swarm;

use std::time::Duration;

use skep_scheduler::Scheduler;
use skep_state::Event;
use skep_types::ServiceId;
use swarm::{Fill, Swarm, resident, spent};

/// SwarmKit's benchmark (`BenchmarkScheduler…` in manager/scheduler) on two cores: tasks a second.
const PEER: &[(usize, usize, Fill, bool, f64)] = &[
    (1_000, 10_000, Fill::OneOff, false, 4_100.0),
    (1_000, 100_000, Fill::OneOff, false, 3_840.0),
    (1_000, 100_000, Fill::OneOff, true, 3_245.0),
    (5_000, 100_000, Fill::OneOff, true, 375.0),
    (100_000, 1_000, Fill::OneOff, false, 29.0),
    // It gives one range for 1,000 to 10,000 nodes; its upper end.
    (1_000, 100_000, Fill::Grouped(1), false, 12_700.0),
    (5_000, 100_000, Fill::Grouped(1), false, 12_700.0),
    (10_000, 100_000, Fill::Grouped(1), false, 12_700.0),
];

const SHAPES: &[(usize, usize)] =
    &[(1_000, 10_000), (1_000, 100_000), (5_000, 100_000), (10_000, 100_000), (100_000, 1_000)];

/// Each shape so often; the median counts.
const ROUNDS: usize = 3;

struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    peer: Option<f64>,
}

fn main() {
    let (mut shapes, mut out, mut rows) = (Vec::new(), None, Vec::new());
    let (mut one, mut held) = (false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Given by `cargo bench`; of no use here.
            "--bench" => {}
            "--out" => out = arguments.next(),
            "one-task" => one = true,
            "memory" => held = true,
            shape => {
                let parsed = shape.split_once('x').map(|(n, t)| (n.parse(), t.parse()));
                let Some((Ok(nodes), Ok(tasks))) = parsed else {
                    eprintln!("expected NODESxTASKS, got {shape}");
                    std::process::exit(2);
                };
                shapes.push((nodes, tasks));
            }
        }
    }
    let all = shapes.is_empty() && !one && !held;
    println!("{:52} {:>12} {:>12} {:>9}", "", "skep", "SwarmKit", "ratio");
    for (nodes, tasks) in if all { SHAPES } else { &shapes } {
        for fill in [Fill::OneOff, Fill::Grouped(1), Fill::Grouped(100)] {
            for constrained in [false, true] {
                place(*nodes, *tasks, fill, constrained, &mut rows);
            }
        }
    }
    if all || one {
        for nodes in [1_000, 10_000, 100_000] {
            one_task(nodes, &mut rows);
        }
    }
    if all || held {
        memory(10_000, 1_000_000, &mut rows);
    }
    if let Some(out) = out {
        save(&out, &rows);
    }
}

fn report(rows: &mut Vec<Row>, row: Row) {
    let name = format!("{} ({})", row.name, row.unit);
    let peer = row.peer.map_or("-".to_owned(), |peer| format!("{peer:.0}"));
    let ratio = row.peer.map_or("-".to_owned(), |peer| format!("{:.1}", row.value / peer));
    println!("{name:52} {:>12.2} {peer:>12} {ratio:>9}", row.value);
    rows.push(row);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A pass over tasks that were made: the time to take them in and decide, the time to take in what
/// came of it, and that of the state in between.
fn pass(
    scheduler: &mut Scheduler,
    swarm: &mut Swarm,
    made: Vec<Event>,
    tasks: usize,
) -> (Duration, Duration, Duration) {
    let (first, round) = spent(|| {
        made.iter().for_each(|event| scheduler.observe(event));
        scheduler.schedule(swarm.now)
    });
    let (in_state, assigned) = spent(|| swarm.assign(&round.decisions));
    let (second, ()) = spent(|| assigned.iter().for_each(|event| scheduler.observe(event)));
    assert_eq!(assigned.len(), tasks, "every task gets a node");
    (first, second, in_state)
}

/// Places many tasks on empty nodes.
fn place(nodes: usize, tasks: usize, fill: Fill, constrained: bool, rows: &mut Vec<Row>) {
    let (mut alone, mut with_state) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut swarm = Swarm::new(nodes);
        let services = swarm.services(tasks, fill, constrained);
        let mut scheduler = Scheduler::of(&swarm.state);
        let made = swarm.tasks(&services, tasks);
        let (first, second, in_state) = pass(&mut scheduler, &mut swarm, made, tasks);
        alone.push(tasks as f64 / (first + second).as_secs_f64());
        with_state.push(tasks as f64 / (first + in_state + second).as_secs_f64());
    }
    let fill_name = match fill {
        Fill::OneOff => "one-off".to_owned(),
        Fill::Grouped(1) => "one service".to_owned(),
        Fill::Grouped(services) => format!("{services} services"),
    };
    let constraint = if constrained { ", constrained" } else { "" };
    let name = format!("scheduler {nodes} x {tasks}, {fill_name}{constraint}");
    let peer = PEER
        .iter()
        .find(|it| (it.0, it.1, it.2, it.3) == (nodes, tasks, fill, constrained))
        .map(|it| it.4);
    let value = median(alone);
    report(rows, Row { name: name.clone(), value, unit: "tasks/s", peer });
    let (name, value) = (format!("{name}, with the state"), median(with_state));
    report(rows, Row { name, value, unit: "tasks/s", peer });
}

/// Places one task among nodes that have tasks already, again and again.
fn one_task(nodes: usize, rows: &mut Vec<Row>) {
    const TASKS: usize = 1_001;
    let mut swarm = Swarm::new(nodes);
    // A service on half of the nodes, so that there is something to look past.
    let large = swarm.services(nodes / 2, Fill::Grouped(1), false);
    let mut scheduler = Scheduler::of(&swarm.state);
    let mut pass = |swarm: &mut Swarm, services: &[ServiceId], tasks| {
        let mut made = std::mem::take(&mut swarm.unseen);
        made.extend(swarm.tasks(services, tasks));
        let (first, second, _) = pass(&mut scheduler, swarm, made, tasks);
        first + second
    };
    pass(&mut swarm, &large, nodes / 2);
    let typical =
        |spent: Vec<Duration>| median(spent.into_iter().map(|it| it.as_secs_f64() * 1e6).collect());
    for (constrained, words) in [(false, "of a new service"), (true, "constrained")] {
        let spent = (0..TASKS).map(|_| {
            let service = swarm.services(1, Fill::OneOff, constrained);
            pass(&mut swarm, &service, 1)
        });
        let value = typical(spent.collect());
        let name = format!("scheduler 1 task among {nodes} nodes, {words}");
        report(rows, Row { name, value, unit: "us", peer: None });
    }
    let spent = (0..TASKS).map(|_| pass(&mut swarm, &large, 1));
    let (name, value) = (
        format!("scheduler 1 task among {nodes} nodes, of a large service"),
        typical(spent.collect()),
    );
    report(rows, Row { name, value, unit: "us", peer: None });
}

/// What the cache holds of many tasks that run.
fn memory(nodes: usize, tasks: usize, rows: &mut Vec<Row>) {
    let mut swarm = Swarm::new(nodes);
    let services = swarm.services(tasks, Fill::Grouped(1_000), false);
    let mut scheduler = Scheduler::of(&swarm.state);
    let made = swarm.tasks(&services, tasks);
    made.iter().for_each(|event| scheduler.observe(event));
    drop(made);
    let round = scheduler.schedule(swarm.now);
    let assigned = swarm.assign(&round.decisions);
    assert_eq!(assigned.len(), tasks, "every task gets a node");
    drop((scheduler, round, assigned));
    let before = resident();
    let (spent, scheduler) = spent(|| Scheduler::of(&swarm.state));
    let held = resident().saturating_sub(before) as f64 / f64::from(1 << 20);
    drop(scheduler);
    let name = format!("scheduler {nodes} nodes, {tasks} tasks: begin a leadership");
    report(rows, Row { name, value: spent.as_secs_f64(), unit: "s", peer: None });
    let name = format!("scheduler {nodes} nodes, {tasks} tasks: held");
    report(rows, Row { name, value: held, unit: "MiB", peer: None });
}

/// Puts the rows into a list of figures, in place of those of earlier runs.
fn save(path: &str, rows: &[Row]) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| "[]".to_owned());
    let mut list: Vec<serde_json::Value> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    list.retain(|row| !row["name"].as_str().is_some_and(|name| name.starts_with("scheduler ")));
    for row in rows {
        let mut value =
            serde_json::json!({ "name": row.name, "value": row.value, "unit": row.unit });
        if let Some(peer) = row.peer {
            value["peer"] = peer.into();
            value["ratio"] = (row.value / peer).into();
        }
        list.push(value);
    }
    let text = serde_json::to_string_pretty(&list).expect("figures are JSON");
    std::fs::write(path, text + "\n").unwrap_or_else(|error| panic!("{path}: {error}"));
}
