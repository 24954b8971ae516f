//! A leadership: the pass of reconcilers and scheduler, the nodes' sessions, and what they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use skep_dispatch::assignment::AssignedTask;
use skep_dispatch::{
    Assignments, Concern, Report, SessionId, Sessions, Watermarks, Whom, Withdrawals, reported,
};
use skep_orchestrator::{Plan, Reconcilers, reconcile};
use skep_scheduler::{Claims, Decision, Scheduler};
use skep_state::{Action, Change, Clock, Event as Applied, Speculation, State};
use skep_types::resources::GenericResource;
use skep_types::{DesiredState, Node, NodeId, NodeState, Timestamp, defaults::HEARTBEAT_PERIOD};

use crate::agents::Agent;
use crate::balancers::Streams;
use crate::invariants::{Heard, Origin};
use crate::managers::{InFlight, Then, shown};
use crate::network::{Answer, Assigned, Call};
use crate::world::{Event, World};

/// As the proposer's bound.
const IN_FLIGHT_MAX: usize = 4096;
/// Between two looks for nodes that are silent.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);

/// The manager that leads, and what it keeps outside the log.
pub struct Leader {
    pub manager: usize,
    pub epoch: u64,
    pub speculation: Speculation,
    pub in_flight: VecDeque<InFlight>,
    pub commit_due: bool,
    /// How far the host's own clock is ahead.
    error: i64,
    clock: Clock,
    sessions: Sessions,
    streams: BTreeMap<NodeId, Stream>,
    pub marks: Watermarks,
    pub networks: Streams,
    /// Nodes that may have to be told something, once the batch is closed.
    pub concerned: BTreeSet<NodeId>,
    tell_due: bool,
    pass_at: Option<Timestamp>,
    silent: BTreeSet<NodeId>,
    /// What follows the view; made anew where it may have missed something.
    followers: Option<(Reconcilers, Scheduler)>,
}

/// A node's stream of assignments: what it was told, and how many messages that took.
struct Stream {
    session: SessionId,
    known: Assignments,
    count: u64,
    withdrawals: Withdrawals,
    /// Whether tasks are held back.
    holds: bool,
    /// When that is looked at again, whatever happens.
    look_at: Option<Timestamp>,
}

impl Leader {
    /// Leads by the state as it is at an index of the log.
    pub fn begin(
        manager: usize,
        epoch: u64,
        (index, state): (u64, State),
        now: Timestamp,
        error: i64,
    ) -> Self {
        let clock = Clock::begin(&state, shown(now, error));
        let marks = Watermarks::begin(&state, index, shown(now, error));
        let sessions = Sessions::begin(&state, HEARTBEAT_PERIOD, clock.time(shown(now, error)));
        Self {
            manager,
            epoch,
            speculation: Speculation::new(epoch, state, IN_FLIGHT_MAX),
            in_flight: VecDeque::new(),
            commit_due: false,
            error,
            clock,
            sessions,
            streams: BTreeMap::new(),
            marks,
            networks: Streams::default(),
            concerned: BTreeSet::new(),
            tell_due: false,
            pass_at: None,
            silent: BTreeSet::new(),
            followers: None,
        }
    }

    /// The swarm's time, as this leader stamps it at a true one.
    pub fn time(&self, now: Timestamp) -> Timestamp {
        self.clock.time(shown(now, self.error))
    }

    /// Nodes that do not hear yet of all that is wanted.
    pub fn held_nodes(&self) -> Vec<NodeId> {
        self.streams.iter().filter(|(_, stream)| stream.holds).map(|(node, _)| *node).collect()
    }

    /// The nodes that have a stream, and by which session.
    pub fn sessions_told(&self) -> Vec<(NodeId, SessionId)> {
        self.streams.iter().map(|(node, stream)| (*node, stream.session)).collect()
    }

    /// A node has no session any more.
    fn end_stream(&mut self, node: NodeId) {
        self.streams.remove(&node);
        self.networks.end(node);
    }

    /// What a node is to have now, without what it is not to hear yet; and when to look again.
    fn assignments(
        &mut self,
        truth: &State,
        node: NodeId,
        index: u64,
        now: Timestamp,
    ) -> (Assignments, Option<Timestamp>) {
        let mut next = Assignments::of(truth, node);
        let Some(stream) = self.streams.get_mut(&node) else { return (next, None) };
        let shown = shown(now, self.error);
        let held = stream.withdrawals.observe(truth, node, &Whom::All, index, &self.marks, shown);
        next.hold_back(truth, &held.tasks);
        stream.holds = !held.tasks.is_empty();
        let again = held.look_at.map(|at| now.saturating_add(at.saturating_since(shown)));
        let is_new = stream.look_at != again;
        stream.look_at = again;
        (next, again.filter(|_| is_new))
    }

