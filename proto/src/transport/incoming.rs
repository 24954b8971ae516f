//! The server's side: accepts TCP, shakes hands, and yields connections that know their peer.
//!
//! One task accepts; it ends, with every handshake under way, when the stream is dropped. A peer
//! that fails its handshake costs a log line and nothing else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX};

/// Connections that shook hands and wait for the server to take them; each still counts as a
/// handshake, so this needs no room of its own.
const READY_MAX: usize = 1;
/// Between attempts to accept while the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who called: in a request's extensions.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    pub addr: SocketAddr,
    /// As sent, the peer's own first; verified by the configuration's verifier. Empty if it sent
    /// none.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

/// One connection after its handshake.
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    peer: PeerInfo,
}

impl Connected for TlsConnection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

/// Connections for `tonic`'s `serve_with_incoming`.
pub struct TlsIncoming {
    ready: mpsc::Receiver<TlsConnection>,
    acceptor: JoinHandle<()>,
}

impl TlsIncoming {
    /// Accepts from `listener` with the configuration that is newest when a connection comes; it
    /// must offer [`super::ALPN_H2`].
    pub fn new(listener: TcpListener, config: watch::Receiver<Arc<ServerConfig>>) -> Self {
        let (sender, ready) = mpsc::channel(READY_MAX);
        Self { ready, acceptor: tokio::spawn(accept(listener, config, sender)) }
    }
}

impl Drop for TlsIncoming {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Stream for TlsIncoming {
    type Item = io::Result<TlsConnection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|connection| connection.map(Ok))
    }
}

async fn accept(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    sender: mpsc::Sender<TlsConnection>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    // Dropped with this task, and the handshakes with it.
    let mut handshakes = JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
        while handshakes.try_join_next().is_some() {}
        let (tcp, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let config = config.borrow().clone();
        handshakes.spawn(greet(tcp, addr, config, sender.clone(), permit));
    }
}

/// Shakes hands within the time, and hands the connection on.
async fn greet(
    tcp: TcpStream,
    addr: SocketAddr,
    config: Arc<ServerConfig>,
    sender: mpsc::Sender<TlsConnection>,
    _permit: OwnedSemaphorePermit,
) {
    let handshake = async {
        tcp.set_nodelay(true)?;
        TlsAcceptor::from(config).accept(tcp).await
    };
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%addr, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%addr, "TLS handshake timed out"),
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().into();
    // The server stopped: nobody is left to tell.
    let _ = sender.send(TlsConnection { stream, peer: PeerInfo { addr, certificates } }).await;
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
