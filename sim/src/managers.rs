//! The managers: a log that a majority has, machines that apply it, and who leads.
//!
//! The log is a model: what the leader has in flight is committed in order while a majority is up;
//! when the leader changes, some of it was committed all the same and the rest is lost.

use std::collections::VecDeque;
use std::time::Duration;

use skep_state::{Action, State, Ticket, Transaction};
use skep_types::{NodeId, Timestamp};

use crate::invariants::{Acknowledged, Origin, Seen};
use crate::leader::Leader;
use crate::network::Answer;
use crate::world::{Event, World};

/// Replicas and the log between them.
pub struct Managers {
    pub up: Vec<bool>,
    /// How far each host's clock is ahead of the true time, in nanoseconds.
    pub clocks: Vec<i64>,
    /// Entries that a majority has: never lost.
    pub log: Vec<Transaction>,
    /// What each machine has applied so far, and up to which entry.
    pub machines: Vec<(usize, State)>,
    /// The state with the whole log applied.
    pub truth: State,
    pub epoch: u64,
    pub leader: Option<Leader>,
    /// A leader that was replaced and does not know yet. It commits nothing, but answers.
    pub stale: Option<Leader>,
}

/// A transaction that the leader proposed.
pub struct InFlight {
    pub ticket: Ticket,
    pub transaction: Transaction,
    pub origin: Origin,
    pub then: Then,
}

/// Who waits for it.
pub enum Then {
    Nobody,
    User(Acknowledged),
    Node(NodeId, Answer),
}

impl Managers {
    pub fn new(clocks: Vec<i64>) -> Self {
        let count = clocks.len();
        Self {
            up: vec![true; count],
            clocks,
            log: Vec::new(),
            machines: vec![(0, State::default()); count],
            truth: State::default(),
            epoch: 0,
            leader: None,
            stale: None,
        }
    }

    pub fn has_quorum(&self) -> bool {
        self.up.iter().filter(|up| **up).count() * 2 > self.up.len()
    }

    /// Brings a machine up to the log's end.
    pub fn catch_up(&mut self, manager: usize) -> Result<(), String> {
        let (applied, state) = &mut self.machines[manager];
        for transaction in &self.log[*applied..] {
            let taken = state.apply(transaction);
            taken
                .map_err(|error| format!("manager {manager} refuses what is committed: {error}"))?;
        }
        *applied = self.log.len();
        if *state != self.truth {
            return Err(format!("manager {manager} came to another state than the rest"));
        }
        Ok(())
    }

    /// Restores a machine from a snapshot of the log's end.
    pub fn restore(&mut self, manager: usize) -> Result<(), String> {
        let restored = State::from_objects(self.truth.to_objects());
        let restored = restored.map_err(|error| format!("a snapshot is refused: {error}"))?;
        if restored != self.truth {
            return Err("a snapshot is not the state that it was taken of".to_owned());
        }
        self.machines[manager] = (self.log.len(), restored);
        Ok(())
    }
}

impl World {
    /// The time that the leader stamps changes with; the true one where nobody leads.
    pub(crate) fn swarm_time(&self) -> Timestamp {
        self.managers.leader.as_ref().map_or(self.now, |leader| leader.time(self.now))
    }

