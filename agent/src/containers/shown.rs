//! The swarm's networks as inspect shows them, from what this node was told: on a worker that is all
//! there is to know.
//!
//! DEVIATION: there is no `lb-…` entry among the containers. Docker's stands for a namespace that
//! balances for the node's tasks; here each task's own namespace does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use skep_docker_api::json;
use skep_overlay_net::{NetworkState, TaskEndpoint, node_mac};
use skep_types::{AttachmentId, NetworkId, ServiceId, TaskId};

use super::{Networks, container_id};

/// What Go prints for an address that is none.
const NO_ADDRESS: &str = "<nil>";

/// Names a task's place on a network, on every node alike; 64 digits, as tools expect.
pub fn endpoint_id(task: TaskId, network: NetworkId) -> String {
    format!("{:032x}{:032x}", task.bits(), network.bits())
}

impl Networks {
    /// The networks that this node was told of.
    pub async fn known(&self) -> Vec<json::Network> {
        let Ok(manager) = self.manager().await else { return Vec::new() };
        let all = manager.told(|networks| networks.values().map(document).collect()).await;
        let all: Vec<json::Network> = all;
        all.into_iter().map(|shown| self.with_spec(shown)).collect()
    }

    /// A network that this node was told of, with who is on it; by its id or name.
    pub async fn inspect(&self, given: &str) -> Option<json::Network> {
        let manager = self.manager().await.ok()?;
        let here = self.underlay().await?;
        let look = |networks: &BTreeMap<NetworkId, NetworkState>| {
            let by_id = given.parse().ok().and_then(|id: NetworkId| networks.get(&id));
            let found = by_id.or_else(|| networks.values().find(|it| it.name == given))?;
            let ingress = networks.values().find(|it| it.ingress);
            let mut shown = document(found);
            shown.peers = peers(found, here);
            shown.services = services(found, ingress);
            Some((shown, containers(found, here, |id| self.attachments.container(id))))
        };
        let (mut shown, containers) = manager.told(look).await?;
        shown.containers = containers;
        Some(self.with_spec(shown))
    }

    /// With what only the network's own object says, where a container of this node is on it.
    fn with_spec(&self, shown: json::Network) -> json::Network {
        match shown.id.parse().ok().and_then(|id| self.attachments.network(id)) {
            Some(network) => json::Network {
                containers: shown.containers,
                peers: shown.peers,
                services: shown.services,
                ..skep_docker_api::convert::network_to_api(&network)
            },
            None => shown,
        }
    }
}

fn document(network: &NetworkState) -> json::Network {
    let config = network.gateways.iter().map(|gateway| json::IpamConfig {
        subnet: gateway.trunc().to_string(),
        gateway: gateway.addr().to_string(),
        ..json::IpamConfig::default()
    });
    json::Network {
        name: network.name.clone(),
        id: network.id.to_string(),
        scope: "swarm".to_owned(),
        driver: "overlay".to_owned(),
        enable_ipv4: true,
        enable_ipv6: network.gateways.iter().any(|it| it.addr().is_ipv6()),
        ipam: json::Ipam { driver: "default".to_owned(), options: None, config: config.collect() },
        internal: network.internal,
        ingress: network.ingress,
        ..json::Network::default()
    }
}

/// The nodes that have the network, each by what frames from it are told by.
fn peers(network: &NetworkState, here: IpAddr) -> Vec<json::PeerInfo> {
    let nodes = network.endpoints.values().map(|it| it.node);
    let nodes: BTreeSet<IpAddr> =
        nodes.chain(network.nodes.iter().copied()).chain([here]).collect();
    let peer = |ip: IpAddr| json::PeerInfo {
        name: node_mac(ip).to_string().replace(':', ""),
        ip: ip.to_string(),
    };
    nodes.into_iter().map(peer).collect()
}

/// Every service with its tasks; what belongs to none stands under an empty name, as in Docker.
fn services(
    network: &NetworkState,
    ingress: Option<&NetworkState>,
) -> BTreeMap<String, json::ServiceInfo> {
    let mut by_service: BTreeMap<Option<ServiceId>, Vec<json::ServiceTask>> = BTreeMap::new();
    for (id, endpoint) in &network.endpoints {
        let task = json::ServiceTask {
            name: endpoint.names.first().cloned().unwrap_or_default(),
            endpoint_id: endpoint_id(*id, network.id),
            endpoint_ip: endpoint.addresses.first().map(ToString::to_string).unwrap_or_default(),
            info: [("Host IP".to_owned(), endpoint.node.to_string())].into(),
        };
        by_service.entry(endpoint.service).or_default().push(task);
    }
    let info = |(id, tasks): (Option<ServiceId>, Vec<json::ServiceTask>)| {
        let service = id.and_then(|id| network.services.get(&id));
        let published = id.and_then(|id| ingress?.services.get(&id));
        let port = |port: &skep_overlay_net::network::PublishedPort| {
            format!("Target: {}, Publish: {}", port.target, port.published)
        };
        let vip = service.and_then(|it| it.vips.first());
        let info = json::ServiceInfo {
            vip: vip.map_or_else(|| NO_ADDRESS.to_owned(), ToString::to_string),
            ports: published.iter().flat_map(|it| &it.ports).map(port).collect(),
            // There is no load balancer of the node's that would have a number.
            local_lb_index: 0,
            tasks,
        };
        (service.map(|it| it.name.clone()).unwrap_or_default(), info)
    };
    by_service.into_iter().map(info).collect()
}

/// Those on this node.
fn containers(
    network: &NetworkState,
    here: IpAddr,
    attached: impl Fn(AttachmentId) -> Option<String>,
) -> BTreeMap<String, serde_json::Value> {
    let on_this = network.endpoints.iter().filter(|(_, it)| it.node == here);
    let one = |(id, endpoint): (&TaskId, &TaskEndpoint)| {
        let container = match endpoint.service {
            Some(_) => container_id(*id),
            None => attached(AttachmentId::of_task(*id))?,
        };
        let net = |v4: bool| {
            let address = endpoint.addresses.iter().find(|it| it.is_ipv4() == v4);
            let within = |address: &IpAddr| {
                network.gateways.iter().find(|it| it.contains(address)).map(IpNet::prefix_len)
            };
            let net = address.and_then(|it| IpNet::new(*it, within(it)?).ok());
            net.map(|it| it.to_string()).unwrap_or_default()
        };
        let shown = serde_json::json!({
            "Name": endpoint.names.first().cloned().unwrap_or_default(),
            "EndpointID": endpoint_id(*id, network.id),
            "MacAddress": endpoint.mac.to_string(),
            "IPv4Address": net(true),
            "IPv6Address": net(false),
        });
        Some((container, shown))
    };
    on_this.filter_map(one).collect()
}
