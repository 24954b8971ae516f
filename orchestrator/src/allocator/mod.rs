//! Numbers that must be unique in the swarm: VXLAN ids, subnets, addresses, published ports.
//!
//! What is allocated is what the objects say; there is no other book. A new leader can hand
//! nothing out twice, because `apply` refuses it.

mod addresses;
mod networks;
mod services;
mod tasks;

use skep_types::{Network, NetworkId};

use crate::plan::Plan;

/// Gives every network, service and task what it still lacks.
pub fn allocate(plan: &mut Plan<'_>) {
    networks::allocate(plan);
    let mut pool = addresses::Pool::default();
    services::allocate(plan, &mut pool);
    tasks::allocate(plan, &mut pool);
}

/// The network that published ports arrive by.
fn ingress(plan: &Plan<'_>) -> Option<NetworkId> {
    plan.view().networks().iter().find(|network| network.spec.ingress).map(|network| network.id)
}

fn is_allocated(network: &Network) -> bool {
    network.vni.is_some() && !network.ipam.is_empty()
}
