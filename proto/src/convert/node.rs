//! What is asked of a node, what it says of itself, and what was seen of it.

use skep_types::node::{ManagerStatus, NodeDescription, NodeStatus};
use skep_types::{Availability, Node, NodeId, NodeRole, NodeSpec, NodeState, Timestamp};

use super::error::ConvertError;
use super::field::{CompactId, WireEnum, enumeration, optional, or_default, part, wire_enum};
use crate::{state, swarmkit};

wire_enum!(NodeRole = swarmkit::NodeRole { Worker = Worker, Manager = Manager });
wire_enum!(Availability = swarmkit::node_spec::Availability {
    Active = Active, Pause = Pause, Drain = Drain,
});
wire_enum!(NodeState = swarmkit::node_status::State {
    Unknown = Unknown, Down = Down, Ready = Ready, Disconnected = Disconnected,
});

impl From<&NodeSpec> for swarmkit::NodeSpec {
    fn from(spec: &NodeSpec) -> Self {
        Self {
            annotations: Some((&spec.annotations).into()),
            desired_role: spec.role.number(),
            // A node that stands in the state has shown a join token: it is accepted.
            membership: swarmkit::node_spec::Membership::Accepted as i32,
            availability: spec.availability.number(),
        }
    }
}

impl TryFrom<swarmkit::NodeSpec> for NodeSpec {
    type Error = ConvertError;

    fn try_from(message: swarmkit::NodeSpec) -> Result<Self, ConvertError> {
        Ok(Self {
            annotations: or_default(message.annotations, "annotations")?,
            role: enumeration(message.desired_role, "desired_role")?,
            availability: enumeration(message.availability, "availability")?,
        })
    }
}

impl From<&NodeDescription> for swarmkit::NodeDescription {
    fn from(description: &NodeDescription) -> Self {
        let plugins = description.plugins.iter().map(|(kind, name)| swarmkit::PluginDescription {
            r#type: kind.clone(),
            name: name.clone(),
        });
        Self {
            hostname: description.hostname.clone(),
            platform: Some(swarmkit::Platform {
                architecture: description.architecture.clone(),
                os: description.os.clone(),
            }),
            resources: Some((&description.resources).into()),
            engine: Some(swarmkit::EngineDescription {
                engine_version: description.engine_version.clone(),
                labels: description.engine_labels.clone(),
                plugins: plugins.collect(),
            }),
            tls_info: None,
            fips: false,
            csi_info: Vec::new(),
        }
    }
}

impl TryFrom<swarmkit::NodeDescription> for NodeDescription {
    type Error = ConvertError;

    /// What a dockerd says of its TLS, FIPS and volume drivers has no use here, and is dropped.
    fn try_from(message: swarmkit::NodeDescription) -> Result<Self, ConvertError> {
        let platform = message.platform.unwrap_or_default();
        let engine = message.engine.unwrap_or_default();
        Ok(Self {
            hostname: message.hostname,
            os: platform.os,
            architecture: platform.architecture,
            engine_version: engine.engine_version,
            engine_labels: engine.labels,
            plugins: engine.plugins.into_iter().map(|p| (p.r#type, p.name)).collect(),
            resources: or_default(message.resources, "resources")?,
        })
    }
}

impl From<&NodeStatus> for swarmkit::NodeStatus {
    fn from(status: &NodeStatus) -> Self {
        Self {
            state: status.state.number(),
            message: status.message.clone(),
            addr: status.addr.clone(),
        }
    }
}

impl TryFrom<swarmkit::NodeStatus> for NodeStatus {
    type Error = ConvertError;

    /// The wire has no place for since when; the log has it beside the status.
    fn try_from(message: swarmkit::NodeStatus) -> Result<Self, ConvertError> {
        Ok(Self {
            state: enumeration(message.state, "state")?,
            message: message.message,
            addr: message.addr,
            since: Timestamp::default(),
        })
    }
}

impl From<&ManagerStatus> for state::ManagerStatus {
    fn from(status: &ManagerStatus) -> Self {
        Self { raft_id: status.raft_id, addr: status.addr.clone() }
    }
}

impl TryFrom<state::ManagerStatus> for ManagerStatus {
    type Error = ConvertError;

    fn try_from(message: state::ManagerStatus) -> Result<Self, ConvertError> {
        Ok(Self { raft_id: message.raft_id, addr: message.addr })
    }
}

impl From<&Node> for state::Node {
    fn from(node: &Node) -> Self {
        Self {
            id: node.id.to_bytes(),
            meta: Some((&node.meta).into()),
            spec: Some((&node.spec).into()),
            description: node.description.as_ref().map(Into::into),
            status: Some((&node.status).into()),
            status_since_ns: node.status.since.0,
            manager: node.manager.as_ref().map(Into::into),
            certificate: node.certificate.clone(),
        }
    }
}

impl TryFrom<state::Node> for Node {
    type Error = ConvertError;

    fn try_from(message: state::Node) -> Result<Self, ConvertError> {
        let mut status: NodeStatus = part(message.status, "status")?;
        status.since = Timestamp(message.status_since_ns);
        Ok(Self {
            id: NodeId::from_bytes(&message.id, "id")?,
            meta: part(message.meta, "meta")?,
            spec: part(message.spec, "spec")?,
            description: optional(message.description, "description")?,
            status,
            manager: optional(message.manager, "manager")?,
            certificate: message.certificate,
        })
    }
}
