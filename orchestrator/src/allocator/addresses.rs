//! Free addresses of a network, lowest first.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use skep_state::State;
use skep_types::Network;
use skep_types::network::IpamConfig;

use super::book::Book;

/// Where to seek what is free of a network: one walk past the addresses that are taken.
pub fn book(state: &State, network: &Network) -> Book {
    let taken = state.addresses(network.id).filter_map(|address| match address {
        IpAddr::V4(address) => Some(u32::from(address)),
        IpAddr::V6(_) => None,
    });
    match range(network) {
        Some((first, ..)) => Book::of(first, taken),
        None => Book::default(),
    }
}

/// The first and the last IPv4 address that may be given, and what is said of their subnet.
fn range(network: &Network) -> Option<(u32, u32, Ipv4Net, &IpamConfig)> {
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
    Some((first, last, subnet, config))
}

/// The lowest IPv4 address that nothing has, with the subnet's prefix; none if all are taken.
pub fn lowest(book: &mut Book, state: &State, network: &Network) -> Option<IpNet> {
    let (first, last, subnet, config) = range(network)?;
    let number = book.lowest(first, last, |number| {
        let address = IpAddr::V4(Ipv4Addr::from(number));
        config.gateway == Some(address) || state.address_owner(network.id, address).is_some()
    })?;
    IpNet::new(IpAddr::V4(Ipv4Addr::from(number)), subnet.prefix_len()).ok()
}
