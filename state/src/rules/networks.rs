//! Networks: VXLAN ids and subnets belong to one network, and one that is used stays.

use skep_types::{Network, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::State;

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
    if let Some(vni) = network.vni
        && !(1..=VNI_MAX).contains(&vni.0)
    {
        return Err(Reason::VniRange(vni.0));
    }
    for other in state.networks.iter().filter(|other| other.id != network.id) {
        let owner = || other.spec.annotations.name.clone();
        if let Some(vni) = network.vni
            && other.vni == Some(vni)
        {
            return Err(Reason::VniTaken { vni: vni.0, owner: owner() });
        }
        for mine in &network.ipam {
            let overlaps = |theirs: &skep_types::network::IpamConfig| {
                mine.subnet.contains(&theirs.subnet) || theirs.subnet.contains(&mine.subnet)
            };
            if other.ipam.iter().any(overlaps) {
                let subnet = mine.subnet.to_string();
                return Err(Reason::SubnetTaken { subnet, owner: owner() });
            }
        }
    }
    Ok(())
}

fn is_unused(state: &State, network: &Network) -> Result<(), Reason> {
    let in_use = |user: String| {
        Err(Reason::InUse { kind: "network", name: network.spec.annotations.name.clone(), user })
    };
    for service in state.services.iter() {
        if service.spec.task.networks.iter().any(|at| at.target == network.id) {
            return in_use(format!("service {}", service.spec.annotations.name));
        }
    }
    for task in state.tasks.iter().filter(|task| !task.status.state.is_terminal()) {
        if task.networks.iter().any(|at| at.network == network.id) {
            return in_use(format!("task {}", task.id));
        }
    }
    Ok(())
}
