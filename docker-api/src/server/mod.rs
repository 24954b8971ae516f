//! The router on a Unix socket or a TCP port: bind without stealing, serve, stop.
//!
//! Invariants: a socket that another process answers on is never replaced; no more than a bound of connections is served at once,
//! and one that says nothing for a while is closed, at once where others wait, so that the bound cannot be held by the silent; a
//! request that changes something is carried out to its end also where its client does not wait for it, and takes no place then.

mod door;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use http::Method;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt;

use crate::defaults;
pub(crate) use door::{Door, Session};
use socket::Socket;
pub(crate) use socket::Taken;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("failed to listen on {path}: another daemon answers there")]
    InUse { path: PathBuf },
    #[error("failed to listen on {path}: expected a socket, got another kind of file")]
    NotSocket { path: PathBuf },
    #[error("failed to {operation} socket {path}")]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to listen on tcp://{address}")]
    Tcp { address: SocketAddr, source: io::Error },
}

enum Listener {
    Unix { listener: UnixListener, path: PathBuf },
    Tcp { listener: TcpListener, tls: Option<TlsAcceptor> },
}

impl Listener {
    /// A connection, and what must be greeted before it is one.
    async fn accept(&self) -> io::Result<(Socket, Option<TlsAcceptor>)> {
        match self {
            Self::Unix { listener, .. } => Ok((Socket::Unix(listener.accept().await?.0), None)),
            Self::Tcp { listener, tls } => {
                let (stream, _) = listener.accept().await?;
                // Keys and echoes are small, and must not wait for each other.
                stream.set_nodelay(true)?;
                Ok((Socket::Tcp(stream), tls.clone()))
            }
        }
    }
}

/// A bound API socket, not yet served.
pub struct Server {
    listener: Listener,
    head_timeout: Duration,
    slots: Arc<Semaphore>,
    left_alone: Arc<Semaphore>,
}

impl Server {
    /// Binds with mode 0660, and group `gid` where given. A dead socket is replaced, a live one refused.
    pub async fn bind(path: &Path, gid: Option<u32>) -> Result<Self, ServerError> {
        let io = |operation| move |source| ServerError::Io { operation, path: path.into(), source };
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(ServerError::NotSocket { path: path.into() });
            }
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(io("remove dead"))?;
                }
                // A full listen queue or a forbidden socket is somebody's too.
                _ => return Err(ServerError::InUse { path: path.into() }),
            },
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(io("bind"))?;
        let mode = std::fs::Permissions::from_mode(defaults::SOCKET_MODE);
        std::fs::set_permissions(path, mode).map_err(io("set mode of"))?;
        chown(path, None, gid).map_err(io("set group of"))?;
        Ok(Self::on(Listener::Unix { listener, path: path.into() }))
    }

    /// Binds a TCP port; with `tls`, which also says whether clients must show a certificate, nothing is served without it.
    pub async fn bind_tcp(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self, ServerError> {
        let bind = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            // Connections have it from their listener: a client that vanished would hold its place for hours.
            socket.set_keepalive(true)?;
            let seconds = u32::try_from(defaults::KEEPALIVE.as_secs()).unwrap_or(u32::MAX);
            setsockopt(&socket, sockopt::TcpKeepIdle, &seconds)?;
            setsockopt(&socket, sockopt::TcpKeepInterval, &seconds)?;
            socket.bind(address)?;
            socket.listen(defaults::TCP_BACKLOG)
        };
        let listener = bind().map_err(|source| ServerError::Tcp { address, source })?;
        Ok(Self::on(Listener::Tcp { listener, tls: tls.map(TlsAcceptor::from) }))
    }

    fn on(listener: Listener) -> Self {
        let slots = Arc::new(Semaphore::new(defaults::CONNECTIONS_MAX));
        let left_alone = Arc::new(Semaphore::new(defaults::LEFT_ALONE_MAX));
        Self { listener, head_timeout: defaults::HEAD_TIMEOUT, slots, left_alone }
    }

    /// The port and address that are listened on, where it is TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Unix { .. } => None,
            Listener::Tcp { listener, .. } => listener.local_addr().ok(),
        }
    }

    /// Has one bound of connections together with another server.
    pub fn sharing(mut self, other: &Self) -> Self {
        self.slots = other.slots.clone();
        self.left_alone = other.left_alone.clone();
        self
    }

    /// Another bound than the default on how long a connection may be silent before and within a request's head.
    pub fn with_head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// Serves until `shutdown` ends, then lets requests under way finish within a bound and removes the socket.
    /// Connections that were taken for a container's streams end at once.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        // Dropping the sender is the sign to finish.
        let (open, closing) = watch::channel(());
        // Each change asks those to go who ask for nothing.
        let crowd = watch::Sender::new(());
        let mut connections = tokio::task::JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accept = async {
                if self.slots.available_permits() == 0 {
                    crowd.send_replace(());
                }
                let slot = self.slots.clone().acquire_owned().await;
                let slot = slot.expect("the semaphore is never closed");
                (self.listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                () = &mut shutdown => break,
                // Ended connections are dropped as they end, so the set stays as small as the bound.
                Some(_) = connections.join_next() => continue,
                pair = accept => pair,
            };
            let (socket, tls) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept an API connection");
                    // Out of files: let others end first rather than spin.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = Connection {
                router: router.clone(),
                closing: closing.clone(),
                crowd: crowd.subscribe(),
                head_timeout: self.head_timeout,
                slot,
                left_alone: self.left_alone.clone(),
            };
            connections.spawn(connection.run(socket, tls));
        }
        if let Listener::Unix { path, .. } = &self.listener {
            let _ = std::fs::remove_file(path);
        }
        drop(self.listener);
        drop(open);
        let finished = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(defaults::SHUTDOWN_GRACE, finished).await.is_err() {
            tracing::warn!("API requests still under way at shutdown were cut");
        }
        connections.shutdown().await;
    }
}