    /// Notes which nodes a change may concern that led to the state at an index.
    pub fn note(&mut self, (index, state): (u64, &State), events: &[Applied]) {
        let concern = Concern::of(events, state);
        self.marks.advance(index, &concern.networks, state);
        for event in events {
            self.networks.note(state, event);
            match event {
                Applied::Task(delta) => {
                    let tasks = delta.before.iter().chain(&delta.after);
                    self.concerned.extend(tasks.filter_map(|task| task.node_id));
                }
                Applied::Service(delta) => {
                    if let Some(service) = delta.after.as_ref().or(delta.before.as_ref()) {
                        let tasks = state.tasks_of_service(service.id);
                        self.concerned.extend(tasks.filter_map(|task| task.node_id));
                    }
                }
                Applied::Node(delta) if delta.after.is_none() => {
                    self.concerned.extend(delta.before.iter().map(|node| node.id));
                }
                _ => {}
            }
        }
    }
}

impl World {
    pub(crate) fn plan_pass(&mut self, at: Timestamp) {
        let Some(leader) = &mut self.managers.leader else { return };
        if leader.pass_at.is_none_or(|planned| at < planned) {
            leader.pass_at = Some(at);
            self.queue.push(at, Event::Pass(leader.epoch));
        }
    }

    /// The leader's pass: reconcile, then schedule.
    pub(crate) fn pass(&mut self, epoch: u64) {
        let Some(leader) = &mut self.managers.leader else { return };
        if leader.epoch != epoch || leader.pass_at != Some(self.now) {
            return;
        }
        leader.pass_at = None;
        let decided = |entry: &InFlight| entry.origin == Origin::Leader;
        if leader.in_flight.iter().any(decided) {
            // The pass waits for what the one before it decided; that commit plans it anew.
            return;
        }
        let now = leader.time(self.now);
        let news = leader.speculation.take_news();
        let view = leader.speculation.view();
        let (mut reconcilers, mut scheduler) = match (news, leader.followers.take()) {
            (Some(news), Some((mut reconcilers, mut scheduler))) => {
                for event in &news {
                    reconcilers.observe(view, event);
                    scheduler.observe(event);
                }
                (reconcilers, scheduler)
            }
            _ => (Reconcilers::of(view), Scheduler::of(view)),
        };
        let rng = &mut self.rng;
        let mut mint = || rng.bits();
        let mut plan = Plan::new(view.clone(), now, &mut mint);
        let wake = reconcilers.pass(&mut plan);
        for event in plan.events() {
            scheduler.observe(event);
        }
        let planned = plan.events().len();
        let round = scheduler.schedule(now);
        place(&mut plan, round.decisions);
        for event in &plan.events()[planned..] {
            scheduler.observe(event);
        }
        reconcilers.placed(&mut plan);
        let (actions, _) = plan.finish();
        let again = !reconcilers.is_idle();
        if actions.is_empty() && !again && self.rng.once_in(4) {
            let overlooked = overlooked(leader.speculation.view(), now);
            if !overlooked.is_empty() {
                let why =
                    format!("a pass over everything does what was overlooked: {overlooked:?}");
                return self.fail("incremental", why);
            }
        }
        leader.followers = Some((reconcilers, scheduler));
        self.passes += 1;
        if !actions.is_empty() && !self.propose_plan(actions) {
            if let Some(leader) = &mut self.managers.leader {
                leader.followers = None;
            }
            return self.plan_pass(self.now.saturating_add(Duration::from_millis(250)));
        }
        if again {
            self.plan_pass(self.now.saturating_add(Duration::from_millis(10)));
        }
        for wake in [wake, round.wake].into_iter().flatten() {
            let wait = wake.saturating_since(now).max(Duration::from_millis(1));
            self.plan_pass(self.now.saturating_add(wait));
        }
    }

    /// Nodes that missed their heartbeats are down.
    pub(crate) fn expire(&mut self, epoch: u64) {
        let Some(leader) = &mut self.managers.leader else { return };
        if leader.epoch != epoch {
            return;
        }
        let now = leader.time(self.now);
        leader.silent.extend(leader.sessions.expire(now));
        for id in leader.silent.clone() {
            let Some(leader) = &mut self.managers.leader else { return };
            let is_down = leader.speculation.view().nodes().get(id).is_none_or(|node| {
                leader.sessions.contains(id) || node.status.state == NodeState::Down
            });
            if is_down {
                leader.silent.remove(&id);
                continue;
            }
            leader.end_stream(id);
            leader.marks.forget(id);
            let actions = set_node(leader.speculation.view(), id, NodeState::Down, None, now);
            self.propose(actions, Origin::Dispatcher, Then::Nobody);
        }
        self.queue.push(self.now.saturating_add(EXPIRE_INTERVAL), Event::Expire(epoch));
    }

