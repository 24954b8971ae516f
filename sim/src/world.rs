//! The simulated swarm: one clock, one queue of events, and everything that acts on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_types::task::Slot;
use skep_types::{NodeId, ServiceId, TaskId, Timestamp};

use crate::agents::{Agent, Own};
use crate::invariants::{Invariants, Origin, Settled, Spread};
use crate::managers::{Managers, Then, clock_error};
use crate::network::Message;
use crate::objects;
use crate::rebalances::{self, Ask};
use crate::rng::Rng;
use crate::shape::{Faults, Shape};

/// Within so long after the last fault the swarm is as its users want it.
const CONVERGENCE_MAX: Duration = Duration::from_secs(20 * 60);
/// And so much longer for each node: an update that goes one by one waits at each for the task before to
/// drain and to stop, for the next to be made, and for its own delay.
const CONVERGENCE_PER_NODE: Duration = Duration::from_secs(30);
/// More than the largest swarm takes: something goes round in a circle.
const EVENTS_MAX: u64 = 2_000_000;
/// So long nothing is written when it is: longer than any delay that was asked for.
const QUIET: Duration = Duration::from_secs(120);
/// The virtual clock's first moment: late enough that no clock shows a time before 1970.
const BEGINNING: Timestamp = Timestamp(1_000_000 * 1_000_000_000);

/// What happens next.
#[derive(Debug, Clone)]
pub enum Event {
    Deliver(Message),
    Local(NodeId, u64, Own),
    Commit(u64),
    Pass(u64),
    Tell(u64),
    TellNetworks(u64),
    /// A node's held tasks are looked at again.
    Look(u64, NodeId),
    Expire(u64),
    Elect,
    StaleEnds,
    User,
    /// A user looks at how the services are spread.
    Spread,
    Rebalance(Ask),
    ManagerTrouble,
    NodeTrouble,
    StartManager(usize),
    StartNode(NodeId, u64),
    Reconnect(NodeId),
    Thaw(NodeId),
}

/// An invariant did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub seed: u64,
    /// Virtual time since the beginning.
    pub at: Duration,
    pub invariant: &'static str,
    pub why: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, at, invariant, why } = self;
        write!(f, "seed {seed}, after {at:?}: {invariant}: {why}\nagain: SEED={seed} make sim")
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub events: u64,
    pub entries: u64,
    pub passes: u64,
    pub leaders: u64,
    pub tasks: u64,
    pub updates_completed: u64,
    pub updates_paused: u64,
    pub rollbacks: u64,
    pub completions: u64,
    pub given: u64,
    pub waited: u64,
    pub rebalances: u64,
    pub moving: u64,
    /// How long the swarm took to settle.
    pub settled: Duration,
}

/// Managers, nodes, and what is under way between them.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) rng: Rng,
    pub(crate) asks: Rng,
    pub(crate) now: Timestamp,
    pub(crate) queue: crate::queue::Queue<Event>,
    pub(crate) shape: Shape,
    /// Those of the shape while there is trouble, then none.
    pub(crate) faults: Faults,
    pub(crate) troubled: bool,
    pub(crate) managers: Managers,
    pub(crate) agents: BTreeMap<NodeId, Agent>,
    /// Containers that run now, by the place that they fill.
    pub(crate) running: BTreeMap<(ServiceId, Slot), BTreeSet<(NodeId, TaskId)>>,
    pub(crate) invariants: Invariants,
    /// When the log last took a change.
    pub(crate) written: Timestamp,
    pub(crate) passes: u64,
    pub(crate) names: u64,
    violation: Option<Violation>,
    /// What happened, if somebody wants to know.
    pub(crate) trace: Option<Vec<String>>,
}

/// Simulates the swarm of a seed to its end.
///
/// # Errors
/// An invariant that does not hold, and where.
pub fn run(seed: u64) -> Result<Summary, Violation> {
    let mut rng = Rng::new(seed);
    let shape = Shape::of(&mut rng);
    World::new(seed, rng, shape).run().0
}

/// The same, with a line for each change.
pub fn run_traced(seed: u64) -> (Result<Summary, Violation>, Vec<String>) {
    let mut rng = Rng::new(seed);
    let shape = Shape::of(&mut rng);
    let mut world = World::new(seed, rng, shape);
    world.trace = Some(vec![format!("{:?}", world.shape)]);
    world.run()
}

impl World {
    pub fn new(seed: u64, mut rng: Rng, shape: Shape) -> Self {
        let clocks = shape.faults.clocks;
        let managers = (0..shape.managers).map(|_| clock_error(&mut rng, clocks)).collect();
        let mut world = Self {
            seed,
            asks: rebalances::numbers(seed),
            now: BEGINNING,
            queue: crate::queue::Queue::default(),
            faults: shape.faults.clone(),
            troubled: true,
            managers: Managers::new(managers),
            agents: BTreeMap::new(),
            running: BTreeMap::new(),
            invariants: Invariants::of(&shape),
            written: BEGINNING,
            passes: 0,
            names: 0,
            violation: None,
            trace: None,
            rng,
            shape,
        };
        world.elect();
        let mut actions = vec![objects::cluster(), objects::network(&mut world, true)];
        for place in 0..world.shape.nodes {
            let is_manager = place < world.shape.managers as u64;
            actions.push(objects::node(&mut world, is_manager));
        }
        world.propose(actions, Origin::User, Then::Nobody);
        world.queue.push(world.now, Event::User);
        world.queue.push(world.now.saturating_add(Duration::from_secs(10)), Event::ManagerTrouble);
        world.queue.push(world.now.saturating_add(Duration::from_secs(10)), Event::NodeTrouble);
        world.begin_rebalances();
        world
    }

