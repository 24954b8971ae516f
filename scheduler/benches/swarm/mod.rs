//! A swarm's state, filled for a measurement.

use std::sync::Arc;
use std::time::Duration;

use skep_scheduler::Decision;
use skep_state::{Action, Change, Event, State, Transaction};
use skep_types::node::{NodeDescription, NodeStatus};
use skep_types::task::Slot;
use skep_types::*;

/// Actions of one transaction, as many as the leader's passes propose at a time.
const ACTIONS: usize = 1_000;

/// How tasks belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Each for itself.
    OneOff,
    /// Over so many services.
    Grouped(usize),
}

pub struct Swarm {
    pub state: State,
    pub now: Timestamp,
    next: u128,
    /// Of services that were made last, for a scheduler that was there before.
    pub unseen: Vec<Event>,
}

impl Swarm {
    /// Nodes with room for everything; every third carries the label that constraints ask for.
    pub fn new(nodes: usize) -> Self {
        let now = Timestamp(1_000_000_000);
        let mut swarm = Self { state: State::default(), now, next: 0, unseen: Vec::new() };
        let nodes: Vec<Action> = (0..nodes)
            .map(|at| {
                let mut spec = NodeSpec::default();
                if at % 3 == 0 {
                    spec.annotations.labels.insert("third".to_owned(), "yes".to_owned());
                }
                let node = Node {
                    description: Some(NodeDescription::default()),
                    status: NodeStatus { state: NodeState::Ready, ..NodeStatus::default() },
                    ..Node::new(NodeId::new(swarm.mint()), spec)
                };
                Change::Create(Arc::new(node)).into()
            })
            .collect();
        swarm.act(nodes);
        swarm
    }

    /// Ids in no order, as real ones are.
    fn mint(&mut self) -> u128 {
        self.next += 1;
        self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    fn act(&mut self, actions: Vec<Action>) -> Vec<Event> {
        let mut events = Vec::with_capacity(actions.len());
        let mut actions = actions.into_iter();
        loop {
            let actions: Vec<Action> = actions.by_ref().take(ACTIONS).collect();
            if actions.is_empty() {
                return events;
            }
            let transaction = Transaction { epoch: 1, now: self.now, actions };
            events.extend(self.state.apply(&transaction).expect("a transaction that holds"));
        }
    }

    /// Services for so many tasks.
    pub fn services(&mut self, tasks: usize, fill: Fill, constrained: bool) -> Vec<ServiceId> {
        let count = match fill {
            Fill::OneOff => tasks,
            Fill::Grouped(services) => services.min(tasks),
        };
        let mut task = TaskSpec::default();
        if constrained {
            task.placement.constraints = vec!["node.labels.third==yes".to_owned()];
        }
        let ids: Vec<ServiceId> = (0..count).map(|_| ServiceId::new(self.mint())).collect();
        let services = ids.iter().map(|id| {
            let annotations = Annotations { name: format!("s{id}"), ..Annotations::default() };
            let spec = Arc::new(ServiceSpec {
                task: task.clone(),
                ..ServiceSpec::new(
                    annotations,
                    ServiceMode::Replicated { replicas: (tasks / count) as u64 },
                )
            });
            let service = Service::new(*id, spec);
            Change::Create(Arc::new(service)).into()
        });
        let actions = services.collect();
        self.unseen = self.act(actions);
        ids
    }

    /// Makes pending tasks, over the services in turn.
    pub fn tasks(&mut self, services: &[ServiceId], tasks: usize) -> Vec<Event> {
        let actions = (0..tasks).map(|at| {
            let id = TaskId::new(self.mint());
            let task = Task {
                id,
                meta: Meta::default(),
                service_id: services[at % services.len()],
                slot: Slot::Replica(self.next as u64),
                spec_version: Revision(1),
                node_id: None,
                status: TaskStatus { state: TaskState::Pending, ..TaskStatus::default() },
                desired_state: DesiredState::Running,
                networks: vec![],
                job_iteration: None,
                generic: vec![],
            };
            Change::Create(Arc::new(task)).into()
        });
        let actions = actions.collect();
        self.act(actions)
    }

    /// Carries out what was decided.
    pub fn assign(&mut self, decisions: &[Decision]) -> Vec<Event> {
        let actions = decisions.iter().map(|decision| {
            let mut task = Task::clone(self.state.tasks().get(decision.task).expect("a task"));
            task.node_id = decision.node.clone().ok();
            task.status.state = TaskState::Assigned;
            Change::Update(Arc::new(task)).into()
        });
        let actions = actions.collect();
        self.act(actions)
    }
}

/// The processor time that `act` took of this thread. What else runs on the machine is not in it,
/// as it would be in the time that passed.
pub fn spent<T>(act: impl FnOnce() -> T) -> (Duration, T) {
    let before = thread_time();
    let value = act();
    (thread_time().saturating_sub(before), value)
}

fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` of ours, which the call fills in.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(code, 0, "every Linux has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes that the process has in memory.
pub fn resident() -> usize {
    // What was freed shall not hide what is allocated next.
    // SAFETY: the call has no condition; it only gives free memory back.
    unsafe { libc::malloc_trim(0) };
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0usize);
    pages * 4096
}