/// The server ended before the answer.
#[derive(Debug, thiserror::Error)]
#[error("the server has ended")]
struct Broken;

/// What one connection is served with.
struct Connection {
    router: Router,
    closing: watch::Receiver<()>,
    crowd: watch::Receiver<()>,
    head_timeout: Duration,
    slot: OwnedSemaphorePermit,
    left_alone: Arc<Semaphore>,
}

impl Connection {
    async fn run(self, socket: Socket, tls: Option<TlsAcceptor>) {
        let socket = match (tls, socket) {
            (Some(tls), Socket::Tcp(stream)) => {
                match tokio::time::timeout(self.head_timeout, tls.accept(stream)).await {
                    Ok(Ok(stream)) => Socket::Tls(Box::new(stream)),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "API client failed its TLS handshake");
                        return;
                    }
                    Err(_) => return,
                }
            }
            (_, socket) => socket,
        };
        self.serve(socket).await;
    }

    async fn serve(mut self, socket: Socket) {
        let (door, mut left) = Door::new();
        let (begin, mut begun) = mpsc::unbounded_channel();
        let asked = Arc::new(AtomicBool::new(false));
        let (router, asks_something) = (self.router, asked.clone());
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            asks_something.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(door.clone());
            let request: Request = request.map(Body::new);
            let asks = matches!(*request.method(), Method::GET | Method::HEAD);
            let answer = router.clone().oneshot(request);
            let begin = begin.clone();
            async move {
                if asks {
                    return Ok::<_, Broken>(answer.await.unwrap_or_else(|never| match never {}));
                }
                let (tell, told) = oneshot::channel();
                let work = async move {
                    let answer = answer.await.unwrap_or_else(|never| match never {});
                    let _ = tell.send(answer);
                };
                begin.send(work.boxed()).map_err(|_| Broken)?;
                told.await.map_err(|_| Broken)
            }
        });
        // HTTP/1.1 alone, which is all that Docker's clients speak: telling versions apart waits without a bound.
        let mut connection = Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .serve_connection(TokioIo::new(socket), service);
        let mut open = true;
        // One at most: HTTP/1.1 has the next request wait for the answer to the one before.
        let mut works = FuturesUnordered::<BoxFuture<'static, ()>>::new();
        let session = loop {
            tokio::select! {
                // Whoever leaves must be let out before HTTP can answer for them.
                biased;
                Ok(session) = &mut left => break Some(session),
                Some(work) = begun.recv() => works.push(work),
                Some(()) = works.next() => {}
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "API connection ended early");
                    }
                    break None;
                }
                _ = self.closing.changed(), if open => {
                    open = false;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                Ok(()) = self.crowd.changed() => {
                    // One that has not said what it wants, or says it slowly, makes room at once;
                    // one that was answered when its answer is out.
                    if !asked.load(Ordering::Relaxed) {
                        break None;
                    }
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        let Some(session) = session else {
            // Nobody is there to be let out.
            drop(left);
            drop(connection);
            while let Ok(work) = begun.try_recv() {
                works.push(work);
            }
            // Its place is free for another, for a stop may take its time.
            let left_alone = self.left_alone.try_acquire_owned();
            let _place = match left_alone {
                Ok(place) => {
                    drop(self.slot);
                    place
                }
                Err(_) => self.slot,
            };
            while works.next().await.is_some() {}
            return;
        };
        drop(works);
        let parts = connection.into_parts();
        let mut socket = parts.io.into_inner();
        let run = async {
            if socket.write_all(session.head.as_bytes()).await.is_ok() {
                (session.run)(Taken::new(parts.read_buf, socket)).await;
            }
        };
        tokio::select! {
            () = run => {}
            _ = self.closing.changed() => {}
        }
    }
}
