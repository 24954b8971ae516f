//! Users who have services spread anew. What is to move is planned on what is committed, and reaches
//! the leader later, when everything may have changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_orchestrator::rebalance;
use skep_scheduler::defaults::FAILURE_WINDOW;
use skep_state::{Change, State};
use skep_types::{NodeId, Revision, ServiceId, TaskId, Timestamp};

use crate::invariants::{Acknowledged, Origin};
use crate::managers::Then;
use crate::rng::Rng;
use crate::world::{Event, World};

/// What a user has found that a service should move.
#[derive(Debug, Clone)]
pub struct Ask {
    pub service: ServiceId,
    /// Of the service when it was planned.
    revision: Revision,
    /// Each with the node that its successor is to have.
    pub tasks: BTreeMap<TaskId, NodeId>,
}

/// Tells the draws for rebalances from the others of a seed.
const STREAM: u64 = 0x7265_6261_6c61_6e63;

/// Numbers of their own: nothing else of a swarm depends on how often somebody looks at its spread.
pub fn numbers(seed: u64) -> Rng {
    Rng::new(seed ^ STREAM)
}

impl World {
    /// In half of the swarms nobody asks.
    pub(crate) fn begin_rebalances(&mut self) {
        if self.asks.once_in(2) {
            self.look_at_spread_later();
        }
    }

    fn look_at_spread_later(&mut self) {
        let pause = Duration::from_millis(500 + self.asks.below(20_000));
        self.queue.push(self.now.saturating_add(pause), Event::Spread);
    }

    /// A user looks at how the services are spread.
    pub(crate) fn look_at_spread(&mut self) {
        if !self.troubled {
            return;
        }
        self.look_at_spread_later();
        let (view, now) = (self.managers.truth.clone(), self.swarm_time());
        let Some(ask) = self.plan_rebalance(&view, now) else { return };
        // Most ask at once, some think about it.
        let most = if self.asks.once_in(4) { 10_000 } else { 50 };
        let wait = Duration::from_millis(self.asks.below(most));
        self.queue.push(self.now.saturating_add(wait), Event::Rebalance(ask));
    }

    /// Any service of which tasks are to move, and which.
    fn plan_rebalance(&mut self, view: &State, now: Timestamp) -> Option<Ask> {
        let first = self.asks.below(view.services().len() as u64) as usize;
        let services = view.services().iter().skip(first).chain(view.services().iter().take(first));
        for service in services.filter(|it| rebalance::check(view, it).is_ok()) {
            let moves = skep_scheduler::rebalance(view, service, now);
            if !moves.is_empty() {
                let tasks = moves.iter().map(|it| (it.task, it.to)).collect();
                return Some(Ask { service: service.id, revision: service.meta.revision, tasks });
            }
        }
        None
    }

    /// The leader takes a plan if it still fits; whether it did.
    pub(crate) fn rebalance(&mut self, ask: &Ask) -> bool {
        let now = self.swarm_time();
        let Some(leader) = &self.managers.leader else { return false };
        let view = leader.speculation.view();
        let Some(service) = view.services().get(ask.service) else { return false };
        let Ok(mut begun) = rebalance::begin(view, service, &ask.tasks, now) else { return false };
        begun.meta.revision = ask.revision;
        let what = Acknowledged::Service(ask.service);
        let action = Change::Update(Arc::new(begun)).into();
        self.propose(vec![action], Origin::User, Then::User(what))
    }

    /// Has a service of a swarm at rest spread anew, if one is not even; gives what was asked.
    pub(crate) fn rebalance_at_rest(&mut self) -> Option<Ask> {
        let (view, now) = (self.managers.truth.clone(), self.swarm_time());
        let ask = self.plan_rebalance(&view, now)?;
        // A failure that comes to count no more while tasks move makes another spread the even one.
        let later = now.saturating_add(FAILURE_WINDOW);
        let service = view.services().get(ask.service)?;
        let moves = skep_scheduler::rebalance(&view, service, later);
        let same = ask.tasks == moves.iter().map(|it| (it.task, it.to)).collect();
        (same && self.rebalance(&ask)).then_some(ask)
    }
}
