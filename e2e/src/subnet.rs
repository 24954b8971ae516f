//! Which address is whose in a fleet's subnet. Pure.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A fleet's place in the range; no two fleets that stand have the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subnet(u8);

impl Subnet {
    /// The first one that is not taken.
    pub fn first_free(taken: &[Self]) -> Option<Self> {
        (0..limits::FLEETS_MAX).map(Self).find(|subnet| !taken.contains(subnet))
    }

    pub fn index(self) -> u8 {
        self.0
    }

    fn address(self, offset: u32) -> Ipv4Addr {
        let size = 1u32 << (32 - limits::FLEET_PREFIX);
        Ipv4Addr::from(u32::from(limits::RANGE) + u32::from(self.0) * size + offset)
    }

    /// The outside machine: the hosts' default route.
    pub fn outside(self) -> Ipv4Addr {
        self.address(1)
    }

    /// The real machine, where the fleet is reachable from it.
    pub fn machine(self) -> Ipv4Addr {
        self.address(2)
    }

    /// `number` counts from 1.
    pub fn host(self, number: usize) -> Ipv4Addr {
        let number = u32::try_from(number).expect("hosts are bounded by HOSTS_MAX");
        self.address(10 + number)
    }

    /// Stays the same over a host's restarts, as a network card's does.
    pub fn mac(address: Ipv4Addr) -> String {
        let [a, b, c, d] = address.octets();
        format!("02:fe:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fleets_and_hosts_have_addresses_of_their_own() {
        let first = Subnet::first_free(&[]).unwrap();
        let second = Subnet::first_free(&[first]).unwrap();
        assert_eq!(first.outside().to_string(), "198.18.0.1");
        assert_eq!(first.host(1).to_string(), "198.18.0.11");
        assert_eq!(first.host(limits::HOSTS_MAX).to_string(), "198.18.3.242");
        assert_eq!(second.outside().to_string(), "198.18.4.1");
        assert_eq!(Subnet::first_free(&[second]), Some(first), "gaps are filled");
        assert_eq!(Subnet(limits::FLEETS_MAX - 1).outside().to_string(), "198.19.252.1");
    }

    #[test]
    fn a_full_range_has_no_room() {
        let all: Vec<Subnet> = (0..limits::FLEETS_MAX).map(Subnet).collect();
        assert_eq!(Subnet::first_free(&all), None);
    }
}
