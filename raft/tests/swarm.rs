//! The swarm's state behind a real Raft node: proposals, restarts, snapshots.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::{DEADLINE, Net, TestSeal, peer, until};
use skep_raft::*;
use skep_state::{Action, Change, Event, State, Transaction};
use skep_types::service::{EndpointSpec, PortConfig};
use skep_types::task::Slot;
use skep_types::*;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

struct Manager {
    node: Arc<RaftNode>,
    observer: Observer,
}

async fn start(net: &Arc<Net>, dir: &Path, id: u64) -> Manager {
    let (machine, observer) = SwarmMachine::new();
    let mut config = skep_raft::Config::new(id);
    config.snapshot_keep = 0;
    let wire = Arc::new(net.wire(id));
    let dir = dir.join(id.to_string());
    let node = RaftNode::open(&dir, config, Box::new(machine), Arc::new(TestSeal), wire);
    let node = Arc::new(node.await.unwrap());
    net.enter(id, node.clone());
    Manager { node, observer }
}

async fn alone(net: &Arc<Net>, dir: &Path) -> Manager {
    let manager = start(net, dir, 1).await;
    manager.node.bootstrap(peer(1)).await.unwrap();
    manager.leads().await;
    manager
}

impl Manager {
    async fn leads(&self) {
        until("leadership", async || self.node.read_index().await.ok()).await;
    }

    async fn propose(&self, transactions: &[Transaction]) -> Vec<Verdict> {
        let proposed = self.node.propose(encode_batch(transactions)).await.unwrap();
        decode_reply(&proposed.reply).unwrap()
    }

    /// Waits until everything that the leader has applied is applied here.
    async fn reaches(&self, index: u64) {
        let mut applied = self.observer.applied();
        let reached = applied.wait_for(|it| *it >= index);
        tokio::time::timeout(DEADLINE, reached).await.expect("in time").unwrap();
    }

    async fn take_snapshot(&self) {
        let last = self.node.metrics().last_applied.unwrap().index;
        self.node.trigger_snapshot().await.unwrap();
        until("a snapshot and a purged log", async || {
            let metrics = self.node.metrics();
            metrics.snapshot.filter(|it| it.index >= last)?;
            metrics.purged.filter(|it| it.index >= last)
        })
        .await;
    }
}

fn annotations(name: &str) -> Annotations {
    Annotations { name: name.to_owned(), ..Annotations::default() }
}

fn service(id: u128, name: &str, port: u16) -> Service {
    let port = PortConfig { target_port: 80, published_port: port, ..PortConfig::default() };
    Service::new(
        ServiceId::new(id),
        Arc::new(ServiceSpec {
            endpoint: EndpointSpec { ports: vec![port], ..EndpointSpec::default() },
            ..ServiceSpec::new(annotations(name), ServiceMode::Replicated { replicas: 1 })
        }),
    )
}

fn task(id: u128, service: u128, slot: u64) -> Task {
    Task {
        id: TaskId::new(id),
        meta: Meta::default(),
        service_id: ServiceId::new(service),
        slot: Slot::Replica(slot),
        spec_version: Revision(1),
        node_id: Some(NodeId::new(9)),
        status: TaskStatus::default(),
        desired_state: DesiredState::Running,
        networks: vec![],
        job_iteration: None,
        generic: vec![],
    }
}

fn secret(id: u128, name: &str) -> Secret {
    let data = Payload(b"x".as_slice().into());
    let spec = SecretSpec { annotations: annotations(name), data, template: false };
    Secret { id: SecretId::new(id), meta: Meta::default(), spec }
}

fn create<T: skep_state::Object>(object: T) -> Action
where
    Action: From<Change<T>>,
{
    Change::Create(Arc::new(object)).into()
}

fn transaction(epoch: u64, actions: Vec<Action>) -> Transaction {
    Transaction { epoch, now: Timestamp(11), actions }
}

