//! Free addresses of a network, lowest first.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use skep_state::State;
use skep_types::{Network, NetworkId};

/// Remembers, for one pass, up to where each network was searched: without it a pass over many
/// tasks would look at every taken address again for each.
#[derive(Debug, Default)]
pub struct Pool {
    searched: BTreeMap<NetworkId, u32>,
}

impl Pool {
    /// The lowest IPv4 address that nothing has, with the subnet's prefix; none if all are taken.
    pub fn next(&mut self, state: &State, network: &Network) -> Option<IpNet> {
        let subnet = network.ipam.iter().find_map(|config| match config.subnet {
            IpNet::V4(subnet) => Some((subnet, config)),
            IpNet::V6(_) => None,
        });
        let (subnet, config) = subnet?;
        let range = match config.range {
            Some(IpNet::V4(range)) => range,
            _ => subnet,
        };
        let first = u32::from(range.network()).max(u32::from(subnet.network()) + 1);
        let last = u32::from(range.broadcast()).min(u32::from(subnet.broadcast()).checked_sub(1)?);
        let start = self.searched.get(&network.id).copied().unwrap_or(first).max(first);
        for number in start..=last {
            let address = IpAddr::V4(Ipv4Addr::from(number));
            let is_gateway = config.gateway == Some(address);
            if !is_gateway && state.address_owner(network.id, address).is_none() {
                self.searched.insert(network.id, number);
                return IpNet::new(address, subnet.prefix_len()).ok();
            }
        }
        self.searched.insert(network.id, last.saturating_add(1));
        None
    }
}
