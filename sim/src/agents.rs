//! The agents: each node's session with a manager, as `agent/src/session.rs` holds it, and what the
//! host does to it.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_agent_plan::Observed;
use skep_dispatch::{Report, SessionId};
use skep_types::resources::GenericResource;
use skep_types::{NodeId, TaskId, TaskStatus};

use crate::balancers::{Balanced, Networks};
use crate::containers::{Container, Local};
use crate::network::{Answer, Assigned, Call, Message, deliveries};
use crate::world::{Event, World};

/// An agent gives a call 5 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// In larger swarms nodes balance to nothing: each change concerns all of them, and a run would take
/// minutes. A node that never asks for its networks is waited for no longer than a moment.
const FOLLOWERS_MAX: u64 = 24;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// A node: its host, its daemon, and its containers.
#[derive(Debug, Default)]
pub struct Agent {
    pub up: bool,
    /// Nothing that is sent either way arrives.
    pub cut: bool,
    /// Nothing happens here until then.
    pub frozen_until: Option<skep_types::Timestamp>,
    /// The swarm does not know it any more.
    pub removed: bool,
    /// How far its clock is ahead of the true time, in nanoseconds.
    pub clock: i64,
    /// What its operator says that it has.
    pub declares: Vec<GenericResource>,
    /// Counts the daemon's starts: what an earlier one began is over.
    pub run: u64,
    /// On the host, whatever becomes of the daemon.
    pub containers: BTreeMap<TaskId, Container>,
    pub tasks: BTreeMap<TaskId, Local>,
    /// In its kernel, whatever becomes of the daemon.
    pub balances: Balanced,
    /// Messages about networks that came and were not taken yet, by number.
    pub networks_waiting: BTreeMap<u64, Networks>,
    /// The number of the last one that is in the kernel; none in this session yet: zero.
    pub networks_taken: u64,
    pub networks_busy: bool,
    session: Option<SessionId>,
    manager: usize,
    attempt: u64,
    backoff: Duration,
    /// The last message of the stream that was taken; none before the complete one.
    applied: Option<u64>,
    /// A session whose stream came before the word that it began: a message of it is missing.
    missed: Option<SessionId>,
    waiting: BTreeMap<TaskId, TaskStatus>,
    /// What is being told, by number.
    telling: Option<(u64, Vec<Report>)>,
    calls: u64,
    unanswered_beat: Option<u64>,
}

/// What happens on a node by itself.
#[derive(Debug, Clone)]
pub enum Own {
    /// The attempt to register with that number.
    Connect(u64),
    Beat(SessionId),
    /// A report was not answered in time.
    Late(SessionId, u64),
    /// The complete set of assignments did not come in time.
    Unassigned(SessionId),
    /// A step on a container is done.
    Done(TaskId, u64),
    Healthy(TaskId),
    /// A job's container comes to its end.
    Ends(TaskId),
    /// The kernel has what was told next of the networks.
    Balances(SessionId),
}

impl Agent {
    pub fn new(clock: i64, declares: Vec<GenericResource>) -> Self {
        Self { up: true, clock, declares, run: 1, backoff: BACKOFF_MIN, ..Self::default() }
    }

    /// Whether it can act and be heard now.
    pub fn is_reachable(&self) -> bool {
        self.up && !self.cut && !self.removed && self.frozen_until.is_none()
    }

    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub fn in_session(&self) -> bool {
        self.session.is_some() && self.applied.is_some()
    }

    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.tasks.values().all(|task| task.busy.is_none())
    }

    /// Notes what the managers are to be told.
    pub fn report(&mut self, task: TaskId, status: TaskStatus) {
        self.waiting.insert(task, status);
    }

    pub fn forget(&mut self, task: TaskId) {
        self.waiting.remove(&task);
    }

    /// The daemon ends, and with it all that it held in memory.
    pub fn stop_daemon(&mut self) {
        let kept = std::mem::take(self);
        *self = Self {
            up: kept.up,
            cut: kept.cut,
            frozen_until: kept.frozen_until,
            removed: kept.removed,
            clock: kept.clock,
            declares: kept.declares,
            run: kept.run + 1,
            containers: kept.containers,
            balances: kept.balances,
            // Numbers go on, so that answers to an earlier run are none to this one.
            attempt: kept.attempt + 1,
            calls: kept.calls,
            backoff: BACKOFF_MIN,
            ..Self::default()
        };
    }
}