    /// A node's call reaches a manager, which hands it on to the leader if it is none.
    pub(crate) fn called(&mut self, from: NodeId, manager: usize, call: Call) {
        let managers = &mut self.managers;
        if !managers.up[manager] {
            return;
        }
        if let Some(stale) = managers.stale.as_mut().filter(|stale| stale.manager == manager) {
            // It knows of no other leader: nothing that it decides is committed, nothing else told.
            if let Call::Heartbeat(session, count) = call {
                let now = stale.time(self.now);
                if stale.sessions.heartbeat(from, session, now).is_ok() {
                    self.send(from, Answer::Alive(session, count));
                }
            }
            return;
        }
        let Some(leader) = &mut managers.leader else { return };
        let now = leader.time(self.now);
        match call {
            Call::Register(attempt) => self.register(from, attempt),
            Call::Heartbeat(session, count) => {
                let answer = match leader.sessions.heartbeat(from, session, now) {
                    Ok(_) => Answer::Alive(session, count),
                    Err(_) => Answer::Refused(session),
                };
                self.send(from, answer);
            }
            Call::Report(session, count, reports) => {
                if leader.sessions.check(from, session).is_err() {
                    return self.send(from, Answer::Refused(session));
                }
                self.take_report(from, session, count, &reports);
            }
            Call::Follow(session) => match leader.sessions.check(from, session) {
                Ok(()) => self.follow(from, session),
                Err(_) => self.send(from, Answer::Refused(session)),
            },
            Call::Confirm(session, last) => match leader.sessions.check(from, session) {
                Ok(()) => self.confirmed(from, session, last),
                Err(_) => self.send(from, Answer::Refused(session)),
            },
        }
    }

    fn register(&mut self, from: NodeId, attempt: u64) {
        let session = SessionId(self.rng.bits());
        let Some(leader) = &mut self.managers.leader else { return };
        let view = leader.speculation.view();
        if view.nodes().get(from).is_none() {
            return self.send(from, Answer::Removed);
        }
        let now = leader.time(self.now);
        leader.sessions.register(from, session, now);
        leader.end_stream(from);
        leader.marks.expect(from, shown(self.now, leader.error));
        let view = leader.speculation.view();
        let declares = self.agents.get(&from).map(|agent| agent.declares.clone());
        let actions = set_node(view, from, NodeState::Ready, declares, now);
        let answer = Answer::Registered { attempt, session };
        if actions.is_empty() {
            self.answer_committed(from, answer);
        } else {
            self.propose(actions, Origin::Dispatcher, Then::Node(from, answer));
        }
    }

    fn take_report(&mut self, from: NodeId, session: SessionId, count: u64, reports: &[Report]) {
        let Some(leader) = &self.managers.leader else { return };
        let taken = Answer::Taken(session, count);
        match reported(leader.speculation.view(), from, reports) {
            Err(error) => self.fail("reports", format!("a node's own report is refused: {error}")),
            // Whatever said it before may be in flight: an answer comes after it.
            Ok(actions) => {
                self.propose(actions, Origin::Reports, Then::Node(from, taken));
            }
        }
    }

    /// What a node's call came to is committed.
    pub(crate) fn answer_committed(&mut self, node: NodeId, answer: Answer) {
        if let Answer::Registered { session, .. } = answer
            && let Some(leader) = &mut self.managers.leader
        {
            if leader.sessions.check(node, session).is_err() {
                return;
            }
            self.send(node, answer);
            self.begin_stream(node, session);
            return;
        }
        self.send(node, answer);
    }

    fn begin_stream(&mut self, node: NodeId, session: SessionId) {
        let (now, index) = (self.now, self.managers.log.len() as u64);
        let Some(leader) = &mut self.managers.leader else { return };
        let known = Assignments::default();
        let (count, withdrawals, holds, look_at) = (1, Withdrawals::default(), false, None);
        leader.streams.insert(node, Stream { session, known, count, withdrawals, holds, look_at });
        let (known, again) = leader.assignments(&self.managers.truth, node, index, now);
        let tasks = known.tasks.values().cloned().collect();
        let epoch = leader.epoch;
        if let Some(stream) = leader.streams.get_mut(&node) {
            stream.known = known;
        }
        if let Some(again) = again {
            self.queue.push(again, Event::Look(epoch, node));
        }
        let first = Assigned { session, applies_to: None, results_in: 1, tasks, removed: vec![] };
        self.send_stream(node, session, Answer::Assigned(first));
    }

    pub(crate) fn plan_tell(&mut self) {
        let Some(leader) = &mut self.managers.leader else { return };
        if !leader.tell_due && !leader.concerned.is_empty() {
            leader.tell_due = true;
            let at = self.now.saturating_add(Duration::from_millis(10));
            self.queue.push(at, Event::Tell(leader.epoch));
        }
    }

