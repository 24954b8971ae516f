//! The one way by which a leader changes the state.
//!
//! A transaction is checked against the speculative view, queued, and carried by the next log
//! entry together with whatever else waits. Several entries are under way at a time, within a bound;
//! the log takes those of one leadership in the order of queueing, or refuses them. A rejection, or
//! an entry that was lost, throws the speculative view away: what is under way is waited for, and
//! what is queued is tried again on what is applied then.
//!
//! **Invariant:** a transaction is answered once, and with success only after it was applied.

mod log;
#[cfg(test)]
pub(crate) mod test_log;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use skep_raft::{Observer, ProposeError, Proposed, decode_reply, encode_batch};
use skep_state::speculation::Refused;
use skep_state::{Action, Clock, Event, Rejection, Speculation, State, Ticket, Transaction};
use skep_types::Timestamp;
use tokio::sync::{Notify, oneshot, watch};

use crate::clock;
use crate::defaults::{
    BATCH_BYTES, ENTRIES_UNDER_WAY, ENTRIES_UNDER_WAY_MAX, IN_FLIGHT_MAX, REQUEST_BYTES_MAX,
    TRANSACTION_BYTES_MAX,
};
use crate::metrics::{Fate, ManagerMetrics};
pub(crate) use log::Log;

/// Why a transaction was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposalError {
    #[error("this manager is not the leader")]
    NotLeader,
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// `apply` refused what the speculative view had taken: it was outrun.
    #[error("{0}")]
    Outrun(String),
    #[error("too many changes under way: at most {IN_FLIGHT_MAX}")]
    Full,
    #[error("change too large: at most {max} bytes, got {got}")]
    TooLarge { max: usize, got: usize },
    /// The outcome is unknown.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Refused> for ProposalError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rejected(rejection) => Self::Rejected(rejection),
            Refused::Full { .. } => Self::Full,
        }
    }
}

/// A transaction under way.
pub struct Pending(oneshot::Receiver<Result<u64, ProposalError>>);

impl Pending {
    /// Waits until it was applied; gives the log index of the entry that carried it.
    ///
    /// # Errors
    /// It was refused, or leadership was lost and the outcome is unknown.
    pub async fn applied(self) -> Result<u64, ProposalError> {
        let lost = "leadership was lost before the change was confirmed";
        self.0.await.unwrap_or_else(|_| Err(ProposalError::Unavailable(lost.to_owned())))
    }
}

struct Queued {
    ticket: Ticket,
    transaction: Transaction,
    /// The transaction as a batch of its own; batches are joined by joining their bytes.
    bytes: Vec<u8>,
    since: Instant,
    done: oneshot::Sender<Result<u64, ProposalError>>,
}

struct Lead {
    term: u64,
    epoch: u64,
    clock: Clock,
    speculation: Speculation,
    queue: VecDeque<Queued>,
    /// Of all that is in `queue`.
    queued_bytes: usize,
}

impl Lead {
    fn queue(&mut self, ticket: Ticket, transaction: Transaction, bytes: Vec<u8>) -> Pending {
        let (done, pending) = oneshot::channel();
        self.queued_bytes += bytes.len();
        let since = Instant::now();
        self.queue.push_back(Queued { ticket, transaction, bytes, since, done });
        Pending(pending)
    }
}

/// What one entry carries.
struct Batch {
    term: u64,
    bytes: Vec<u8>,
    carried: Vec<Carried>,
}

/// A transaction in an entry that is under way.
struct Carried {
    ticket: Ticket,
    since: Instant,
    done: oneshot::Sender<Result<u64, ProposalError>>,
}

/// An entry that came to its end.
struct Landed {
    carried: Vec<Carried>,
    outcome: Result<Proposed, ProposeError>,
}

/// Takes transactions while this manager leads.
pub struct Proposer {
    log: Arc<dyn Log>,
    observer: Observer,
    metrics: ManagerMetrics,
    lead: Mutex<Option<Lead>>,
    queued: Notify,
    /// Changes with the speculative view, plans' own changes left out.
    changes: watch::Sender<u64>,
}

impl Proposer {
    pub(crate) fn new(log: Arc<dyn Log>, observer: Observer, metrics: ManagerMetrics) -> Self {
        let changes = watch::Sender::new(0);
        let lead = Mutex::new(None);
        Self { log, observer, metrics, lead, queued: Notify::new(), changes }
    }

    /// Tells that there is news for [`Self::follow`].
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What will be, and what changed in it since the last call, plans' own changes left out; no
    /// news where whoever follows is to begin anew. For one follower.
    pub(crate) fn follow(&self) -> Option<(State, Option<Vec<Event>>)> {
        let mut guard = self.lock();
        let lead = guard.as_mut()?;
        let news = lead.speculation.take_news();
        Some((lead.speculation.view().clone(), news))
    }