impl World {
    /// Has a node's daemon look for a manager after so long.
    pub(crate) fn connect(&mut self, node: NodeId, wait: Duration) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        agent.session = None;
        agent.applied = None;
        agent.telling = None;
        agent.unanswered_beat = None;
        agent.networks_waiting.clear();
        agent.networks_taken = 0;
        agent.networks_busy = false;
        agent.attempt += 1;
        let event = Event::Local(node, agent.run, Own::Connect(agent.attempt));
        self.queue.push(self.now.saturating_add(wait), event);
    }

    fn end_session(&mut self, node: NodeId) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        let backoff = agent.backoff;
        agent.backoff = (backoff * 2).min(BACKOFF_MAX);
        let spread = backoff.as_millis() as u64;
        let wait = Duration::from_millis(spread / 2 + self.rng.below(spread / 2 + 1));
        self.connect(node, wait);
    }

    pub(crate) fn local(&mut self, node: NodeId, run: u64, event: Own) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        if agent.run != run || !agent.up || agent.removed {
            return;
        }
        if let Some(until) = agent.frozen_until {
            return self.queue.push(until, Event::Local(node, run, event));
        }
        match event {
            Own::Connect(attempt) => {
                if agent.attempt != attempt || agent.session.is_some() {
                    return;
                }
                agent.manager = self.rng.below(self.managers.up.len() as u64) as usize;
                self.call(node, Call::Register(attempt));
                // Another attempt follows unless this one is answered.
                self.end_session_later(node, CALL_TIMEOUT);
            }
            Own::Beat(session) => {
                if agent.session != Some(session) {
                    return;
                }
                if agent.unanswered_beat.is_some() {
                    return self.end_session(node);
                }
                agent.calls += 1;
                agent.unanswered_beat = Some(agent.calls);
                let count = agent.calls;
                self.call(node, Call::Heartbeat(session, count));
                let period = Duration::from_millis(4_500 + self.rng.below(1_000));
                let event = Event::Local(node, run, Own::Beat(session));
                self.queue.push(self.now.saturating_add(period), event);
                self.end_some_containers(node);
            }
            Own::Late(session, count) => {
                let late = agent.telling.as_ref().is_some_and(|(told, _)| *told == count);
                if agent.session == Some(session) && late {
                    self.end_session(node);
                }
            }
            Own::Unassigned(session) => {
                if agent.session == Some(session) && agent.applied.is_none() {
                    self.end_session(node);
                }
            }
            Own::Done(task, token) => self.step_done(node, task, token),
            Own::Ends(task) => self.end_job(node, task),
            Own::Balances(session) => self.balances(node, session),
            Own::Healthy(task) => {
                if agent.containers.get(&task).is_some_and(Container::is_running) {
                    self.observe(node, task, Observed::Running { healthy: true });
                    self.advance(node, task);
                }
            }
        }
    }

    fn end_session_later(&mut self, node: NodeId, wait: Duration) {
        let Some(agent) = self.agents.get(&node) else { return };
        // The same number: whoever is answered meanwhile has a session, and this does nothing.
        let event = Event::Local(node, agent.run, Own::Connect(agent.attempt));
        let spread = Duration::from_millis(self.rng.below(2_000));
        self.queue.push(self.now.saturating_add(wait + spread), event);
    }

    pub(crate) fn call(&mut self, node: NodeId, call: Call) {
        let Some(agent) = self.agents.get(&node).filter(|agent| !agent.cut) else { return };
        let manager = agent.manager;
        for time in deliveries(&mut self.rng, &self.faults) {
            let message = Message::ToManager { from: node, manager, call: call.clone() };
            self.queue.push(self.now.saturating_add(time), Event::Deliver(message));
        }
    }

    pub(crate) fn send(&mut self, to: NodeId, answer: Answer) {
        for time in deliveries(&mut self.rng, &self.faults) {
            let message = Message::ToNode { to, answer: answer.clone() };
            self.queue.push(self.now.saturating_add(time), Event::Deliver(message));
        }
    }

    /// A message of a stream; one that is lost breaks the connection, which is found out.
    pub(crate) fn send_stream(&mut self, to: NodeId, session: SessionId, answer: Answer) {
        let times = deliveries(&mut self.rng, &self.faults);
        if times.is_empty() {
            let wait = Duration::from_millis(self.rng.below(10_000));
            let message = Message::ToNode { to, answer: Answer::Broken(session) };
            self.queue.push(self.now.saturating_add(wait), Event::Deliver(message));
        }
        for time in times {
            let answer = answer.clone();
            let event = Event::Deliver(Message::ToNode { to, answer });
            self.queue.push(self.now.saturating_add(time), event);
        }
    }

    /// A message of the managers reaches a node.
    pub(crate) fn answered(&mut self, node: NodeId, answer: Answer) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        if !agent.up || agent.removed {
            return;
        }
        if agent.cut {
            // A connection's bytes are sent again until it breaks; calls run into their timeouts.
            if is_of_stream(&answer) {
                let again = self.now.saturating_add(Duration::from_secs(1));
                let message = Message::ToNode { to: node, answer };
                self.queue.push(again, Event::Deliver(message));
            }
            return;
        }
        if let Some(until) = agent.frozen_until {
            let message = Message::ToNode { to: node, answer };
            return self.queue.push(until, Event::Deliver(message));
        }
        match answer {
            Answer::Registered { attempt, session } => {
                if agent.attempt != attempt || agent.session.is_some() {
                    return;
                }
                agent.session = Some(session);
                if agent.missed == Some(session) {
                    return self.end_session(node);
                }
                agent.backoff = BACKOFF_MIN;
                let run = agent.run;
                self.queue.push(self.now, Event::Local(node, run, Own::Beat(session)));
                let late = Event::Local(node, run, Own::Unassigned(session));
                self.queue.push(self.now.saturating_add(CALL_TIMEOUT), late);
                if self.shape.nodes <= FOLLOWERS_MAX {
                    self.call(node, Call::Follow(session));
                }
            }
            Answer::Refused(session) | Answer::Broken(session) => {
                if agent.session == Some(session) {
                    self.end_session(node);
                }
            }
            Answer::Removed => self.leave(node),
            Answer::Alive(session, count) => {
                if agent.session == Some(session) && agent.unanswered_beat == Some(count) {
                    agent.unanswered_beat = None;
                }
            }
            Answer::Taken(session, count) => self.told(node, session, count),
            Answer::Assigned(message) => self.take_assignments(node, message),
            Answer::Networks(message) => self.take_networks(node, message),
        }
    }

    fn told(&mut self, node: NodeId, session: SessionId, count: u64) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        let is_this = agent.telling.as_ref().is_some_and(|(told, _)| *told == count);
        if agent.session != Some(session) || !is_this {
            return;
        }
        let (_, reports) = agent.telling.take().unwrap_or_default();
        for report in &reports {
            if agent.waiting.get(&report.task) == Some(&report.status) {
                agent.waiting.remove(&report.task);
            }
        }
        let lost = reports.iter().find(|report| {
            let task = self.managers.truth.tasks().get(report.task);
            task.is_some_and(|task| task.status.state < report.status.state)
        });
        if let Some(lost) = lost {
            let why = format!("a report was acknowledged and is not in the state: {lost:?}");
            return self.fail("acknowledged", why);
        }
        self.tell_managers(node);
    }

    /// Tells the managers what waits to be told.
    pub(crate) fn tell_managers(&mut self, node: NodeId) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        let Some(session) = agent.session.filter(|_| agent.applied.is_some()) else { return };
        if agent.telling.is_some() || agent.waiting.is_empty() {
            return;
        }
        let reports: Vec<Report> = agent
            .waiting
            .iter()
            .map(|(task, status)| Report { task: *task, status: status.clone() })
            .collect();
        agent.calls += 1;
        let (count, run) = (agent.calls, agent.run);
        agent.telling = Some((count, reports.clone()));
        self.call(node, Call::Report(session, count, reports));
        let late = Event::Local(node, run, Own::Late(session, count));
        self.queue.push(self.now.saturating_add(CALL_TIMEOUT), late);
    }

    fn take_assignments(&mut self, node: NodeId, message: Assigned) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        if agent.session != Some(message.session) {
            agent.missed = Some(message.session);
            return;
        }
        let complete = message.applies_to.is_none();
        if complete && agent.applied.is_some() {
            // A copy: the stream began with it.
            return;
        }
        if !complete && agent.applied != message.applies_to {
            return self.end_session(node);
        }
        agent.applied = Some(message.results_in);
        if complete {
            let assigned: Vec<TaskId> = message.tasks.iter().map(|it| it.task.id).collect();
            agent.give_up(|id| !assigned.contains(&id));
        }
        agent.give_up(|id| message.removed.contains(&id));
        for assigned in &message.tasks {
            self.hears(assigned);
        }
        let Some(agent) = self.agents.get_mut(&node) else { return };
        for assigned in message.tasks {
            let local = agent.tasks.entry(assigned.task.id).or_default();
            let known = assigned.task.status.state;
            local.reported = local.reported.max(known);
            local.assigned = Some(assigned);
        }
        let tasks: Vec<TaskId> = agent.tasks.keys().copied().collect();
        for task in tasks {
            self.advance(node, task);
        }
        self.tell_managers(node);
    }

    /// The node learns that it is none of the swarm's: its containers go.
    fn leave(&mut self, node: NodeId) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        agent.removed = true;
        agent.run += 1;
        let containers: Vec<TaskId> = agent.containers.keys().copied().collect();
        for task in containers {
            self.observe(node, task, Observed::Absent);
        }
    }
}

/// Whether an answer goes by a stream, whose bytes are sent again until the connection breaks.
fn is_of_stream(answer: &Answer) -> bool {
    use Answer::{Assigned, Broken, Networks, Removed};
    matches!(answer, Assigned(_) | Networks(_) | Broken(_) | Removed)
}
