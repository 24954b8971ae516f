//! What must hold: after every change, at every start of a container, and of a swarm at rest.
//!
//! Each looks at what changed and what that touches, not at the whole state, so that a run can ask
//! them after every event.

mod absence;
mod acknowledged;
mod addresses;
mod agreement;
mod containers;
mod convergence;
pub mod dependencies;
mod forward;
mod generic;
mod jobs;
mod leaks;
mod managers;
pub mod payloads;
mod placement;
mod ports;
mod rebalance;
mod slots;
mod update;
mod withdrawal;

use std::collections::{BTreeMap, BTreeSet};

use skep_state::{Event, State};
use skep_types::task::Slot;
use skep_types::{
    ConfigId, NetworkId, NodeId, SecretId, ServiceId, Task, TaskId, TaskState, Timestamp,
};

use crate::agents::Agent;
use crate::balancers::Balanced;
use crate::shape::Shape;

/// Who decided a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    User,
    /// Its reconcilers and its scheduler.
    Leader,
    Dispatcher,
    Reports,
}

/// A transaction was committed.
pub struct Seen<'a> {
    pub now: Timestamp,
    pub before: &'a State,
    pub after: &'a State,
    pub events: &'a [Event],
    pub origin: Origin,
}

/// A container came to run, beside others of its slot on nodes that can be reached.
pub struct Started<'a> {
    pub now: Timestamp,
    pub truth: &'a State,
    pub node: NodeId,
    pub task: TaskId,
    pub service: ServiceId,
    pub others: Vec<(NodeId, TaskId)>,
}

/// A node hears that a task of its is to stop.
pub struct Heard<'a> {
    pub now: Timestamp,
    pub truth: &'a State,
    /// What the nodes balance to that follow their networks at the leader.
    pub balancers: Vec<(NodeId, &'a Balanced)>,
    pub task: TaskId,
}

/// The swarm came to rest.
pub struct Settled<'a> {
    pub now: Timestamp,
    pub truth: &'a State,
    pub agents: &'a BTreeMap<NodeId, Agent>,
    pub running: &'a BTreeMap<(ServiceId, Slot), BTreeSet<(NodeId, TaskId)>>,
}

/// A service of a swarm at rest was spread anew, and the swarm came to rest again.
pub struct Spread<'a> {
    pub now: Timestamp,
    pub before: &'a State,
    pub after: &'a State,
    pub service: ServiceId,
    /// What was to move, and where to.
    pub tasks: &'a BTreeMap<TaskId, NodeId>,
}

/// What a user was promised to find from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    Cluster,
    Node(NodeId),
    Service(ServiceId),
    Network(NetworkId),
    Secret(SecretId),
    Config(ConfigId),
    /// The object with these bits for an id is removed.
    Gone(u128),
}

/// Nothing, or what is wrong.
type Verdict = Result<(), String>;

/// One thing that must hold.
trait Invariant {
    fn name(&self) -> &'static str;

    fn applied(&mut self, _: &Seen<'_>) -> Verdict {
        Ok(())
    }

    fn started(&mut self, _: &Started<'_>) -> Verdict {
        Ok(())
    }

    fn heard(&mut self, _: &Heard<'_>) -> Verdict {
        Ok(())
    }

    /// A user asks for something: from here on it may hold.
    fn wished(&mut self, _: &Acknowledged) {}

    fn acknowledged(&mut self, _: &Acknowledged, _: &State) -> Verdict {
        Ok(())
    }

    fn settled(&mut self, _: &Settled<'_>) -> Verdict {
        Ok(())
    }

    fn spread(&mut self, _: &Spread<'_>) -> Verdict {
        Ok(())
    }
}

/// What a run met, so that a set of seeds can be shown to reach what it is for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub tasks: u64,
    pub completed: u64,
    pub paused: u64,
    pub rollbacks: u64,
    /// Tasks of jobs that came to their end with success.
    pub completions: u64,
    /// Tasks that were given generic resources.
    pub given: u64,
    /// Tasks that waited for another service.
    pub waited: u64,
    /// Rebalances that came to their end with success, and the tasks that they began with.
    pub rebalances: u64,
    pub moving: u64,
}

/// All of them.
pub struct Invariants {
    all: Vec<Box<dyn Invariant>>,
    counts: Counts,
}