    /// Queues what still holds of a plan that was made from an earlier view, at the time it was made
    /// for, and gives back the rest; nothing is under way where none of it holds.
    ///
    /// # Errors
    /// There is no room, or it is too large; nothing is taken.
    pub(crate) fn submit_plan(
        &self,
        now: Timestamp,
        actions: &[Action],
    ) -> Result<(Option<Pending>, Vec<Action>), ProposalError> {
        // Before the lock: it takes as long as the decision itself.
        let epoch = self.lock().as_ref().ok_or(ProposalError::NotLeader)?.epoch;
        let mut transaction = Transaction { epoch, now, actions: actions.to_vec() };
        let mut bytes = encode_batch(std::slice::from_ref(&transaction)).to_vec();
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(too_large(TRANSACTION_BYTES_MAX, bytes.len()));
        }
        let mut guard = self.lock();
        let lead = guard.as_mut().filter(|lead| lead.epoch == epoch);
        let lead = lead.ok_or(ProposalError::NotLeader)?;
        let (ticket, refused) =
            lead.speculation.propose_plan(&mut transaction).map_err(ProposalError::from)?;
        let Some(ticket) = ticket else { return Ok((None, refused)) };
        if !refused.is_empty() {
            bytes = encode_batch(std::slice::from_ref(&transaction)).to_vec();
        }
        let pending = lead.queue(ticket, transaction, bytes);
        drop(guard);
        self.queued.notify_one();
        Ok((Some(pending), refused))
    }

    /// What will be once everything under way is applied; none while this manager does not lead.
    pub fn view(&self) -> Option<State> {
        self.lock().as_ref().map(|lead| lead.speculation.view().clone())
    }

    /// The swarm's time, as this leadership reckons it; the host's while this manager does not lead.
    pub fn now(&self) -> Timestamp {
        let now = clock::now();
        self.lock().as_ref().map_or(now, |lead| lead.clock.time(now))
    }

    /// Decides on the speculative view and queues what was decided, with nothing in between.
    ///
    /// # Errors
    /// The decision's own, or the transaction is refused at once.
    pub fn submit<E: From<ProposalError>>(
        &self,
        decide: impl FnOnce(&State) -> Result<Vec<Action>, E>,
    ) -> Result<Pending, E> {
        let mut guard = self.lock();
        let lead = guard.as_mut().ok_or(ProposalError::NotLeader)?;
        let actions = decide(lead.speculation.view())?;
        let now = lead.clock.time(clock::now());
        let mut transaction = Transaction { epoch: lead.epoch, now, actions };
        let bytes = encode_batch(std::slice::from_ref(&transaction)).to_vec();
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(too_large(REQUEST_BYTES_MAX, bytes.len()).into());
        }
        let ticket = lead.speculation.propose(&mut transaction).map_err(ProposalError::from)?;
        let pending = lead.queue(ticket, transaction, bytes);
        drop(guard);
        self.queued.notify_one();
        self.changes.send_modify(|count| *count += 1);
        Ok(pending)
    }

    /// Begins the leadership of a term on what is applied now, which must hold everything committed
    /// before.
    pub(crate) fn begin(&self, term: u64, epoch: u64) {
        let applied = self.observer.view();
        let clock = Clock::begin(&applied, clock::now());
        let speculation = Speculation::new(epoch, applied, IN_FLIGHT_MAX);
        let (queue, queued_bytes) = (VecDeque::new(), 0);
        *self.lock() = Some(Lead { term, epoch, clock, speculation, queue, queued_bytes });
        self.changes.send_modify(|count| *count += 1);
    }

    /// Ends a leadership; whoever waits is told.
    pub(crate) fn end(&self) {
        if let Some(lead) = self.lock().take() {
            for queued in lead.queue {
                // Nobody waits for it any more, then.
                let _ = queued.done.send(Err(ProposalError::NotLeader));
            }
        }
    }

    /// Carries what is queued into the log, as long as it is polled.
    pub(crate) async fn run(&self) {
        let mut under_way: FuturesOrdered<BoxFuture<'_, Landed>> = FuturesOrdered::new();
        let mut in_step = true;
        loop {
            if !in_step && under_way.is_empty() {
                self.resynchronise();
                in_step = true;
            }
            while in_step && let Some(batch) = self.next_batch(under_way.len()) {
                under_way.push_back(self.put_under_way(batch).await);
            }
            tokio::select! {
                Some(landed) = under_way.next() => in_step &= self.settle(landed),
                () = self.queued.notified(), if in_step => {}
            }
        }
    }

    /// What the next entry is to carry, if one is to go now: a full one as soon as there is room; one
    /// that is not full goes while few are under way, so that much that comes little by little makes
    /// few entries.
    fn next_batch(&self, under_way: usize) -> Option<Batch> {
        let mut guard = self.lock();
        let lead = guard.as_mut()?;
        let full = lead.queued_bytes >= BATCH_BYTES;
        let room = if full { ENTRIES_UNDER_WAY_MAX } else { ENTRIES_UNDER_WAY };
        if lead.queue.is_empty() || under_way >= room {
            return None;
        }
        let mut batch = Batch { term: lead.term, bytes: Vec::new(), carried: Vec::new() };
        while batch.bytes.len() < BATCH_BYTES
            && let Some(Queued { ticket, bytes, since, done, .. }) = lead.queue.pop_front()
        {
            lead.queued_bytes -= bytes.len();
            batch.bytes.extend(bytes);
            batch.carried.push(Carried { ticket, since, done });
        }
        Some(batch)
    }

    /// Hands an entry to the log, and gives the waiting for its end.
    async fn put_under_way(&self, batch: Batch) -> BoxFuture<'_, Landed> {
        let Batch { term, bytes, carried } = batch;
        match self.log.submit(term, bytes.into()).await {
            Ok(applied) => Box::pin(async move { Landed { carried, outcome: applied.await } }),
            Err(error) => Box::pin(std::future::ready(Landed { carried, outcome: Err(error) })),
        }
    }

    /// Answers everyone whose transaction an entry carried; whether all went as foreseen.
    fn settle(&self, landed: Landed) -> bool {
        let Landed { carried, outcome } = landed;
        let verdicts = outcome.map_err(lost).and_then(|proposed| {
            let verdicts = decode_reply(&proposed.reply)
                .map_err(|error| ProposalError::Unavailable(error.to_string()))?;
            Ok((proposed.index, verdicts))
        });
        match verdicts {
            Err(error) => {
                for Carried { since, done, .. } in carried {
                    self.metrics.proposed(Fate::Lost, since);
                    let _ = done.send(Err(error.clone()));
                }
                false
            }
            Ok((index, verdicts)) => {
                let mut in_step = true;
                let mut old = None;
                // The lock first: whoever is answered sees a view that has its change.
                if let Some(lead) = self.lock().as_mut() {
                    for Carried { ticket, .. } in &carried {
                        in_step &= lead.speculation.applied(*ticket);
                    }
                    let agrees = in_step && verdicts.iter().all(Result::is_ok);
                    old = agrees.then(|| lead.speculation.adopt(self.observer.view()));
                }
                // Outside the lock: it may be the last of its kind, and large.
                drop(old);
                for (Carried { since, done, .. }, verdict) in carried.into_iter().zip(verdicts) {
                    in_step &= verdict.is_ok();
                    let fate = if verdict.is_ok() { Fate::Applied } else { Fate::Refused };
                    self.metrics.proposed(fate, since);
                    let answer = verdict.map(|()| index);
                    let answer = answer.map_err(|error| ProposalError::Outrun(error.to_string()));
                    let _ = done.send(answer);
                }
                in_step
            }
        }
    }

    /// Tries what is queued on the applied state; what does not hold there is refused.
    fn resynchronise(&self) {
        let mut guard = self.lock();
        let Some(lead) = guard.as_mut() else { return };
        lead.speculation = Speculation::new(lead.epoch, self.observer.view(), IN_FLIGHT_MAX);
        lead.queued_bytes = 0;
        for mut queued in std::mem::take(&mut lead.queue) {
            match lead.speculation.propose(&mut queued.transaction) {
                Ok(ticket) => {
                    queued.ticket = ticket;
                    lead.queued_bytes += queued.bytes.len();
                    lead.queue.push_back(queued);
                }
                Err(Refused::Rejected(rejection)) => {
                    let _ = queued.done.send(Err(ProposalError::Rejected(rejection)));
                }
                Err(Refused::Full { .. }) => {
                    let _ = queued.done.send(Err(ProposalError::Full));
                }
            }
        }
        drop(guard);
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Lead>> {
        self.lead.lock().expect("no holder panics")
    }
}

fn too_large(max: usize, got: usize) -> ProposalError {
    ProposalError::TooLarge { max, got }
}

fn lost(error: ProposeError) -> ProposalError {
    match error {
        ProposeError::NotLeader { .. } => ProposalError::NotLeader,
        other => ProposalError::Unavailable(other.to_string()),
    }
}
