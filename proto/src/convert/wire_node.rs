//! A node as its own session shows it: what it is to be, and the certificate it was given.

use skep_types::{Node, NodeRole};

use super::field::WireEnum;
use crate::swarmkit;
use crate::swarmkit::issuance_status;

/// `data_path_port` is the swarm's UDP port for VXLAN.
pub fn wire_node(node: &Node, data_path_port: u16) -> swarmkit::Node {
    // SwarmKit's role is the one a certificate may be had for: a manager's from the promotion on,
    // and after a demotion until the node is out of the Raft group.
    let role = match node.spec.role {
        NodeRole::Worker if node.manager.is_none() => NodeRole::Worker,
        _ => NodeRole::Manager,
    };
    let certificate = (!node.certificate.is_empty()).then(|| swarmkit::Certificate {
        role: role.number(),
        csr: Vec::new(),
        status: Some(swarmkit::IssuanceStatus {
            state: issuance_status::State::Issued as i32,
            err: String::new(),
        }),
        certificate: node.certificate.clone(),
        cn: node.id.to_string(),
    });
    swarmkit::Node {
        id: node.id.to_string(),
        meta: Some((&node.meta).into()),
        spec: Some((&node.spec).into()),
        description: node.description.as_ref().map(Into::into),
        status: Some((&node.status).into()),
        // Who leads is told by the list of managers.
        manager_status: node.manager.as_ref().map(|manager| swarmkit::ManagerStatus {
            raft_id: manager.raft_id,
            addr: manager.addr.clone(),
            ..swarmkit::ManagerStatus::default()
        }),
        attachment: None,
        certificate,
        role: role.number(),
        // Routed veths take the place of a node's own address on each network.
        attachments: Vec::new(),
        vxlanudp_port: u32::from(data_path_port),
    }
}
