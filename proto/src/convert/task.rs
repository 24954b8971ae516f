//! Tasks in the log: small, since their spec is named and not said.

use skep_types::task::{ContainerStatus, Slot};
use skep_types::{
    DesiredState, NodeId, Revision, ServiceId, Task, TaskId, TaskState, TaskStatus, Timestamp,
};

use super::error::{At, ConvertError};
use super::field::{
    CompactId, WireEnum, absent, enumeration, list, messages, optional, part, wire_enum,
};
use crate::state::task::Slot as SlotMessage;
use crate::{state, swarmkit};

wire_enum!(TaskState = swarmkit::TaskState {
    New = New,
    Pending = Pending,
    Assigned = Assigned,
    Accepted = Accepted,
    Preparing = Preparing,
    Ready = Ready,
    Starting = Starting,
    Running = Running,
    Complete = Complete,
    Shutdown = Shutdown,
    Failed = Failed,
    Rejected = Rejected,
    Remove = Remove,
    Orphaned = Orphaned,
});
wire_enum!(DesiredState = swarmkit::TaskState {
    Ready = Ready, Running = Running, Complete = Complete, Shutdown = Shutdown, Remove = Remove,
});

impl From<&ContainerStatus> for swarmkit::ContainerStatus {
    fn from(status: &ContainerStatus) -> Self {
        Self {
            container_id: status.container_id.clone(),
            pid: status.pid,
            exit_code: status.exit_code,
        }
    }
}

impl TryFrom<swarmkit::ContainerStatus> for ContainerStatus {
    type Error = ConvertError;

    fn try_from(message: swarmkit::ContainerStatus) -> Result<Self, ConvertError> {
        Ok(Self {
            container_id: message.container_id,
            pid: message.pid,
            exit_code: message.exit_code,
        })
    }
}

impl From<&TaskStatus> for state::TaskStatus {
    fn from(status: &TaskStatus) -> Self {
        Self {
            state: status.state.number(),
            timestamp_ns: status.timestamp.0,
            message: status.message.clone(),
            error: status.error.clone(),
            container: status.container.as_ref().map(Into::into),
            host_ports: messages(&status.host_ports),
            running_since_ns: status.running_since.map(|since| since.0),
        }
    }
}

impl TryFrom<state::TaskStatus> for TaskStatus {
    type Error = ConvertError;

    fn try_from(message: state::TaskStatus) -> Result<Self, ConvertError> {
        Ok(Self {
            state: enumeration(message.state, "state")?,
            timestamp: Timestamp(message.timestamp_ns),
            message: message.message,
            error: message.error,
            container: optional(message.container, "container")?,
            host_ports: list(message.host_ports, "host_ports")?,
            running_since: message.running_since_ns.map(Timestamp),
        })
    }
}

impl From<Slot> for SlotMessage {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Replica(number) => Self::Replica(number),
            Slot::Node(node) => Self::NodeSlot(node.to_bytes()),
        }
    }
}

impl TryFrom<SlotMessage> for Slot {
    type Error = ConvertError;

    fn try_from(message: SlotMessage) -> Result<Self, ConvertError> {
        match message {
            SlotMessage::Replica(number) => Ok(Self::Replica(number)),
            SlotMessage::NodeSlot(node) => NodeId::from_bytes(&node, "node").map(Self::Node),
        }
    }
}

impl From<&Task> for state::Task {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id.to_bytes(),
            meta: Some((&task.meta).into()),
            service_id: task.service_id.to_bytes(),
            spec_version: task.spec_version.0,
            slot: Some(task.slot.into()),
            node_id: task.node_id.map(CompactId::to_bytes).unwrap_or_default(),
            status: Some((&task.status).into()),
            desired_state: task.desired_state.number(),
            networks: messages(&task.networks),
            endpoint_ports: Vec::new(),
            detached_spec: None,
            job_iteration: task.job_iteration,
            assigned_generic_resources: messages(&task.generic),
        }
    }
}

impl TryFrom<state::Task> for Task {
    type Error = ConvertError;

    fn try_from(message: state::Task) -> Result<Self, ConvertError> {
        absent(message.endpoint_ports.is_empty(), "a task's own port", "endpoint_ports")?;
        absent(message.detached_spec.is_none(), "a task of no service", "detached_spec")?;
        let node = Some(message.node_id).filter(|bytes| !bytes.is_empty());
        Ok(Self {
            id: TaskId::from_bytes(&message.id, "id")?,
            meta: part(message.meta, "meta")?,
            service_id: ServiceId::from_bytes(&message.service_id, "service_id")?,
            slot: message
                .slot
                .ok_or_else(ConvertError::missing)
                .and_then(Slot::try_from)
                .at("slot")?,
            spec_version: Revision(message.spec_version),
            node_id: node.map(|bytes| NodeId::from_bytes(&bytes, "node_id")).transpose()?,
            status: part(message.status, "status")?,
            desired_state: enumeration(message.desired_state, "desired_state")?,
            networks: list(message.networks, "networks")?,
            job_iteration: message.job_iteration,
            generic: list(message.assigned_generic_resources, "assigned_generic_resources")?,
        })
    }
}
