//! Ports of the host that are held for tasks: a bound socket keeps the processes of the host, and
//! the containers that are made by hand, from taking one whose number was chosen here.
//!
//! Packets to it are translated before any socket sees them, so it does not listen and nobody reads
//! from it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::Ipv6V6Only;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket,
};
use skep_overlay_plan::LocalPorts;
use skep_types::Family;
use skep_types::service::Protocol;

use crate::{HostNs, KernelError};

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// A port that is held until this is dropped, in each family. None where the kernel has no such
/// protocol, or no IPv6: nobody else can have the port there either.
#[derive(Debug)]
pub struct HeldPort(#[expect(dead_code, reason = "held for its drop")] Vec<OwnedFd>);

/// From which ports of a host numbers are chosen.
pub async fn local_ports(host: &HostNs) -> Result<LocalPorts, KernelError> {
    let read = || {
        let range = std::fs::read_to_string(RANGE)?;
        // A kernel without the second file reserves none.
        let reserved = std::fs::read_to_string(RESERVED).unwrap_or_default();
        Ok(LocalPorts::parse(&range, &reserved))
    };
    let read = host.run(read).await.and_then(|result: io::Result<_>| result);
    read.map_err(KernelError::io(format!("read {RANGE}")))
}

/// Holds the first of `numbers` that nobody has on any of the host's addresses; None if there
/// is none.
pub async fn hold_first(
    host: &HostNs,
    protocol: Protocol,
    numbers: Vec<u16>,
) -> Result<Option<(u16, HeldPort)>, KernelError> {
    let try_all = move || {
        for number in numbers {
            match hold(protocol, number) {
                Ok(held) => return Ok(Some((number, held))),
                Err(Errno::EADDRINUSE) => {}
                Err(errno) => return Err(io::Error::from(errno)),
            }
        }
        Ok(None)
    };
    let tried = host.run(try_all).await.and_then(|result| result);
    tried.map_err(KernelError::io("hold a port of the host"))
}

/// For a thread in the host's namespace. The address is not shared (`SO_REUSEADDR`): two that share
/// it could hold the same port.
fn hold(protocol: Protocol, number: u16) -> nix::Result<HeldPort> {
    let (kind, number_of) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let mut held = Vec::new();
    for family in Family::ALL {
        let (domain, any): (_, IpAddr) = match family {
            Family::V4 => (AddressFamily::Inet, Ipv4Addr::UNSPECIFIED.into()),
            Family::V6 => (AddressFamily::Inet6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let socket = match socket(domain, kind, SockFlag::SOCK_CLOEXEC, number_of) {
            Err(Errno::EPROTONOSUPPORT) if protocol == Protocol::Sctp => continue,
            Err(Errno::EAFNOSUPPORT) if family == Family::V6 => continue,
            other => other?,
        };
        if family == Family::V6 {
            // The other socket has what comes by IPv4.
            setsockopt(&socket, Ipv6V6Only, &true)?;
        }
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, number)))?;
        held.push(socket);
    }
    Ok(HeldPort(held))
}
