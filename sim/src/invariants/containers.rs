//! A slot's container runs once, on the hosts themselves and not only by the book: beside it another
//! may run in a start-first update, on a node that the managers cannot hear, or where one that was
//! told to stop takes too long.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_state::{Delta, Event};
use skep_types::{DesiredState, NodeId, NodeState, TaskId, Timestamp};

use super::slots::Overlaps;
use super::{Invariant, Seen, Started, Verdict};
use crate::shape::Shape;

/// As long as the successor of a task that does not end waits, from its making; that is told to the
/// log a moment later.
const WAIT_MAX: Duration = Duration::from_secs(59);

pub struct Containers {
    /// Whether clocks are right: a wait by a wrong one may be shorter.
    clocks_right: bool,
    overlaps: Overlaps,
    told_to_stop: BTreeMap<TaskId, Timestamp>,
    /// When a node was last held for down.
    down: BTreeMap<NodeId, Timestamp>,
}

impl Containers {
    pub fn of(shape: &Shape) -> Self {
        Self {
            clocks_right: shape.faults.clocks.is_zero(),
            overlaps: Overlaps::default(),
            told_to_stop: BTreeMap::new(),
            down: BTreeMap::new(),
        }
    }
}

impl Containers {
    fn was_down_since_told(&self, node: NodeId, task: TaskId) -> bool {
        self.down.get(&node).zip(self.told_to_stop.get(&task)).is_some_and(|(down, at)| down >= at)
    }
}

impl Invariant for Containers {
    fn name(&self) -> &'static str {
        "containers"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        self.overlaps.applied(seen)?;
        for event in seen.events {
            match event {
                Event::Task(Delta { before, after: Some(task) }) => {
                    let is_told = task.desired_state >= DesiredState::Shutdown;
                    let was_told = before
                        .as_ref()
                        .is_some_and(|it| it.desired_state >= DesiredState::Shutdown);
                    if is_told && !was_told {
                        self.told_to_stop.insert(task.id, seen.now);
                    }
                }
                Event::Task(Delta { before: Some(task), after: None }) => {
                    self.told_to_stop.remove(&task.id);
                }
                Event::Node(Delta { before, after }) => {
                    let is_down = |it: &Option<std::sync::Arc<skep_types::Node>>| {
                        it.as_ref().is_none_or(|node| node.status.state == NodeState::Down)
                    };
                    let node = after.as_ref().or(before.as_ref()).map(|node| node.id);
                    if let Some(node) = node.filter(|_| is_down(before) || is_down(after)) {
                        self.down.insert(node, seen.now);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn started(&mut self, started: &Started<'_>) -> Verdict {
        let truth = started.truth;
        // Whatever was decided before it was removed.
        if truth.services().get(started.service).is_none() {
            return Ok(());
        }
        // A node that was out of reach begins what it was told before it hears that it shall not.
        let is_down = |node: NodeId| {
            truth.nodes().get(node).is_none_or(|node| node.status.state == NodeState::Down)
        };
        if is_down(started.node) || self.was_down_since_told(started.node, started.task) {
            return Ok(());
        }
        let beside: Vec<&(NodeId, TaskId)> = started
            .others
            .iter()
            .filter(|(node, task)| {
                let told = self.told_to_stop.get(task);
                let was_down = self.was_down_since_told(*node, *task);
                let waited = told.is_some_and(|told| {
                    !self.clocks_right || started.now.saturating_since(*told) >= WAIT_MAX
                });
                let allowed = self.overlaps.may_run_beside(started.task, *task);
                // A job's runs do not wait for each other.
                let of_run = |id: TaskId| truth.tasks().get(id).and_then(|task| task.job_iteration);
                let other_run = of_run(*task) != of_run(started.task);
                !(is_down(*node) || was_down || waited || allowed || other_run)
            })
            .collect();
        if !beside.is_empty() {
            let task = truth.tasks().get(started.task);
            let beside: Vec<_> = beside.iter().map(|(_, id)| truth.tasks().get(*id)).collect();
            return Err(format!("{task:?} runs on node {} beside {beside:?}", started.node));
        }
        Ok(())
    }
}
