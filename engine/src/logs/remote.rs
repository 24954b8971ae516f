//! Sends messages to a service of the host that may not be there.
//!
//! **Invariant:** a container is not held up: a message that is not taken within
//! [`LOG_SEND_TIMEOUT`] is dropped and counted, and those after it without a wait, until one is
//! taken again.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, UnixAddr, connect, send, socket,
};
use time::OffsetDateTime;

use super::driver::{Address, Format};
use super::entry::Stdio;
use crate::defaults::{LOG_RECONNECT_INTERVAL, LOG_SEND_TIMEOUT};

#[derive(Debug)]
pub struct Remote {
    target: Target,
    format: Format,
    connection: Option<Connection>,
    /// Not before this another connection.
    rest_until: Option<Instant>,
    /// The last message was not taken.
    refused: bool,
    dropped: u64,
}

#[derive(Debug)]
enum Target {
    Unix { path: String, stream: bool },
    Net { at: SocketAddr, stream: bool },
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    stream: bool,
    /// The rest of a message that a stream has taken in part.
    rest: Vec<u8>,
}

impl Remote {
    /// Looks a host's name up, here and not later: it may take a while.
    pub fn new(address: Address, format: Format) -> io::Result<Remote> {
        let find = |name: &str| {
            let found = name.to_socket_addrs()?.next();
            found.ok_or_else(|| io::Error::other(format!("no address of {name}")))
        };
        let target = match address {
            Address::Unix(path) => Target::Unix { path, stream: true },
            Address::Datagrams(path) => Target::Unix { path, stream: false },
            Address::Udp(name) => Target::Net { at: find(&name)?, stream: false },
            Address::Tcp(name) => Target::Net { at: find(&name)?, stream: true },
        };
        Ok(Remote {
            target,
            format,
            connection: None,
            rest_until: None,
            refused: false,
            dropped: 0,
        })
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn add(&mut self, now: OffsetDateTime, stdio: Stdio, text: &[u8]) {
        let message = self.format.message(now, stdio, text);
        let patient = !self.refused;
        self.refused = !self.send(&message, patient);
        self.dropped += u64::from(self.refused);
    }

    fn send(&mut self, message: &[u8], patient: bool) -> bool {
        // A service that was started anew has closed the old connection.
        for _ in 0..2 {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                none => {
                    let now = Instant::now();
                    if self.rest_until.is_some_and(|until| now < until) {
                        return false;
                    }
                    let Ok(made) = self.target.connect() else {
                        self.rest_until = Some(now + LOG_RECONNECT_INTERVAL);
                        return false;
                    };
                    none.insert(made)
                }
            };
            match connection.send(message, patient) {
                Ok(()) => {
                    self.rest_until = None;
                    return true;
                }
                Err(Errno::EAGAIN | Errno::EMSGSIZE) => return false,
                Err(_) => self.connection = None,
            }
        }
        self.rest_until = Some(Instant::now() + LOG_RECONNECT_INTERVAL);
        false
    }
}

impl Target {
    fn connect(&self) -> nix::Result<Connection> {
        let open = |family, stream| {
            let kind = if stream { SockType::Stream } else { SockType::Datagram };
            socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
        };
        match self {
            Target::Unix { path, stream } => {
                let address = UnixAddr::new(path.as_str())?;
                let datagrams = open(AddressFamily::Unix, false)?;
                match connect(datagrams.as_raw_fd(), &address) {
                    // It is a socket of the other kind.
                    Err(Errno::EPROTOTYPE) if *stream => {
                        let socket = open(AddressFamily::Unix, true)?;
                        connect(socket.as_raw_fd(), &address)?;
                        Ok(Connection { socket, stream: true, rest: Vec::new() })
                    }
                    connected => {
                        connected?;
                        Ok(Connection { socket: datagrams, stream: false, rest: Vec::new() })
                    }
                }
            }
            Target::Net { at, stream } => {
                let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
                let socket = open(family, *stream)?;
                match connect(socket.as_raw_fd(), &SockaddrStorage::from(*at)) {
                    // Until it is connected it takes nothing, like one that is slow.
                    Ok(()) | Err(Errno::EINPROGRESS) => {}
                    Err(errno) => return Err(errno),
                }
                Ok(Connection { socket, stream: *stream, rest: Vec::new() })
            }
        }
    }
}

impl Connection {
    fn send(&mut self, message: &[u8], patient: bool) -> nix::Result<()> {
        let until = Instant::now() + LOG_SEND_TIMEOUT;
        let mut rest = std::mem::take(&mut self.rest);
        while !rest.is_empty() {
            match self.once(&rest) {
                Ok(length) => drop(rest.drain(..length)),
                Err(Errno::EAGAIN) if patient && self.wait(until)? => {}
                Err(errno) => {
                    self.rest = rest;
                    return Err(errno);
                }
            }
        }
        let mut sent = 0;
        loop {
            match self.once(&message[sent..]) {
                Ok(length) => sent += length,
                Err(Errno::EAGAIN) if patient && self.wait(until)? => {}
                // The next message may not come into the middle of this one.
                Err(Errno::EAGAIN) if sent > 0 => {
                    self.rest = message[sent..].to_vec();
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
            if sent == message.len() || !self.stream {
                return Ok(());
            }
        }
    }

    fn once(&self, bytes: &[u8]) -> nix::Result<usize> {
        send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
    }

    /// False if time has run out.
    fn wait(&self, until: Instant) -> nix::Result<bool> {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut polled = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut polled, timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(errno),
        }
    }
}
