//! The one way by which a leader changes the state.
//!
//! A transaction is checked against the speculative view, queued, and carried by the next log
//! entry together with whatever else waits; one entry is under way at a time, so that entries are
//! applied in the order of queueing. A rejection throws the speculative view away and tries what is
//! queued on the applied one again.
//!
//! **Invariant:** a transaction is answered once, and with success only after it was applied.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use skep_raft::{Observer, ProposeError, RaftNode, decode_reply, encode_batch};
use skep_state::speculation::Refused;
use skep_state::{Action, Clock, Event, Rejection, Speculation, State, Ticket, Transaction};
use skep_types::Timestamp;
use tokio::sync::{Notify, oneshot, watch};

use crate::clock;
use crate::defaults::{BATCH_BYTES, IN_FLIGHT_MAX, TRANSACTION_BYTES_MAX};
use crate::metrics::{Fate, ManagerMetrics};

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
    #[error("change too large: at most {TRANSACTION_BYTES_MAX} bytes, got {0}")]
    TooLarge(usize),
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
    epoch: u64,
    clock: Clock,
    speculation: Speculation,
    queue: VecDeque<Queued>,
}

/// Takes transactions while this manager leads.
pub struct Proposer {
    raft: Arc<RaftNode>,
    observer: Observer,
    metrics: ManagerMetrics,
    lead: Mutex<Option<Lead>>,
    queued: Notify,
    /// Changes with the speculative view, plans' own changes left out.
    changes: watch::Sender<u64>,
}

impl Proposer {
    pub fn new(raft: Arc<RaftNode>, observer: Observer, metrics: ManagerMetrics) -> Self {
        let changes = watch::Sender::new(0);
        let lead = Mutex::new(None);
        Self { raft, observer, metrics, lead, queued: Notify::new(), changes }
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
        actions: Vec<Action>,
    ) -> Result<(Option<Pending>, Vec<Action>), ProposalError> {
        let mut guard = self.lock();
        let lead = guard.as_mut().ok_or(ProposalError::NotLeader)?;
        let mut transaction = Transaction { epoch: lead.epoch, now, actions };
        let bytes = encode_batch(std::slice::from_ref(&transaction)).to_vec();
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(ProposalError::TooLarge(bytes.len()));
        }
        let (ticket, refused) =
            lead.speculation.propose_plan(&mut transaction).map_err(ProposalError::from)?;
        let Some(ticket) = ticket else { return Ok((None, refused)) };
        let bytes = match refused.is_empty() {
            true => bytes,
            false => encode_batch(std::slice::from_ref(&transaction)).to_vec(),
        };
        let (done, pending) = oneshot::channel();
        let since = Instant::now();
        lead.queue.push_back(Queued { ticket, transaction, bytes, since, done });
        drop(guard);
        self.queued.notify_one();
        Ok((Some(Pending(pending)), refused))
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
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(ProposalError::TooLarge(bytes.len()).into());
        }
        let ticket = lead.speculation.propose(&mut transaction).map_err(ProposalError::from)?;
        let (done, pending) = oneshot::channel();
        let since = Instant::now();
        lead.queue.push_back(Queued { ticket, transaction, bytes, since, done });
        drop(guard);
        self.queued.notify_one();
        self.changes.send_modify(|count| *count += 1);
        Ok(Pending(pending))
    }

    /// Begins a leadership on what is applied now, which must hold everything committed before.
    pub(crate) fn begin(&self, epoch: u64) {
        let applied = self.observer.view();
        let clock = Clock::begin(&applied, clock::now());
        let speculation = Speculation::new(epoch, applied, IN_FLIGHT_MAX);
        *self.lock() = Some(Lead { epoch, clock, speculation, queue: VecDeque::new() });
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
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                self.queued.notified().await;
                continue;
            }
            self.carry(batch).await;
        }
    }

    fn next_batch(&self) -> Vec<Queued> {
        let mut guard = self.lock();
        let Some(lead) = guard.as_mut() else { return Vec::new() };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES
            && let Some(queued) = lead.queue.pop_front()
        {
            bytes += queued.bytes.len();
            batch.push(queued);
        }
        batch
    }

    async fn carry(&self, batch: Vec<Queued>) {
        let bytes: Vec<u8> = batch.iter().flat_map(|queued| &queued.bytes).copied().collect();
        let proposed = self.raft.propose(bytes.into()).await;
        let verdicts = proposed.map_err(lost).and_then(|proposed| {
            let verdicts = decode_reply(&proposed.reply)
                .map_err(|error| ProposalError::Unavailable(error.to_string()))?;
            Ok((proposed.index, verdicts))
        });
        let mut in_step = true;
        match verdicts {
            Err(error) => {
                in_step = false;
                for queued in batch {
                    self.metrics.proposed(Fate::Lost, queued.since);
                    let _ = queued.done.send(Err(error.clone()));
                }
            }
            Ok((index, verdicts)) => {
                // The lock first: whoever is answered sees a view that has its change.
                let tickets: Vec<Ticket> = batch.iter().map(|queued| queued.ticket).collect();
                if let Some(lead) = self.lock().as_mut() {
                    for ticket in tickets {
                        in_step &= lead.speculation.applied(ticket);
                    }
                }
                for (queued, verdict) in batch.into_iter().zip(verdicts) {
                    in_step &= verdict.is_ok();
                    let fate = if verdict.is_ok() { Fate::Applied } else { Fate::Refused };
                    self.metrics.proposed(fate, queued.since);
                    let answer = verdict.map(|()| index);
                    let answer = answer.map_err(|error| ProposalError::Outrun(error.to_string()));
                    let _ = queued.done.send(answer);
                }
            }
        }
        if !in_step {
            self.resynchronise();
        }
    }

    /// Tries what is queued on the applied state; what does not hold there is refused.
    fn resynchronise(&self) {
        let mut guard = self.lock();
        let Some(lead) = guard.as_mut() else { return };
        lead.speculation = Speculation::new(lead.epoch, self.observer.view(), IN_FLIGHT_MAX);
        for mut queued in std::mem::take(&mut lead.queue) {
            match lead.speculation.propose(&mut queued.transaction) {
                Ok(ticket) => {
                    queued.ticket = ticket;
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

fn lost(error: ProposeError) -> ProposalError {
    match error {
        ProposeError::NotLeader { .. } => ProposalError::NotLeader,
        other => ProposalError::Unavailable(other.to_string()),
    }
}
