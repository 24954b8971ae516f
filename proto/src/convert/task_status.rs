//! What a node reports of its tasks, as SwarmKit's dispatcher takes it.

use skep_types::{TaskId, TaskStatus};

use super::error::ConvertError;
use super::field::{
    WireEnum, enumeration, id, list, messages, optional, part, timestamp, timestamp_of,
};
use crate::swarmkit;
use crate::swarmkit::task_status::RuntimeStatus;
use crate::swarmkit::update_task_status_request::TaskStatusUpdate;

impl From<&TaskStatus> for swarmkit::TaskStatus {
    fn from(status: &TaskStatus) -> Self {
        let ports = messages(&status.host_ports);
        Self {
            timestamp: Some(timestamp(status.timestamp)),
            state: status.state.number(),
            message: status.message.clone(),
            err: status.error.clone(),
            port_status: (!ports.is_empty()).then_some(swarmkit::PortStatus { ports }),
            applied_by: String::new(),
            applied_at: None,
            runtime_status: status.container.as_ref().map(|it| RuntimeStatus::Container(it.into())),
        }
    }
}

impl TryFrom<swarmkit::TaskStatus> for TaskStatus {
    type Error = ConvertError;

    /// Who applied a status, and when, is a Docker manager's own book-keeping.
    fn try_from(message: swarmkit::TaskStatus) -> Result<Self, ConvertError> {
        let container = message.runtime_status.map(|RuntimeStatus::Container(it)| it);
        Ok(Self {
            state: enumeration(message.state, "state")?,
            timestamp: timestamp_of(message.timestamp, "timestamp")?,
            message: message.message,
            error: message.err,
            container: optional(container, "container")?,
            host_ports: list(message.port_status.unwrap_or_default().ports, "port_status.ports")?,
            // The dispatcher's to write, from the report that says so.
            running_since: None,
        })
    }
}

/// One entry of a node's report.
pub fn status_update(task: TaskId, status: &TaskStatus) -> TaskStatusUpdate {
    TaskStatusUpdate { task_id: task.to_string(), status: Some(status.into()) }
}

/// What one entry of a node's report says.
///
/// # Errors
/// The task is not named by an id, or the status is none.
pub fn reported_status(update: TaskStatusUpdate) -> Result<(TaskId, TaskStatus), ConvertError> {
    Ok((id(&update.task_id, "task_id")?, part(update.status, "status")?))
}
