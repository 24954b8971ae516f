//! What the node is to have: the networks it was told of and the tasks it runs.
//!
//! **Invariant:** outside addresses are unique on the node, and a task that is added again keeps
//! its own. Of host ports, `host_port.rs` keeps the numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use skep_types::service::{PortConfig, Protocol, PublishMode};
use skep_types::{NetworkAttachment, NetworkId, TaskId};

use crate::host_port::HostPort;
use crate::network::NetworkState;
use crate::observed::{Interface, Outside, Tunnel};
use crate::task_mac;

/// What VXLAN adds to each packet: outer Ethernet, IP, UDP and VXLAN headers (RFC 7348).
const OVERHEAD_V4_BYTES: u32 = 50;
const OVERHEAD_V6_BYTES: u32 = 70;

/// What is this node's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Where other nodes send overlay traffic (`--data-path-addr`).
    pub underlay: IpAddr,
    /// `--data-path-port`; IANA's for VXLAN is 4789.
    pub vxlan_port: u16,
    pub underlay_mtu: u32,
    /// Whether its kernel speaks IPv6. Without it networks of both families have IPv4 alone here.
    pub ipv6: bool,
    /// Whether its kernel follows connections of SCTP. Without it ports of SCTP are not published here.
    pub sctp: bool,
    /// Tasks' addresses towards the host are cut from this; the first is the host's own.
    pub outside_pool: Ipv4Net,
    /// Other source addresses that mean something else on every node, such as a local bridge's:
    /// published ports do not keep them.
    pub repeated_sources: Vec<Ipv4Net>,
}

impl NodeConfig {
    /// The largest packet of a network: what fits a tunnel, or less where less was asked for.
    pub fn mtu(&self, network: &NetworkState) -> u32 {
        let overhead = if self.underlay.is_ipv4() { OVERHEAD_V4_BYTES } else { OVERHEAD_V6_BYTES };
        let fits = self.underlay_mtu.saturating_sub(overhead);
        network.mtu.map_or(fits, |asked| asked.min(fits))
    }

    /// The host's address towards its tasks.
    pub fn outside_gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.outside_pool.network()) + 1)
    }

    /// What the host is called where clients' own addresses would mean somebody else to tasks. A swarm of
    /// one node may stand on the loopback, whose addresses no other namespace can answer: there it is the
    /// host's address towards its tasks.
    pub fn face(&self) -> IpAddr {
        if self.underlay.is_loopback() { self.outside_gateway().into() } else { self.underlay }
    }

    pub fn tunnel(&self, network: &NetworkState) -> Tunnel {
        Tunnel {
            vni: network.vni,
            local: self.underlay,
            udp_port: self.vxlan_port,
            mtu: self.mtu(network),
        }
    }
}

/// What a task asks of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskNet {
    pub task: TaskId,
    /// In the order of its interfaces: the first is `eth0`.
    pub networks: Vec<NetworkAttachment>,
    /// Those published in host mode are answered by this node for this task. One without a number
    /// is given one before the task is added.
    pub ports: Vec<PortConfig>,
    /// Name servers that the user chose for it instead of the host's (`--dns`).
    pub nameservers: Vec<IpAddr>,
}

impl TaskNet {
    /// The same without all that is IPv6, for a kernel that does not speak it.
    pub fn without_v6(mut self) -> Self {
        for attachment in &mut self.networks {
            attachment.addresses.retain(|address| address.addr().is_ipv4());
        }
        self
    }
}

/// A namespace that somebody else made and takes away, who plugs what else is in it: a container's
/// that was started by hand. Names are its owner's to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    pub namespace: PathBuf,
    /// Names of the interfaces, one for each network, in their order.
    pub interfaces: Vec<String>,
    /// The name of an interface towards the host; None where there is another way out.
    pub outside: Option<String>,
}

/// A task with what the node allotted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredTask {
    pub networks: Vec<NetworkAttachment>,
    /// Each with its number.
    pub host_ports: Vec<PortConfig>,
    /// None: it has no way to the outside.
    pub outside: Option<Ipv4Addr>,
    pub nameservers: Vec<IpAddr>,
    /// The port of its resolver, once that listens.
    pub resolver: Option<u16>,
    /// None: its namespace is its own, with interfaces `eth0` and on.
    pub lent: Option<Lent>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Knowledge {
    /// What is not listed is not wanted.
    #[default]
    Complete,
    /// The leader has not said everything yet: what is not known is left as it stands.
    Partial,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub node: NodeConfig,
    pub networks: BTreeMap<NetworkId, NetworkState>,
    pub tasks: BTreeMap<TaskId, DesiredTask>,
    /// Host ports whose numbers were chosen on this node, and for whom.
    pub chosen: BTreeMap<HostPort, TaskId>,
    pub knowledge: Knowledge,
}

