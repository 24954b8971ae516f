//! Networks: VXLAN ids and subnets belong to one network, and one that is used stays.

use std::net::IpAddr;

use ipnet::IpNet;
use skep_types::{Network, NetworkId, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::{AddressOwner, Named, State};

/// VXLAN ids have 24 bits.
const VNI_MAX: u32 = (1 << 24) - 1;

pub fn check(state: &State, delta: &Delta<Network>) -> Result<(), Reason> {
    match (&delta.before, &delta.after) {
        (Some(removed), None) => is_unused(state, removed),
        (_, Some(network)) => {
            validate::name(&network.spec.annotations.name)?;
            validate::labels(&network.spec.annotations.labels)?;
            owns_its_numbers(state, network)
        }
        (None, None) => Ok(()),
    }
}

fn owns_its_numbers(state: &State, network: &Network) -> Result<(), Reason> {
    let name = |id: NetworkId| {
        let owner = state.networks.get(id);
        owner.map_or_else(|| id.to_string(), |it| it.spec.annotations.name.clone())
    };
    if let Some(vni) = network.vni {
        if !(1..=VNI_MAX).contains(&vni.0) {
            return Err(Reason::VniRange(vni.0));
        }
        if let Some(owner) = state.vnis.get(&vni).filter(|owner| **owner != network.id) {
            return Err(Reason::VniTaken { vni: vni.0, owner: name(*owner) });
        }
    }
    for mine in &network.ipam {
        if let Some(owner) = state.subnet_owners(mine.subnet).find(|it| *it != network.id) {
            let subnet = mine.subnet.to_string();
            return Err(Reason::SubnetTaken { subnet, owner: name(owner) });
        }
    }
    Ok(())
}

fn is_unused(state: &State, network: &Network) -> Result<(), Reason> {
    let in_use = |user: String| {
        Err(Reason::InUse { kind: "network", name: network.spec.annotations.name.clone(), user })
    };
    if let Some(service) = state.services_naming(Named::Network(network.id)).next() {
        return in_use(format!("service {}", service.spec.annotations.name));
    }
    for owner in state.address_owners(network.id) {
        match owner {
            AddressOwner::Task(task) => return in_use(format!("task {task}")),
            // A task in Docker's words; its users know it as a container.
            AddressOwner::Attachment(id) => {
                let attachment = state.attachments.get(id);
                let name = attachment.and_then(|it| it.names.first()).cloned().unwrap_or_default();
                return in_use(format!("task {id} (container {name})"));
            }
            // A service's virtual address goes with the service's wish for the network.
            AddressOwner::Service(_) => {}
        }
    }
    Ok(())
}

/// Moves a network's claims on numbers from `before` to `after`.
pub fn index(state: &mut State, before: Option<&Network>, after: Option<&Network>) {
    if let Some(network) = before {
        if let Some(vni) = network.vni {
            state.vnis.remove(&vni);
        }
        for config in &network.ipam {
            state.subnets.remove(&subnet_key(config.subnet, network.id));
        }
    }
    if let Some(network) = after {
        if let Some(vni) = network.vni {
            state.vnis.insert(vni, network.id);
        }
        for config in &network.ipam {
            state.subnets.insert(subnet_key(config.subnet, network.id));
        }
    }
}

/// Subnets in the order of their first address, wider ones first.
pub(crate) fn subnet_key(subnet: IpNet, network: NetworkId) -> (IpAddr, u8, NetworkId) {
    (subnet.network(), subnet.prefix_len(), network)
}
