//! What the leader tells of this node's networks, handed to the executor.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use skep_overlay_net::network::{PublishedPort, gateway_of};
use skep_overlay_net::{
    EndpointState, NetworkState, NetworkUpdate, ServiceEntry, TaskEndpoint, task_mac,
};
use skep_proto::v1 as pb;
use skep_types::service::Protocol;
use skep_types::{NetworkId, Vni};

/// A message of the leader's is not one.
#[derive(Debug, thiserror::Error)]
#[error("malformed word of network {network}: {what}")]
pub struct MalformedNetwork {
    network: String,
    what: &'static str,
}

/// What a message says.
pub enum Told {
    Network(NetworkUpdate),
    /// Everything was told once.
    Settled,
}

/// What is confirmed when a message has reached the kernel: its generation of its network. None
/// where there is nothing to confirm.
pub fn confirmable(message: &pb::EndpointsMessage) -> Option<(String, u64)> {
    let settled = message.kind() == pb::endpoints_message::Kind::Settled;
    (!settled).then(|| (message.network_id.clone(), message.generation))
}

/// Reads a message.
///
/// # Errors
/// What is malformed in it.
pub fn read(message: pb::EndpointsMessage) -> Result<Told, MalformedNetwork> {
    use pb::endpoints_message::Kind;
    let network = message.network_id.clone();
    let bad = |what| MalformedNetwork { network: network.clone(), what };
    let kind = message.kind();
    if kind == Kind::Settled {
        return Ok(Told::Settled);
    }
    let id: NetworkId = message.network_id.parse().map_err(|_| bad("its id"))?;
    match kind {
        Kind::Gone => Ok(Told::Network(NetworkUpdate::Gone(id))),
        Kind::Delta => Err(bad("a difference, which is not asked for")),
        Kind::Settled | Kind::Full => {
            let state = state(id, message).map_err(bad)?;
            Ok(Told::Network(NetworkUpdate::Full(state)))
        }
    }
}

fn state(id: NetworkId, message: pb::EndpointsMessage) -> Result<NetworkState, &'static str> {
    let mut endpoints = BTreeMap::new();
    for it in &message.endpoints {
        let task = it.task_id.parse().map_err(|_| "a task's id")?;
        let service = match it.service_id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|_| "an endpoint's service")?),
        };
        let address = address(&it.ip).ok_or("an endpoint's address")?;
        let state = match it.state() {
            pb::network_endpoint::State::Unknown => EndpointState::Starting,
            pb::network_endpoint::State::Serving => EndpointState::Serving,
            pb::network_endpoint::State::Draining => EndpointState::Draining,
        };
        let names = it.names.clone();
        let node = self::address(&it.node_ip).ok_or("an endpoint's node")?;
        let mac = task_mac(address);
        endpoints.insert(task, TaskEndpoint { service, names, address, mac, node, state });
    }
    let mut services = BTreeMap::new();
    for it in message.services {
        let id = it.service_id.parse().map_err(|_| "a service's id")?;
        let vip = match it.vip.as_slice() {
            [] => None,
            bytes => Some(address(bytes).ok_or("a service's address")?),
        };
        let ports = it.ports.iter().filter(|port| !port.host_mode).map(port);
        let ports = ports.collect::<Option<_>>().ok_or("a service's port")?;
        services.insert(id, ServiceEntry { name: it.name, aliases: it.aliases, vip, ports });
    }
    let subnet = |text: &String| text.parse::<IpNet>().map(gateway_of);
    let gateways: Result<Vec<IpNet>, _> = message.subnets.iter().map(subnet).collect();
    let nodes = message.nodes.iter().map(|bytes| address(bytes));
    Ok(NetworkState {
        id,
        name: message.network_name,
        vni: Vni(message.vni),
        gateways: gateways.map_err(|_| "a subnet")?,
        ingress: message.ingress,
        internal: message.internal,
        generation: message.generation,
        nodes: nodes.collect::<Option<_>>().ok_or("a node's address")?,
        endpoints,
        services,
    })
}

fn port(port: &pb::network_service::Port) -> Option<PublishedPort> {
    use pb::network_service::port::Protocol as Wire;
    Some(PublishedPort {
        protocol: match port.protocol() {
            Wire::Tcp => Protocol::Tcp,
            Wire::Udp => Protocol::Udp,
            Wire::Sctp => Protocol::Sctp,
        },
        published: u16::try_from(port.published_port).ok()?,
        target: u16::try_from(port.target_port).ok()?,
    })
}

/// 4 or 16 bytes.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
