//! One task on this node: looks, decides the next step, does it, and looks again.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use skep_agent_plan::{Observed, Step, next_step};
use skep_proto::convert::NodeTask;
use skep_types::{DesiredState, TaskId, TaskState, TaskStatus, Timestamp, defaults};
use tokio::sync::{Semaphore, watch};

use crate::defaults::STEP_RETRY;
use crate::executor::{Executor, ExecutorError, TaskFiles};
use crate::reporter::Reporter;

/// What the managers ask of a task now.
#[derive(Debug, Clone)]
pub enum Asked {
    Task(Arc<NodeTask>),
    /// It is not assigned any more: nothing of it stays.
    Gone,
}

/// What the tasks of a node share.
pub struct Shared {
    pub executor: Arc<dyn Executor>,
    pub reporter: Reporter,
    /// Bounds how many are made ready at the same time.
    pub preparing: Semaphore,
    pub files: std::sync::Mutex<TaskFiles>,
}

/// Runs until everything of the task is removed.
pub async fn run(shared: Arc<Shared>, id: TaskId, mut asked: watch::Receiver<Asked>) {
    let mut changes = shared.executor.changes(id);
    let mut reported: Option<TaskState> = None;
    let mut desired = DesiredState::Ready;
    loop {
        changes.mark_unchanged();
        let now = asked.borrow_and_update().clone();
        let Asked::Task(task) = now else { break };
        // A new leader may take a moment longer to say so again: it was told to stop all the same.
        desired = desired.max(task.desired_state);
        let reported = reported.get_or_insert(task.status.state);
        // A manager that knows more than was reported here (an orphaned task) is right.
        *reported = (*reported).max(task.status.state);
        let observed = shared.executor.observe(id).await;
        match next_step(desired, *reported, observed) {
            Step::Wait => {
                tokio::select! {
                    changed = asked.changed() => if changed.is_err() { return },
                    changed = changes.changed() => if changed.is_err() { return },
                }
            }
            Step::Report(state) => {
                *reported = state;
                if state.is_terminal() {
                    again(shared.executor.ended(id).await, id, "give up the networks of").await;
                }
                report(&shared, &task, state, observed, String::new()).await;
            }
            Step::Create => {
                let permit = shared.preparing.acquire().await.expect("never closed");
                let files = shared.files.lock().expect("no holder panics").clone();
                // A task that is told to stop while its image is fetched need not wait for it.
                let fetched = tokio::select! {
                    fetched = shared.executor.fetch(&task) => Some(fetched),
                    () = told_to_stop(&mut asked) => None,
                };
                let created = match fetched {
                    None => Ok(()),
                    Some(Ok(())) => shared.executor.create(&task, &files).await,
                    Some(Err(error)) => Err(error),
                };
                drop(permit);
                if let Err(error) = created {
                    tracing::warn!(task = %id, %error, "failed to create container");
                    *reported = TaskState::Rejected;
                    report(&shared, &task, *reported, observed, error.to_string()).await;
                }
            }
            Step::Start => {
                if let Err(error) = shared.executor.start(&task).await {
                    tracing::warn!(task = %id, %error, "failed to start container");
                    *reported = TaskState::Failed;
                    report(&shared, &task, *reported, observed, error.to_string()).await;
                }
            }
            Step::Stop => {
                let grace = task.spec.container.stop_grace_period;
                let grace = grace.unwrap_or(defaults::STOP_GRACE_PERIOD);
                again(shared.executor.stop(&task, grace).await, id, "stop").await;
            }
            Step::Remove => again(shared.executor.remove(id).await, id, "remove").await,
        }
    }
    shared.reporter.forget(id);
    clean_up(&shared, id).await;
}

/// Waits until the managers want the task to run no more.
async fn told_to_stop(asked: &mut watch::Receiver<Asked>) {
    let stops = |asked: &Asked| match asked {
        Asked::Task(task) => {
            matches!(task.desired_state, DesiredState::Shutdown | DesiredState::Remove)
        }
        Asked::Gone => true,
    };
    // Nobody asks any more: the loop sees that itself.
    let _ = asked.wait_for(stops).await;
}

/// Ends and removes what is left of a task that is no longer this node's.
pub async fn clean_up(shared: &Shared, id: TaskId) {
    while shared.executor.observe(id).await != Observed::Absent {
        again(shared.executor.remove(id).await, id, "remove").await;
    }
}

/// A step that the host could not do is tried again, not at once.
async fn again(outcome: Result<(), ExecutorError>, id: TaskId, step: &str) {
    if let Err(error) = outcome {
        tracing::warn!(task = %id, %error, step, "a step on a container failed");
        tokio::time::sleep(STEP_RETRY).await;
    }
}

async fn report(
    shared: &Shared,
    task: &NodeTask,
    state: TaskState,
    observed: Observed,
    error: String,
) {
    let id = task.id;
    let container = shared.executor.status(id).await;
    let error = match (state, observed) {
        (TaskState::Failed, Observed::Exited { code }) if error.is_empty() => {
            // SwarmKit's words.
            match shared.executor.complaint(id) {
                Some(why) => format!("task: non-zero exit ({code}): {why}"),
                None => format!("task: non-zero exit ({code})"),
            }
        }
        (TaskState::Failed, Observed::Absent) if error.is_empty() => {
            "the container is gone".to_owned()
        }
        _ => error,
    };
    // Before it runs, and when it has ended, they lead nowhere.
    let host_ports = match state {
        TaskState::Running => shared.executor.host_ports(id).await,
        _ => Vec::new(),
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let status = TaskStatus {
        state,
        timestamp: Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        message: message(state).to_owned(),
        error,
        container,
        host_ports,
        running_since: None,
    };
    shared.reporter.report(id, status);
}

/// SwarmKit's words, as `docker inspect` of a task shows them.
fn message(state: TaskState) -> &'static str {
    match state {
        TaskState::Accepted => "accepted",
        TaskState::Preparing => "preparing",
        TaskState::Ready => "prepared",
        TaskState::Starting => "starting",
        TaskState::Running => "started",
        TaskState::Complete => "finished",
        TaskState::Shutdown => "shutdown",
        TaskState::Failed => "started",
        TaskState::Rejected => "preparing",
        other => other.name(),
    }
}