    /// Has a manager that is up lead, if there is a majority.
    pub(crate) fn elect(&mut self) {
        let managers = &mut self.managers;
        if managers.leader.is_some() || !managers.has_quorum() {
            return;
        }
        let up: Vec<usize> = (0..managers.up.len()).filter(|at| managers.up[*at]).collect();
        let manager = up[self.rng.below(up.len() as u64) as usize];
        let brought_up = match self.rng.once_in(3) {
            true => managers.restore(manager),
            false => managers.catch_up(manager),
        };
        if let Err(why) = brought_up {
            self.fail("agreement", why);
            return;
        }
        let managers = &mut self.managers;
        managers.epoch += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("manager {manager} leads"));
        }
        let begin = (managers.log.len() as u64, managers.machines[manager].1.clone());
        let clock = managers.clocks[manager];
        managers.leader = Some(Leader::begin(manager, managers.epoch, begin, self.now, clock));
        let epoch = managers.epoch;
        self.plan_pass(self.now);
        self.queue.push(self.now, Event::Expire(epoch));
    }

    /// The leader is no more: some of what it had in flight was committed all the same.
    pub(crate) fn depose(&mut self, lingers: bool) {
        let Some(leader) = &self.managers.leader else { return };
        let committed = self.rng.below(leader.in_flight.len() as u64 + 1);
        for _ in 0..committed {
            self.commit_oldest(false);
        }
        let Some(mut leader) = self.managers.leader.take() else { return };
        leader.in_flight = VecDeque::new();
        // Where the process lives or was killed, connections end at once; of a host that is lost
        // nodes hear nothing.
        if !lingers && self.rng.once_in(2) {
            for (node, session) in leader.sessions_told() {
                self.send(node, Answer::Broken(session));
            }
        }
        if lingers && self.managers.up[leader.manager] {
            self.managers.stale = Some(leader);
            let linger = Duration::from_millis(self.rng.below(10_000));
            self.queue.push(self.now.saturating_add(linger), Event::StaleEnds);
        }
        let election = Duration::from_millis(150 + self.rng.below(2_000));
        self.queue.push(self.now.saturating_add(election), Event::Elect);
    }

    pub(crate) fn crash_manager(&mut self, manager: usize) {
        self.managers.up[manager] = false;
        if self.managers.stale.as_ref().is_some_and(|leader| leader.manager == manager) {
            self.managers.stale = None;
        }
        if self.managers.leader.as_ref().is_some_and(|leader| leader.manager == manager) {
            self.depose(false);
        }
    }

    pub(crate) fn start_manager(&mut self, manager: usize) {
        self.managers.up[manager] = true;
        self.queue.push(self.now, Event::Elect);
        self.plan_commit();
    }

    /// Proposes what was decided on the leader's view; whether it is under way now.
    pub(crate) fn propose(&mut self, actions: Vec<Action>, origin: Origin, then: Then) -> bool {
        let Some(leader) = &mut self.managers.leader else { return false };
        let now = leader.time(self.now);
        let mut transaction = Transaction { epoch: 0, now, actions };
        let Ok(ticket) = leader.speculation.propose(&mut transaction) else { return false };
        leader.in_flight.push_back(InFlight { ticket, transaction, origin, then });
        self.plan_commit();
        true
    }

    /// What the leader's own pass decided.
    pub(crate) fn propose_plan(&mut self, actions: Vec<Action>) -> bool {
        let Some(leader) = &mut self.managers.leader else { return false };
        let mut transaction = Transaction { epoch: 0, now: leader.time(self.now), actions };
        let Ok((ticket, refused)) = leader.speculation.propose_plan(&mut transaction) else {
            return false;
        };
        let (origin, then) = (Origin::Leader, Then::Nobody);
        if let Some(ticket) = ticket {
            leader.in_flight.push_back(InFlight { ticket, transaction, origin, then });
        }
        if !refused.is_empty() {
            let why = format!("a plan on the view as it is was refused: {refused:?}");
            self.fail("agreement", why);
            return false;
        }
        self.plan_commit();
        true
    }

    fn plan_commit(&mut self) {
        let Some(leader) = &mut self.managers.leader else { return };
        if !leader.commit_due && !leader.in_flight.is_empty() {
            leader.commit_due = true;
            let epoch = leader.epoch;
            let time = Duration::from_millis(1 + self.rng.below(30));
            self.queue.push(self.now.saturating_add(time), Event::Commit(epoch));
        }
    }

    /// An entry with all that waited for it is durable on a majority.
    pub(crate) fn commit(&mut self, epoch: u64) {
        let has_quorum = self.managers.has_quorum();
        let Some(leader) = &mut self.managers.leader else { return };
        if leader.epoch != epoch {
            return;
        }
        leader.commit_due = false;
        if !has_quorum {
            return;
        }
        for _ in 0..leader.in_flight.len() {
            self.commit_oldest(true);
        }
        let pause = Duration::from_millis(10 + self.rng.below(20));
        self.plan_pass(self.now.saturating_add(pause));
        self.plan_tell();
        self.plan_tell_networks();
    }

    /// `answered`: the leader lives to say so.
    fn commit_oldest(&mut self, answered: bool) {
        let managers = &mut self.managers;
        let Some(leader) = &mut managers.leader else { return };
        let Some(entry) = leader.in_flight.pop_front() else { return };
        let in_order = leader.speculation.applied(entry.ticket);
        let before = managers.truth.clone();
        let events = match managers.truth.apply(&entry.transaction) {
            Ok(events) => events,
            Err(why) => {
                let why = format!("what the leader's view took is refused: {why}");
                return self.fail("agreement", why);
            }
        };
        managers.log.push(entry.transaction);
        leader.note((managers.log.len() as u64, &managers.truth), &events);
        if !in_order {
            return self.fail("agreement", "entries are applied out of order".to_owned());
        }
        if !events.is_empty() {
            self.written = self.now;
        }
        let at = self.elapsed();
        if let Some(trace) = &mut self.trace {
            trace.extend(crate::trace::lines(at, entry.origin, &before, &events));
        }
        let seen = Seen {
            now: self.now,
            before: &before,
            after: &self.managers.truth,
            events: &events,
            origin: entry.origin,
        };
        if let Err((name, why)) = self.invariants.applied(&seen) {
            return self.fail(name, why);
        }
        if !answered {
            return;
        }
        match entry.then {
            Then::Nobody => {}
            Then::User(what) => self.acknowledge(what),
            Then::Node(node, answer) => self.answer_committed(node, answer),
        }
    }
}

/// A clock's error, either way.
pub fn clock_error(rng: &mut crate::Rng, most: Duration) -> i64 {
    let most = most.as_nanos() as u64;
    i64::try_from(rng.below(2 * most + 1)).unwrap_or(0) - i64::try_from(most).unwrap_or(0)
}

/// A moment as a clock with an error shows it.
pub fn shown(now: Timestamp, error: i64) -> Timestamp {
    Timestamp(now.0 + error)
}
