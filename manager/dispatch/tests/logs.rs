//! Which nodes a subscription to logs waits for, and when it is over.

use std::sync::Arc;

use skep_dispatch::{Follow, LogSelector, Subscription};
use skep_state::{Action, Change, State, Transaction};
use skep_types::task::Slot;
use skep_types::*;

const WEB: ServiceId = ServiceId::new(1);

fn act(state: &mut State, action: impl Into<Action>) {
    let actions = vec![action.into()];
    state.apply(&Transaction { epoch: 1, now: Timestamp(1), actions }).unwrap();
}

fn node(state: &mut State, id: u128, now: NodeState) {
    let id = NodeId::new(id);
    let old = state.nodes().get(id).map(|node| Node::clone(node));
    let fresh = old.is_none();
    let mut node = old.unwrap_or_else(|| Node::new(id, NodeSpec::default()));
    node.status.state = now;
    let node = Arc::new(node);
    act(state, if fresh { Change::Create(node) } else { Change::Update(node) });
}

fn task(state: &mut State, id: u128, node: Option<u128>) {
    act(
        state,
        Change::Create(Arc::new(Task {
            id: TaskId::new(id),
            meta: Meta::default(),
            service_id: WEB,
            slot: Slot::Replica(u64::try_from(id).unwrap()),
            spec_version: Revision(1),
            node_id: node.map(NodeId::new),
            status: TaskStatus::default(),
            desired_state: DesiredState::Running,
            networks: vec![],
            job_iteration: None,
            generic: vec![],
        })),
    );
}

/// A service with a task on each of nodes 1 and 2; node 3 has none.
fn swarm() -> State {
    let mut state = State::default();
    for id in 1..=3 {
        node(&mut state, id, NodeState::Ready);
    }
    act(
        &mut state,
        Change::Create(Arc::new(Service::new(
            WEB,
            Arc::new(ServiceSpec::new(
                Annotations { name: "web".to_owned(), ..Annotations::default() },
                ServiceMode::Replicated { replicas: 2 },
            )),
        ))),
    );
    task(&mut state, 1, Some(1));
    task(&mut state, 2, Some(2));
    state
}

fn web() -> LogSelector {
    LogSelector { services: [WEB].into(), ..LogSelector::default() }
}

fn asked(subscription: &Subscription) -> Vec<u128> {
    (1..=3).filter(|id| subscription.asks(NodeId::new(*id))).collect()
}

#[test]
fn it_ends_when_every_node_with_a_task_has_closed() {
    let mut it = Subscription::new(&swarm(), web(), Follow::No);
    assert_eq!(asked(&it), [1, 2]);
    it.closed(NodeId::new(1));
    it.closed(NodeId::new(3));
    assert_eq!((asked(&it), it.is_done()), (vec![2], false));
    it.closed(NodeId::new(2));
    assert!(it.is_done());
    assert_eq!(it.warning(), None);
    // What is over stays as it ended.
    it.lost(NodeId::new(2));
    assert_eq!(it.warning(), None);
}

#[test]
fn tasks_and_nodes_can_be_chosen() {
    let state = swarm();
    let one = LogSelector { tasks: [TaskId::new(2)].into(), ..LogSelector::default() };
    assert_eq!(asked(&Subscription::new(&state, one, Follow::No)), [2]);
    let whole = LogSelector { nodes: [NodeId::new(3)].into(), ..LogSelector::default() };
    assert_eq!(asked(&Subscription::new(&state, whole, Follow::No)), [3]);
    let gone = LogSelector { tasks: [TaskId::new(9)].into(), ..LogSelector::default() };
    assert!(Subscription::new(&state, gone, Follow::No).is_done());
}

#[test]
fn nodes_that_cannot_publish_are_named() {
    let mut state = swarm();
    task(&mut state, 3, None);
    task(&mut state, 4, Some(3));
    node(&mut state, 1, NodeState::Down);
    let mut it = Subscription::new(&state, web(), Follow::No);
    assert_eq!(asked(&it), [2, 3]);
    it.lost(NodeId::new(2));
    it.give_up(|_| true);
    assert!(!it.is_done());
    node(&mut state, 3, NodeState::Down);
    it.observe(&state);
    assert!(it.is_done());
    let (one, two, three) = (NodeId::new(1), NodeId::new(2), NodeId::new(3));
    let expected = format!(
        "warning: incomplete log stream. some logs could not be retrieved for the following reasons: \
         node {one} is not available, node {two} disconnected unexpectedly, \
         node {three} is not available, task {} has not been scheduled",
        TaskId::new(3)
    );
    assert_eq!(it.warning(), Some(expected));
}

#[test]
fn nodes_that_never_listen_are_given_up() {
    let mut it = Subscription::new(&swarm(), web(), Follow::No);
    it.give_up(|node| node == NodeId::new(1));
    assert_eq!((asked(&it), it.is_done()), (vec![1], false));
    it.closed(NodeId::new(1));
    assert!(it.is_done() && it.warning().unwrap().contains(&NodeId::new(2).to_string()));
}

#[test]
fn a_follower_goes_where_tasks_go_and_never_ends() {
    let mut state = swarm();
    let mut it = Subscription::new(&state, web(), Follow::Yes);
    assert!(!it.observe(&state));
    task(&mut state, 3, Some(3));
    assert!(it.observe(&state));
    assert_eq!(asked(&it), [1, 2, 3]);
    for id in 1..=3 {
        it.lost(NodeId::new(id));
    }
    // A node that comes back is asked again.
    assert_eq!((asked(&it), it.is_done()), (vec![1, 2, 3], false));
}
