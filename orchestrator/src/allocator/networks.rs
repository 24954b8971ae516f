//! VXLAN ids and subnets.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use skep_state::State;
use skep_types::network::IpamConfig;
use skep_types::{Network, Vni, defaults};

use super::is_allocated;
use crate::plan::Plan;

pub fn allocate(plan: &mut Plan<'_>) {
    let networks: Vec<_> = plan.view().networks().iter().cloned().collect();
    for network in networks.iter().filter(|network| !is_allocated(network)) {
        let mut changed = Network::clone(network);
        changed.vni = changed.vni.or_else(|| free_vni(plan.view()));
        if changed.ipam.is_empty() {
            changed.ipam = match &*changed.spec.ipam {
                [] => free_subnet(plan.view()).into_iter().collect(),
                given => given.to_vec(),
            };
            for config in &mut changed.ipam {
                config.gateway = config.gateway.or_else(|| config.subnet.hosts().next());
            }
        }
        if changed != **network {
            plan.update(changed);
        }
    }
}

fn free_vni(state: &State) -> Option<Vni> {
    let taken: std::collections::BTreeSet<Vni> =
        state.networks().iter().filter_map(|network| network.vni).collect();
    (defaults::VNI_FIRST..1 << 24).map(Vni).find(|vni| !taken.contains(vni))
}

/// The first subnet of the swarm's pools that overlaps with none; nothing where the pools are full.
fn free_subnet(state: &State) -> Option<IpamConfig> {
    let taken: Vec<IpNet> = state
        .networks()
        .iter()
        .flat_map(|network| network.ipam.iter().chain(&network.spec.ipam))
        .map(|config| config.subnet)
        .collect();
    let default: Ipv4Net = defaults::ADDRESS_POOL.parse().expect("the default pool is a subnet");
    let (pools, length) = match state.cluster() {
        Some(cluster) if !cluster.address_pools.is_empty() => {
            (cluster.address_pools.clone(), cluster.subnet_length)
        }
        _ => (vec![default], defaults::SUBNET_LENGTH),
    };
    let mut candidates =
        pools.iter().filter_map(|pool| pool.subnets(length).ok()).flatten().map(IpNet::V4);
    let subnet = candidates.find(|candidate| {
        !taken.iter().any(|taken| taken.contains(candidate) || candidate.contains(taken))
    })?;
    let gateway: Option<IpAddr> = subnet.hosts().next();
    Some(IpamConfig { subnet, range: None, gateway })
}
