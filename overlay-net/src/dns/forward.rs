//! Asks other name servers what is not the overlay's to know: the host's from the host's own
//! namespace, those that a user chose for a task from the task's, so that they can be tasks
//! themselves and nobody reaches more by names than by addresses.
//!
//! **Invariant:** a question that waits for an answer is not asked again, whoever asks it too; and
//! no more than so many wait.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use skep_overlay_kernel::Namespace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::answer::Transport;
use super::cache::Cache;
use super::resolv_conf::Servers;
use super::wire::{Key, NO_ERROR, NO_SUCH_NAME, Question, Reply};

/// A question's whole time, however many servers there are: what glibc's own two attempts take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Questions of all askers that wait for other servers, each with a socket.
const ASKED_MAX: usize = 4096;
/// The largest answer by UDP that is read; servers are told to send no more than a third of it.
const DATAGRAM_BYTES: usize = 4096;
/// A file of servers is read again after this time: it changes under a process that runs for months.
const FILE_HOLDS: Duration = Duration::from_secs(1);
/// What is read of it. glibc reads it line by line, and the servers are among the first.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What all forwarders of a process have in common.
#[derive(Debug)]
pub struct Forwarding {
    cache: Mutex<Cache>,
    asked: Mutex<HashMap<(Key, Transport), Wait>>,
    asking: Mutex<JoinSet<()>>,
    free: Arc<Semaphore>,
    files: Mutex<HashMap<PathBuf, (Instant, Arc<Servers>)>>,
    turn: AtomicUsize,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            cache: Mutex::default(),
            asked: Mutex::default(),
            asking: Mutex::default(),
            free: Arc::new(Semaphore::new(ASKED_MAX)),
            files: Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }
}

/// What became of a question; None while nobody knows.
type Wait = watch::Receiver<Option<Answered>>;

/// What a server said, if any did.
type Answered = Option<(Arc<[u8]>, Reply)>;

/// What an asker's question is counted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// The few that each asker has for itself.
    Own,
    /// What is there for all.
    OfAll,
}

/// Which servers.
#[derive(Debug, Clone)]
enum Source {
    File(PathBuf),
    Chosen(Arc<Servers>),
}

/// An asker's way to ask.
#[derive(Debug, Clone)]
pub struct Forwarder {
    place: Place,
    source: Source,
    common: Arc<Forwarding>,
}

/// Where questions leave from.
#[derive(Debug, Clone)]
struct Place {
    number: u64,
    /// None: this process's own, which no thread need enter.
    namespace: Option<Namespace>,
}

impl Place {
    fn of(namespace: Namespace) -> io::Result<Self> {
        let number = namespace.number()?;
        let own = Namespace::current().map_err(io::Error::other)?.number()?;
        Ok(Self { number, namespace: (number != own).then_some(namespace) })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.run(work).await?,
            None => work(),
        }
    }
}

impl Forwarder {
    /// Asks the host's servers.
    pub fn of_host(
        host: Namespace,
        resolv_conf: PathBuf,
        common: Arc<Forwarding>,
    ) -> io::Result<Self> {
        Ok(Self { place: Place::of(host)?, source: Source::File(resolv_conf), common })
    }

    /// Asks what was chosen for a task.
    pub fn of_task(
        task: Namespace,
        servers: &[IpAddr],
        common: Arc<Forwarding>,
    ) -> io::Result<Self> {
        let source = Source::Chosen(Arc::new(Servers::chosen(servers)));
        Ok(Self { place: Place::of(task)?, source, common })
    }

    /// What is said to a client's question; None if nobody says anything.
    pub async fn ask(&self, message: &[u8], transport: Transport, share: Share) -> Option<Vec<u8>> {
        let question = Question::read(message)?;
        let bytes_max = question.bytes_max(transport);
        let servers = match &self.source {
            Source::Chosen(servers) => servers.clone(),
            Source::File(path) => self.common.servers(path),
        };
        let key = question.key(self.place.number, servers.all.as_slice().into());
        let known = self.common.cache().get(&key, Instant::now());
        if let Some((message, age)) = known {
            return question.answered(&message, age, bytes_max);
        }
        let by_udp = self.once(&key, &servers, Transport::Udp, share).await;
        let answered = match (&by_udp, transport) {
            (Some((_, reply)), Transport::Tcp) if reply.truncated => {
                self.once(&key, &servers, Transport::Tcp, share).await.or(by_udp)
            }
            _ => by_udp,
        };
        let (message, _) = answered?;
        question.answered(&message, Duration::ZERO, bytes_max)
    }

    /// Asks, or waits with those who do.
    async fn once(
        &self,
        key: &Key,
        servers: &Arc<Servers>,
        transport: Transport,
        share: Share,
    ) -> Answered {
        let mut wait = self.waiting(key, servers, transport, share)?;
        let answered = wait.wait_for(Option::is_some).await.ok()?;
        answered.clone().flatten()
    }

