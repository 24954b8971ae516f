//! Nodes: the spec both ways, and the object with what the managers see of it.

use skep_types::{Annotations, Availability, Node, NodeRole, NodeSpec, NodeState};

use super::task_spec::resources_to_api;
use super::{Answer, timestamp, version};
use crate::error::ApiError;
use crate::json;

/// Whether a manager answers its peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reachability {
    #[default]
    Unknown,
    Unreachable,
    Reachable,
}

/// What the caller knows of a manager beside the replicated state: it changes too often to be replicated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ManagerView {
    pub leader: bool,
    pub reachability: Reachability,
}

/// Reads what an operator asks of a node. Errors: a role or availability that is none.
pub fn node_spec_from_api(spec: &json::NodeSpec) -> Answer<NodeSpec> {
    let role = match spec.role.as_str() {
        "worker" => NodeRole::Worker,
        "manager" => NodeRole::Manager,
        other => return Err(ApiError::invalid(format!("invalid Role: {other:?}"))),
    };
    let availability = match spec.availability.as_str() {
        "active" => Availability::Active,
        "pause" => Availability::Pause,
        "drain" => Availability::Drain,
        other => return Err(ApiError::invalid(format!("invalid Availability: {other:?}"))),
    };
    let annotations = Annotations { name: spec.name.clone(), labels: spec.labels.clone() };
    Ok(NodeSpec { annotations, role, availability })
}

/// Writes a node; `tls` is the trust root its certificate stands on, `manager` how it does where it is one.
pub fn node_to_api(node: &Node, tls: &json::TlsInfo, manager: Option<ManagerView>) -> json::Node {
    let availability = match node.spec.availability {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    };
    let state = match node.status.state {
        NodeState::Unknown => "unknown",
        NodeState::Down => "down",
        NodeState::Ready => "ready",
        NodeState::Disconnected => "disconnected",
    };
    let manager_status = node.manager.as_ref().map(|status| {
        let view = manager.unwrap_or_default();
        let reachability = match view.reachability {
            Reachability::Unknown => "unknown",
            Reachability::Unreachable => "unreachable",
            Reachability::Reachable => "reachable",
        };
        json::ManagerStatus {
            leader: view.leader,
            reachability: reachability.to_owned(),
            addr: status.addr.clone(),
        }
    });
    json::Node {
        id: node.id.to_string(),
        version: version(&node.meta),
        created_at: timestamp(node.meta.created_at),
        updated_at: timestamp(node.meta.updated_at),
        spec: json::NodeSpec {
            name: node.spec.annotations.name.clone(),
            labels: node.spec.annotations.labels.clone(),
            role: node.spec.role.to_string(),
            availability: availability.to_owned(),
        },
        description: description(node, tls),
        status: json::NodeStatus {
            state: state.to_owned(),
            message: node.status.message.clone(),
            addr: node.status.addr.clone(),
        },
        manager_status,
    }
}

fn description(node: &Node, tls: &json::TlsInfo) -> json::NodeDescription {
    let Some(description) = &node.description else { return json::NodeDescription::default() };
    let plugins = description
        .plugins
        .iter()
        .map(|(kind, name)| json::PluginDescription { kind: kind.clone(), name: name.clone() });
    json::NodeDescription {
        hostname: description.hostname.clone(),
        platform: json::NodePlatform {
            architecture: description.architecture.clone(),
            os: description.os.clone(),
        },
        resources: resources_to_api(&description.resources),
        engine: json::EngineDescription {
            engine_version: description.engine_version.clone(),
            labels: description.engine_labels.clone(),
            plugins: plugins.collect(),
        },
        tls_info: tls.clone(),
    }
}