/// A task's wishes that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskNetError {
    #[error("network {0} is not known on this node")]
    UnknownNetwork(NetworkId),
    #[error("task {0} is attached to network {1} twice")]
    AttachedTwice(TaskId, NetworkId),
    #[error("task {0} has no address on network {1}")]
    NoAddress(TaskId, NetworkId),
    #[error("container {0} has another number of interfaces than of networks")]
    Unnamed(TaskId),
    #[error("no address towards the host is free in {0}")]
    OutsideExhausted(Ipv4Net),
    #[error(
        "port {0}/sctp cannot be published on this node: its kernel does not follow connections of \
         SCTP (CONFIG_NF_CT_PROTO_SCTP)"
    )]
    NoSctp(u16),
    #[error("no number was chosen for the host port of task {0}'s port {1}")]
    Unnumbered(TaskId, u16),
    /// The first words are Docker's.
    #[error(
        "Bind for 0.0.0.0:{number} failed: port is already allocated: this node chose {number}/{} \
         for task {other}, whose service publishes a port in host mode without a number",
        protocol.word()
    )]
    PortTaken { protocol: Protocol, number: u16, other: TaskId },
    /// The first words are Docker's.
    #[error(
        "all ports are allocated: none from {first} to {last} is free for the service's port \
         {target}/{} in host mode: give it a number, free some, or widen \
         net.ipv4.ip_local_port_range on this node",
        protocol.word()
    )]
    PortsExhausted { protocol: Protocol, target: u16, first: u16, last: u16 },
}

impl Desired {
    pub fn new(node: NodeConfig) -> Self {
        Self {
            node,
            networks: BTreeMap::new(),
            tasks: BTreeMap::new(),
            chosen: BTreeMap::new(),
            knowledge: Knowledge::Complete,
        }
    }

    /// Whether a task can be taken in: what it asks for is known here and nobody else's.
    pub fn check(&self, net: &TaskNet) -> Result<(), TaskNetError> {
        let mut seen = BTreeSet::new();
        for attachment in &net.networks {
            if !seen.insert(attachment.network) {
                return Err(TaskNetError::AttachedTwice(net.task, attachment.network));
            }
            if attachment.addresses.is_empty() {
                return Err(TaskNetError::NoAddress(net.task, attachment.network));
            }
            if !self.networks.contains_key(&attachment.network)
                && self.knowledge == Knowledge::Complete
            {
                return Err(TaskNetError::UnknownNetwork(attachment.network));
            }
        }
        let by_sctp = |port: &&PortConfig| port.protocol == Protocol::Sctp;
        if let Some(port) = net.ports.iter().find(by_sctp)
            && !self.node.sctp
        {
            return Err(TaskNetError::NoSctp(port.target_port));
        }
        let in_host_mode = |port: &&PortConfig| port.publish_mode == PublishMode::Host;
        net.ports
            .iter()
            .filter(in_host_mode)
            .try_for_each(|port| self.may_have((port.protocol, port.published_port), net.task))
    }

    /// Takes a task in, or changes it. `outside` is the address it had before the daemon was
    /// started again.
    pub fn add_task(
        &mut self,
        net: TaskNet,
        outside: Option<Ipv4Addr>,
    ) -> Result<(), TaskNetError> {
        self.check(&net)?;
        if let Some(index) = net.unnumbered().next() {
            return Err(TaskNetError::Unnumbered(net.task, net.ports[index].target_port));
        }
        let mut host_ports = net.ports;
        host_ports.retain(|port| port.publish_mode == PublishMode::Host);
        let before = self.tasks.get(&net.task);
        let kept = before.and_then(|task| task.outside).or(outside);
        let resolver = before.and_then(|task| task.resolver);
        let outside = match kept {
            Some(address) => Some(address),
            None if self.needs_outside(&net.networks, &host_ports) => Some(self.free_outside()?),
            None => None,
        };
        self.tasks.insert(
            net.task,
            DesiredTask {
                networks: net.networks,
                host_ports,
                outside,
                nameservers: net.nameservers,
                resolver,
                lent: None,
            },
        );
        Ok(())
    }

