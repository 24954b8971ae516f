//! What is balanced over tasks: the virtual addresses of a network and the published ports.

use std::net::IpAddr;

use skep_types::service::Protocol;

use crate::network::{EndpointState, NetworkState};

/// Where connections are made to before they are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Vip(IpAddr),
    /// A port that this node answers.
    Port(Protocol, u16),
}

/// A target with the tasks behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balanced {
    pub target: Target,
    /// The tasks' own port, where the target is a port.
    pub target_port: Option<u16>,
    /// New connections go to one of these.
    pub serving: Vec<IpAddr>,
    /// Connections that stand may go on.
    pub draining: Vec<IpAddr>,
}

/// The virtual addresses of a network's services.
pub fn vips(network: &NetworkState) -> Vec<Balanced> {
    let mut vips: Vec<Balanced> = network
        .services
        .iter()
        .flat_map(|(id, service)| {
            let serving = network.addresses(*id, EndpointState::Serving);
            let draining = network.addresses(*id, EndpointState::Draining);
            service.vips.iter().map(move |vip| Balanced {
                target: Target::Vip(*vip),
                target_port: None,
                serving: of_family(*vip, &serving),
                draining: of_family(*vip, &draining),
            })
        })
        .collect();
    vips.sort_by_key(|vip| vip.target);
    vips
}

/// The published ports of the services on the ingress network. IPv4 alone: the routing mesh does
/// not translate IPv6.
pub fn published(ingress: &NetworkState) -> Vec<Balanced> {
    let any_v4 = IpAddr::from([0, 0, 0, 0]);
    let mut ports: Vec<Balanced> = Vec::new();
    for (id, service) in &ingress.services {
        for port in service.ports.iter().filter(|port| port.published != 0) {
            ports.push(Balanced {
                target: Target::Port(port.protocol, port.published),
                target_port: Some(port.target),
                serving: of_family(any_v4, &ingress.addresses(*id, EndpointState::Serving)),
                draining: of_family(any_v4, &ingress.addresses(*id, EndpointState::Draining)),
            });
        }
    }
    ports.sort_by_key(|port| port.target);
    ports
}

fn of_family(like: IpAddr, addresses: &[IpAddr]) -> Vec<IpAddr> {
    addresses.iter().copied().filter(|address| address.is_ipv4() == like.is_ipv4()).collect()
}
