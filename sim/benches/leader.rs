//! What the leader's decisions cost: a change of one service among many, and one large service.
//!
//!     cargo bench -p skep-sim --bench leader                 # or sizes after `--`
//!
//! The pure half of the leader, on one processor and in processor time: reconcilers, allocation,
//! scheduler and the speculative view. No log, no other managers, no network.

use std::sync::Arc;
use std::time::Duration;

use skep_orchestrator::{Plan, Reconcilers};
use skep_scheduler::Scheduler;
use skep_state::{Action, Change, Speculation, State, Transaction};
use skep_types::network::IpamConfig;
use skep_types::node::NodeStatus;
use skep_types::service::NetworkAttachmentConfig;
use skep_types::task::Slot;
use skep_types::*;

const REPLICAS: usize = 100;
const NODES_MAX: usize = 10_000;
const TASKS_ON_NODE: usize = 100;
const CHANGES: usize = 200;
/// As the leader proposes them.
const ACTIONS_MAX: usize = 1000;
const FRONT: NetworkId = NetworkId::new(1);

fn main() {
    // What `cargo bench` gives is of no use here.
    let given: Vec<usize> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { given };
    println!(
        "{:>9} {:>9} {:>8} {:>15} {:>15} {:>15}",
        "tasks", "services", "nodes", "a change (us)", "a report (us)", "first look (ms)"
    );
    for size in sizes {
        one_change(size);
    }
    println!();
    for nodes in [100, 1_000, 10_000] {
        one_large_service(100_000, nodes);
    }
}

/// Services are scaled by one task, one after the other; then the tasks' nodes report.
fn one_change(size: usize) {
    let nodes = size.div_ceil(TASKS_ON_NODE).min(NODES_MAX);
    let services = size.div_ceil(REPLICAS);
    let mut leader = Leader::of(standing(size, services, nodes));
    // The books are opened with the first address that is sought.
    let begin = busy();
    leader.pass();
    leader.scale(1);
    let first = busy() - begin;
    let (mut changing, mut reporting) = (Duration::ZERO, Duration::ZERO);
    let mut looked = 0;
    for round in 0..CHANGES {
        let begin = busy();
        let made = leader.scale(1 + (round * 7919 % services) as u128);
        changing += busy() - begin;
        looked += made.len();
        let begin = busy();
        for task in made {
            let mut running = Task::clone(leader.view().tasks().get(task).expect("it was made"));
            running.status.state = TaskState::Running;
            leader.propose(vec![Change::Update(Arc::new(running)).into()]);
            leader.settle();
        }
        reporting += busy() - begin;
    }
    assert_eq!(looked, CHANGES, "each change makes one task");
    println!(
        "{size:>9} {services:>9} {nodes:>8} {:>15.0} {:>15.0} {:>15.1}",
        changing.as_secs_f64() * 1e6 / CHANGES as f64,
        reporting.as_secs_f64() * 1e6 / CHANGES as f64,
        first.as_secs_f64() * 1e3,
    );
}

/// A service of so many replicas, from its creation until every task has a node.
fn one_large_service(replicas: usize, nodes: usize) {
    let mut leader = Leader::of(standing(0, 0, nodes));
    leader.settle();
    let large = service(1, replicas);
    let begin = busy();
    leader.propose(vec![Change::Create(Arc::new(large)).into()]);
    let made = leader.settle();
    let taken = busy() - begin;
    assert_eq!(made.len(), replicas, "every task has a node");
    println!(
        "a service of {replicas} replicas on {nodes} nodes: {:.0} tasks/s to all assigned",
        replicas as f64 / taken.as_secs_f64()
    );
}

struct Leader {
    speculation: Speculation,
    reconcilers: Reconcilers,
    scheduler: Scheduler,
    ids: u128,
}

impl Leader {
    fn of(state: State) -> Self {
        let (reconcilers, scheduler) = (Reconcilers::of(&state), Scheduler::of(&state));
        let mut speculation = Speculation::new(1, state, usize::MAX);
        speculation.take_news();
        Self { speculation, reconcilers, scheduler, ids: 1 << 64 }
    }

    fn view(&self) -> &State {
        self.speculation.view()
    }

    fn propose(&mut self, actions: Vec<Action>) {
        let mut transaction = Transaction { epoch: 1, now: Timestamp(1), actions };
        let ticket = self.speculation.propose(&mut transaction).expect("it holds");
        assert!(self.speculation.applied(ticket));
    }

    /// A service gets one task more.
    fn scale(&mut self, id: u128) -> Vec<TaskId> {
        let service = self.view().services().get(ServiceId::new(id)).expect("it was made");
        let mut service = Service::clone(service);
        if let ServiceMode::Replicated { replicas } = &mut Arc::make_mut(&mut service.spec).mode {
            *replicas += 1;
        }
        self.propose(vec![Change::Update(Arc::new(service)).into()]);
        self.settle()
    }

