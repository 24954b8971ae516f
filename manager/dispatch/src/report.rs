//! What nodes report of their tasks, and what of it becomes state.

use std::sync::Arc;

use skep_state::{Action, Change, State};
use skep_types::{Attachment, AttachmentId, NodeId, Task, TaskId, TaskState, TaskStatus};

/// One task's status as its node saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub task: TaskId,
    pub status: TaskStatus,
}

/// A node reports what is not its own to report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node {node} cannot report on task {task}: it is not assigned to it")]
pub struct ReportError {
    pub node: NodeId,
    pub task: TaskId,
}

/// Turns a node's reports into actions. Reports on tasks that are gone are dropped, as are those
/// that say nothing new or come late: a task's state never moves backwards.
///
/// # Errors
/// A report on another node's task; none of the node's reports is taken then.
pub fn reported(
    state: &State,
    node: NodeId,
    reports: &[Report],
) -> Result<Vec<Action>, ReportError> {
    let mut actions = Vec::with_capacity(reports.len());
    // The last report on a task is the one that counts, and each update needs its own revision.
    let mut latest = std::collections::BTreeMap::new();
    for report in reports {
        let Some(task) = state.tasks().get(report.task) else {
            actions.extend(of_attachment(state, node, report)?);
            continue;
        };
        if task.node_id != Some(node) {
            return Err(ReportError { node, task: report.task });
        }
        let newest: &mut TaskStatus =
            latest.entry(report.task).or_insert_with(|| task.status.clone());
        if report.status.state >= newest.state {
            let runs = report.status.state == TaskState::Running;
            let began = newest.running_since.or(runs.then_some(report.status.timestamp));
            *newest = TaskStatus { running_since: began, ..report.status.clone() };
        }
    }
    for (id, status) in latest {
        let Some(task) = state.tasks().get(id) else { continue };
        if says_more(&status, &task.status) {
            let mut changed = Task::clone(task);
            changed.status = status;
            actions.push(Change::Update(Arc::new(changed)).into());
        }
    }
    Ok(actions)
}

/// A dockerd reports on attachments as on tasks: one that has ended is none any more.
fn of_attachment(
    state: &State,
    node: NodeId,
    report: &Report,
) -> Result<Option<Action>, ReportError> {
    let id = AttachmentId::of_task(report.task);
    let Some(attachment) = state.attachments().get(id) else { return Ok(None) };
    if attachment.node_id != node {
        return Err(ReportError { node, task: report.task });
    }
    let ended = report.status.state.is_terminal();
    Ok(ended.then(|| Change::<Attachment>::Remove(id, None).into()))
}

/// Whether a status differs in more than the time at which it was seen.
fn says_more(new: &TaskStatus, old: &TaskStatus) -> bool {
    let untimed =
        |status: &TaskStatus| TaskStatus { timestamp: Default::default(), ..status.clone() };
    untimed(new) != untimed(old)
}
