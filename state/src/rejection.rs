//! Why a transaction was not taken. The wording reaches users; where Docker has one, it is Docker's.

use std::net::IpAddr;

use skep_types::{Revision, TaskState};

/// A transaction was rejected, and by which of its actions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    /// Place in the transaction's list; `None` where the transaction as a whole is refused.
    pub action: Option<usize>,
    pub reason: Reason,
}

/// What a transaction broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("leadership changed: transaction of epoch {got}, current is {current}")]
    StaleEpoch { got: u64, current: u64 },
    #[error("{kind} {id} not found")]
    NotFound { kind: &'static str, id: String },
    #[error("{kind} id {id} is taken")]
    IdTaken { kind: &'static str, id: String },
    #[error("{}{kind} {name} already exists", conflict(.kind))]
    NameTaken { kind: &'static str, name: String },
    #[error(
        "update out of sequence: {kind} {id} is at version {got}, the change was made from {expected}"
    )]
    OutOfSequence { kind: &'static str, id: String, expected: Revision, got: Revision },
    #[error("{kind} '{name}' is in use by {user}")]
    InUse { kind: &'static str, name: String, user: String },
    #[error("port '{port}' is already in use by service '{owner}' ({id}) as an ingress port")]
    PortTaken { port: u16, owner: String, id: String },
    #[error("address {address} is already in use on network {network}")]
    AddressTaken { network: String, address: IpAddr },
    #[error("address {address} is in no subnet of network {network}")]
    AddressOutside { network: String, address: IpAddr },
    /// Docker's words.
    #[error("network {0} not manually attachable")]
    NotAttachable(String),
    #[error("container {container} is on network {network} already")]
    Attached { container: String, network: String },
    #[error("attachment of container {0} has no address, or two of one family")]
    Addresses(String),
    #[error(
        "the swarm is of feature level {current}, and this needs {needed}: upgrade all managers"
    )]
    FeatureLevel { needed: u32, current: u32 },
    #[error("VXLAN id {vni} is already in use by network {owner}")]
    VniTaken { vni: u32, owner: String },
    #[error("VXLAN id {0} is out of range: expected 1 to 16777215")]
    VniRange(u32),
    #[error("subnet {subnet} overlaps with network {owner}")]
    SubnetTaken { subnet: String, owner: String },
    #[error("task {id} cannot go from {from} back to {to}")]
    Backwards { id: String, from: &'static str, to: &'static str },
    #[error("{kind} {id} cannot change its {what}")]
    Fixed { kind: &'static str, id: String, what: &'static str },
    #[error("generic resource {resource} is already in use by task {owner}")]
    ResourceTaken { resource: String, owner: String },
    #[error("slot of service {service} has {live} live tasks already")]
    SlotFull { service: String, live: usize },
    #[error("service {service} has no spec of version {version}")]
    NoSuchSpec { service: String, version: Revision },
    #[error("attempting to demote the last manager of the swarm")]
    LastManager,
    #[error("the swarm exists already")]
    SecondCluster,
    #[error("the swarm itself cannot be removed")]
    ClusterRemoval,
    #[error("raft id {raft_id} belongs to node {owner}")]
    RaftIdTaken { raft_id: u64, owner: String },
    #[error(transparent)]
    Invalid(#[from] skep_types::validate::Invalid),
}

/// Docker says more of services' names, for tools that look for these words.
fn conflict(kind: &str) -> &'static str {
    if kind == "service" { "name conflicts with an existing object: " } else { "" }
}

impl Reason {
    pub(crate) fn backwards(id: impl ToString, from: TaskState, to: TaskState) -> Self {
        Self::Backwards { id: id.to_string(), from: from.name(), to: to.name() }
    }
}
