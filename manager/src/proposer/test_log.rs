//! A log for tests, which applies to a state machine of its own and lets a test say when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use skep_raft::{
    Machine, Observer, ProposeError, Proposed, SwarmMachine, decode_batch, encode_batch,
};
use skep_state::{Action, Transaction};
use skep_types::Timestamp;
use tokio::sync::{Notify, oneshot};

use super::Log;

/// The term in which it takes entries.
pub const TERM: u64 = 7;

type Answer = oneshot::Sender<Result<Proposed, ProposeError>>;

pub struct TestLog {
    inner: Mutex<Inner>,
    taken: Notify,
}

struct Inner {
    machine: SwarmMachine,
    index: u64,
    /// Entries wait until they are let go.
    holds: bool,
    under_way: VecDeque<(Bytes, Answer)>,
}

impl TestLog {
    pub fn new() -> (Arc<Self>, Observer) {
        let (machine, observer) = SwarmMachine::new();
        let inner = Inner { machine, index: 0, holds: false, under_way: VecDeque::new() };
        (Arc::new(Self { inner: Mutex::new(inner), taken: Notify::new() }), observer)
    }

    /// From now on entries wait for [`Self::apply`] or [`Self::refuse`].
    pub fn hold(&self) {
        self.lock().holds = true;
    }

    /// How many transactions each entry under way has, once there are `entries` of them.
    pub async fn under_way(&self, entries: usize) -> Vec<usize> {
        loop {
            let sizes: Vec<usize> = {
                let inner = self.lock();
                let sizes = inner.under_way.iter().map(|(bytes, _)| decode_batch(bytes));
                sizes.map(|batch| batch.expect("a batch").len()).collect()
            };
            assert!(sizes.len() <= entries, "{sizes:?} are under way");
            if sizes.len() == entries {
                return sizes;
            }
            self.taken.notified().await;
        }
    }

    /// Applies the oldest entry under way.
    pub fn apply(&self) {
        let mut inner = self.lock();
        let (bytes, answer) = inner.under_way.pop_front().expect("an entry is under way");
        let proposed = inner.apply(&bytes);
        drop(inner);
        // A test may have dropped the proposer.
        let _ = answer.send(Ok(proposed));
    }

    /// Answers the oldest entry under way without applying it.
    pub fn refuse(&self, error: ProposeError) {
        let (_, answer) = self.lock().under_way.pop_front().expect("an entry is under way");
        let _ = answer.send(Err(error));
    }

    /// Applies what somebody else has written.
    pub fn apply_foreign(&self, epoch: u64, actions: Vec<Action>) {
        let transaction = Transaction { epoch, now: Timestamp(1), actions };
        self.lock().apply(&encode_batch(&[transaction]));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }
}

impl Inner {
    fn apply(&mut self, bytes: &Bytes) -> Proposed {
        self.index += 1;
        Proposed { index: self.index, reply: self.machine.apply(self.index, bytes).into() }
    }
}

#[async_trait]
impl Log for TestLog {
    async fn submit(
        &self,
        term: u64,
        command: Bytes,
    ) -> Result<BoxFuture<'static, Result<Proposed, ProposeError>>, ProposeError> {
        if term != TERM {
            return Err(ProposeError::NotLeader { leader: None });
        }
        let (answer, applied) = oneshot::channel();
        let mut inner = self.lock();
        if inner.holds {
            inner.under_way.push_back((command, answer));
        } else {
            let proposed = inner.apply(&command);
            answer.send(Ok(proposed)).expect("it is waited for");
        }
        drop(inner);
        self.taken.notify_one();
        Ok(applied.map(|answer| answer.expect("each entry is answered")).boxed())
    }
}
