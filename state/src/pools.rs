//! How full the pools are that subnets and addresses are given from.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use skep_types::{Network, defaults};

use crate::State;

/// A pool of subnets, or a subnet as a pool of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    /// Whose addresses are given from it; None: the swarm's subnets are.
    pub network: Option<String>,
    pub subnet: IpNet,
    pub used: u64,
    pub size: u64,
}

/// How much of a pool is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fullness {
    Roomy,
    /// It has 80 % in use, or more.
    NearlyFull,
    Full,
}

/// Of a pool's size.
const NEARLY_FULL_PERCENT: u128 = 80;

impl AddressPool {
    pub fn fullness(&self) -> Fullness {
        // A subnet of IPv6 has more addresses than could be multiplied in 64 bits.
        let (used, size) = (u128::from(self.used), u128::from(self.size));
        match used {
            used if used >= size => Fullness::Full,
            used if used * 100 >= size * NEARLY_FULL_PERCENT => Fullness::NearlyFull,
            _ => Fullness::Roomy,
        }
    }
}

impl State {
    /// The pools that subnets are cut from, then the subnets that addresses are given from. It looks at
    /// every address that somebody has.
    pub fn address_pools(&self) -> Vec<AddressPool> {
        let mut pools = Vec::new();
        let (of_swarm, length) = match self.cluster() {
            Some(cluster) if !cluster.address_pools.is_empty() => {
                (cluster.address_pools.clone(), cluster.subnet_length)
            }
            _ => {
                let pool: Ipv4Net = defaults::ADDRESS_POOL.parse().expect("a constant network");
                (vec![pool], defaults::SUBNET_LENGTH)
            }
        };
        for pool in of_swarm {
            let subnets = self.networks().iter().flat_map(|network| &network.ipam);
            let inside = subnets.filter(|it| IpNet::V4(pool).contains(&it.subnet));
            // A subnet that a user chose may be larger than those that are cut, and takes as many.
            let cut = |it: IpNet| 1_u64 << length.saturating_sub(it.prefix_len());
            pools.push(AddressPool {
                network: None,
                subnet: pool.into(),
                used: inside.map(|it| cut(it.subnet)).sum(),
                size: 1 << length.saturating_sub(pool.prefix_len()),
            });
        }
        for network in self.networks().iter() {
            pools.extend(self.pools_of(network));
        }
        pools
    }

    fn pools_of(&self, network: &Network) -> Vec<AddressPool> {
        let subnets = network.ipam.iter().map(|config| {
            let given = |address: &IpAddr| {
                let range = config.range.unwrap_or(config.subnet);
                range.contains(address) && config.gateway != Some(*address)
            };
            AddressPool {
                network: Some(network.spec.annotations.name.clone()),
                subnet: config.range.unwrap_or(config.subnet),
                used: self.addresses(network.id).filter(given).count() as u64,
                size: config.addresses(),
            }
        });
        subnets.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_says_how_full_it_is() {
        let of = |used, size| {
            let subnet = "10.0.0.0/24".parse().unwrap();
            AddressPool { network: None, subnet, used, size }.fullness()
        };
        assert_eq!(of(0, 253), Fullness::Roomy);
        assert_eq!(of(202, 253), Fullness::Roomy);
        assert_eq!(of(203, 253), Fullness::NearlyFull);
        assert_eq!(of(253, 253), Fullness::Full);
        assert_eq!(of(0, 0), Fullness::Full, "there is nothing to give");
        assert_eq!(of(1, u64::MAX), Fullness::Roomy);
    }
}
