//! VXLAN ids and subnets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use skep_state::State;
use skep_types::network::IpamConfig;
use skep_types::{ClusterId, Family, Network, NetworkId, Vni, defaults};

use super::family;
use super::{Books, is_allocated};
use crate::plan::Plan;

/// Gives networks what they lack, and tells for which there was nothing left.
pub fn allocate(
    plan: &mut Plan<'_>,
    books: &mut Books,
    ids: BTreeSet<NetworkId>,
) -> Vec<NetworkId> {
    let mut lacking: Vec<_> = ids
        .into_iter()
        .filter_map(|id| plan.view().networks().get(id).cloned())
        .filter(|network| !is_allocated(network))
        .collect();
    // What a user named is not for others to take.
    lacking.sort_by_key(|network| network.ipam.is_empty() && network.spec.ipam.is_empty());
    let mut starved = Vec::new();
    for network in lacking {
        let mut changed = Network::clone(&network);
        changed.vni = changed.vni.or_else(|| free_vni(books, plan.view()));
        if changed.ipam.is_empty() {
            changed.ipam.clone_from(&changed.spec.ipam);
        }
        for family in family::wanted(&network) {
            if !changed.ipam.iter().any(|config| Family::of(config.subnet.addr()) == family) {
                changed.ipam.extend(free_subnet(books, plan.view(), family));
            }
        }
        for config in &mut changed.ipam {
            config.gateway = config.gateway.or_else(|| first_host(config.subnet));
        }
        let whole = is_allocated(&changed);
        let taken = changed == *network || plan.update(changed);
        if !whole || !taken {
            starved.push(network.id);
        }
    }
    starved
}

fn free_vni(books: &mut Books, state: &State) -> Option<Vni> {
    let last = (1 << 24) - 1;
    let taken = |vni| state.vni_owner(Vni(vni)).is_some();
    books.vnis.lowest(defaults::VNI_FIRST, last, taken).map(Vni)
}

/// A subnet of one family; nothing where the pools are full.
fn free_subnet(books: &mut Books, state: &State, family: Family) -> Option<IpamConfig> {
    let subnet = match family {
        Family::V4 => IpNet::V4(free_v4(books, state)?),
        Family::V6 => IpNet::V6(free_v6(books, state)?),
    };
    Some(IpamConfig { subnet, range: None, gateway: first_host(subnet) })
}

/// The subnet's first address after its own.
fn first_host(subnet: IpNet) -> Option<IpAddr> {
    match subnet {
        IpNet::V4(subnet) => subnet.hosts().next().map(IpAddr::V4),
        // The first address of all is that of any router (RFC 4291).
        IpNet::V6(subnet) => subnet.hosts().nth(1).map(IpAddr::V6),
    }
}

/// The first /64 of the swarm's own /48 that overlaps with none.
fn free_v6(books: &mut Books, state: &State) -> Option<Ipv6Net> {
    let prefix = local_prefix(state.cluster()?.id);
    let subnet = |place: u32| Ipv6Net::new((prefix | u128::from(place) << 64).into(), 64).ok();
    let taken = |place| match subnet(place) {
        Some(subnet) => state.subnet_owners(IpNet::V6(subnet)).next().is_some(),
        None => true,
    };
    subnet(books.subnets_v6.lowest(0, u16::MAX.into(), taken)?)
}

/// A prefix of 48 bits that hardly any other network of the operator's has (RFC 4193): of a swarm's id
/// the lower 40 bits, which are random.
fn local_prefix(cluster: ClusterId) -> u128 {
    const LOCAL: u128 = 0xfd << 120;
    LOCAL | (cluster.bits() & ((1 << 40) - 1)) << 80
}

/// The first subnet of the swarm's pools that overlaps with none.
fn free_v4(books: &mut Books, state: &State) -> Option<Ipv4Net> {
    let default: Ipv4Net = defaults::ADDRESS_POOL.parse().expect("the default pool is a subnet");
    let (pools, length) = match state.cluster() {
        Some(cluster) if !cluster.address_pools.is_empty() => {
            (cluster.address_pools.clone(), cluster.subnet_length)
        }
        _ => (vec![default], defaults::SUBNET_LENGTH),
    };
    let last = pools.iter().map(|pool| subnets_in(pool, length)).sum::<u64>().checked_sub(1)?;
    let taken = |place| match subnet_at(&pools, length, place) {
        Some(subnet) => state.subnet_owners(IpNet::V4(subnet)).next().is_some(),
        None => true,
    };
    let place = books.subnets.lowest(0, u32::try_from(last).unwrap_or(u32::MAX), taken)?;
    subnet_at(&pools, length, place)
}

/// How many subnets of that length a pool has.
fn subnets_in(pool: &Ipv4Net, length: u8) -> u64 {
    length.checked_sub(pool.prefix_len()).map_or(0, |bits| 1 << bits)
}

/// The subnet at a place among all that the pools have, pool by pool.
fn subnet_at(pools: &[Ipv4Net], length: u8, place: u32) -> Option<Ipv4Net> {
    let mut place = u64::from(place);
    for pool in pools {
        let count = subnets_in(pool, length);
        if place < count {
            let offset = u32::try_from(place << (32 - length)).ok()?;
            let first = Ipv4Addr::from(u32::from(pool.network()).checked_add(offset)?);
            return Ipv4Net::new(first, length).ok();
        }
        place -= count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_counted_through_all_pools() {
        let pools: Vec<Ipv4Net> =
            ["10.1.0.0/23", "10.9.0.0/25", "10.2.0.0/24"].map(|it| it.parse().unwrap()).into();
        let at = |place| subnet_at(&pools, 24, place).map(|it| it.to_string());
        assert_eq!(at(0).as_deref(), Some("10.1.0.0/24"));
        assert_eq!(at(1).as_deref(), Some("10.1.1.0/24"));
        assert_eq!(at(2).as_deref(), Some("10.2.0.0/24"), "a pool that is too small has none");
        assert_eq!(at(3), None);
        assert_eq!(subnets_in(&"0.0.0.0/0".parse().unwrap(), 32), 1 << 32);
    }
}
