//! Which address a node advertises: the one that was given, or the only one there is.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use skep_types::defaults::MANAGER_PORT;

/// Why there is no address to advertise. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("could not find the system's IP address")]
    None,
    #[error(
        "could not choose an IP address to advertise since this system has multiple addresses on interface {interface} ({one} and {other})"
    )]
    SameInterface { interface: String, one: IpAddr, other: IpAddr },
    #[error(
        "could not choose an IP address to advertise since this system has multiple addresses on different interfaces ({one} on {one_at} and {other} on {other_at})"
    )]
    DifferentInterfaces { one: IpAddr, one_at: String, other: IpAddr, other_at: String },
    #[error(
        "advertise address must be a non-zero IP address or network interface (with optional port number)"
    )]
    Unusable,
    #[error("interface {0} has no IP address")]
    NoAddress(String),
    #[error(
        "listen address must be an IP address or network interface (with optional port number)"
    )]
    Listen,
    #[error("failed to list network interfaces: {0}")]
    List(String),
}

/// An interface's address.
type At = (String, IpAddr);

/// `IP`, `IP:port`, `interface` or `interface:port`; the port is Swarm's by default.
fn parse(text: &str, bad: AddressError) -> Result<SocketAddr, AddressError> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok(addr);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, MANAGER_PORT));
    }
    let (interface, port) = match text.rsplit_once(':') {
        Some((interface, port)) => (interface, port.parse().map_err(|_| bad.clone())?),
        None => (text, MANAGER_PORT),
    };
    let all = addresses(|_| true)?;
    let mut of = all.iter().filter(|(name, _)| name == interface).map(|(_, ip)| *ip).peekable();
    if of.peek().is_none() {
        let known = nix::net::if_::if_nametoindex(interface).is_ok();
        return Err(if known { AddressError::NoAddress(interface.to_owned()) } else { bad });
    }
    let of: Vec<IpAddr> = of.collect();
    let v4: Vec<IpAddr> = of.iter().copied().filter(IpAddr::is_ipv4).collect();
    let ip = match (&v4[..], &of[..]) {
        ([ip], _) | ([], [ip]) => *ip,
        ([one, other, ..], _) | ([], [one, other, ..]) => {
            let (one, other) = (*one, *other);
            return Err(AddressError::SameInterface {
                interface: interface.to_owned(),
                one,
                other,
            });
        }
        ([], []) => return Err(AddressError::NoAddress(interface.to_owned())),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Where a manager listens; empty means everywhere.
pub fn listen(text: &str) -> Result<SocketAddr, AddressError> {
    if text.is_empty() {
        return Ok(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), MANAGER_PORT));
    }
    parse(text, AddressError::Listen)
}

/// Where the others reach this node. Given, or where it listens, or its only address.
pub fn advertise(given: &str, listen: SocketAddr) -> Result<SocketAddr, AddressError> {
    if !given.is_empty() {
        let mut addr = parse(given, AddressError::Unusable)?;
        if addr.ip().is_unspecified() {
            return Err(AddressError::Unusable);
        }
        if !given.contains(&format!(":{}", addr.port())) {
            addr.set_port(listen.port());
        }
        return Ok(addr);
    }
    if !listen.ip().is_unspecified() {
        return Ok(listen);
    }
    let candidates = addresses(|flags| !flags.contains(InterfaceFlags::IFF_LOOPBACK))?;
    Ok(SocketAddr::new(choose(&candidates)?, listen.port()))
}

/// The address that packets to `remote` leave from: what a joining node advertises when it was
/// not told.
pub fn towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    // Sends nothing: the kernel only looks for the route.
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// The only IPv4 address, or else the only IPv6 address.
fn choose(candidates: &[At]) -> Result<IpAddr, AddressError> {
    let of =
        |v4: bool| -> Vec<&At> { candidates.iter().filter(|(_, ip)| ip.is_ipv4() == v4).collect() };
    for family in [of(true), of(false)] {
        match family[..] {
            [] => {}
            [(_, ip)] => return Ok(*ip),
            [(one_at, one), (other_at, other), ..] if one_at == other_at => {
                let (interface, one, other) = (one_at.clone(), *one, *other);
                return Err(AddressError::SameInterface { interface, one, other });
            }
            [(one_at, one), (other_at, other), ..] => {
                return Err(AddressError::DifferentInterfaces {
                    one: *one,
                    one_at: one_at.clone(),
                    other: *other,
                    other_at: other_at.clone(),
                });
            }
        }
    }
    Err(AddressError::None)
}

/// Addresses of the host's interfaces that are up. Docker's own bridges and ours reach nobody.
fn addresses(wanted: impl Fn(InterfaceFlags) -> bool) -> Result<Vec<At>, AddressError> {
    let all = getifaddrs().map_err(|error| AddressError::List(error.to_string()))?;
    let mut found: Vec<At> = Vec::new();
    for interface in all {
        let name = interface.interface_name;
        let internal = ["docker", "skep", "veth", "br-"].iter().any(|it| name.starts_with(it));
        if internal || !interface.flags.contains(InterfaceFlags::IFF_UP) || !wanted(interface.flags)
        {
            continue;
        }
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
        let v6 = address.as_sockaddr_in6().map(|it| IpAddr::from(it.ip()));
        // Link-local addresses are reached on their own link only.
        let usable = |ip: &IpAddr| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        found.extend(v4.or(v6).filter(usable).map(|ip| (name, ip)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, ip: &str) -> At {
        (name.to_owned(), ip.parse().unwrap())
    }

    #[test]
    fn the_only_address_is_taken_and_several_are_named() {
        let one = at("eth0", "10.0.0.1");
        assert_eq!(choose(std::slice::from_ref(&one)), Ok("10.0.0.1".parse().unwrap()));
        assert_eq!(choose(&[]), Err(AddressError::None));
        let both = choose(&[one.clone(), at("eth1", "10.1.0.1")]).unwrap_err().to_string();
        assert!(both.ends_with("(10.0.0.1 on eth0 and 10.1.0.1 on eth1)"), "{both}");
        let same = choose(&[one.clone(), at("eth0", "10.0.0.2")]).unwrap_err().to_string();
        assert!(same.ends_with("on interface eth0 (10.0.0.1 and 10.0.0.2)"), "{same}");
        assert_eq!(choose(&[one, at("eth0", "fd00::1")]), Ok("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_given_address_keeps_the_port_it_names() {
        let listens: SocketAddr = "0.0.0.0:4000".parse().unwrap();
        let advertise = |given| {
            super::advertise(given, listens).map(|a| a.to_string()).map_err(|e| e.to_string())
        };
        assert_eq!(advertise("10.0.0.1").unwrap(), "10.0.0.1:4000");
        assert_eq!(advertise("10.0.0.1:5000").unwrap(), "10.0.0.1:5000");
        assert_eq!(advertise("lo:7").unwrap(), "127.0.0.1:7");
        assert_eq!(advertise("0.0.0.0").unwrap_err(), AddressError::Unusable.to_string());
        assert_eq!(advertise("no-such-0").unwrap_err(), AddressError::Unusable.to_string());
    }
}
