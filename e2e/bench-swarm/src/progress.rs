//! How far a service's tasks have come, as one manager's state says it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skep_manager::Manager;
use skep_state::Event;
use skep_types::TaskState;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// Follows every task from the moment it is made: begun before the tasks are.
pub struct Progress {
    changes: broadcast::Receiver<Arc<Vec<Event>>>,
    began: Instant,
    tasks: usize,
}

/// When tasks had come so far, from the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// The last task got its node.
    pub assigned: Duration,
    /// The last task was known to run.
    pub running: Duration,
}

impl Progress {
    /// Begins to follow `tasks` tasks that are yet to be made.
    pub fn begin(manager: &Manager, tasks: usize) -> Self {
        Self { changes: manager.changes(), began: Instant::now(), tasks }
    }

    /// Waits until all of them run.
    ///
    /// # Errors
    /// They do not within `patience`, or changes came faster than this could follow.
    pub async fn reached(mut self, patience: Duration) -> Result<Reached> {
        let (mut placed, mut running, mut assigned) = (0, 0, None);
        let deadline = self.began + patience;
        loop {
            let changes = tokio::time::timeout_at(deadline, self.changes.recv()).await;
            let changes = changes.with_context(|| {
                let tasks = self.tasks;
                format!("of {tasks} tasks {placed} have a node and {running} run")
            })?;
            for change in &*changes.context("changes could not be followed")? {
                let Event::Task(delta) = change else { continue };
                let Some(after) = &delta.after else { continue };
                let before = delta.before.as_ref();
                let had_node = before.is_some_and(|it| it.node_id.is_some());
                placed += usize::from(after.node_id.is_some() && !had_node);
                let ran = before.is_some_and(|it| it.status.state >= TaskState::Running);
                running += usize::from(after.status.state == TaskState::Running && !ran);
            }
            if placed >= self.tasks && assigned.is_none() {
                assigned = Some(self.began.elapsed());
            }
            if running >= self.tasks {
                ensure!(running == self.tasks, "{running} tasks run where {} should", self.tasks);
                let assigned = assigned.context("tasks run that have no node")?;
                return Ok(Reached { assigned, running: self.began.elapsed() });
            }
        }
    }
}