    /// Takes in a container whose namespace is lent, or changes it. `outside` as for a task.
    pub fn add_container(
        &mut self,
        net: TaskNet,
        lent: Lent,
        outside: Option<Ipv4Addr>,
    ) -> Result<(), TaskNetError> {
        let task = net.task;
        if lent.interfaces.len() != net.networks.len() {
            return Err(TaskNetError::Unnamed(task));
        }
        self.add_task(net, outside)?;
        if let Some(added) = self.tasks.get_mut(&task) {
            added.outside = added.outside.filter(|_| lent.outside.is_some());
            added.lent = Some(lent);
        }
        Ok(())
    }

    fn needs_outside(&self, networks: &[NetworkAttachment], host_ports: &[PortConfig]) -> bool {
        let opens = |attachment: &NetworkAttachment| {
            self.networks.get(&attachment.network).is_some_and(|network| !network.internal)
        };
        !host_ports.is_empty() || networks.iter().any(opens)
    }

    fn free_outside(&self) -> Result<Ipv4Addr, TaskNetError> {
        let gateway = self.node.outside_gateway();
        let taken: BTreeSet<Ipv4Addr> =
            self.tasks.values().filter_map(|task| task.outside).collect();
        self.node
            .outside_pool
            .hosts()
            .find(|address| *address != gateway && !taken.contains(address))
            .ok_or(TaskNetError::OutsideExhausted(self.node.outside_pool))
    }

    pub fn ingress(&self) -> Option<&NetworkState> {
        self.networks.values().find(|network| network.ingress)
    }

    /// Networks that the node needs a sandbox for: those of its tasks, and the ingress network,
    /// for every node answers published ports.
    pub fn sandboxes(&self) -> impl Iterator<Item = &NetworkState> {
        let used: BTreeSet<NetworkId> = self
            .tasks
            .values()
            .flat_map(|task| task.networks.iter().map(|attachment| attachment.network))
            .collect();
        self.networks.values().filter(move |network| network.ingress || used.contains(&network.id))
    }
}

impl DesiredTask {
    /// The names of the overlay interfaces, each with its network.
    pub fn names(&self) -> impl Iterator<Item = (NetworkId, String)> + '_ {
        let networks = self.networks.iter().enumerate();
        networks.map(|(index, attachment)| (attachment.network, self.interface_name(index)))
    }

    /// The overlay interfaces on networks that are known, with their names.
    pub fn interfaces(
        &self,
        node: &NodeConfig,
        networks: &BTreeMap<NetworkId, NetworkState>,
    ) -> Vec<(NetworkId, String, Interface)> {
        let places = self.names().zip(&self.networks).filter_map(|((id, name), attachment)| {
            let network = networks.get(&id)?;
            Some((id, name, interface(node, network, &attachment.addresses)))
        });
        places.collect()
    }

    /// Its place towards the host. IPv6 belongs to it where a network of the task has that, and
    /// where the host answers ports for it.
    pub fn outside(&self, node: &NodeConfig) -> Option<Outside> {
        let addresses = || self.networks.iter().flat_map(|at| &at.addresses);
        let wants_v6 = !self.host_ports.is_empty() || addresses().any(|it| it.addr().is_ipv6());
        let v6 = node.ipv6 && wants_v6;
        self.outside.map(|address| Outside { address, v6 })
    }

    /// What the interface on one of its networks is called, by the network's place.
    fn interface_name(&self, index: usize) -> String {
        let given = self.lent.as_ref().and_then(|lent| lent.interfaces.get(index));
        given.cloned().unwrap_or_else(|| format!("eth{index}"))
    }

    /// The interface towards the host comes after the networks'.
    pub fn outside_name(&self) -> String {
        let given = self.lent.as_ref().and_then(|lent| lent.outside.clone());
        given.unwrap_or_else(|| format!("eth{}", self.networks.len()))
    }

    /// Whether every network of the task is known.
    pub fn is_known(&self, networks: &BTreeMap<NetworkId, NetworkState>) -> bool {
        self.networks.iter().all(|attachment| networks.contains_key(&attachment.network))
    }
}

fn interface(node: &NodeConfig, network: &NetworkState, addresses: &[IpNet]) -> Interface {
    let own = |subnet: &IpNet| addresses.iter().any(|it| it.trunc() == *subnet);
    let subnets = network.gateways.iter().map(IpNet::trunc);
    Interface {
        mac: task_mac(leading(addresses)),
        addresses: addresses.iter().copied().collect(),
        routes: subnets.filter(|subnet| !own(subnet)).collect(),
        mtu: node.mtu(network),
    }
}

/// The address that the link-layer address follows from: IPv4 before IPv6.
fn leading(addresses: &[IpNet]) -> IpAddr {
    let v4 = addresses.iter().find(|address| address.addr().is_ipv4());
    v4.or(addresses.first()).map_or(IpAddr::from([0, 0, 0, 0]), IpNet::addr)
}
