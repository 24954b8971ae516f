//! Addresses for containers that were started by hand. Their users wait for them, so they are chosen
//! when they are asked for, and whoever gets none is told so at once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use skep_state::State;
use skep_types::{Family, Network};

use super::family;
use super::{Books, is_allocated};

/// Why a container has no address on a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// It may be so only for a moment: the network is new.
    #[error("network {0} has no subnet: the address pools are full")]
    NoSubnet(String),
    /// Docker's words.
    #[error("no configured subnet or ip-range contain the IP address {0}")]
    Outside(IpAddr),
    #[error("address {address} is already in use on network {network}")]
    Taken { network: String, address: IpAddr },
    #[error("network {0} has no free address left")]
    Exhausted(String),
    #[error("more than one address of a family is asked for on network {0}")]
    TwoOfAFamily(String),
}

/// The addresses that are asked for, and of each other family of the network the lowest that nothing
/// has.
pub fn addresses(
    state: &State,
    network: &Network,
    wished: &[IpAddr],
) -> Result<Vec<IpNet>, NoAddress> {
    let name = || network.spec.annotations.name.clone();
    if !is_allocated(network) {
        return Err(NoAddress::NoSubnet(name()));
    }
    let families: BTreeSet<bool> = wished.iter().map(IpAddr::is_ipv4).collect();
    if families.len() < wished.len() {
        return Err(NoAddress::TwoOfAFamily(name()));
    }
    let mut chosen =
        wished.iter().map(|it| asked(state, network, *it)).collect::<Result<Vec<_>, _>>()?;
    let mut books = Books::default();
    for family in
        family::given(network).filter(|it| !wished.iter().any(|of| Family::of(*of) == *it))
    {
        let lowest = books.address(state, network, family);
        chosen.push(lowest.ok_or_else(|| NoAddress::Exhausted(name()))?);
    }
    chosen.sort_by_key(|it| !it.addr().is_ipv4());
    Ok(chosen)
}

fn asked(state: &State, network: &Network, address: IpAddr) -> Result<IpNet, NoAddress> {
    let config = network.ipam.iter().find(|config| config.subnet.contains(&address));
    let config = config.ok_or(NoAddress::Outside(address))?;
    let subnet = config.subnet;
    let reserved =
        address == subnet.network() || (subnet.addr().is_ipv4() && address == subnet.broadcast());
    if reserved {
        return Err(NoAddress::Outside(address));
    }
    let taken =
        config.gateway == Some(address) || state.address_owner(network.id, address).is_some();
    if taken {
        let network = network.spec.annotations.name.clone();
        return Err(NoAddress::Taken { network, address });
    }
    IpNet::new(address, subnet.prefix_len()).map_err(|_| NoAddress::Outside(address))
}
