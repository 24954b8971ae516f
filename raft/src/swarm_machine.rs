//! The swarm's state as the machine that the log drives, and the window through which it is seen.
//!
//! It decides nothing: each transaction is [`State::apply`]'s to take or reject.
//!
//! **Invariant:** what an entry changed is in the [`Observer`]'s view before the entry is answered
//! and before its index is told, so a proposer reads its own writes, and who has seen an index
//! finds everything up to it.

use skep_types::error_chain;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_state::{Event, State};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{broadcast, watch};

use crate::codec::{Rejected, Verdict, decode_batch, encode_reply};
use crate::defaults;
use crate::difference::difference;
use crate::machine::{Encode, Machine};
use crate::swarm_snapshot;

/// The replicated state machine of a swarm.
pub struct SwarmMachine {
    state: State,
    shared: Arc<Shared>,
}

struct Shared {
    view: Mutex<Seen>,
    applied: watch::Sender<u64>,
    events: broadcast::Sender<Arc<Vec<Event>>>,
}

/// A view, and the index of the newest entry in it.
#[derive(Default)]
struct Seen {
    index: u64,
    state: State,
}

/// Sees what the machine has applied; clones see the same machine.
#[derive(Clone)]
pub struct Observer {
    shared: Arc<Shared>,
}

impl SwarmMachine {
    /// An empty state, and the window to it.
    pub fn new() -> (Self, Observer) {
        let shared = Arc::new(Shared {
            view: Mutex::default(),
            applied: watch::Sender::new(0),
            events: broadcast::Sender::new(defaults::EVENTS_MAX),
        });
        let observer = Observer { shared: Arc::clone(&shared) };
        (Self { state: State::default(), shared }, observer)
    }

    fn publish(&self, index: u64, events: Vec<Event>) {
        let mut seen = self.shared.seen();
        let old = std::mem::replace(&mut *seen, Seen { index, state: self.state.clone() });
        if !events.is_empty() {
            // Under the lock, so that a follower finds a view and the events up to it together.
            // Nobody needs to follow; who comes later starts from a view.
            let _ = self.shared.events.send(Arc::new(events));
        }
        drop(seen);
        // Outside the lock: it may be the last of its kind, and large.
        drop(old);
        self.shared.applied.send_replace(index);
    }

    fn apply_batch(&mut self, command: &[u8], events: &mut Vec<Event>) -> Vec<u8> {
        let verdicts = decode_batch(command).map(|transactions| {
            let mut verdict = |transaction| -> Verdict {
                events.extend(self.state.apply(transaction).map_err(|e| Rejected::from(&e))?);
                Ok(())
            };
            transactions.iter().map(&mut verdict).collect()
        });
        if let Err(error) = &verdicts {
            tracing::error!("log entry was not applied: {}", error_chain(error));
        }
        encode_reply(verdicts)
    }
}

impl Machine for SwarmMachine {
    fn apply(&mut self, index: u64, command: &[u8]) -> Vec<u8> {
        let mut events = Vec::new();
        let reply = self.apply_batch(command, &mut events);
        self.publish(index, events);
        reply
    }

    fn pass(&mut self, index: u64) {
        self.shared.seen().index = index;
        self.shared.applied.send_replace(index);
    }

    fn snapshot(&self) -> Encode {
        let state = self.state.clone();
        Box::new(move || swarm_snapshot::encode(&state))
    }

    fn restore(&mut self, index: u64, bytes: &[u8]) -> Result<(), String> {
        let restored = swarm_snapshot::decode(bytes).map_err(|error| error_chain(&error))?;
        let events = difference(&self.state, &restored);
        self.state = restored;
        self.publish(index, events);
        Ok(())
    }
}

impl Shared {
    // A view is replaced as a whole, so one that a panic left behind is as good as any.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer {
    /// The newest applied view. Costs a few pointers.
    pub fn view(&self) -> State {
        self.shared.seen().state.clone()
    }

    /// The newest applied view with the index of the newest entry in it.
    pub fn indexed_view(&self) -> (u64, State) {
        let seen = self.shared.seen();
        (seen.index, seen.state.clone())
    }

    /// Index of the newest applied entry of the log; changes with every entry and restore. The view
    /// is never older.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// The changes of each entry from now on, in order; entries that change nothing are left out. A
    /// receiver that lags by more than [`defaults::EVENTS_MAX`] is told so, and takes a view.
    pub fn events(&self) -> broadcast::Receiver<Arc<Vec<Event>>> {
        self.shared.events.subscribe()
    }

    /// Follows the state from here on, with the view that it begins at.
    pub fn follow(&self) -> (Step, Follower) {
        let mut applied = self.shared.applied.subscribe();
        // It is told after the view is set: what is seen already may be told once more.
        applied.mark_unchanged();
        let seen = self.shared.seen();
        let begin = Step { index: seen.index, view: seen.state.clone(), news: Vec::new() };
        let events = self.shared.events.subscribe();
        drop(seen);
        let (shared, view) = (Arc::clone(&self.shared), begin.view.clone());
        (begin, Follower { shared, applied, events, view })
    }
}

/// How far the state has come, and what happened on the way.
#[derive(Debug, Clone)]
pub struct Step {
    /// Of the newest entry in the view.
    pub index: u64,
    pub view: State,
    /// Exactly what lies between the view before and this one, entry by entry, or as one where it
    /// is too much; nothing at the beginning.
    pub news: Vec<Arc<Vec<Event>>>,
}

/// Follows the state step by step. However slow it is, it holds nothing up and misses nothing: what it
/// cannot be told entry by entry it is told as what its last view and the newest have apart.
pub struct Follower {
    shared: Arc<Shared>,
    applied: watch::Receiver<u64>,
    events: broadcast::Receiver<Arc<Vec<Event>>>,
    /// As far as it has come.
    view: State,
}

impl Follower {
    /// Waits until something was applied, and takes in all of it.
    pub async fn next(&mut self) -> Step {
        self.applied.changed().await.expect("what is shared holds the sender");
        // Whatever is told from here on is in the next step, if it is not in this one.
        let seen = self.shared.seen();
        let (index, view) = (seen.index, seen.state.clone());
        let (mut news, mut lags) = (Vec::new(), false);
        loop {
            match self.events.try_recv() {
                Ok(events) => news.push(events),
                Err(TryRecvError::Lagged(_)) => lags = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        drop(seen);
        if lags {
            news = vec![Arc::new(difference(&self.view, &view))];
        }
        self.view = view.clone();
        Step { index, view, news }
    }
}
