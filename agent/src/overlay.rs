//! What the leader tells of this node's networks, handed to the executor.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use prost::Message;
use skep_overlay_net::network::{Answers, NetworkDelta, PublishedPort, gateway_of};
use skep_overlay_net::{
    EndpointState, NetworkState, NetworkUpdate, ServiceEntry, TaskEndpoint, task_mac,
};
use skep_proto::v1 as pb;
use skep_types::service::Protocol;
use skep_types::session::Session;
use skep_types::{NetworkId, Vni};

/// A message of the leader's is not one.
#[derive(Debug, thiserror::Error)]
#[error("malformed word of network {network}: {what}")]
pub struct MalformedNetwork {
    network: String,
    what: &'static str,
}

impl MalformedNetwork {
    /// It comes in the middle of what is told of another.
    pub fn broken_off(network: NetworkId) -> Self {
        Self { network: network.to_string(), what: "it comes in the middle of another" }
    }
}

/// What a message says.
pub enum Told {
    Network(NetworkUpdate),
    /// Everything was told once.
    Settled,
}

/// What is confirmed when a message has reached the kernel: its generation of its network. None
/// where there is nothing to confirm, or not yet.
pub fn confirmable(message: &pb::EndpointsMessage) -> Option<(String, u64)> {
    let settled = message.kind() == pb::endpoints_message::Kind::Settled;
    (!settled && !message.goes_on).then(|| (message.network_id.clone(), message.generation))
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
        Kind::Delta => Ok(Told::Network(NetworkUpdate::Delta(NetworkDelta {
            id,
            applies_to: message.applies_to,
            generation: message.generation,
            answers: answers(&message).map_err(bad)?,
        }))),
        Kind::Settled | Kind::Full => {
            let state = state(id, message).map_err(bad)?;
            Ok(Told::Network(NetworkUpdate::Full(state)))
        }
    }
}

fn state(id: NetworkId, message: pb::EndpointsMessage) -> Result<NetworkState, &'static str> {
    let subnet = |text: &String| text.parse::<IpNet>().map(gateway_of);
    let gateways: Result<Vec<IpNet>, _> = message.subnets.iter().map(subnet).collect();
    let answers = answers(&message)?;
    let mut state = NetworkState {
        id,
        name: message.network_name,
        vni: Vni(message.vni),
        gateways: gateways.map_err(|_| "a subnet")?,
        ingress: message.ingress,
        internal: message.internal,
        mtu: Some(message.mtu).filter(|mtu| *mtu != 0),
        generation: message.generation,
        nodes: BTreeSet::new(),
        endpoints: BTreeMap::new(),
        services: BTreeMap::new(),
    };
    answers.into_iter().for_each(|answers| state.take_in(answers));
    Ok(state)
}

fn answers(message: &pb::EndpointsMessage) -> Result<Vec<Answers>, &'static str> {
    let decoded = |bytes| pb::NetworkAnswers::decode(bytes).map_err(|_| "who answers there");
    message.answers.iter().map(|bytes| read_answers(decoded(bytes.clone())?)).collect()
}

fn read_answers(answers: pb::NetworkAnswers) -> Result<Answers, &'static str> {
    let mut endpoints = BTreeMap::new();
    for it in answers.endpoints {
        let task = it.task_id.parse().map_err(|_| "a task's id")?;
        let service = match it.service_id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|_| "an endpoint's service")?),
        };
        let addresses = addresses(&it.ips).ok_or("an endpoint's address")?;
        let mac =
            addresses.first().copied().map(task_mac).ok_or("an endpoint without an address")?;
        let state = match it.state() {
            pb::network_endpoint::State::Unknown => EndpointState::Starting,
            pb::network_endpoint::State::Serving => EndpointState::Serving,
            pb::network_endpoint::State::Draining => EndpointState::Draining,
        };
        let node = self::address(&it.node_ip).ok_or("an endpoint's node")?;
        let names = it.names;
        endpoints.insert(task, TaskEndpoint { service, names, addresses, mac, node, state });
    }
    let mut services = BTreeMap::new();
    for it in answers.services {
        let id = it.service_id.parse().map_err(|_| "a service's id")?;
        let vips = addresses(&it.vips).ok_or("a service's address")?;
        let ports = it.ports.iter().filter(|port| !port.host_mode).map(port);
        let ports = ports.collect::<Option<_>>().ok_or("a service's port")?;
        let session = match it.session() {
            pb::network_service::Session::Any => Session::Any,
            pb::network_service::Session::ClientAddress => Session::ClientAddress,
        };
        let (name, aliases) = (it.name, it.aliases);
        services.insert(id, ServiceEntry { name, aliases, vips, ports, session });
    }
    let nodes = |nodes: &[Vec<u8>]| -> Result<BTreeSet<IpAddr>, _> {
        nodes.iter().map(|bytes| address(bytes)).collect::<Option<_>>().ok_or("a node's address")
    };
    let gone_tasks = answers.removed_task_ids.iter().map(|id| id.parse());
    let gone_services = answers.removed_service_ids.iter().map(|id| id.parse());
    Ok(Answers {
        nodes_added: nodes(&answers.nodes)?,
        nodes_removed: nodes(&answers.removed_nodes)?,
        endpoints,
        services,
        endpoints_removed: gone_tasks.collect::<Result<_, _>>().map_err(|_| "a task's id")?,
        services_removed: gone_services.collect::<Result<_, _>>().map_err(|_| "a service's id")?,
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
        name: port.name.clone(),
    })
}

fn addresses(all: &[Vec<u8>]) -> Option<Vec<IpAddr>> {
    all.iter().map(|bytes| address(bytes)).collect()
}

/// 4 or 16 bytes.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
