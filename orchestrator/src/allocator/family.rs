//! The two families of addresses.

use std::net::IpAddr;

use skep_types::Network;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    /// Those that a network has subnets of.
    pub fn of(network: &Network) -> impl Iterator<Item = Self> + '_ {
        let stands = |family: &Self| network.ipam.iter().any(|it| family.has(it.subnet.addr()));
        [Self::V4, Self::V6].into_iter().filter(stands)
    }

    /// Those that a network is to have.
    pub fn wanted(network: &Network) -> impl Iterator<Item = Self> {
        let both = network.spec.ipv6;
        [Self::V4, Self::V6].into_iter().filter(move |family| *family == Self::V4 || both)
    }
}
