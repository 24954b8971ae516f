//! A task leaves the balancers before it is told to stop.
//!
//! A task whose wanted state says that it is to stop is given no new connections from that moment
//! on (`endpoints`). Its node hears of the wanted state later: once every node that balances to it
//! has confirmed, or a bound is over, and then after its service's drain time.
//!
//! **Invariant:** each node's stream of assignments has its own, and a task that was let go is not
//! held back again in the same stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::State;
use skep_types::{DesiredState, NetworkId, NodeId, Task, TaskId, TaskState, Timestamp, drain};

use crate::concern::Whom;
use crate::defaults::WITHDRAWAL_MAX;
use crate::watermark::Watermarks;

#[derive(Debug, Clone, Copy)]
struct Withdrawal {
    /// The state had it so at this index of the log, at the latest.
    index: u64,
    /// When it was seen first.
    since: Timestamp,
    /// When it had left all balancers.
    left: Option<Timestamp>,
    let_go: bool,
}

/// The tasks of one node that leave the balancers.
#[derive(Debug, Clone, Default)]
pub struct Withdrawals {
    by_task: BTreeMap<TaskId, Withdrawal>,
}

/// Which tasks' nodes are not to hear yet that they are to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldBack {
    pub tasks: BTreeSet<TaskId>,
    /// When to look again, even if nothing changes.
    pub look_at: Option<Timestamp>,
    /// Tasks whose bound is over now, each with the nodes that may balance to it still.
    pub unconfirmed: BTreeMap<TaskId, Vec<NodeId>>,
}

impl Withdrawals {
    /// Looks at a node's tasks in a view of the state that is as the log had it at `index`; only
    /// those that are `touched` may have changed since the last look.
    pub fn observe(
        &mut self,
        state: &State,
        node: NodeId,
        touched: &Whom<TaskId>,
        index: u64,
        marks: &Watermarks,
        now: Timestamp,
    ) -> HeldBack {
        let leaves = |task: &&Arc<Task>| task.node_id == Some(node) && is_leaving(state, task);
        let leaving: BTreeSet<TaskId> = match touched {
            Whom::All => state.tasks_on_node(node).filter(leaves).map(|task| task.id).collect(),
            Whom::Some(touched) => {
                let tasks = touched.iter().filter_map(|id| state.tasks().get(*id));
                tasks.filter(leaves).map(|task| task.id).collect()
            }
        };
        let looked_at = |id: &TaskId| match touched {
            Whom::All => true,
            Whom::Some(touched) => touched.contains(id),
        };
        self.by_task.retain(|id, _| leaving.contains(id) || !looked_at(id));
        for id in leaving {
            let first = Withdrawal { index, since: now, left: None, let_go: false };
            self.by_task.entry(id).or_insert(first);
        }
        let mut held = HeldBack::default();
        for (id, withdrawal) in &mut self.by_task {
            let Some(task) = state.tasks().get(*id) else { continue };
            let unconfirmed = withdrawal.leave(task, marks, now);
            if !unconfirmed.is_empty() {
                held.unconfirmed.insert(*id, unconfirmed);
            }
            if let Some(again) = withdrawal.wait(state, task, now) {
                held.tasks.insert(*id);
                held.look_at = Some(held.look_at.map_or(again, |at| at.min(again)));
            }
        }
        held
    }
}

impl Withdrawal {
    /// When it is waited for no longer that nodes confirm.
    fn bound(&self) -> Timestamp {
        self.since.saturating_add(WITHDRAWAL_MAX)
    }

    /// Notes when it has left the balancers. Where that is because the bound is over, gives the nodes
    /// that have not confirmed.
    fn leave(&mut self, task: &Task, marks: &Watermarks, now: Timestamp) -> Vec<NodeId> {
        if self.left.is_some() {
            return Vec::new();
        }
        let networks: Vec<NetworkId> = task.networks.iter().map(|at| at.network).collect();
        if now < self.bound() && marks.is_awaited(&networks, self.index, now) {
            return Vec::new();
        }
        self.left = Some(now);
        marks.awaited(&networks, self.index, now).into_iter().collect()
    }

    /// Until when the task is to be left alone at the most; none if it may be told now.
    fn wait(&mut self, state: &State, task: &Task, now: Timestamp) -> Option<Timestamp> {
        if self.let_go {
            return None;
        }
        let Some(left) = self.left else { return Some(self.bound()) };
        let over = left.saturating_add(drain_time(state, task));
        self.let_go = now >= over;
        (!self.let_go).then_some(over)
    }
}

/// Whether a task serves on a network and is to stop. Where its service is gone, nobody asks for
/// it any more, and nothing is waited for.
fn is_leaving(state: &State, task: &Task) -> bool {
    task.status.state == TaskState::Running
        && matches!(task.desired_state, DesiredState::Shutdown | DesiredState::Remove)
        && !task.networks.is_empty()
        && state.services().get(task.service_id).is_some()
}

/// What its service says now, so that it can be changed before an update.
fn drain_time(state: &State, task: &Task) -> std::time::Duration {
    let service = state.services().get(task.service_id);
    // Services with a label that is none are refused where they are made.
    service.and_then(|it| drain::of(&it.spec.annotations.labels).ok()).unwrap_or_default()
}
