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
    placed: usize,
    running: usize,
    assigned: Option<Duration>,
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
        let (changes, began) = (manager.changes(), Instant::now());
        Self { changes, began, tasks, placed: 0, running: 0, assigned: None }
    }

    /// Waits until all of them have a node.
    ///
    /// # Errors
    /// They do not within `patience`, or changes came faster than this could follow.
    pub async fn assigned(&mut self, patience: Duration) -> Result<()> {
        while self.assigned.is_none() {
            self.step(patience).await?;
        }
        Ok(())
    }

    /// Waits until all of them run.
    ///
    /// # Errors
    /// They do not within `patience`, or changes came faster than this could follow.
    pub async fn reached(mut self, patience: Duration) -> Result<Reached> {
        while self.running < self.tasks {
            self.step(patience).await?;
        }
        let (tasks, running) = (self.tasks, self.running);
        ensure!(running == tasks, "{running} tasks run where {tasks} should");
        let assigned = self.assigned.context("tasks run that have no node")?;
        Ok(Reached { assigned, running: self.began.elapsed() })
    }

    /// Takes in what one entry changed.
    async fn step(&mut self, patience: Duration) -> Result<()> {
        let Self { tasks, placed, running, .. } = *self;
        let changes = tokio::time::timeout_at(self.began + patience, self.changes.recv()).await;
        let changes = changes
            .with_context(|| format!("of {tasks} tasks {placed} have a node, {running} run"))?;
        for change in &*changes.context("changes could not be followed")? {
            let Event::Task(delta) = change else { continue };
            let Some(after) = &delta.after else { continue };
            let before = delta.before.as_ref();
            let had_node = before.is_some_and(|it| it.node_id.is_some());
            self.placed += usize::from(after.node_id.is_some() && !had_node);
            let ran = before.is_some_and(|it| it.status.state >= TaskState::Running);
            self.running += usize::from(after.status.state == TaskState::Running && !ran);
        }
        if self.placed >= tasks && self.assigned.is_none() {
            self.assigned = Some(self.began.elapsed());
        }
        Ok(())
    }
}
