//! Several entries under way: their order, their bound, and what becomes of them when one is
//! refused or the leadership is lost.

use std::sync::Arc;
use std::time::Duration;

use skep_raft::{Observer, ProposeError};
use skep_state::{Action, Change};
use skep_types::{
    Annotations, ConfigId, ConfigSpec, Meta, Payload, Revision, Secret, SecretId, SecretSpec,
};
use tokio::task::JoinHandle;

use super::test_log::{TERM, TestLog};
use super::{Pending, ProposalError, Proposer};
use crate::defaults::{BATCH_BYTES, ENTRIES_UNDER_WAY, ENTRIES_UNDER_WAY_MAX};
use crate::metrics::ManagerMetrics;

const DEADLINE: Duration = Duration::from_secs(30);
const EPOCH: u64 = 70;

struct World {
    log: Arc<TestLog>,
    observer: Observer,
    proposer: Arc<Proposer>,
    running: JoinHandle<()>,
}

impl World {
    /// A leadership over an empty state.
    fn new() -> Self {
        let (log, observer) = TestLog::new();
        let metrics = ManagerMetrics::default();
        let proposer = Proposer::new(Arc::clone(&log) as _, observer.clone(), metrics);
        let proposer = Arc::new(proposer);
        proposer.begin(TERM, EPOCH);
        log.hold();
        let runs = Arc::clone(&proposer);
        let running = tokio::spawn(async move { runs.run().await });
        Self { log, observer, proposer, running }
    }

    fn submit(&self, actions: Vec<Action>) -> Pending {
        self.proposer.submit::<ProposalError>(|_| Ok(actions)).expect("it holds")
    }

    /// Entries that carry exactly so many transactions.
    async fn under_way(&self, entries: usize) -> Vec<usize> {
        let under_way = self.log.under_way(entries);
        tokio::time::timeout(DEADLINE, under_way).await.expect("in time")
    }

    fn names(&self) -> Vec<String> {
        let view = self.observer.view();
        view.secrets().iter().map(|it| it.spec.annotations.name.clone()).collect()
    }
}

async fn answer(pending: Pending) -> Result<u64, ProposalError> {
    tokio::time::timeout(DEADLINE, pending.applied()).await.expect("in time")
}

fn secret(id: u128, name: &str) -> Secret {
    let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
    let data = Payload(b"x".as_slice().into());
    let spec = SecretSpec { annotations, data, template: false };
    Secret { id: SecretId::new(id), meta: Meta::default(), spec }
}

fn create(id: u128, name: &str) -> Vec<Action> {
    vec![Change::Create(Arc::new(secret(id, name))).into()]
}

/// Changes a secret that was made by the transaction before.
fn label(id: u128, name: &str) -> Vec<Action> {
    let mut changed = secret(id, name);
    changed.meta.revision = Revision(1);
    changed.spec.annotations.labels.insert("a".to_owned(), "b".to_owned());
    vec![Change::Update(Arc::new(changed)).into()]
}

/// An entry of its own.
fn large(id: u128) -> Vec<Action> {
    let name = format!("large-{id}");
    let annotations = Annotations { name, ..Annotations::default() };
    let spec =
        ConfigSpec { annotations, data: Payload(vec![b'x'; BATCH_BYTES].into()), template: false };
    let config = skep_types::Config { id: ConfigId::new(id), meta: Meta::default(), spec };
    vec![Change::Create(Arc::new(config)).into()]
}

#[tokio::test]
async fn full_entries_go_on_within_the_bound_and_come_in_order() {
    let world = World::new();
    let all = ENTRIES_UNDER_WAY_MAX + 3;
    let mut pending: Vec<Pending> = (1..=all).map(|id| world.submit(large(id as u128))).collect();
    for left in (1..=all).rev() {
        let under_way = world.under_way(left.min(ENTRIES_UNDER_WAY_MAX)).await;
        assert!(under_way.iter().all(|entry| *entry == 1), "{under_way:?}");
        world.log.apply();
        let done = (all - left + 1) as u64;
        assert_eq!(answer(pending.remove(0)).await.unwrap(), done);
        assert_eq!(world.observer.view().configs().len() as u64, done);
    }
    world.running.abort();
}

#[tokio::test]
async fn what_will_be_and_what_is_are_one_in_memory_once_nothing_is_under_way() {
    let world = World::new();
    let first = world.submit(create(1, "a"));
    world.under_way(1).await;
    let second = world.submit(create(2, "b"));
    world.under_way(2).await;
    let is_one = |id| {
        let (will, is) = (world.proposer.view().unwrap(), world.observer.view());
        let of =
            |state: &skep_state::State| Arc::clone(state.secrets().get(SecretId::new(id)).unwrap());
        (Arc::ptr_eq(&of(&will), &of(&is)), will == is)
    };
    world.log.apply();
    answer(first).await.unwrap();
    assert_eq!(is_one(1), (false, false), "the second is still under way");
    world.log.apply();
    answer(second).await.unwrap();
    assert_eq!([is_one(1), is_one(2)], [(true, true); 2]);
    let third = world.submit(label(1, "a"));
    world.under_way(1).await;
    world.log.apply();
    answer(third).await.unwrap();
    assert_eq!([is_one(1), is_one(2)], [(true, true); 2]);
    world.running.abort();
}

