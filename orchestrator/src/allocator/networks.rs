//! VXLAN ids and subnets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use skep_state::State;
use skep_types::network::IpamConfig;
use skep_types::{Network, NetworkId, Vni, defaults};

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
            changed.ipam = match &*changed.spec.ipam {
                [] => free_subnet(books, plan.view()).into_iter().collect(),
                given => given.to_vec(),
            };
            for config in &mut changed.ipam {
                config.gateway = config.gateway.or_else(|| config.subnet.hosts().next());
            }
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

/// The first subnet of the swarm's pools that overlaps with none; nothing where the pools are full.
fn free_subnet(books: &mut Books, state: &State) -> Option<IpamConfig> {
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
    let subnet = IpNet::V4(subnet_at(&pools, length, place)?);
    let gateway: Option<IpAddr> = subnet.hosts().next();
    Some(IpamConfig { subnet, range: None, gateway })
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
