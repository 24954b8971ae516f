//! What the leader says of one network: who answers where. A full message replaces what the node
//! knew, a delta applies on top of one generation.
//!
//! **Invariant:** a delta for another generation changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use skep_types::service::Protocol;
use skep_types::session::Session;
use skep_types::{NetworkId, ServiceId, TaskId, Vni};

use crate::Mac;

/// Whether a task is to be given connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// Reached by its address only: not healthy yet.
    Starting,
    Serving,
    /// No new connections; those that stand go on.
    Draining,
}

/// A task's place on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEndpoint {
    /// None for a container outside the swarm.
    pub service: Option<ServiceId>,
    /// Names and aliases of this one task.
    pub names: Vec<String>,
    /// At most one of each family, IPv4 first; never none.
    pub addresses: Vec<IpAddr>,
    pub mac: Mac,
    /// Underlay address of its node.
    pub node: IpAddr,
    pub state: EndpointState,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    pub protocol: Protocol,
    /// Zero: not published.
    pub published: u16,
    pub target: u16,
    /// May be empty.
    pub name: String,
}

/// A service on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    pub name: String,
    pub aliases: Vec<String>,
    /// At most one of each family; none: its name is answered by its tasks' addresses.
    pub vips: Vec<IpAddr>,
    /// On the ingress network those that every node answers; on others all, and none published.
    pub ports: Vec<PublishedPort>,
    pub session: Session,
}

/// All that a node knows of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkState {
    pub id: NetworkId,
    pub name: String,
    pub vni: Vni,
    /// Each with its gateway's address and the prefix length.
    pub gateways: Vec<IpNet>,
    /// The network that published ports arrive by.
    pub ingress: bool,
    /// No way to the outside.
    pub internal: bool,
    /// The largest packet that was asked for, in bytes.
    pub mtu: Option<u32>,
    pub generation: u64,
    /// Underlay addresses of the nodes that published ports arrive through: of every node, on the
    /// ingress network; empty on others.
    pub nodes: BTreeSet<IpAddr>,
    pub endpoints: BTreeMap<TaskId, TaskEndpoint>,
    pub services: BTreeMap<ServiceId, ServiceEntry>,
}

/// A message of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkUpdate {
    Full(NetworkState),
    Delta(NetworkDelta),
    /// The node has nothing on the network any more.
    Gone(NetworkId),
}

impl NetworkUpdate {
    /// Which network it is about.
    pub fn network(&self) -> NetworkId {
        match self {
            Self::Full(state) => state.id,
            Self::Delta(delta) => delta.id,
            Self::Gone(id) => *id,
        }
    }
}

impl NetworkUpdate {
    /// The same without all that is IPv6, for a kernel that does not speak it.
    pub fn without_v6(self) -> Self {
        match self {
            Self::Full(mut state) => {
                state.gateways.retain(|gateway| gateway.addr().is_ipv4());
                only_v4(&mut state.endpoints, &mut state.services);
                Self::Full(state)
            }
            Self::Delta(mut delta) => {
                for answers in &mut delta.answers {
                    only_v4(&mut answers.endpoints, &mut answers.services);
                }
                Self::Delta(delta)
            }
            Self::Gone(id) => Self::Gone(id),
        }
    }

    /// Both as one, for who has heard of neither: `self`, and after it `later` of the same network.
    ///
    /// # Errors
    /// `later` does not follow.
    pub fn then(self, later: Self) -> Result<Self, StaleDelta> {
        match (self, later) {
            (Self::Full(mut state), Self::Delta(delta)) => {
                state.apply(delta)?;
                Ok(Self::Full(state))
            }
            (Self::Delta(mut first), Self::Delta(delta)) => {
                delta.follows(first.id, first.generation)?;
                first.generation = delta.generation;
                first.answers.extend(delta.answers);
                Ok(Self::Delta(first))
            }
            (Self::Gone(_), Self::Delta(delta)) => Err(delta.of_unknown()),
            (_, later @ (Self::Full(_) | Self::Gone(_))) => Ok(later),
        }
    }
}