/// A service that was changed under a task that keeps the old spec, so that one is retained.
async fn furnish(manager: &Manager) {
    let mut changed = service(1, "web", 8080);
    changed.meta.revision = Revision(1);
    Arc::make_mut(&mut changed.spec).task.container.image = "web:2".into();
    let mut again = changed.clone();
    again.meta.revision = Revision(2);
    Arc::make_mut(&mut again.spec).task.container.image = "web:3".into();
    let verdicts = manager
        .propose(&[
            transaction(1, vec![create(service(1, "web", 8080)), create(secret(5, "key"))]),
            transaction(1, vec![create(task(3, 1, 1)), create(task(4, 1, 2))]),
            transaction(2, vec![Change::Update(Arc::new(changed)).into()]),
            transaction(2, vec![Change::Update(Arc::new(again)).into()]),
        ])
        .await;
    assert_eq!(verdicts, vec![Ok(()); 4]);
    assert!(manager.observer.view().spec(ServiceId::new(1), Revision(1)).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposer_reads_its_write_and_learns_each_verdict() {
    let (net, dir) = (Arc::default(), tempfile::tempdir().unwrap());
    let manager = alone(&net, dir.path()).await;
    let mut events = manager.observer.events();
    let verdicts = manager
        .propose(&[
            transaction(3, vec![create(service(1, "web", 8080))]),
            transaction(3, vec![create(secret(5, "key")), create(service(2, "web", 8081))]),
            transaction(3, vec![create(service(2, "api", 8080))]),
            transaction(2, vec![create(secret(6, "late"))]),
            transaction(3, vec![create(service(3, "db", 5432))]),
        ])
        .await;
    let view = manager.observer.view();
    let kinds: Vec<_> = verdicts
        .iter()
        .map(|verdict| verdict.as_ref().err().map(|rejected| (rejected.kind, rejected.action)))
        .collect();
    assert_eq!(
        kinds,
        [
            None,
            Some((RejectedKind::AlreadyExists, Some(1))),
            Some((RejectedKind::Invalid, Some(0))),
            Some((RejectedKind::StaleEpoch, None)),
            None,
        ]
    );
    assert_eq!(
        verdicts[2].as_ref().unwrap_err().to_string(),
        "port '8080' is already in use by service 'web' (0000000000000000000000001) as an ingress port"
    );
    let names: Vec<_> =
        view.services().iter().map(|it| it.spec.annotations.name.as_str()).collect();
    assert_eq!((view.epoch(), names), (3, vec!["web", "db"]));
    assert!(view.secrets().is_empty(), "a rejected transaction leaves nothing");
    let told = events.recv().await.unwrap();
    assert_eq!(told.len(), 2);
    assert!(matches!(&told[1], Event::Service(delta) if delta.before.is_none()), "{told:?}");
    manager.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_without_changes_is_seen() {
    let (net, dir) = (Arc::default(), tempfile::tempdir().unwrap());
    let manager = alone(&net, dir.path()).await;
    assert_eq!(manager.propose(&[transaction(7, vec![])]).await, [Ok(())]);
    assert_eq!(manager.observer.view().epoch(), 7);
    manager.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_batch_changes_nothing_and_is_answered() {
    let (net, dir) = (Arc::default(), tempfile::tempdir().unwrap());
    let manager = alone(&net, dir.path()).await;
    furnish(&manager).await;
    let before = manager.observer.view();
    let proposed = manager.node.propose(Bytes::from_static(b"no batch")).await.unwrap();
    let error = decode_reply(&proposed.reply).unwrap_err().to_string();
    assert!(error.starts_with("log entry was not applied: failed to decode"), "{error}");
    assert!(manager.observer.view() == before);
    manager.reaches(proposed.index).await;
    furnish_more(&manager, 20).await;
    manager.node.shutdown().await;
}

async fn furnish_more(manager: &Manager, id: u128) {
    let name = format!("secret-{id}");
    let verdicts = manager.propose(&[transaction(9, vec![create(secret(id, &name))])]).await;
    assert_eq!(verdicts, [Ok(())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_brings_the_state_back_from_log_and_snapshot() {
    let (net, dir) = (Arc::default(), tempfile::tempdir().unwrap());
    let manager = alone(&net, dir.path()).await;
    furnish(&manager).await;
    let mut before = manager.observer.view();
    manager.node.shutdown().await;
    drop(manager);
    for snapshot in [false, true, true] {
        let manager = start(&net, dir.path(), 1).await;
        manager.leads().await;
        manager.reaches(manager.node.read_index().await.unwrap()).await;
        assert!(manager.observer.view() == before, "snapshot: {snapshot}");
        if snapshot {
            manager.take_snapshot().await;
        }
        // Also with entries after the snapshot.
        furnish_more(&manager, 30 + before.secrets().len() as u128).await;
        before = manager.observer.view();
        manager.node.shutdown().await;
    }
    let manager = start(&net, dir.path(), 1).await;
    manager.leads().await;
    manager.reaches(manager.node.read_index().await.unwrap()).await;
    assert!(manager.observer.view() == before);
    manager.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_travels_gives_an_equal_state_and_the_events_to_it() {
    let (net, dir) = (Arc::<Net>::default(), tempfile::tempdir().unwrap());
    let first = alone(&net, dir.path()).await;
    furnish(&first).await;
    first.take_snapshot().await;
    let second = start(&net, dir.path(), 2).await;
    let mut events = second.observer.events();
    first.node.add_learner(2, peer(2)).await.unwrap();
    second.reaches(first.node.read_index().await.unwrap()).await;
    assert!(net.snapshots.load(Ordering::SeqCst) > 0, "the state came by a snapshot");
    assert!(second.observer.view() == first.observer.view());
    // A service, a secret and two tasks, as if they had just been made.
    let told = events.recv().await.unwrap();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(matches!(events.try_recv(), Err(TryRecvError::Empty)));
    furnish_more(&first, 40).await;
    second.reaches(first.node.read_index().await.unwrap()).await;
    assert!(second.observer.view() == first.observer.view());
    second.node.shutdown().await;
    first.node.shutdown().await;
}

fn apply(machine: &mut SwarmMachine, index: u64, id: u128) {
    let name = format!("secret-{id}");
    let batch = encode_batch(&[transaction(1, vec![create(secret(id, &name))])]);
    assert_eq!(decode_reply(&machine.apply(index, &batch)), Ok(vec![Ok(())]));
}

#[test]
fn a_snapshot_that_cannot_be_read_changes_nothing() {
    let (mut machine, observer) = SwarmMachine::new();
    apply(&mut machine, 4, 1);
    let good = machine.snapshot()().unwrap();
    let before = observer.view();
    let mut events = observer.events();
    for length in 0..good.len() {
        assert!(machine.restore(9, &good[..length]).is_err(), "the first {length} bytes");
    }
    assert!(observer.view() == before);
    assert_eq!(*observer.applied().borrow(), 4);
    assert!(matches!(events.try_recv(), Err(TryRecvError::Empty)));
    // The machine itself, too: it goes on from where it was.
    apply(&mut machine, 5, 2);
    assert_eq!(observer.view().secrets().len(), 2);
    machine.restore(9, &good).unwrap();
    assert!(observer.view() == before);
    assert_eq!(*observer.applied().borrow(), 9);
}

#[test]
fn events_from_any_state_to_a_snapshots() {
    let (mut there, _) = SwarmMachine::new();
    apply(&mut there, 1, 1);
    apply(&mut there, 2, 2);
    let (mut here, observer) = SwarmMachine::new();
    apply(&mut here, 1, 1);
    apply(&mut here, 2, 3);
    let mut events = observer.events();
    here.restore(7, &there.snapshot()().unwrap()).unwrap();
    let told = events.try_recv().unwrap();
    let sides: Vec<_> = told
        .iter()
        .map(|event| match event {
            Event::Secret(delta) => {
                (delta.before.as_ref().map(|it| it.id), delta.after.as_ref().map(|it| it.id))
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sides, [(Some(SecretId::new(3)), None), (None, Some(SecretId::new(2)))]);
}

#[tokio::test]
async fn a_follower_that_lags_is_told_to_take_a_view() {
    let (mut machine, observer) = SwarmMachine::new();
    let mut events = observer.events();
    let beyond = u128::try_from(skep_raft::defaults::EVENTS_MAX).unwrap() + 1;
    for id in 1..=beyond {
        apply(&mut machine, u64::try_from(id).unwrap(), id);
    }
    assert!(matches!(events.recv().await, Err(RecvError::Lagged(_))));
    let view: State = observer.view();
    assert_eq!(view.secrets().len() as u128, beyond);
}

#[test]
fn a_view_that_was_taken_does_not_change() {
    let (mut machine, observer) = SwarmMachine::new();
    apply(&mut machine, 1, 1);
    let view = observer.view();
    apply(&mut machine, 2, 2);
    assert_eq!((view.secrets().len(), observer.view().secrets().len()), (1, 2));
}

/// The ids of the secrets that a step tells of.
fn told(step: &Step) -> Vec<u128> {
    let events = step.news.iter().flat_map(|entry| entry.iter());
    let id = |event: &Event| match event {
        Event::Secret(delta) => delta.after.as_ref().unwrap().id.bits(),
        other => panic!("{other:?}"),
    };
    events.map(id).collect()
}

#[tokio::test]
async fn a_step_tells_exactly_what_lies_between_two_views() {
    let (mut machine, observer) = SwarmMachine::new();
    apply(&mut machine, 1, 1);
    let (begin, mut follower) = observer.follow();
    assert_eq!((begin.index, begin.view.secrets().len(), begin.news.is_empty()), (1, 1, true));
    apply(&mut machine, 2, 2);
    machine.pass(3);
    apply(&mut machine, 4, 3);
    let step = follower.next().await;
    assert_eq!((step.index, step.view.secrets().len()), (4, 3));
    assert_eq!(told(&step), [2, 3]);
    for id in 0..=u128::try_from(skep_raft::defaults::EVENTS_MAX).unwrap() {
        apply(&mut machine, 5 + u64::try_from(id).unwrap(), 4 + id);
    }
    let step = follower.next().await;
    let missed: Vec<u128> = (4..=4 + skep_raft::defaults::EVENTS_MAX as u128).collect();
    assert_eq!(told(&step), missed, "what is not there any more is found in the views");
    assert!(step.view == observer.view());
    apply(&mut machine, 9000, 9000);
    assert_eq!(told(&follower.next().await), [9000], "and goes on from there");
}

#[test]
fn steps_and_views_agree_while_entries_are_applied() {
    let (mut machine, observer) = SwarmMachine::new();
    let (begin, mut follower) = observer.follow();
    let applying = std::thread::spawn(move || {
        for id in 1..=2000 {
            apply(&mut machine, u64::try_from(id).unwrap(), id);
        }
    });
    let mut ids: Vec<u128> = begin.view.secrets().iter().map(|it| it.id.bits()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while ids.len() < 2000 {
        let step = runtime.block_on(follower.next());
        ids.extend(told(&step));
        assert_eq!(ids.len(), step.view.secrets().len());
        assert_eq!(ids.len() as u64, step.index);
    }
    applying.join().unwrap();
}