/// The one that does not hold, and why.
type Broken = (&'static str, String);

impl Invariants {
    pub(crate) fn of(shape: &Shape) -> Self {
        let all: Vec<Box<dyn Invariant>> = vec![
            Box::new(agreement::Agreement),
            Box::new(forward::Forward),
            Box::new(addresses::Addresses::default()),
            Box::new(ports::Ports::default()),
            Box::new(slots::Slots::default()),
            Box::new(jobs::Jobs),
            Box::new(payloads::Payloads),
            Box::new(managers::Managers),
            Box::new(absence::Absence),
            Box::new(generic::Generic::default()),
            Box::new(dependencies::Dependencies),
            Box::new(placement::Placement),
            Box::new(update::Update::default()),
            Box::new(rebalance::Rebalance),
            Box::new(containers::Containers::of(shape)),
            Box::new(withdrawal::Withdrawal::default()),
            Box::new(acknowledged::Kept::default()),
            Box::new(leaks::Leaks),
            Box::new(convergence::Convergence),
        ];
        Self { all, counts: Counts::default() }
    }

    pub(crate) fn applied(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        self.count(seen);
        self.ask(|it| it.applied(seen))
    }

    pub(crate) fn started(&mut self, started: &Started<'_>) -> Result<(), Broken> {
        self.ask(|it| it.started(started))
    }

    pub(crate) fn heard(&mut self, heard: &Heard<'_>) -> Result<(), Broken> {
        self.ask(|it| it.heard(heard))
    }

    pub(crate) fn wished(&mut self, what: &Acknowledged) {
        self.all.iter_mut().for_each(|it| it.wished(what));
    }

    pub(crate) fn acknowledged(
        &mut self,
        what: &Acknowledged,
        state: &State,
    ) -> Result<(), Broken> {
        self.ask(|it| it.acknowledged(what, state))
    }

    pub(crate) fn settled(&mut self, settled: &Settled<'_>) -> Result<(), Broken> {
        self.ask(|it| it.settled(settled))
    }

    pub(crate) fn spread(&mut self, spread: &Spread<'_>) -> Result<(), Broken> {
        self.ask(|it| it.spread(spread))
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    fn ask(
        &mut self,
        mut question: impl FnMut(&mut dyn Invariant) -> Verdict,
    ) -> Result<(), Broken> {
        self.all.iter_mut().try_for_each(|it| {
            let name = it.name();
            question(it.as_mut()).map_err(|why| (name, why))
        })
    }

    fn count_task(&mut self, before: Option<&Task>, after: Option<&Task>) {
        let Some(task) = after else { return };
        let is_new = |is: fn(&Task) -> bool| u64::from(is(task) && !before.is_some_and(is));
        self.counts.tasks += u64::from(before.is_none());
        self.counts.completions +=
            is_new(|it| it.job_iteration.is_some() && it.status.state == TaskState::Complete);
        self.counts.given += is_new(|it| !it.generic.is_empty());
        self.counts.waited += is_new(|it| it.status.error.starts_with("waits for service"));
    }

    fn count(&mut self, seen: &Seen<'_>) {
        use skep_types::service::UpdateState;
        for event in seen.events {
            match event {
                Event::Task(delta) => {
                    self.count_task(delta.before.as_deref(), delta.after.as_deref())
                }
                Event::Service(delta) => {
                    let state = |service: &Option<std::sync::Arc<skep_types::Service>>| {
                        service.as_ref()?.update_status.as_ref().map(|status| status.state)
                    };
                    let moving = |service: &Option<std::sync::Arc<skep_types::Service>>| {
                        service.as_ref().and_then(|it| it.moving()).map_or(0, |it| it.len() as u64)
                    };
                    let (had, has) = (moving(&delta.before), moving(&delta.after));
                    self.counts.moving += has.saturating_sub(had);
                    let (before, after) = (state(&delta.before), state(&delta.after));
                    if before == after {
                        continue;
                    }
                    match after {
                        Some(UpdateState::Completed) if had > 0 => self.counts.rebalances += 1,
                        Some(UpdateState::Completed) => self.counts.completed += 1,
                        Some(UpdateState::Paused) => self.counts.paused += 1,
                        Some(UpdateState::RollbackCompleted) => self.counts.rollbacks += 1,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}
