//! Nodes: what an operator asks of a host (spec), what it says of itself (description), and what
//! the managers have seen of it (status).

use std::collections::BTreeMap;

use crate::{Annotations, Meta, NodeId, Resources, Timestamp};

/// What a node may do in the swarm; the certificate carries it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeRole {
    #[default]
    Worker,
    Manager,
}

impl std::fmt::Display for NodeRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        })
    }
}

/// Whether the scheduler may use a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Availability {
    /// Tasks come and stay.
    #[default]
    Active,
    /// No new tasks; those there stay.
    Pause,
    /// No new tasks; those there are moved.
    Drain,
}

/// What the managers know of a node's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeState {
    /// Not heard of since this leader took over.
    #[default]
    Unknown,
    /// Missed its heartbeats.
    Down,
    /// In session with the dispatcher.
    Ready,
    /// Left, or its session was refused.
    Disconnected,
}

/// What an operator asks of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSpec {
    /// The name is unused by the swarm (the host name stands in the description).
    pub annotations: Annotations,
    pub role: NodeRole,
    pub availability: Availability,
}

/// The machine as the node's agent describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeDescription {
    pub hostname: String,
    pub os: String,
    pub architecture: String,
    pub engine_version: String,
    pub engine_labels: BTreeMap<String, String>,
    /// (type, name) of each plugin, as Docker lists them: ("Network", "overlay").
    pub plugins: Vec<(String, String)>,
    pub resources: Resources,
}

/// What the managers have seen of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    pub state: NodeState,
    pub message: String,
    /// The address it is reached at by other nodes, without a port.
    pub addr: String,
    /// When `state` last changed.
    pub since: Timestamp,
}

/// A manager's part in the Raft group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerStatus {
    pub raft_id: u64,
    /// host:port of its gRPC endpoint.
    pub addr: String,
}

/// A host of the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub meta: Meta,
    pub spec: NodeSpec,
    pub description: Option<NodeDescription>,
    pub status: NodeStatus,
    /// Present while the node is a member of the Raft group.
    pub manager: Option<ManagerStatus>,
    /// PEM of the certificate issued last; empty while none has been.
    pub certificate: Vec<u8>,
}

impl Node {
    /// A node of which nothing has been heard yet.
    pub fn new(id: NodeId, spec: NodeSpec) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec,
            description: None,
            status: NodeStatus::default(),
            manager: None,
            certificate: Vec::new(),
        }
    }
}
