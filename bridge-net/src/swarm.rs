//! Networks of the swarm, as containers that are started by hand come onto them: who lets them, and
//! what is known here of their places there.
//!
//! What is the swarm's is done by whoever implements [`SwarmNetworks`]; the namespace, its names and
//! its record stay here.

use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use skep_docker_api::ApiError;
use skep_docker_api::json::EndpointSettings;
use skep_overlay_net::task_mac;
use skep_types::NetworkId;

use crate::endpoint::{Endpoint, Record, asked, free_interface, names};
use crate::sandbox::SandboxRequest;

/// What a container asks of the swarm.
#[derive(Debug, Clone)]
pub struct SwarmWish {
    pub container: String,
    /// A network's id or name.
    pub network: String,
    pub names: Vec<String>,
    /// Those that the user chose.
    pub addresses: Vec<IpAddr>,
}

/// What the swarm gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmPlace {
    pub network: NetworkId,
    pub network_name: String,
    pub addresses: Vec<IpNet>,
    pub internal: bool,
    /// 64 hexadecimal digits.
    pub endpoint_id: String,
}

/// A container with all its places on networks of the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmContainer {
    pub container: String,
    pub namespace: PathBuf,
    pub places: Vec<SwarmPlaceAt>,
    /// The name of an interface towards the host; None where the container has another way out, or
    /// is to have none.
    pub outside: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmPlaceAt {
    pub network: NetworkId,
    pub names: Vec<String>,
    pub addresses: Vec<IpNet>,
    /// In the container.
    pub interface: String,
}

/// See the module.
#[async_trait]
pub trait SwarmNetworks: Send + Sync {
    /// Whether this host is in a swarm.
    fn is_there(&self) -> bool;

    /// Has a container let onto a network, in Docker's words where it is not. None where this host is
    /// in no swarm. To ask again for the same is no second place.
    async fn attach(&self, wish: SwarmWish) -> Option<Result<SwarmPlace, ApiError>>;

    /// A container is off a network; the swarm hears of it now, or as soon as it can be told.
    async fn detach(&self, container: &str, network: NetworkId);

    /// Makes a container be in these places and no others. Gives its addresses towards the host, none
    /// where it has no interface there; None while they are as they were.
    async fn join(&self, container: SwarmContainer) -> Result<Option<Vec<IpAddr>>, ApiError>;

    /// The same of one that ran when the daemon was started: nothing is to be changed for it now.
    async fn remember(&self, container: SwarmContainer);

    /// A container's namespace is about to go.
    async fn part(&self, container: &str) -> Result<(), ApiError>;
}

/// A container's place on a network of the swarm, as its record has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SwarmEndpoint {
    pub endpoint: Endpoint,
    pub network_name: String,
    pub internal: bool,
}

impl SwarmEndpoint {
    pub fn network(&self) -> Option<NetworkId> {
        self.endpoint.network.parse().ok()
    }

    /// By its network's name or id.
    pub fn is_on(&self, given: &str) -> bool {
        self.network_name == given || self.endpoint.network == given
    }

    /// As inspect shows it: the address that was given stands where one is asked for, as in Docker.
    pub fn show(&self) -> EndpointSettings {
        let mut shown = self.endpoint.show();
        let mut ipam = shown.ipam_config.take().unwrap_or_default();
        let text = |net: Option<IpNet>| net.map(|it| it.addr().to_string()).unwrap_or_default();
        ipam.ipv4_address = text(self.endpoint.v4());
        ipam.ipv6_address = text(self.endpoint.v6());
        shown.ipam_config = Some(ipam);
        shown
    }
}

/// What is asked of the swarm for a container.
pub fn wish(
    request: &SandboxRequest,
    network: &str,
    settings: &EndpointSettings,
) -> Result<SwarmWish, ApiError> {
    let mut addresses = Vec::new();
    for v4 in [true, false] {
        addresses.extend(asked(settings, v4)?);
    }
    Ok(SwarmWish {
        container: request.container.clone(),
        network: network.to_owned(),
        names: names(request, settings),
        addresses,
    })
}

/// The endpoint of what the swarm gave.
pub fn endpoint(record: &Record, place: SwarmPlace, settings: &EndpointSettings) -> SwarmEndpoint {
    let leading = place.addresses.iter().find(|it| it.addr().is_ipv4());
    let leading = leading.or(place.addresses.first()).map_or([0, 0, 0, 0].into(), IpNet::addr);
    let endpoint = Endpoint {
        id: place.endpoint_id,
        network: place.network.to_string(),
        interface: free_interface(record, "eth"),
        mac: task_mac(leading).0,
        addresses: place.addresses,
        link_local: Vec::new(),
        sysctls: Vec::new(),
        gateways: Vec::new(),
        wished: settings.clone(),
        names: names(&record.request, settings),
    };
    let (network_name, internal) = (place.network_name, place.internal);
    SwarmEndpoint { endpoint, network_name, internal }
}

/// A container as the swarm is to have it; None where it has never been on a network of the swarm.
pub fn container(record: &Record, namespace: PathBuf) -> Option<SwarmContainer> {
    let joined = record.swarm.as_ref()?;
    let places = joined.endpoints.iter().filter_map(|it| {
        Some(SwarmPlaceAt {
            network: it.network()?,
            names: it.endpoint.names.clone(),
            addresses: it.endpoint.addresses.clone(),
            interface: it.endpoint.interface.clone(),
        })
    });
    Some(SwarmContainer {
        container: record.request.container.clone(),
        namespace,
        places: places.collect(),
        outside: joined.outside.clone(),
    })
}

/// What of a record is the swarm's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    pub endpoints: Vec<SwarmEndpoint>,
    /// The interface towards the host.
    pub outside: Option<String>,
    /// Its addresses there: at most one of each family.
    #[serde(default)]
    pub outside_addresses: Vec<IpAddr>,
}
