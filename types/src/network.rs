//! Networks that span the nodes, and the addresses tasks have on them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Annotations, AttachmentId, Meta, NetworkId, NodeId, TaskId, defaults};

/// A VXLAN network identifier: 24 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(pub u32);

/// A subnet, as asked for or allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpamConfig {
    pub subnet: IpNet,
    pub range: Option<IpNet>,
    pub gateway: Option<IpAddr>,
}

impl IpamConfig {
    /// How many addresses may be given from it, the gateway's left out.
    pub fn addresses(&self) -> u64 {
        let range = self.range.unwrap_or(self.subnet);
        let bits = range.max_prefix_len() - range.prefix_len();
        let all = if bits < 64 { 1_u64 << bits } else { u64::MAX };
        // The first names the subnet; the last of an IPv4 subnet is its broadcast's.
        let first = range.network() == self.subnet.network();
        let last = self.subnet.addr().is_ipv4() && range.broadcast() == self.subnet.broadcast();
        let gateway = self.gateway.is_some_and(|gateway| range.contains(&gateway));
        all.saturating_sub([first, last, gateway].into_iter().filter(|it| *it).count() as u64)
    }
}

/// What a user asks of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    pub annotations: Annotations,
    /// Empty means `overlay`.
    pub driver: String,
    pub driver_options: BTreeMap<String, String>,
    /// No way to the outside.
    pub internal: bool,
    /// Containers started by hand may join.
    pub attachable: bool,
    /// The network that published ports arrive by; one in a swarm.
    pub ingress: bool,
    pub ipv6: bool,
    /// Empty: a subnet is allocated.
    pub ipam: Vec<IpamConfig>,
}

/// The option that says how large a network's packets are at most, in bytes.
pub const MTU_OPTION: &str = "com.docker.network.driver.mtu";

/// What IPv4 demands of every link (RFC 791), and what an IP packet can be.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65_535;

/// What was given for a largest packet is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid {MTU_OPTION} {given:?}: expected {} to {} bytes",
    MTU_RANGE.start(),
    MTU_RANGE.end()
)]
pub struct ParseMtuError {
    given: String,
}

impl NetworkSpec {
    /// Reads the option's value.
    pub fn parse_mtu(text: &str) -> Result<u32, ParseMtuError> {
        let mtu = text.parse().ok().filter(|mtu| MTU_RANGE.contains(mtu));
        mtu.ok_or_else(|| ParseMtuError { given: text.to_owned() })
    }

    /// The largest packet that was asked for; nodes whose underlay carries less give less.
    pub fn mtu(&self) -> Option<u32> {
        self.driver_options.get(MTU_OPTION).and_then(|text| Self::parse_mtu(text).ok())
    }
}

/// A network as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub id: NetworkId,
    pub meta: Meta,
    pub spec: NetworkSpec,
    /// None until allocated.
    pub vni: Option<Vni>,
    /// The subnets it really has, gateways filled in.
    pub ipam: Vec<IpamConfig>,
}

impl Network {
    /// A network for which nothing is allocated yet.
    pub fn new(id: NetworkId, spec: NetworkSpec) -> Self {
        Self { id, meta: Meta::default(), spec, vni: None, ipam: Vec::new() }
    }

    /// The network by which published ports are reached, as a new swarm has it: of both families, for
    /// clients come by both.
    pub fn ingress(id: NetworkId) -> Self {
        let annotations = Annotations { name: "ingress".to_owned(), ..Annotations::default() };
        let driver = defaults::NETWORK_DRIVER.to_owned();
        let spec = NetworkSpec {
            annotations,
            driver,
            ingress: true,
            ipv6: true,
            ..NetworkSpec::default()
        };
        Self::new(id, spec)
    }
}

/// A task's place on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAttachment {
    pub network: NetworkId,
    pub addresses: Vec<IpNet>,
    pub aliases: Vec<String>,
}

/// The place on a network of a container that was started by hand. It has its addresses as long as it
/// stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub id: AttachmentId,
    pub meta: Meta,
    pub node_id: NodeId,
    pub network: NetworkId,
    /// As the node's engine knows it.
    pub container_id: String,
    /// What others on the network call it; its own name first.
    pub names: Vec<String>,
    /// One of each family at most.
    pub addresses: Vec<IpNet>,
}

impl AttachmentId {
    /// As nodes are told of it, who know no others than tasks: SwarmKit has a task for each.
    pub const fn as_task(self) -> TaskId {
        TaskId::new(self.bits())
    }

    /// The reverse of [`Self::as_task`].
    pub const fn of_task(task: TaskId) -> Self {
        Self::new(task.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_may_be_given_are_counted() {
        let count = |subnet: &str, range: Option<&str>, gateway: Option<&str>| {
            let config = IpamConfig {
                subnet: subnet.parse().unwrap(),
                range: range.map(|range| range.parse().unwrap()),
                gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            };
            config.addresses()
        };
        assert_eq!(count("10.0.1.0/24", None, Some("10.0.1.1")), 253);
        assert_eq!(count("10.0.1.0/24", Some("10.0.1.8/30"), Some("10.0.1.1")), 4);
        assert_eq!(count("10.0.1.0/24", Some("10.0.1.252/30"), Some("10.0.1.253")), 2);
        assert_eq!(count("10.0.1.0/32", None, None), 0);
        assert_eq!(count("fd00::/126", None, Some("fd00::1")), 2);
        assert_eq!(count("fd00::/48", None, None), u64::MAX - 1);
    }
}
