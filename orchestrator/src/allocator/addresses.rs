//! Free addresses of a network, lowest first. Numbers are counted from a subnet's first address, for
//! both families alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use skep_state::State;
use skep_types::network::IpamConfig;
use skep_types::{Network, NetworkId};

use super::book::Book;

/// Where to seek what is free of a subnet: one walk past the addresses that are taken.
pub fn book(state: &State, network: NetworkId, config: &IpamConfig) -> Book {
    let taken = state.addresses(network).filter_map(|address| offset(config.subnet, address));
    match range(config) {
        Some((first, _)) => Book::of(first, taken),
        None => Book::default(),
    }
}

/// The first and the last number that may be given of a subnet; none where it is too small. Of a
/// large one the first 2^32 are as many as anybody asks for.
fn range(config: &IpamConfig) -> Option<(u32, u32)> {
    let subnet = config.subnet;
    let range = match config.range {
        Some(range) if subnet.contains(&range) => range,
        _ => subnet,
    };
    let (start, end) = (bits(subnet.network()), bits(subnet.broadcast()));
    // The last address of an IPv4 subnet is its broadcast's; the first names the subnet, or in IPv6
    // all its routers.
    let end = if subnet.addr().is_ipv4() { end.checked_sub(1)? } else { end };
    let first = bits(range.network()).max(start + 1) - start;
    let last = bits(range.broadcast()).min(end).checked_sub(start)?;
    Some((u32::try_from(first).ok()?, u32::try_from(last).unwrap_or(u32::MAX)))
}

/// The lowest address of a subnet that nothing has, with the subnet's prefix; none if all are taken.
pub fn lowest(
    book: &mut Book,
    state: &State,
    network: &Network,
    config: &IpamConfig,
) -> Option<IpNet> {
    let (first, last) = range(config)?;
    let number = book.lowest(first, last, |number| {
        let address = at(config.subnet, number);
        config.gateway == Some(address) || state.address_owner(network.id, address).is_some()
    })?;
    IpNet::new(at(config.subnet, number), config.subnet.prefix_len()).ok()
}

/// The number of an address in its subnet; none if it is not of that subnet, or too far in it.
pub fn offset(subnet: IpNet, address: IpAddr) -> Option<u32> {
    if !subnet.contains(&address) {
        return None;
    }
    u32::try_from(bits(address) - bits(subnet.network())).ok()
}

fn at(subnet: IpNet, number: u32) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first).saturating_add(number)).into(),
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first).saturating_add(number.into())).into(),
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