    fn waiting(
        &self,
        key: &Key,
        servers: &Arc<Servers>,
        transport: Transport,
        share: Share,
    ) -> Option<Wait> {
        let common = &self.common;
        let mut asked = common.asked();
        let of = (key.clone(), transport);
        if let Some(wait) = asked.get(&of) {
            return Some(wait.clone());
        }
        let permit = common.free.clone().try_acquire_owned().ok();
        if permit.is_none() && share == Share::OfAll {
            tracing::debug!("too many questions wait for other servers");
            return None;
        }
        let (say, wait) = watch::channel(None);
        asked.insert(of.clone(), wait.clone());
        drop(asked);
        let (forwarder, servers) = (self.clone(), servers.clone());
        let mut asking = common.asking.lock().unwrap_or_else(PoisonError::into_inner);
        while asking.try_join_next().is_some() {}
        asking.spawn(async move {
            let end = tokio::time::Instant::now() + ANSWERED_WITHIN;
            let answered = forwarder.ask_all(&of.0, &servers, transport, end).await;
            if let Some((message, reply)) = &answered {
                let (key, message) = (of.0.clone(), message.clone());
                forwarder.common.cache().put(key, message, reply, Instant::now());
            }
            forwarder.common.asked().remove(&of);
            // Nobody may wait any more.
            let _ = say.send(Some(answered));
            drop(permit);
        });
        Some(wait)
    }

    /// The first answer that one can use, else the last one. The next server is asked when one has
    /// none, and when none has said anything for a while; those before it may still answer.
    async fn ask_all(
        &self,
        key: &Key,
        servers: &Servers,
        transport: Transport,
        end: tokio::time::Instant,
    ) -> Answered {
        let mut last = None;
        let mut asking = FuturesUnordered::new();
        let turn = self.common.turn.fetch_add(1, Ordering::Relaxed);
        let mut order = servers.order(turn).into_iter();
        loop {
            let next = order.next();
            if let Some(server) = next {
                let asked = self.ask_one(server, key, transport);
                asking.push(async move { (server, timeout(servers.timeout, asked).await) });
            }
            // After the last one nobody is left to be asked too.
            let patience = match next {
                Some(_) => (tokio::time::Instant::now() + servers.next_after).min(end),
                None => end,
            };
            match timeout_at(patience, asking.next()).await {
                Ok(Some((_, Ok(Ok((message, reply)))))) => match reply.code {
                    NO_ERROR | NO_SUCH_NAME if reply.whole => return Some((message, reply)),
                    _ => last = Some((message, reply)).filter(|(_, it)| it.whole).or(last),
                },
                Ok(Some((server, failed))) => {
                    tracing::debug!(%server, ?failed, "a name server did not answer");
                }
                Ok(None) => return last,
                Err(_) if patience >= end => return last,
                Err(_) => {}
            }
        }
    }

    async fn ask_one(
        &self,
        server: SocketAddr,
        key: &Key,
        transport: Transport,
    ) -> io::Result<(Arc<[u8]>, Reply)> {
        // Neither this nor the port can be guessed.
        let id: [u8; 2] = rand::random();
        let question = key.message(id);
        match transport {
            Transport::Udp => self.ask_udp(server, key, id, &question).await,
            Transport::Tcp => {
                let message = self.ask_tcp(server, &question).await?;
                let reply = key.reply(id, &message).ok_or(io::ErrorKind::InvalidData)?;
                Ok((message.into(), reply))
            }
        }
    }

    async fn ask_udp(
        &self,
        server: SocketAddr,
        key: &Key,
        id: [u8; 2],
        question: &[u8],
    ) -> io::Result<(Arc<[u8]>, Reply)> {
        let any: IpAddr = match server.is_ipv4() {
            true => Ipv4Addr::UNSPECIFIED.into(),
            false => Ipv6Addr::UNSPECIFIED.into(),
        };
        // A fresh socket for each question, so that its port is nobody's to guess.
        let socket = self.place.run(move || std::net::UdpSocket::bind((any, 0))).await?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        socket.connect(server).await?;
        socket.send(question).await?;
        let mut answer = vec![0; DATAGRAM_BYTES];
        loop {
            let length = socket.recv(&mut answer).await?;
            // What answers another question is somebody's attempt.
            if let Some(reply) = key.reply(id, &answer[..length]) {
                return Ok((answer[..length].into(), reply));
            }
        }
    }

    async fn ask_tcp(&self, server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let runtime = tokio::runtime::Handle::current();
        let make = move || {
            let _guard = runtime.enter();
            if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
        };
        let mut stream = self.place.run(make).await?.connect(server).await?;
        write_message(&mut stream, question).await?;
        read_message(&mut stream).await
    }
}

impl Forwarding {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<(Key, Transport), Wait>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn servers(&self, path: &Path) -> Arc<Servers> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, servers)) = files.get(path)
            && since.elapsed() < FILE_HOLDS
        {
            return servers.clone();
        }
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        if let Err(error) = read {
            tracing::debug!(path = %path.display(), %error, "no name servers of the host");
        }
        let servers = Arc::new(Servers::read(&text));
        files.insert(path.to_owned(), (Instant::now(), servers.clone()));
        servers
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
