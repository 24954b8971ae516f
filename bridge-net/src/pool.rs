//! Which subnet a new network gets, and which address a new endpoint. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use crate::network::Subnet;
use crate::options::AddressPool;

/// Whether two networks share an address.
pub fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The first subnet of the pools that nobody has.
pub fn choose_subnet(pools: &[AddressPool], taken: &[IpNet]) -> Option<IpNet> {
    let v4 = pools.iter().filter(|pool| matches!(pool.base, IpNet::V4(_)));
    let mut subnets = v4.filter_map(|pool| pool.base.subnets(pool.size).ok()).flatten();
    subnets.find(|subnet| !taken.iter().any(|other| overlap(*subnet, *other)))
}

/// An IPv6 subnet of one's own (RFC 4193), from bits that are random.
pub fn unique_local_subnet(random: [u8; 7]) -> IpNet {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..8].copy_from_slice(&random);
    let net = Ipv6Net::new(Ipv6Addr::from(octets), 64).expect("64 bits fit an IPv6 address");
    IpNet::V6(net)
}

/// The first address of a network that a host may have.
pub fn first_address(subnet: IpNet) -> Option<IpAddr> {
    usable(subnet).next()
}

/// The first free address of a subnet's range.
pub fn choose_address(subnet: &Subnet, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let reserved = |it: &IpAddr| {
        *it == subnet.gateway
            || *it == subnet.subnet.network()
            || subnet.subnet.addr().is_ipv4() && *it == subnet.subnet.broadcast()
            || subnet.auxiliary.values().any(|other| other == it)
            || taken.contains(it)
    };
    let range = subnet.range.unwrap_or(subnet.subnet);
    addresses(range).find(|it| !reserved(it))
}

fn usable(net: IpNet) -> impl Iterator<Item = IpAddr> {
    // Below /31 the first and the last address are the network's own (RFC 3021).
    let own = net.addr().is_ipv6() || net.prefix_len() < 31;
    addresses(net).filter(move |it| !own || *it != net.network())
}

fn addresses(net: IpNet) -> Box<dyn Iterator<Item = IpAddr>> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            Box::new((first..=last).map(|it| IpAddr::V4(it.into())))
        }
        IpNet::V6(net) => {
            let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
            Box::new((first..=last).map(|it| IpAddr::V6(it.into())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::options::default_pools;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn subnets_come_in_dockers_order_and_never_twice() {
        let check = |taken: &[&str], expected: Option<&str>| {
            let chosen = choose_subnet(&default_pools(), &nets(taken));
            assert_eq!(chosen.map(|it| it.to_string()).as_deref(), expected, "{taken:?}");
        };
        check(&[], Some("172.17.0.0/16"));
        check(&["172.17.0.0/16", "172.18.0.0/16"], Some("172.19.0.0/16"));
        // A route of the host within a pool takes all of it.
        check(&["172.17.3.0/24", "172.18.0.0/15"], Some("172.20.0.0/16"));
        check(&["172.16.0.0/12", "192.168.0.0/24"], Some("192.168.16.0/20"));
        check(&["172.16.0.0/12", "192.168.0.0/16"], None);
    }

    #[test]
    fn addresses_skip_what_is_not_to_be_given() {
        let subnet = Subnet {
            subnet: "10.9.0.0/29".parse().unwrap(),
            range: None,
            gateway: "10.9.0.1".parse().unwrap(),
            auxiliary: BTreeMap::from([("router".into(), "10.9.0.2".parse().unwrap())]),
            chosen: true,
        };
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(address) = choose_address(&subnet, &taken) {
            given.push(address.to_string());
            taken.insert(address);
        }
        assert_eq!(given, ["10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"]);
        let ranged = Subnet { range: Some("10.9.0.4/31".parse().unwrap()), ..subnet };
        let first = choose_address(&ranged, &BTreeSet::new());
        assert_eq!(first.unwrap().to_string(), "10.9.0.4");
    }
}
