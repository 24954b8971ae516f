//! Asks other name servers what is not the overlay's to know: the host's from the host's own
//! namespace, those that a user chose for a task from the task's, so that they can be tasks
//! themselves and nobody reaches more by names than by addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use skep_overlay_kernel::{HostNs, Namespace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::Transport;

/// glibc's number of name servers (`MAXNS`).
const SERVERS_MAX: usize = 3;
/// One resolver's time. All three together stay below what glibc waits for two attempts.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(3);
const DNS_PORT: u16 = 53;
/// The largest datagram.
const DATAGRAM_BYTES: usize = 65_535;

/// Which servers.
#[derive(Debug, Clone)]
enum Servers {
    /// Read for every question: the file changes under a daemon that runs for months.
    File(PathBuf),
    Chosen(Vec<IpAddr>),
}

/// A way to ask.
#[derive(Debug, Clone)]
pub struct Forwarder {
    place: Namespace,
    servers: Servers,
}

impl Forwarder {
    /// Asks the host's servers.
    pub fn of_host(host: HostNs, resolv_conf: PathBuf) -> Self {
        Self { place: host, servers: Servers::File(resolv_conf) }
    }

    /// Asks what was chosen for a task.
    pub fn of_task(task: Namespace, servers: Vec<IpAddr>) -> Self {
        Self { place: task, servers: Servers::Chosen(servers) }
    }

    async fn servers(&self) -> Vec<SocketAddr> {
        let addresses = match &self.servers {
            Servers::Chosen(addresses) => addresses.clone(),
            Servers::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) => nameservers(&text),
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "no name servers of the host");
                    Vec::new()
                }
            },
        };
        addresses.into_iter().take(SERVERS_MAX).map(|it| SocketAddr::new(it, DNS_PORT)).collect()
    }

    /// The first resolver's answer, as it came; None if none answered.
    pub async fn ask(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for resolver in self.servers().await {
            let asked = timeout(RESOLVER_TIMEOUT, self.ask_one(resolver, question, transport));
            match asked.await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%resolver, %error, "resolver did not answer"),
                Err(_) => tracing::debug!(%resolver, "resolver did not answer in time"),
            }
        }
        None
    }

    async fn ask_one(
        &self,
        resolver: SocketAddr,
        question: &[u8],
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        match transport {
            Transport::Udp => self.ask_udp(resolver, question).await,
            Transport::Tcp => self.ask_tcp(resolver, question).await,
        }
    }

    async fn ask_udp(&self, resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let any: IpAddr = if resolver.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        // A fresh socket for each question, so that its port cannot be guessed.
        let bind = move || std::net::UdpSocket::bind((any, 0));
        let socket = self.place.run(bind).await.and_then(|it| it)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        socket.connect(resolver).await?;
        socket.send(question).await?;
        let mut answer = vec![0; DATAGRAM_BYTES];
        loop {
            let length = socket.recv(&mut answer).await?;
            // Only what carries the question's own id answers it.
            if answer[..length].first_chunk::<2>() == question.first_chunk::<2>() {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }

    async fn ask_tcp(&self, resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let runtime = tokio::runtime::Handle::current();
        let make = move || {
            let _guard = runtime.enter();
            if resolver.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
        };
        let socket = self.place.run(make).await.and_then(|it| it)?;
        let mut stream = socket.connect(resolver).await?;
        write_message(&mut stream, question).await?;
        read_message(&mut stream).await
    }
}

/// A message on a stream: its length, then itself (RFC 1035).
pub async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(2 + message.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).await
}

pub async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The name servers of a `resolv.conf`, in order.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        // A scope (`fe80::1%eth0`) cannot be kept; such a server is left out.
        is_server.then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    };
    text.lines().filter_map(address).take(SERVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_glibc_does() {
        let text = "# nameserver 9.9.9.9\nsearch lan\nnameserver 192.168.0.1\nnameserver  ::1\n\
                    options ndots:0\nnameserver fe80::1%eth0\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.168.0.1", "::1", "1.1.1.1"]);
    }
}