fn only_v4(
    endpoints: &mut BTreeMap<TaskId, TaskEndpoint>,
    services: &mut BTreeMap<ServiceId, ServiceEntry>,
) {
    for endpoint in endpoints.values_mut() {
        endpoint.addresses.retain(IpAddr::is_ipv4);
    }
    for service in services.values_mut() {
        service.vips.retain(IpAddr::is_ipv4);
    }
}

impl NetworkDelta {
    /// It has come to who knows nothing of its network.
    pub fn of_unknown(&self) -> StaleDelta {
        StaleDelta { network: self.id, expected: None, got: self.applies_to }
    }

    fn follows(&self, network: NetworkId, generation: u64) -> Result<(), StaleDelta> {
        if self.applies_to == generation && self.id == network {
            return Ok(());
        }
        Err(StaleDelta { network, expected: Some(generation), got: self.applies_to })
    }
}

/// What changed from one generation to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkDelta {
    pub id: NetworkId,
    pub applies_to: u64,
    pub generation: u64,
    /// In order.
    pub answers: Vec<Answers>,
}

/// Who answers on a network, on top of what was known before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    pub nodes_added: BTreeSet<IpAddr>,
    pub nodes_removed: BTreeSet<IpAddr>,
    pub endpoints: BTreeMap<TaskId, TaskEndpoint>,
    pub services: BTreeMap<ServiceId, ServiceEntry>,
    pub endpoints_removed: BTreeSet<TaskId>,
    pub services_removed: BTreeSet<ServiceId>,
}

/// A delta that does not fit what is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stale delta of network {network}: expected one for {}, got one for generation {got}", generation(*expected))]
pub struct StaleDelta {
    pub network: NetworkId,
    /// None: the network is not known.
    pub expected: Option<u64>,
    pub got: u64,
}

fn generation(known: Option<u64>) -> String {
    known.map_or("none".to_owned(), |known| format!("generation {known}"))
}

/// The gateway of a subnet as the leader writes it: the address itself where it names a host
/// (`10.0.1.254/24`), else the subnet's first, as Docker chooses it.
pub fn gateway_of(subnet: IpNet) -> IpNet {
    if subnet.addr() != subnet.network() {
        return subnet;
    }
    match subnet {
        IpNet::V4(v4) => {
            let first = Ipv4Addr::from(u32::from(v4.network()).saturating_add(1));
            Ipv4Net::new(first, v4.prefix_len()).map_or(subnet, IpNet::V4)
        }
        IpNet::V6(v6) => {
            let first = Ipv6Addr::from(u128::from(v6.network()).saturating_add(1));
            Ipv6Net::new(first, v6.prefix_len()).map_or(subnet, IpNet::V6)
        }
    }
}

impl NetworkState {
    /// Applies a delta as a whole, or refuses it.
    pub fn apply(&mut self, delta: NetworkDelta) -> Result<(), StaleDelta> {
        delta.follows(self.id, self.generation)?;
        for answers in delta.answers {
            self.take_in(answers);
        }
        self.generation = delta.generation;
        Ok(())
    }

    /// Takes in who answers otherwise than was known.
    pub fn take_in(&mut self, answers: Answers) {
        for node in &answers.nodes_removed {
            self.nodes.remove(node);
        }
        self.nodes.extend(answers.nodes_added);
        for task in &answers.endpoints_removed {
            self.endpoints.remove(task);
        }
        self.endpoints.extend(answers.endpoints);
        for service in &answers.services_removed {
            self.services.remove(service);
        }
        self.services.extend(answers.services);
    }

    /// Addresses of a service's tasks in a state, in the order of task ids.
    pub fn addresses(&self, service: ServiceId, state: EndpointState) -> Vec<IpAddr> {
        self.endpoints
            .values()
            .filter(|endpoint| endpoint.service == Some(service) && endpoint.state == state)
            .flat_map(|endpoint| endpoint.addresses.iter().copied())
            .collect()
    }
}
