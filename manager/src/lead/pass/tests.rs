//! A pass over the real proposer: what is planned comes into the state, in parts, whatever else
//! changes meanwhile.

use std::sync::Arc;
use std::time::Duration;

use skep_raft::Observer;
use skep_state::{Action, Change, State};
use skep_types::node::NodeStatus;
use skep_types::{
    Annotations, DesiredState, Node, NodeId, NodeSpec, NodeState, Service, ServiceId, ServiceMode,
    ServiceSpec, Task, TaskState,
};
use tokio::task::JoinHandle;

use super::{Led, Next, Outcome, pass, propose};
use crate::clock;
use crate::defaults::{ACTIONS_MAX, TRANSACTION_BYTES_MAX};
use crate::metrics::ManagerMetrics;
use crate::proposer::test_log::{TERM, TestLog};
use crate::proposer::{ProposalError, Proposer};

const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    observer: Observer,
    proposer: Arc<Proposer>,
    metrics: ManagerMetrics,
    running: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        let (log, observer) = TestLog::new();
        let metrics = ManagerMetrics::default();
        let proposer = Proposer::new(log as _, observer.clone(), metrics.clone());
        let proposer = Arc::new(proposer);
        proposer.begin(TERM, 1);
        let runs = Arc::clone(&proposer);
        let running = tokio::spawn(async move { runs.run().await });
        Self { observer, proposer, metrics, running }
    }

    async fn act(&self, actions: Vec<Action>) {
        let pending = self.proposer.submit::<ProposalError>(|_| Ok(actions)).expect("it holds");
        pending.applied().await.expect("it is applied");
    }

    /// Passes until there is nothing more to do now, and everything is applied.
    async fn settle(&self, mut led: Option<Led>) -> Option<Led> {
        loop {
            let Outcome { led: next, under_way, next: when, oversized } =
                pass(&self.proposer, &self.metrics, led);
            assert!(oversized.is_empty(), "{oversized:?}");
            led = next;
            for pending in under_way {
                let applied = tokio::time::timeout(DEADLINE, pending.applied()).await;
                applied.expect("in time").expect("it is applied");
            }
            match when {
                Next::Now => {}
                Next::At(_) => return led,
                Next::Retry => panic!("the plan was not put under way"),
            }
        }
    }

    fn view(&self) -> State {
        self.observer.view()
    }
}

fn node(id: u128) -> Action {
    let node = Node {
        status: NodeStatus { state: NodeState::Ready, ..NodeStatus::default() },
        ..Node::new(NodeId::new(id), NodeSpec::default())
    };
    Change::Create(Arc::new(node)).into()
}

fn service(id: u128, replicas: u64) -> Service {
    let annotations = Annotations { name: format!("web-{id}"), ..Annotations::default() };
    Service::new(
        ServiceId::new(id),
        Arc::new(ServiceSpec::new(annotations, ServiceMode::Replicated { replicas })),
    )
}

fn create(service: Service) -> Vec<Action> {
    vec![Change::Create(Arc::new(service)).into()]
}

fn assigned(state: &State) -> usize {
    let tasks = state.tasks().iter();
    tasks.filter(|it| it.status.state == TaskState::Assigned && it.node_id.is_some()).count()
}

/// A service whose creation is of about so many bytes.
fn heavy(id: u128, bytes: usize) -> Action {
    let mut service = service(id, 0);
    Arc::make_mut(&mut service.spec).task.container.env = vec!["x".repeat(bytes)];
    Change::Create(Arc::new(service)).into()
}

#[tokio::test]
async fn a_service_larger_than_one_part_is_placed_whole() {
    let world = World::new();
    world.act((1..=10).map(node).collect()).await;
    let led = world.settle(None).await;
    let replicas = 2 * ACTIONS_MAX as u64 + 7;
    world.act(create(service(1, replicas))).await;
    let led = world.settle(led).await;
    assert_eq!(assigned(&world.view()) as u64, replicas);
    // What was followed and what a fresh look finds is the same: nothing more to do.
    for led in [led, None] {
        let outcome = pass(&world.proposer, &world.metrics, led);
        assert!(outcome.under_way.is_empty() && outcome.led.is_some());
    }
    assert!(world.proposer.view() == Some(world.view()));
    world.running.abort();
}

#[tokio::test]
async fn what_somebody_else_outran_is_left_out_and_decided_anew() {
    let world = World::new();
    world.act(vec![node(1)]).await;
    world.act(create(service(1, 3))).await;
    let led = world.settle(None).await;
    // A task's node reports between the look and the proposal.
    let (view, _) = world.proposer.follow().expect("it leads");
    let task = view.tasks().iter().next().expect("a task").clone();
    let mut reported = Task::clone(&task);
    reported.status.state = TaskState::Running;
    world.act(vec![Change::Update(Arc::new(reported)).into()]).await;
    let mut planned = Task::clone(&task);
    planned.desired_state = DesiredState::Shutdown;
    let planned = Change::Update(Arc::new(planned)).into();
    let proposed = propose(&world.proposer, clock::now(), &[planned, node(2)]);
    assert!(proposed.error.is_none());
    assert_eq!(proposed.refused.len(), 1);
    for pending in proposed.under_way {
        pending.applied().await.expect("the rest is applied");
    }
    assert!(world.view().nodes().get(NodeId::new(2)).is_some());
    world.settle(led).await;
    let task = world.view().tasks().get(task.id).expect("it stands").clone();
    assert_eq!(
        (task.status.state, task.desired_state),
        (TaskState::Running, DesiredState::Running),
        "what was decided from an older view was not done"
    );
    world.running.abort();
}

#[tokio::test]
async fn parts_are_bounded_in_bytes_and_what_is_too_large_alone_holds_up_nothing() {
    let world = World::new();
    let third = TRANSACTION_BYTES_MAX / 3;
    let mut actions: Vec<Action> = (1..=8).map(|id| heavy(id, third)).collect();
    actions.insert(3, heavy(9, TRANSACTION_BYTES_MAX));
    let proposed = propose(&world.proposer, clock::now(), &actions);
    assert!(proposed.error.is_none() && proposed.refused.is_empty());
    assert_eq!(
        proposed.too_large.iter().map(super::name).collect::<Vec<_>>(),
        [format!("service {}", ServiceId::new(9))]
    );
    // Two at most fit one part.
    assert!(proposed.under_way.len() >= 4, "{}", proposed.under_way.len());
    for pending in proposed.under_way {
        pending.applied().await.expect("it is applied");
    }
    assert_eq!(world.view().services().len(), 8);
    world.running.abort();
}

#[tokio::test]
async fn a_request_leaves_room_for_what_is_written_into_it_later() {
    let world = World::new();
    let submit = |action| world.proposer.submit::<ProposalError>(|_| Ok(vec![action]));
    let Err(error) = submit(heavy(1, TRANSACTION_BYTES_MAX - 1000)) else { panic!("taken") };
    assert!(matches!(error, ProposalError::TooLarge { .. }), "{error}");
    world.act(vec![node(1), heavy(2, crate::defaults::REQUEST_BYTES_MAX - 1000)]).await;
    world.settle(None).await;
    world.running.abort();
}

#[tokio::test]
async fn without_a_leadership_there_is_nothing_to_pass_over() {
    let world = World::new();
    world.proposer.end();
    let outcome = pass(&world.proposer, &world.metrics, None);
    assert!(outcome.led.is_none() && matches!(outcome.next, Next::At(None)));
    world.running.abort();
}
