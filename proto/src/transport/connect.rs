//! The client's side: a tower connector that opens TCP and then TLS with a fixed server name.
//!
//! The name is not the host's: managers are dialled by address and verified as `swarm-manager`
//! (or `swarm-ca` by a host that has no certificate yet).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::{ALPN_H2, HANDSHAKE_TIMEOUT};

/// SwarmKit's agents give a call 5 s; a connection is not worth more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is noticed within two of these.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Opens TLS connections for a [`Channel`].
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    server_name: ServerName<'static>,
}

impl Connector {
    /// Connects with `config` (whose ALPN is set to h2 here) and verifies `server_name`.
    pub fn new(mut config: ClientConfig, server_name: ServerName<'static>) -> Self {
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Self { tls: TlsConnector::from(Arc::new(config)), server_name }
    }
}

impl tower::Service<http::Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let Self { tls, server_name } = self.clone();
        Box::pin(async move {
            let address = uri.authority().map(|authority| authority.as_str().to_owned());
            let address = address.ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("no address in {uri}"))
            })?;
            let open = async {
                let tcp = TcpStream::connect(&address).await?;
                tcp.set_nodelay(true)?;
                tls.connect(server_name, tcp).await
            };
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, open).await {
                Ok(stream) => stream.map(TokioIo::new),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("TLS handshake with {address} took more than {HANDSHAKE_TIMEOUT:?}"),
                )),
            }
        })
    }
}

/// A connected channel to the manager at `address` (host:port). Errors carry rustls's reason in
/// their chain.
pub async fn channel(
    address: &str,
    connector: Connector,
) -> Result<Channel, tonic::transport::Error> {
    // The scheme says nothing to the connector; tonic refuses `https` without its own TLS.
    Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