    fn run(mut self) -> (Result<Summary, Violation>, Vec<String>) {
        let outcome = self.run_out();
        (outcome, self.trace.unwrap_or_default())
    }

    fn run_out(&mut self) -> Result<Summary, Violation> {
        let mut summary = Summary::default();
        let end = self.now.saturating_add(self.shape.trouble);
        self.until(end, &mut summary)?;
        self.heal();
        summary.settled = self.rest(&mut summary)?;
        self.spread_at_rest(&mut summary)?;
        summary.entries = self.managers.log.len() as u64;
        summary.passes = self.passes;
        summary.leaders = self.managers.epoch;
        let counts = self.invariants.counts();
        summary.tasks = counts.tasks;
        summary.updates_completed = counts.completed;
        summary.updates_paused = counts.paused;
        summary.rollbacks = counts.rollbacks;
        summary.completions = counts.completions;
        summary.given = counts.given;
        summary.waited = counts.waited;
        summary.rebalances = counts.rebalances;
        summary.moving = counts.moving;
        Ok(summary)
    }

    /// Lets the swarm come to rest, and gives how long that took.
    fn rest(&mut self, summary: &mut Summary) -> Result<Duration, Violation> {
        let begun = self.now;
        self.written = begun;
        let nodes = u32::try_from(self.managers.truth.nodes().len()).unwrap_or(u32::MAX);
        let longest = CONVERGENCE_MAX + CONVERGENCE_PER_NODE.saturating_mul(nodes);
        let last = begun.saturating_add(longest);
        while self.now.saturating_since(self.written) < QUIET {
            if self.now > last {
                self.fail("silence", format!("the log takes changes {longest:?} on"));
            }
            let quiet = self.written.saturating_add(QUIET);
            self.until(quiet, summary)?;
        }
        self.settled();
        match self.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(self.written.saturating_since(begun)),
        }
    }

    /// With nothing else going on a rebalance does what it said.
    fn spread_at_rest(&mut self, summary: &mut Summary) -> Result<(), Violation> {
        let before = self.managers.truth.clone();
        let Some(ask) = self.rebalance_at_rest() else { return Ok(()) };
        self.rest(summary)?;
        let (now, after) = (self.swarm_time(), &self.managers.truth);
        let (service, tasks) = (ask.service, &ask.tasks);
        let spread = Spread { now, before: &before, after, service, tasks };
        if let Err((name, why)) = self.invariants.spread(&spread) {
            self.fail(name, why);
        }
        self.violation.take().map_or(Ok(()), Err)
    }

    /// Lets everything happen up to a moment.
    fn until(&mut self, end: Timestamp, summary: &mut Summary) -> Result<(), Violation> {
        while self.now < end {
            let Some((at, event)) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            summary.events += 1;
            if summary.events > EVENTS_MAX {
                self.fail("events", format!("{EVENTS_MAX} events, and now {event:?}"));
            }
            self.happen(event);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver(Message::ToManager { from, manager, call }) => {
                if self.agents.get(&from).is_some_and(|agent| !agent.cut) {
                    self.called(from, manager, call);
                }
            }
            Event::Deliver(Message::ToNode { to, answer }) => self.answered(to, answer),
            Event::Local(node, run, event) => self.local(node, run, event),
            Event::Commit(epoch) => self.commit(epoch),
            Event::Pass(epoch) => self.pass(epoch),
            Event::Tell(epoch) => self.tell(epoch),
            Event::TellNetworks(epoch) => self.tell_networks(epoch),
            Event::Look(epoch, node) => self.look(epoch, node),
            Event::Expire(epoch) => self.expire(epoch),
            Event::Elect => self.elect(),
            Event::StaleEnds => self.managers.stale = None,
            Event::User => self.user(),
            Event::Spread => self.look_at_spread(),
            Event::Rebalance(ask) => {
                self.rebalance(&ask);
            }
            Event::ManagerTrouble => self.manager_trouble(),
            Event::NodeTrouble => self.node_trouble(),
            Event::StartManager(manager) => self.start_manager(manager),
            Event::StartNode(node, run) => self.start_node(node, run),
            Event::Reconnect(node) => self.reconnect(node),
            Event::Thaw(node) => self.thaw(node),
        }
    }

    /// What holds of a swarm at rest.
    fn settled(&mut self) {
        for manager in 0..self.managers.up.len() {
            if (manager == 0 || self.managers.up.len() <= 3)
                && let Err(why) = self.managers.catch_up(manager)
            {
                return self.fail("agreement", why);
            }
        }
        let settled = Settled {
            now: self.now,
            truth: &self.managers.truth,
            agents: &self.agents,
            running: &self.running,
        };
        if let Err((name, why)) = self.invariants.settled(&settled) {
            self.fail(name, why);
        }
    }

    /// Virtual time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now.saturating_since(BEGINNING)
    }

    pub(crate) fn fail(&mut self, invariant: &'static str, why: String) {
        let at = self.elapsed();
        let violation = Violation { seed: self.seed, at, invariant, why };
        self.violation.get_or_insert(violation);
    }
}
