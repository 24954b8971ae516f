//! What one change costs among many tasks, and what a task weighs.
//!
//!     cargo bench -p skep-state --bench apply
//!
//! One line for each size: tasks made in transactions of a thousand, then single reports on tasks
//! taken at random, each a transaction of its own while a reader holds the view before it; last, a
//! transaction that is refused at its end.

use std::sync::Arc;
use std::time::Duration;

use skep_state::{Action, Change, State, Transaction};
use skep_types::task::{ContainerStatus, Slot};
use skep_types::*;

const REPLICAS: usize = 1_000;
const NODES: usize = 10_000;
const NETWORK: NetworkId = NetworkId::new(1);

fn main() {
    // Given by `cargo bench`; of no use here.
    let given: Vec<usize> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { given };
    println!(
        "{:>9} {:>12} {:>12} {:>12} {:>12}",
        "tasks", "creates/s", "reports/s", "refusals/s", "bytes/task"
    );
    for size in sizes {
        measure(size);
    }
}

fn measure(size: usize) {
    let mut ids = Ids(0x9e37_79b9_7f4a_7c15);
    let before = resident();
    // Small sizes are built more than once: the kernel counts time by the tick.
    let rounds = (200_000 / size).max(1);
    let mut making = Duration::ZERO;
    let (mut state, mut tasks) = build(size, &mut ids, &mut making);
    let weight = resident().saturating_sub(before) / size;
    for _ in 1..rounds {
        (state, tasks) = build(size, &mut ids, &mut making);
    }
    let (mut reporting, mut refusing) = (Duration::ZERO, Duration::ZERO);
    const REPORTS: u32 = 100_000;
    const REFUSALS: u32 = 20_000;
    let mut reports = Vec::new();
    for round in 0..REPORTS {
        let id = tasks[(ids.next() % size as u128) as usize];
        let mut changed = Task::clone(state.tasks().get(id).expect("it was made"));
        changed.status.message = format!("started {round}");
        reports.push(changed);
    }
    let begin = busy();
    for mut changed in reports {
        let standing = state.tasks().get(changed.id).expect("it was made");
        changed.meta.revision = standing.meta.revision;
        let reader = state.clone();
        apply(&mut state, vec![Change::Update(Arc::new(changed)).into()]);
        drop(reader);
    }
    reporting += busy() - begin;
    let mut refused = Vec::new();
    for _ in 0..REFUSALS {
        let id = tasks[(ids.next() % size as u128) as usize];
        let task = state.tasks().get(id).expect("it was made");
        let actions =
            vec![Change::Update(Arc::clone(task)).into(), Change::Update(Arc::clone(task)).into()];
        refused.push(Transaction { epoch: 1, now: Timestamp(2), actions });
    }
    let begin = busy();
    for transaction in refused {
        state.apply(&transaction).expect_err("the second is out of sequence");
    }
    refusing += busy() - begin;
    println!(
        "{size:>9} {:>12.0} {:>12.0} {:>12.0} {weight:>12}",
        (size * rounds) as f64 / making.as_secs_f64(),
        f64::from(REPORTS) / reporting.as_secs_f64(),
        f64::from(REFUSALS) / refusing.as_secs_f64(),
    );
}

fn build(size: usize, ids: &mut Ids, making: &mut Duration) -> (State, Vec<TaskId>) {
    let mut state = State::default();
    let services = services(&mut state, size.div_ceil(REPLICAS), ids);
    let mut tasks = Vec::with_capacity(size);
    while tasks.len() < size {
        let first = tasks.len();
        let some: Vec<Task> =
            (first..size.min(first + 1_000)).map(|place| task(place, &services, ids)).collect();
        tasks.extend(some.iter().map(|task| task.id));
        let actions = some.into_iter().map(|it| Change::Create(Arc::new(it)).into()).collect();
        let begin = busy();
        apply(&mut state, actions);
        *making += busy() - begin;
    }
    (state, tasks)
}

fn apply(state: &mut State, actions: Vec<Action>) {
    let transaction = Transaction { epoch: 1, now: Timestamp(1), actions };
    state.apply(&transaction).expect("it holds");
}

fn services(state: &mut State, count: usize, ids: &mut Ids) -> Vec<ServiceId> {
    let mut made = Vec::new();
    for place in 0..count {
        let id = ServiceId::new(ids.next());
        let name = format!("service-{place}");
        let service = Service::new(
            id,
            Arc::new(ServiceSpec::new(
                Annotations { name, ..Annotations::default() },
                ServiceMode::Replicated { replicas: REPLICAS as u64 },
            )),
        );
        apply(state, vec![Change::Create(Arc::new(service)).into()]);
        made.push(id);
    }
    made
}

/// As it is once it runs: with its container and an address on one network.
fn task(place: usize, services: &[ServiceId], ids: &mut Ids) -> Task {
    let octets = (10u32 << 24) + place as u32 + 2;
    let address = std::net::Ipv4Addr::from(octets);
    Task {
        id: TaskId::new(ids.next()),
        meta: Meta::default(),
        service_id: services[place / REPLICAS],
        slot: Slot::Replica((place % REPLICAS) as u64 + 1),
        spec_version: Revision(1),
        node_id: Some(NodeId::new((place % NODES) as u128)),
        status: TaskStatus {
            state: TaskState::Running,
            timestamp: Timestamp(1),
            message: "started".to_owned(),
            error: String::new(),
            container: Some(ContainerStatus {
                container_id: format!("{:064x}", ids.next()),
                pid: 4711,
                exit_code: 0,
            }),
            host_ports: Vec::new(),
            running_since: Some(Timestamp(1)),
        },
        desired_state: DesiredState::Running,
        job_iteration: None,
        generic: vec![],
        networks: vec![NetworkAttachment {
            network: NETWORK,
            addresses: vec![format!("{address}/8").parse().expect("an address")],
            aliases: Vec::new(),
        }],
    }
}

/// Ids as if at random, the same in every run.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u128 {
        let mut half = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            u128::from(self.0)
        };
        half() << 64 | half()
    }
}

/// How long this thread has been on a processor: what else runs on the machine does not count.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|it| it.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the kernel tells how long a thread ran"))
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize =
        statm.split_whitespace().nth(1).and_then(|it| it.parse().ok()).unwrap_or_default();
    pages * 4096
}
