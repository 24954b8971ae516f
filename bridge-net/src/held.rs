//! Ports of the host that are a container's: a bound socket keeps others from them, and passes on
//! what packet rules do not translate.
//!
//! That is what a loopback client sends to `::1`, what comes by IPv6 for a container without it,
//! and everything where no packet rule is to be touched. An operator may want none of that
//! (`userland-proxy`): then a port is kept from others and what is not translated is refused. Connections that pass through here end
//! with the daemon; translated ones do not. An SCTP port is translated only, and not held: the
//! standard library of sockets has no SCTP, and few kernels load it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};
use skep_overlay_kernel::Namespace;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};

use crate::ports::{Protocol, Published};

/// As the standard library's listeners.
const BACKLOG: i32 = 128;
/// Connections that one port passes on at a time; more wait.
const CONNECTIONS_MAX: usize = 1024;
/// UDP clients that one port remembers; the port answers no more for others until one is silent.
const CLIENTS_MAX: usize = 1024;
/// How long a silent UDP client is remembered, as Docker's proxy does.
const UDP_IDLE: Duration = Duration::from_secs(90);
/// The pause after the kernel refused a socket call, for instance because no file is free.
const PAUSE: Duration = Duration::from_millis(100);
const DATAGRAM_BYTES: usize = 65_535;

/// Where a container is now; None while it has no way to the outside.
pub type Behind = Arc<Mutex<Vec<IpAddr>>>;

/// A socket that holds a port.
#[derive(Debug)]
pub enum Bound {
    Tcp(OwnedFd),
    Udp(OwnedFd),
    /// Held, and no more.
    Idle(OwnedFd),
    /// Not held: see the module.
    Nothing,
}

/// A held port; free when dropped.
#[derive(Debug)]
pub enum Held {
    Relayed(AbortHandle),
    Idle(#[expect(dead_code, reason = "held for its drop")] OwnedFd),
    Nothing,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Relayed(relay) = self {
            relay.abort();
        }
    }
}

/// What a held port does with what comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    On,
    Refused,
}

/// Binds a port on each of the addresses, or none. For a thread in the host's namespace.
pub fn bind_all(
    addresses: &[IpAddr],
    port: u16,
    protocol: Protocol,
    passing: Passing,
) -> io::Result<Vec<Bound>> {
    addresses.iter().map(|it| bind_one(SocketAddr::new(*it, port), protocol, passing)).collect()
}

fn bind_one(at: SocketAddr, protocol: Protocol, passing: Passing) -> io::Result<Bound> {
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
        Protocol::Sctp => return Ok(Bound::Nothing),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let held = socket(family, kind, flags, None)?;
    if at.is_ipv6() {
        setsockopt(&held, sockopt::Ipv6V6Only, &true)?;
    }
    if protocol == Protocol::Tcp {
        setsockopt(&held, sockopt::ReuseAddr, &true)?;
    }
    bind(held.as_raw_fd(), &SockaddrStorage::from(at))?;
    if passing == Passing::Refused {
        return Ok(Bound::Idle(held));
    }
    if protocol == Protocol::Udp {
        return Ok(Bound::Udp(held));
    }
    listen(&held, Backlog::new(BACKLOG)?)?;
    Ok(Bound::Tcp(held))
}

/// Passes on what comes to a bound port until the result is dropped.
pub fn hold(
    host: &Namespace,
    bound: Bound,
    published: Published,
    behind: Behind,
) -> io::Result<Held> {
    let relay = Relay { host: host.clone(), published, behind };
    let task = match bound {
        Bound::Tcp(socket) => {
            let listener = TcpListener::from_std(socket.into())?;
            tokio::spawn(relay.serve_tcp(listener)).abort_handle()
        }
        Bound::Udp(socket) => {
            let socket = UdpSocket::from_std(socket.into())?;
            tokio::spawn(relay.serve_udp(Arc::new(socket))).abort_handle()
        }
        Bound::Idle(socket) => return Ok(Held::Idle(socket)),
        Bound::Nothing => return Ok(Held::Nothing),
    };
    Ok(Held::Relayed(task))
}

#[derive(Clone)]
struct Relay {
    host: Namespace,
    published: Published,
    behind: Behind,
}

impl Relay {
    /// An address of the port's own family where the container has one, else the other.
    fn target(&self) -> Option<SocketAddr> {
        let addresses = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |it: &&IpAddr| it.is_ipv4() == self.published.address.is_ipv4();
        let address = addresses.iter().find(same).or_else(|| addresses.first())?;
        Some(SocketAddr::new(*address, self.published.port.number))
    }

    async fn serve_tcp(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= CONNECTIONS_MAX {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((client, _)) => {
                    let relay = self.clone();
                    connections.spawn(async move {
                        if let Err(error) = relay.pass(client).await {
                            tracing::debug!(port = %relay.published.port, %error, "not passed on");
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!(port = %self.published.port, %error, "could not accept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn pass(&self, mut client: TcpStream) -> io::Result<()> {
        let Some(target) = self.target() else { return Ok(()) };
        let runtime = tokio::runtime::Handle::current();
        let make = move || {
            let _guard = runtime.enter();
            if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
        };
        let socket = self.host.run(make).await.and_then(|it| it)?;
        let mut server = socket.connect(target).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
    }

    async fn serve_udp(self, socket: Arc<UdpSocket>) {
        let mut clients: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
        let mut answering: JoinSet<SocketAddr> = JoinSet::new();
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            while let Some(silent) = answering.try_join_next() {
                if let Ok(client) = silent {
                    clients.remove(&client);
                }
            }
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(port = %self.published.port, %error, "could not receive");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let to_server = match clients.get(&client) {
                Some(known) => known.clone(),
                None if clients.len() >= CLIENTS_MAX => continue,
                None => match self.udp_to_server().await {
                    Ok(Some(made)) => {
                        clients.insert(client, made.clone());
                        answering.spawn(answer_udp(made.clone(), socket.clone(), client));
                        made
                    }
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::debug!(port = %self.published.port, %error, "not passed on");
                        continue;
                    }
                },
            };
            if let Err(error) = to_server.send(&buffer[..length]).await {
                tracing::debug!(port = %self.published.port, %error, "not passed on");
            }
        }
    }

    async fn udp_to_server(&self) -> io::Result<Option<Arc<UdpSocket>>> {
        let Some(target) = self.target() else { return Ok(None) };
        let any: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let make = move || std::net::UdpSocket::bind((any, 0));
        let socket = self.host.run(make).await.and_then(|it| it)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        socket.connect(target).await?;
        Ok(Some(Arc::new(socket)))
    }
}

/// Answers one client until nothing was said for a while.
async fn answer_udp(
    from: Arc<UdpSocket>,
    through: Arc<UdpSocket>,
    client: SocketAddr,
) -> SocketAddr {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    while let Ok(Ok(length)) = tokio::time::timeout(UDP_IDLE, from.recv(&mut buffer)).await {
        if through.send_to(&buffer[..length], client).await.is_err() {
            break;
        }
    }
    client
}