#[tokio::test]
async fn what_comes_little_by_little_makes_few_entries() {
    let world = World::new();
    let mut pending = Vec::new();
    for id in 1..=ENTRIES_UNDER_WAY {
        pending.push(world.submit(create(id as u128, &format!("s{id}"))));
        assert_eq!(world.under_way(id).await, vec![1; id]);
    }
    for id in 10..30 {
        pending.push(world.submit(create(id, &format!("s{id}"))));
    }
    world.log.apply();
    assert_eq!(world.under_way(ENTRIES_UNDER_WAY).await.last(), Some(&20));
    for _ in 0..ENTRIES_UNDER_WAY {
        world.log.apply();
    }
    for pending in pending {
        answer(pending).await.unwrap();
    }
    assert_eq!(world.names().len(), 20 + ENTRIES_UNDER_WAY);
    world.running.abort();
}

#[tokio::test]
async fn a_rejection_in_the_middle_leaves_what_holds_without_it() {
    let world = World::new();
    let rejected = world.submit(create(1, "taken"));
    world.under_way(1).await;
    let beside = world.submit(create(2, "beside"));
    world.under_way(2).await;
    let on_top = world.submit(label(1, "taken"));
    let after = world.submit(create(3, "after"));
    // Faster than the first entry.
    world.log.apply_foreign(EPOCH, create(9, "taken"));
    world.log.apply();
    let error = answer(rejected).await.unwrap_err();
    assert!(matches!(error, ProposalError::Outrun(_)), "{error}");
    // Nothing follows until the second has landed, too.
    assert_eq!(world.under_way(1).await, [1]);
    assert!(
        world.proposer.view().is_some_and(|view| view.secrets().get(SecretId::new(1)).is_some())
    );
    world.log.apply();
    answer(beside).await.unwrap();
    let error = answer(on_top).await.unwrap_err();
    assert!(matches!(error, ProposalError::Rejected(_)), "{error}");
    assert_eq!(world.under_way(1).await, [1]);
    world.log.apply();
    answer(after).await.unwrap();
    let mut names = world.names();
    names.sort();
    assert_eq!(names, ["after", "beside", "taken"]);
    assert!(world.proposer.view() == Some(world.observer.view()));
    world.running.abort();
}

#[tokio::test]
async fn an_entry_that_was_lost_costs_only_what_it_carried() {
    let world = World::new();
    let first = world.submit(create(1, "one"));
    world.under_way(1).await;
    let second = world.submit(create(2, "two"));
    world.under_way(2).await;
    let on_top = world.submit(label(1, "one"));
    let third = world.submit(create(3, "three"));
    world.log.refuse(ProposeError::Unavailable("no quorum".to_owned()));
    let error = answer(first).await.unwrap_err();
    assert!(matches!(error, ProposalError::Unavailable(_)), "{error}");
    world.log.apply();
    answer(second).await.unwrap();
    answer(on_top).await.unwrap_err();
    world.under_way(1).await;
    world.log.apply();
    answer(third).await.unwrap();
    assert_eq!(world.names(), ["two", "three"]);
    world.running.abort();
}

#[tokio::test]
async fn a_leadership_that_is_lost_in_the_middle_answers_everyone_once() {
    let mut world = World::new();
    let applied = world.submit(create(1, "applied"));
    world.under_way(1).await;
    let refused = world.submit(create(2, "refused"));
    world.under_way(2).await;
    let queued = world.submit(create(3, "queued"));
    world.log.apply();
    answer(applied).await.unwrap();
    world.under_way(2).await;
    world.log.refuse(ProposeError::NotLeader { leader: None });
    let error = answer(refused).await.unwrap_err();
    assert!(matches!(error, ProposalError::NotLeader), "{error}");
    let waiting = world.submit(create(4, "waiting"));
    // As the loop of a leadership does: it drops what runs, then ends.
    world.running.abort();
    let _ = (&mut world.running).await;
    world.proposer.end();
    let error = answer(queued).await.unwrap_err();
    assert!(
        matches!(error, ProposalError::Unavailable(_)),
        "nobody knows what came of it: {error}"
    );
    let error = answer(waiting).await.unwrap_err();
    assert!(matches!(error, ProposalError::NotLeader), "nothing was written: {error}");
    let late = world.proposer.submit::<ProposalError>(|_| Ok(create(5, "late")));
    assert!(matches!(late, Err(ProposalError::NotLeader)));
    assert_eq!(world.names(), ["applied"]);
}

#[tokio::test]
async fn another_term_s_log_takes_nothing() {
    let world = World::new();
    world.proposer.begin(TERM + 1, EPOCH + 1);
    let error = answer(world.submit(create(1, "early"))).await.unwrap_err();
    assert!(matches!(error, ProposalError::NotLeader), "{error}");
    assert!(world.names().is_empty());
    world.running.abort();
}
