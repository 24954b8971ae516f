//! A container that was started by hand and is on a network, as its node is shown it: SwarmKit has a
//! task for each, which runs nothing.
//!
//! **Invariant:** what [`wire_attachment`] writes, a dockerd takes too, and [`NodeAttachment`] reads
//! whole.

use ipnet::IpNet;
use skep_types::{
    Attachment, AttachmentId, DesiredState, Network, NetworkAttachment, TaskId, TaskState,
    TaskStatus,
};

use super::error::{At, ConvertError};
use super::field::{WireEnum, id, list_with};
use super::node_network::{attachment as wire_place, attachment_of};
use crate::swarmkit;
use crate::swarmkit::task_spec::Runtime;

/// What a node is told of one of its containers' places on a network.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeAttachment {
    pub id: AttachmentId,
    pub container_id: String,
    pub network: Network,
    pub addresses: Vec<IpNet>,
}

/// An attachment with all that its node needs to know of it.
pub fn wire_attachment(attachment: &Attachment, network: &Network) -> swarmkit::Task {
    let place = NetworkAttachment {
        network: network.id,
        addresses: attachment.addresses.clone(),
        aliases: Vec::new(),
    };
    let container_id = attachment.container_id.clone();
    let config = swarmkit::NetworkAttachmentConfig {
        target: network.id.to_string(),
        ..swarmkit::NetworkAttachmentConfig::default()
    };
    let status = TaskStatus {
        state: TaskState::Assigned,
        timestamp: attachment.meta.updated_at,
        ..TaskStatus::default()
    };
    swarmkit::Task {
        id: attachment.id.to_string(),
        meta: Some((&attachment.meta).into()),
        spec: Some(swarmkit::TaskSpec {
            runtime: Some(Runtime::Attachment(swarmkit::NetworkAttachmentSpec { container_id })),
            networks: vec![config],
            ..swarmkit::TaskSpec::default()
        }),
        node_id: attachment.node_id.to_string(),
        status: Some((&status).into()),
        desired_state: DesiredState::Running.number(),
        networks: vec![wire_place(network, &place)],
        ..swarmkit::Task::default()
    }
}

impl NodeAttachment {
    /// Whether a task that a node is told of stands for an attachment.
    pub fn is_one(task: &swarmkit::Task) -> bool {
        let runtime = task.spec.as_ref().and_then(|spec| spec.runtime.as_ref());
        matches!(runtime, Some(Runtime::Attachment(_)))
    }
}

impl TryFrom<swarmkit::Task> for NodeAttachment {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Task) -> Result<Self, ConvertError> {
        let runtime = message.spec.and_then(|spec| spec.runtime);
        let Some(Runtime::Attachment(spec)) = runtime else {
            return Err(ConvertError::missing()).at("spec.attachment");
        };
        let places = list_with(message.networks, "networks", attachment_of)?;
        let mut places = places.into_iter();
        let (Some((network, place)), None) = (places.next(), places.next()) else {
            return Err(ConvertError::unsupported("more or less than one network")).at("networks");
        };
        Ok(Self {
            id: AttachmentId::of_task(id::<TaskId>(&message.id, "id")?),
            container_id: spec.container_id,
            network,
            addresses: place.addresses,
        })
    }
}
