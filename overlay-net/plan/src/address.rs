//! Link-layer addresses that follow from network addresses, so that nobody has to allocate or
//! send them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// A link-layer address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The address of a task's interface, as Docker derives it: 02:42 and the IPv4 address.
pub fn task_mac(address: IpAddr) -> Mac {
    with_prefix([0x02, 0x42], four_bytes(address))
}

/// The address of a node's own port on an overlay. Docker's tasks never have its prefix, so a
/// packet that carries it came through a node and not from a task.
pub fn node_mac(underlay: IpAddr) -> Mac {
    with_prefix([0x02, 0x53], four_bytes(underlay))
}

/// The mark of connections that came in through a node: never zero for a real address.
pub fn node_mark(underlay: IpAddr) -> u32 {
    u32::from_be_bytes(four_bytes(underlay))
}

/// A task's IPv6 address towards its host, and the host's towards its tasks: the IPv4 one behind a
/// prefix that is local to each node (RFC 4193).
pub fn outside_v6(address: Ipv4Addr) -> Ipv6Addr {
    behind(OUTSIDE_V6, address)
}

/// What a node calls itself towards tasks on other nodes where a client's own IPv6 address would mean
/// somebody else there: its underlay address, behind a prefix where that is of IPv4. Nobody has to
/// have it: what comes back to it is translated again before it is routed.
pub fn node_v6(underlay: IpAddr) -> Ipv6Addr {
    const PREFIX: u128 = 0xfd53_6b65_7001 << 80;
    match underlay {
        IpAddr::V4(v4) => behind(PREFIX, v4),
        IpAddr::V6(v6) => v6,
    }
}

const OUTSIDE_V6: u128 = 0xfd53_6b65_7000 << 80;

/// All of `outside_v6`.
pub fn outside_pool_v6() -> Ipv6Net {
    const LENGTH: u8 = 96;
    Ipv6Net::new_assert(Ipv6Addr::from(OUTSIDE_V6), LENGTH)
}

fn behind(prefix: u128, address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(prefix | u128::from(u32::from(address)))
}

fn with_prefix(prefix: [u8; 2], [a, b, c, d]: [u8; 4]) -> Mac {
    Mac([prefix[0], prefix[1], a, b, c, d])
}

/// IPv4 as it is. IPv6 is folded to 32 bits, so that two addresses may collide: a task's interface
/// follows its IPv4 address wherever it has one.
fn four_bytes(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            let fold = (bits >> 96) ^ (bits >> 64) ^ (bits >> 32) ^ bits;
            (fold as u32).to_be_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_docker() {
        let ip: IpAddr = "10.0.1.3".parse().unwrap();
        assert_eq!(task_mac(ip).to_string(), "02:42:0a:00:01:03");
        assert_eq!(node_mac(ip).to_string(), "02:53:0a:00:01:03");
        assert_eq!(node_mark(ip), 0x0a00_0103);
        let outside = outside_v6("172.18.0.2".parse().unwrap());
        assert_eq!(outside.to_string(), "fd53:6b65:7000::ac12:2");
        assert!(outside_pool_v6().contains(&outside));
        assert_eq!(node_v6(ip).to_string(), "fd53:6b65:7001::a00:103");
        assert_ne!(task_mac("fd00::1".parse().unwrap()), task_mac("fd00::2".parse().unwrap()));
    }
}
