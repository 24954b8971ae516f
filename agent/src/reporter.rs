//! What the managers are yet to be told of each task: the newest status, until they have it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use skep_types::{TaskId, TaskStatus};
use tokio::sync::Notify;

use crate::defaults::REPORT_MAX;

/// Bounded by the number of tasks on the node: only the newest status of each is kept.
#[derive(Default)]
pub struct Reporter {
    waiting: Mutex<BTreeMap<TaskId, TaskStatus>>,
    added: Notify,
}

impl Reporter {
    pub fn report(&self, task: TaskId, status: TaskStatus) {
        self.lock().insert(task, status);
        self.added.notify_one();
    }

    /// The task is not this node's any more: nothing is to be said of it.
    pub fn forget(&self, task: TaskId) {
        self.lock().remove(&task);
    }

    /// Waits until there is something to tell.
    pub async fn next_batch(&self) -> Vec<(TaskId, TaskStatus)> {
        loop {
            let batch: Vec<(TaskId, TaskStatus)> = {
                let waiting = self.lock();
                waiting.iter().take(REPORT_MAX).map(|(id, it)| (*id, it.clone())).collect()
            };
            if !batch.is_empty() {
                return batch;
            }
            self.added.notified().await;
        }
    }

    /// The managers have these; what is newer still waits.
    pub fn told(&self, batch: &[(TaskId, TaskStatus)]) {
        let mut waiting = self.lock();
        for (task, status) in batch {
            if waiting.get(task) == Some(status) {
                waiting.remove(task);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, TaskStatus>> {
        self.waiting.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::TaskState;

    #[tokio::test]
    async fn what_is_newer_than_what_was_told_still_waits() {
        let reporter = Reporter::default();
        let status = |state| TaskStatus { state, ..TaskStatus::default() };
        let task = TaskId::new(1);
        reporter.report(task, status(TaskState::Accepted));
        let batch = reporter.next_batch().await;
        reporter.report(task, status(TaskState::Running));
        reporter.told(&batch);
        assert_eq!(reporter.next_batch().await, [(task, status(TaskState::Running))]);
        reporter.forget(task);
        assert!(reporter.lock().is_empty());
    }
}