    /// It is time to look at a node's held tasks again.
    pub(crate) fn look(&mut self, epoch: u64, node: NodeId) {
        if let Some(leader) = self.managers.leader.as_mut().filter(|it| it.epoch == epoch) {
            leader.concerned.insert(node);
            self.plan_tell();
        }
    }

    /// A task's node hears what is wanted of it.
    pub(crate) fn hears(&mut self, assigned: &AssignedTask) {
        if assigned.task.desired_state < DesiredState::Shutdown {
            return;
        }
        let (truth, agents) = (&self.managers.truth, &self.agents);
        let leader = self.managers.leader.as_ref();
        let following = |node: NodeId, agent: &Agent| {
            leader.is_some_and(|it| it.networks.session(node) == agent.session())
        };
        let balancers = agents
            .iter()
            .filter(|(node, agent)| agent.is_reachable() && following(**node, agent))
            .filter(|(_, agent)| agent.networks_taken > 0)
            .map(|(node, agent)| (*node, &agent.balances))
            .collect();
        let heard = Heard { now: self.now, truth, balancers, task: assigned.task.id };
        if let Err((name, why)) = self.invariants.heard(&heard) {
            self.fail(name, why);
        }
    }

    /// Tells nodes what changed of their assignments.
    pub(crate) fn tell(&mut self, epoch: u64) {
        let Some(leader) = self.managers.leader.as_mut().filter(|it| it.epoch == epoch) else {
            return;
        };
        leader.tell_due = false;
        let index = self.managers.log.len() as u64;
        let mut messages = Vec::new();
        let mut removed = Vec::new();
        for node in std::mem::take(&mut leader.concerned) {
            if self.managers.truth.nodes().get(node).is_none() {
                removed.extend(leader.streams.remove(&node).map(|it| (node, it.session)));
                leader.end_stream(node);
                continue;
            }
            if !leader.streams.contains_key(&node) {
                continue;
            }
            let (next, again) = leader.assignments(&self.managers.truth, node, index, self.now);
            if let Some(again) = again {
                self.queue.push(again, Event::Look(epoch, node));
            }
            let Some(stream) = leader.streams.get_mut(&node) else { continue };
            let difference = stream.known.difference(&next);
            stream.known = next;
            if difference.is_empty() {
                continue;
            }
            let applies_to = Some(stream.count);
            stream.count += 1;
            messages.push((
                node,
                Assigned {
                    session: stream.session,
                    applies_to,
                    results_in: stream.count,
                    tasks: difference.tasks,
                    removed: difference.removed_tasks,
                },
            ));
        }
        for (node, session) in removed {
            self.send_stream(node, session, Answer::Removed);
        }
        for (node, message) in messages {
            self.send_stream(node, message.session, Answer::Assigned(message));
        }
    }
}

/// The scheduler's decisions as actions, as the manager's pass makes them.
fn place(plan: &mut Plan<'_>, decisions: Vec<Decision>) {
    let mut claims = Claims::default();
    for Decision { task: id, node } in decisions {
        let Some(task) = plan.view().tasks().get(id).cloned() else { continue };
        match node.map(|node| (node, claims.claim(plan.view(), &task, node))) {
            Ok((node, Some(generic))) => plan.assign(id, node, generic),
            Ok((_, None)) => {
                let why = "no suitable node: its generic resources are held by other tasks";
                plan.leave_pending(id, why.to_owned());
            }
            Err(pending) => plan.leave_pending(id, pending.to_string()),
        }
    }
}

/// What a pass over everything would do: nothing, where passes over what changed did it all.
fn overlooked(view: &State, now: Timestamp) -> Vec<Action> {
    let mut id = 0;
    let mut mint = || {
        id += 1;
        id
    };
    let mut plan = Plan::new(view.clone(), now, &mut mint);
    reconcile(&mut plan);
    plan.finish().0
}

/// A node as the dispatcher has it be, and what it declares if it says so; nothing where it is so
/// already.
fn set_node(
    view: &State,
    id: NodeId,
    state: NodeState,
    declares: Option<Vec<GenericResource>>,
    now: Timestamp,
) -> Vec<Action> {
    let Some(node) = view.nodes().get(id) else { return Vec::new() };
    let mut changed = Node::clone(node);
    if changed.status.state != state {
        changed.status.state = state;
        changed.status.since = now;
    }
    if let (Some(description), Some(declares)) = (&mut changed.description, declares) {
        description.resources.generic = declares;
    }
    let news = (changed != **node).then(|| Change::Update(Arc::new(changed)).into());
    news.into_iter().collect()
}
