//! A container's resolver: sockets inside its namespace, served by the daemon.
//!
//! It listens on a port of its own and the namespace's rules send port 53 there, so that a container
//! may have a name server itself.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use skep_overlay_kernel::Namespace;
use skep_overlay_plan::NetworkState;
use skep_types::NetworkId;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{Known, Outcome, Transport, answer, server_failure};
use super::forward::{Forwarder, read_message, write_message};
use super::names::OnOverlays;

/// Where containers ask, as in Docker.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// Questions of one task that wait for the host's resolvers. A client asks two at a time for a
/// name; a task with more than this many is answered that it failed, and comes again.
const FORWARDED_MAX: usize = 256;
/// Connections of one task at a time; more wait.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be silent (RFC 7766 leaves it to the server).
const IDLE: Duration = Duration::from_secs(10);
/// A namespace is new when its resolver starts, so the first port is nearly always free.
const PORTS_TRIED: u16 = 8;
/// Ports above those that the kernel gives to clients (32768 to 60999) and that hardly any server
/// chooses: a container cannot listen on this one on the wildcard address.
const PORT_FIRST: u16 = 61_000;
const PORT_COUNT: u16 = 4_000;
/// The pause after the kernel refused a socket call, for instance because no file is free.
const PAUSE: Duration = Duration::from_millis(100);
const DATAGRAM_BYTES: usize = 4096;

/// What all resolvers of a node know, each of its own networks.
#[derive(Debug, Default)]
pub struct Directory {
    networks: RwLock<BTreeMap<NetworkId, Arc<NetworkState>>>,
}

impl Directory {
    pub fn set(&self, network: Arc<NetworkState>) {
        let mut networks = self.networks.write().unwrap_or_else(PoisonError::into_inner);
        networks.insert(network.id, network);
    }

    pub fn remove(&self, network: NetworkId) {
        self.networks.write().unwrap_or_else(PoisonError::into_inner).remove(&network);
    }

    fn view(&self, of: &[NetworkId]) -> Vec<Arc<NetworkState>> {
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        of.iter().filter_map(|id| networks.get(id).cloned()).collect()
    }
}

/// What answers a resolver's questions.
pub trait Knowledge: Send + Sync {
    /// Answers one question with what is known now.
    fn answer(&self, question: &[u8], transport: Transport, turn: usize) -> Outcome;
}

/// A task's part of the directory.
pub struct TaskKnowledge {
    pub networks: Vec<NetworkId>,
    pub directory: Arc<Directory>,
}

impl Knowledge for TaskKnowledge {
    fn answer(&self, question: &[u8], transport: Transport, turn: usize) -> Outcome {
        let view = self.directory.view(&self.networks);
        let complete = view.len() == self.networks.len();
        answer(Known { names: &OnOverlays(&view), complete, turn }, question, transport)
    }
}

/// Whom a resolver serves, and with what.
#[derive(Clone)]
pub struct Scope {
    /// The asker's name in the log.
    pub asker: String,
    /// The port follows from it while it is free: the asker's id, or what is as random.
    pub seed: u128,
    pub knowledge: Arc<dyn Knowledge>,
    /// None: who has no way to the outside does not get there by names either.
    pub forwarder: Option<Forwarder>,
}

struct Shared {
    scope: Scope,
    turn: AtomicUsize,
    forwarded: Arc<Semaphore>,
}

/// A resolver that runs; it ends when dropped.
#[derive(Debug)]
pub struct Resolver {
    port: u16,
    tasks: JoinSet<()>,
}

impl Resolver {
    /// Listens in a namespace. The port follows from the seed while it is free, so that a daemon
    ///  that starts again listens where the rules already point.
    pub async fn start(place: &Namespace, scope: Scope) -> io::Result<Self> {
        let first = preferred_port(scope.seed);
        let (udp, tcp) = place.run(move || listen(first)).await.and_then(|it| it)?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let port = udp.local_addr()?.port();
        let shared = Arc::new(Shared {
            scope,
            turn: AtomicUsize::new(0),
            forwarded: Arc::new(Semaphore::new(FORWARDED_MAX)),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::new(UdpSocket::from_std(udp)?), shared.clone()));
        tasks.spawn(serve_tcp(TcpListener::from_std(tcp)?, shared));
        Ok(Self { port, tasks })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it and waits until its sockets are closed.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Ids are random, and so is this.
fn preferred_port(seed: u128) -> u16 {
    PORT_FIRST + (seed % u128::from(PORT_COUNT)) as u16
}

/// One port for both protocols.
fn listen(first: u16) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for attempt in 0..PORTS_TRIED {
        let port = PORT_FIRST + (first - PORT_FIRST + attempt) % PORT_COUNT;
        let at = SocketAddr::from((ADDRESS, port));
        match (std::net::UdpSocket::bind(at), std::net::TcpListener::bind(at)) {
            (Ok(udp), Ok(tcp)) => return Ok((udp, tcp)),
            (Err(error), _) | (_, Err(error)) => last = error,
        }
    }
    Err(last)
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut waiting = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        // Finished ones leave the set, which is so bounded by the semaphore.
        while waiting.try_join_next().is_some() {}
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // A client that was gone before its answer: its error comes up at the next call.
            Err(error) => {
                tracing::debug!(asker = %shared.scope.asker, %error, "resolver could not receive");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let question = &buffer[..length];
        match local(&shared, question, Transport::Udp) {
            Outcome::Answer(bytes) => send(&socket, &bytes, client).await,
            Outcome::Drop => {}
            Outcome::Forward => {
                let question = question.to_vec();
                let Ok(permit) = shared.forwarded.clone().try_acquire_owned() else {
                    if let Outcome::Answer(bytes) = server_failure(&question) {
                        send(&socket, &bytes, client).await;
                    }
                    continue;
                };
                let (socket, shared) = (socket.clone(), shared.clone());
                waiting.spawn(async move {
                    if let Some(bytes) = forward(&shared, &question, Transport::Udp).await {
                        send(&socket, &bytes, client).await;
                    }
                    drop(permit);
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(bytes, client).await {
        tracing::debug!(%client, %error, "resolver could not answer");
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, shared.clone()));
            }
            Err(error) => {
                tracing::debug!(asker = %shared.scope.asker, %error, "resolver could not accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One connection's questions, one after the other.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Ok(Ok(question)) = timeout(IDLE, read_message(&mut stream)).await {
        let bytes = match local(&shared, &question, Transport::Tcp) {
            Outcome::Answer(bytes) => Some(bytes),
            Outcome::Drop => None,
            Outcome::Forward => forward(&shared, &question, Transport::Tcp).await,
        };
        let Some(bytes) = bytes else { return };
        if !matches!(timeout(IDLE, write_message(&mut stream, &bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn local(shared: &Shared, question: &[u8], transport: Transport) -> Outcome {
    let turn = shared.turn.fetch_add(1, Ordering::Relaxed);
    shared.scope.knowledge.answer(question, transport, turn)
}

/// The host's resolvers' answer, or that there is none.
async fn forward(shared: &Shared, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let answered = match &shared.scope.forwarder {
        Some(forwarder) => forwarder.ask(question, transport).await,
        None => None,
    };
    answered.or_else(|| match server_failure(question) {
        Outcome::Answer(bytes) => Some(bytes),
        _ => None,
    })
}
