//! A container's resolver: sockets inside its namespace, and what is asked there.
//!
//! It listens on a port of its own and the namespace's rules send port 53 there, so that a container
//! may have a name server itself.
//!
//! **Invariant:** between two turns of one asker every other one has had its own, and nothing that
//! an asker sends keeps more of its questions here than the bounds below.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use skep_overlay_kernel::Namespace;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use super::answer::{Known, Outcome, Transport, answer, server_failure};
use super::forward::{Forwarder, Share, read_message, write_message};
use super::names::{Place, View};
use super::pace::Pace;
use super::zone::Zone;

/// Where containers ask, as in Docker.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// Questions of one task that wait for other servers. A client asks two at a time for a
/// name; a task with more than this many is answered that it failed, and comes again.
const FORWARDED_MAX: usize = 256;
/// So many of each task's wait even if those of all others are too many already.
const FORWARDED_ALWAYS: usize = 8;
/// Connections of one task at a time; more wait.
const CONNECTIONS_MAX: usize = 64;
/// Questions of one asker that are answered before others have their turn.
const TURN: usize = 16;
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

/// All networks that are known, each asker's among them.
pub type Directory = Mutex<HashMap<String, Zone>>;

/// What an asker is told.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The asker's name in the log.
    pub asker: String,
    /// The networks that it is on.
    pub places: Vec<Place>,
    /// None: who has no way to the outside does not get there by names either.
    pub forwarder: Option<Forwarder>,
}

/// Sockets in an asker's namespace, one port for both protocols.
#[derive(Debug)]
pub struct Listening {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

impl Listening {
    /// The port follows from the seed while it is free, so that a process that starts again
    /// listens where the rules already point.
    pub async fn open(place: &Namespace, seed: u128) -> io::Result<Self> {
        let first = preferred_port(seed);
        place.run(move || listen(first)).await.and_then(|it| it)
    }

    /// At this port or not at all.
    pub async fn at(place: &Namespace, port: u16) -> io::Result<Self> {
        place.run(move || bind(port)).await.and_then(|it| it)
    }

