//! Free addresses of a network, lowest first.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use skep_state::State;
use skep_types::Network;

use super::book::Book;

/// The lowest IPv4 address that nothing has, with the subnet's prefix; none if all are taken.
pub fn lowest(book: &mut Book, state: &State, network: &Network) -> Option<IpNet> {
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
    let number = book.lowest(first, last, |number| {
        let address = IpAddr::V4(Ipv4Addr::from(number));
        config.gateway == Some(address) || state.address_owner(network.id, address).is_some()
    })?;
    IpNet::new(IpAddr::V4(Ipv4Addr::from(number)), subnet.prefix_len()).ok()
}
