//! Tasks: one-shot attempts to run a container. A task's state never moves backwards, and a task
//! that has ended is replaced, not started again.

use crate::network::NetworkAttachment;
use crate::resources::GenericResource;
use crate::service::PortConfig;
use crate::{Meta, NodeId, Revision, ServiceId, TaskId, Timestamp};

/// How far a task has come. The numbers are SwarmKit's, on the wire too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum TaskState {
    /// Made, nothing allocated yet.
    #[default]
    New = 0,
    /// Everything allocated; waits for a node.
    Pending = 64,
    /// A node was chosen.
    Assigned = 192,
    /// The node's agent has it.
    Accepted = 256,
    /// Image and mounts are being made ready.
    Preparing = 320,
    /// Could start at once.
    Ready = 384,
    Starting = 448,
    Running = 512,
    /// Ended by itself with success.
    Complete = 576,
    /// Ended because it was told to.
    Shutdown = 640,
    /// Ended by itself without success.
    Failed = 704,
    /// Could not be started at all.
    Rejected = 768,
    /// To be removed from the node and from the state.
    Remove = 800,
    /// Its node was away for too long to know.
    Orphaned = 832,
}

impl TaskState {
    pub const ALL: [Self; 14] = [
        Self::New,
        Self::Pending,
        Self::Assigned,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Starting,
        Self::Running,
        Self::Complete,
        Self::Shutdown,
        Self::Failed,
        Self::Rejected,
        Self::Remove,
        Self::Orphaned,
    ];

    /// The state of that number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i32 == number)
    }

    /// Whether the container has ended and will not run again.
    pub fn is_terminal(self) -> bool {
        self > Self::Running
    }

    /// Docker's word for it, as `service ps` shows it in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
        }
    }
}

/// The states that the managers may ask a task to reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DesiredState {
    /// Made ready, but held until it is let go.
    Ready,
    #[default]
    Running,
    /// For jobs: run to the end.
    Complete,
    Shutdown,
    Remove,
}

impl From<DesiredState> for TaskState {
    fn from(desired: DesiredState) -> Self {
        match desired {
            DesiredState::Ready => Self::Ready,
            DesiredState::Running => Self::Running,
            DesiredState::Complete => Self::Complete,
            DesiredState::Shutdown => Self::Shutdown,
            DesiredState::Remove => Self::Remove,
        }
    }
}

/// What the agent knows of a task's container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerStatus {
    pub container_id: String,
    pub pid: i32,
    pub exit_code: i32,
}

/// What was last seen of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskStatus {
    pub state: TaskState,
    pub timestamp: Timestamp,
    /// What is being done, in a few words.
    pub message: String,
    /// Why it is not further; empty if nothing is wrong.
    pub error: String,
    pub container: Option<ContainerStatus>,
    /// Host ports that were published for it, with their numbers.
    pub host_ports: Vec<PortConfig>,
    /// When it came to run, by its node's clock; kept when it has ended.
    pub running_since: Option<Timestamp>,
}

/// Which of a service's places a task fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Replicated services number theirs from 1.
    Replica(u64),
    /// Global services have one for each node.
    Node(NodeId),
}

/// One attempt to run a container of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub meta: Meta,
    pub service_id: ServiceId,
    pub slot: Slot,
    /// The service's spec version that it is made from; expanded when it is dispatched.
    pub spec_version: Revision,
    pub node_id: Option<NodeId>,
    pub status: TaskStatus,
    pub desired_state: DesiredState,
    pub networks: Vec<NetworkAttachment>,
    /// The run that it belongs to, if its service is a job.
    pub job_iteration: Option<u64>,
    /// What it was given of its node's generic resources, by name where they have names.
    pub generic: Vec<GenericResource>,
}

impl Task {
    /// Whether it is meant to run (now, or when it is let go).
    pub fn is_wanted(&self) -> bool {
        TaskState::from(self.desired_state) < TaskState::Shutdown
    }

    /// Whether it holds what it was given of a node: from when the node was chosen until it has ended.
    pub fn has_place(&self) -> bool {
        (TaskState::Assigned..=TaskState::Running).contains(&self.status.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_swarmkits_and_ascend() {
        let numbers: Vec<i32> = TaskState::ALL.into_iter().map(|state| state as i32).collect();
        assert_eq!(numbers, [0, 64, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 800, 832]);
        assert!(TaskState::ALL.is_sorted());
        assert_eq!(TaskState::from_number(512), Some(TaskState::Running));
        assert_eq!(TaskState::from_number(513), None);
    }

    #[test]
    fn only_what_follows_running_is_terminal() {
        let terminal: Vec<&str> =
            TaskState::ALL.into_iter().filter(|s| s.is_terminal()).map(TaskState::name).collect();
        assert_eq!(terminal, ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"]);
    }
}