    /// Sockets that listened before.
    pub fn adopt(udp: OwnedFd, tcp: OwnedFd) -> Self {
        Self { udp: udp.into(), tcp: tcp.into() }
    }
}

struct Shared {
    directory: Arc<Directory>,
    scope: RwLock<Arc<Scope>>,
    turn: AtomicUsize,
    forwarded: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

/// A resolver that runs; it ends when dropped.
pub struct Resolver {
    port: u16,
    udp: Arc<UdpSocket>,
    tcp: Arc<TcpListener>,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Resolver {
    pub fn start(
        listening: Listening,
        scope: Scope,
        directory: Arc<Directory>,
    ) -> io::Result<Self> {
        let Listening { udp, tcp } = listening;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let port = udp.local_addr()?.port();
        let (udp, tcp) =
            (Arc::new(UdpSocket::from_std(udp)?), Arc::new(TcpListener::from_std(tcp)?));
        let shared = Arc::new(Shared {
            directory,
            scope: RwLock::new(Arc::new(scope)),
            turn: AtomicUsize::new(0),
            forwarded: Arc::new(Semaphore::new(FORWARDED_MAX)),
            pace: Mutex::new(Pace::new(Instant::now())),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp.clone(), shared.clone()));
        tasks.spawn(serve_tcp(tcp.clone(), shared.clone()));
        Ok(Self { port, udp, tcp, shared, tasks })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What is asked from now on is answered so.
    pub fn rescope(&self, scope: Scope) {
        *self.shared.scope.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(scope);
    }

    pub fn scope(&self) -> Arc<Scope> {
        self.shared.scope()
    }

    /// Its sockets, for who goes on with them.
    pub fn sockets(&self) -> (&UdpSocket, &TcpListener) {
        (&self.udp, &self.tcp)
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

fn listen(first: u16) -> io::Result<Listening> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for attempt in 0..PORTS_TRIED {
        match bind(PORT_FIRST + (first - PORT_FIRST + attempt) % PORT_COUNT) {
            Ok(listening) => return Ok(listening),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(port: u16) -> io::Result<Listening> {
    let at = SocketAddr::from((ADDRESS, port));
    let udp = std::net::UdpSocket::bind(at)?;
    Ok(Listening { udp, tcp: std::net::TcpListener::bind(at)? })
}

impl Shared {
    fn scope(&self) -> Arc<Scope> {
        self.scope.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn local(&self, question: &[u8], transport: Transport) -> Outcome {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let scope = self.scope();
        let zones = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = scope.places.iter().filter_map(|at| Some((zones.get(&at.zone)?, at)));
        let view = View(known.collect());
        let complete = view.0.len() == scope.places.len();
        let known = Known { names: &view, complete, turn };
        // No question is known to do so. Should one, it is the only one that is not answered.
        let answered = catch_unwind(AssertUnwindSafe(|| answer(known, question, transport)));
        answered.unwrap_or_else(|_| server_failure(question))
    }

    /// The other servers' answer, or that there is none.
    async fn forward(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let answered = match &self.scope().forwarder {
            Some(forwarder) => {
                let waiting = FORWARDED_MAX - self.forwarded.available_permits();
                let share = match waiting <= FORWARDED_ALWAYS {
                    true => Share::Own,
                    false => Share::OfAll,
                };
                forwarder.ask(question, transport, share).await
            }
            None => None,
        };
        answered.or_else(|| match server_failure(question) {
            Outcome::Answer(bytes) => Some(bytes),
            _ => None,
        })
    }

    fn pace(&self) -> Option<Duration> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut waiting = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        // Finished ones leave the set, which is so bounded by the semaphore.
        while waiting.try_join_next().is_some() {}
        if let Err(error) = socket.readable().await {
            tracing::debug!(asker = %shared.scope().asker, %error, "resolver could not wait");
            tokio::time::sleep(PAUSE).await;
        }
        for _ in 0..TURN {
            let (length, client) = match socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A client that was gone before its answer: its error comes up at the next call.
                Err(error) => {
                    tracing::debug!(asker = %shared.scope().asker, %error, "resolver could not receive");
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
            };
            answer_udp(&socket, &shared, &buffer[..length], client, &mut waiting);
            if let Some(pause) = shared.pace() {
                tokio::time::sleep(pause).await;
                break;
            }
        }
        yield_now().await;
    }
}

fn answer_udp(
    socket: &Arc<UdpSocket>,
    shared: &Arc<Shared>,
    question: &[u8],
    client: SocketAddr,
    waiting: &mut JoinSet<()>,
) {
    match shared.local(question, Transport::Udp) {
        Outcome::Answer(bytes) => send(socket, &bytes, client),
        Outcome::Drop => {}
        Outcome::Forward => {
            let question = question.to_vec();
            let Ok(permit) = shared.forwarded.clone().try_acquire_owned() else {
                if let Outcome::Answer(bytes) = server_failure(&question) {
                    send(socket, &bytes, client);
                }
                return;
            };
            let (socket, shared) = (socket.clone(), shared.clone());
            waiting.spawn(async move {
                if let Some(bytes) = shared.forward(&question, Transport::Udp).await {
                    send(&socket, &bytes, client);
                }
                drop(permit);
            });
        }
    }
}

/// What does not fit into the socket is lost, as any datagram may be: nobody waits for one client.
fn send(socket: &UdpSocket, bytes: &[u8], client: SocketAddr) {
    if let Err(error) = socket.try_send_to(bytes, client) {
        tracing::debug!(%client, %error, "resolver could not answer");
    }
}

async fn serve_tcp(listener: Arc<TcpListener>, shared: Arc<Shared>) {
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
                tracing::debug!(asker = %shared.scope().asker, %error, "resolver could not accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
        if let Some(pause) = shared.pace() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// One connection's questions, one after the other.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Ok(Ok(question)) = timeout(IDLE, read_message(&mut stream)).await {
        let bytes = match shared.local(&question, Transport::Tcp) {
            Outcome::Answer(bytes) => Some(bytes),
            Outcome::Drop => None,
            Outcome::Forward => match shared.forwarded.clone().try_acquire_owned() {
                Ok(_permit) => shared.forward(&question, Transport::Tcp).await,
                Err(_) => None,
            },
        };
        let Some(bytes) = bytes else { return };
        if !matches!(timeout(IDLE, write_message(&mut stream, &bytes)).await, Ok(Ok(()))) {
            return;
        }
        match shared.pace() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => yield_now().await,
        }
    }
}