    /// Passes until there is nothing to look at; gives the tasks that were placed.
    fn settle(&mut self) -> Vec<TaskId> {
        let mut placed = self.pass();
        while !self.reconcilers.is_idle() {
            placed.extend(self.pass());
        }
        placed
    }

    fn pass(&mut self) -> Vec<TaskId> {
        let news = self.speculation.take_news().expect("the view is the same");
        for event in &news {
            self.reconcilers.observe(self.speculation.view(), event);
            self.scheduler.observe(event);
        }
        let ids = &mut self.ids;
        // Spread as random ones are.
        let mut mint = || {
            *ids += 1;
            ids.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        };
        let mut plan = Plan::new(self.speculation.view().clone(), Timestamp(1), &mut mint);
        self.reconcilers.pass(&mut plan);
        for event in plan.events() {
            self.scheduler.observe(event);
        }
        let reconciled = plan.events().len();
        let mut placed = Vec::new();
        for decision in self.scheduler.schedule(Timestamp(1)).decisions {
            plan.assign(decision.task, decision.node.expect("there is room"), vec![]);
            placed.push(decision.task);
        }
        for event in &plan.events()[reconciled..] {
            self.scheduler.observe(event);
        }
        self.reconcilers.placed(&mut plan);
        let mut actions = plan.finish().0.into_iter();
        loop {
            let actions: Vec<Action> = actions.by_ref().take(ACTIONS_MAX).collect();
            if actions.is_empty() {
                return placed;
            }
            let mut transaction = Transaction { epoch: 1, now: Timestamp(1), actions };
            let proposed = self.speculation.propose_plan(&mut transaction).expect("there is room");
            assert!(proposed.1.is_empty());
            assert!(self.speculation.applied(proposed.0.expect("there are actions")));
        }
    }
}

/// A swarm whose services run.
fn standing(tasks: usize, services: usize, nodes: usize) -> State {
    let mut state = State::default();
    let mut actions: Vec<Action> = vec![Change::Create(Arc::new(network())).into()];
    actions.extend((1..=nodes).map(|id| Change::Create(Arc::new(node(id as u128))).into()));
    let ids = 1..=services as u128;
    actions.extend(ids.map(|id| Change::Create(Arc::new(service(id, REPLICAS))).into()));
    actions.extend((0..tasks).map(|place| Change::Create(Arc::new(task(place, nodes))).into()));
    for part in actions.chunks(ACTIONS_MAX) {
        let transaction = Transaction { epoch: 1, now: Timestamp(1), actions: part.to_vec() };
        state.apply(&transaction).expect("it holds");
    }
    state
}

fn network() -> Network {
    let subnet = "10.0.0.0/8".parse().expect("a subnet");
    let gateway = "10.0.0.1".parse().ok();
    Network {
        id: FRONT,
        meta: Meta::default(),
        spec: NetworkSpec {
            annotations: Annotations { name: "front".to_owned(), ..Annotations::default() },
            ..NetworkSpec::default()
        },
        vni: Some(Vni(4096)),
        ipam: vec![IpamConfig { subnet, range: None, gateway }],
    }
}

fn node(id: u128) -> Node {
    Node {
        status: NodeStatus { state: NodeState::Ready, ..NodeStatus::default() },
        ..Node::new(NodeId::new(id), NodeSpec::default())
    }
}

fn service(id: u128, replicas: usize) -> Service {
    Service::new(
        ServiceId::new(id),
        Arc::new(ServiceSpec {
            task: TaskSpec {
                networks: vec![NetworkAttachmentConfig { target: FRONT, aliases: vec![] }],
                ..TaskSpec::default()
            },
            ..ServiceSpec::new(
                Annotations { name: format!("service-{id}"), ..Annotations::default() },
                ServiceMode::Replicated { replicas: replicas as u64 },
            )
        }),
    )
}

fn task(place: usize, nodes: usize) -> Task {
    let address = std::net::Ipv4Addr::from((10u32 << 24) + place as u32 + 2);
    Task {
        id: TaskId::new(
            (place as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        ),
        meta: Meta::default(),
        service_id: ServiceId::new((place / REPLICAS) as u128 + 1),
        slot: Slot::Replica((place % REPLICAS) as u64 + 1),
        spec_version: Revision(1),
        node_id: Some(NodeId::new((place % nodes) as u128 + 1)),
        status: TaskStatus {
            state: TaskState::Running,
            message: "started".to_owned(),
            ..TaskStatus::default()
        },
        desired_state: DesiredState::Running,
        networks: vec![NetworkAttachment {
            network: FRONT,
            addresses: vec![format!("{address}/8").parse().expect("an address")],
            aliases: vec![],
        }],
        job_iteration: None,
        generic: vec![],
    }
}

/// How long this thread has been on a processor: what else runs on the machine does not count.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|it| it.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the kernel tells how long a thread ran"))
}
