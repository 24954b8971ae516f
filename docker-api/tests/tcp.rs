//! The API over TCP: without and with TLS, clients that must show a certificate, streams and their half-closing, and who is gone.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::host::Host;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use skep_docker_api::client::Tls;
use skep_docker_api::json::*;
use skep_docker_api::{Client, Server, ServerError, router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Far more than any exchange here takes, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

async fn timely<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

struct Served {
    host: Arc<Host>,
    address: std::net::SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn new(tls: Option<Arc<ServerConfig>>, head_timeout: Duration) -> Self {
        let host = Arc::new(Host::default());
        let server = Server::bind_tcp("127.0.0.1:0".parse().unwrap(), tls).await.unwrap();
        let server = server.with_head_timeout(head_timeout);
        let address = server.address().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(router(host.clone()), async {
            let _ = stopped.await;
        }));
        Self { host, address, stop, serving }
    }

    fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }

    async fn clear(self) {
        self.stop.send(()).unwrap();
        timely(self.serving).await.unwrap();
    }
}

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name and its key, as PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// A server with a certificate of this authority that serves its clients alone.
    fn server(&self) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign("127.0.0.1");
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        Arc::new(config)
    }

    /// What a client of `other` shows to a server of this authority.
    fn client(&self, other: &Self) -> Tls {
        let (certificate, key) = other.sign("client");
        Tls {
            ca: Some(self.pem().into()),
            certificate: Some(certificate.into()),
            key: Some(key.into()),
            verify: true,
        }
    }
}

const OPTIONS: AttachOptions = AttachOptions {
    logs: false,
    stream: true,
    stdin: true,
    stdout: true,
    stderr: true,
    detach_keys: String::new(),
};

/// Says something to a command that echoes it, and reads until all has ended.
async fn echo(client: &Client) {
    let mut connection = client.container_attach("echo", &OPTIONS).await.unwrap();
    connection.write_all(b"hello").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut said = Vec::new();
    timely(connection.read_to_end(&mut said)).await.unwrap();
    assert_eq!(said, b"\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\0\x03bye");
}

#[tokio::test]
async fn without_tls() {
    let served = Served::new(None, Duration::from_millis(300)).await;
    let client = Client::connect(&served.url()).unwrap();
    client.ping().await.unwrap();
    echo(&client).await;
    timely(served.host.left.notified()).await;
    // One that is gone is known by its refusal of what is sent.
    let flooded = client.container_attach("flood", &OPTIONS).await.unwrap();
    drop(flooded);
    timely(served.host.left.notified()).await;
    // The silent are let go here too.
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    let mut said = Vec::new();
    timely(silent.read_to_end(&mut said)).await.unwrap();
    let taken = Server::bind_tcp(served.address, None).await;
    assert!(matches!(taken, Err(ServerError::Tcp { .. })));
    served.clear().await;
}

#[tokio::test]
async fn with_tls() {
    let (ours, others) = (Authority::new(), Authority::new());
    let served = Served::new(Some(ours.server()), Duration::from_millis(300)).await;
    let client = Client::with_tls(&served.url(), Some(ours.client(&ours))).unwrap();
    client.ping().await.unwrap();
    echo(&client).await;
    timely(served.host.left.notified()).await;
    let attached = client.container_attach("quiet", &OPTIONS).await.unwrap();
    drop(attached);
    // It said no farewell, which over TLS is a word of its own.
    timely(served.host.left.notified()).await;

    let stranger = Client::with_tls(&served.url(), Some(ours.client(&others))).unwrap();
    assert!(timely(stranger.ping()).await.is_err(), "a stranger was served");
    let nobody = Tls { ca: Some(ours.pem().into()), verify: true, ..Default::default() };
    let nobody = Client::with_tls(&served.url(), Some(nobody)).unwrap();
    assert!(timely(nobody.ping()).await.is_err(), "somebody without a certificate was served");
    let suspicious = Client::with_tls(&served.url(), Some(others.client(&ours))).unwrap();
    assert!(timely(suspicious.ping()).await.is_err(), "a server of others was trusted");
    let plain = Client::connect(&served.url()).unwrap();
    assert!(timely(plain.ping()).await.is_err(), "one without TLS was served");
    // A handshake that does not begin ends.
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    let mut said = Vec::new();
    timely(silent.read_to_end(&mut said)).await.unwrap();
    assert_eq!(said, b"");
    served.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_over_tls() {
    let ours = Authority::new();
    let served = Served::new(Some(ours.server()), DEADLINE).await;
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = ours.sign("client");
    for (name, text) in [("ca.pem", ours.pem()), ("cert.pem", certificate), ("key.pem", key)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut command = tokio::process::Command::new("docker");
    command
        .env("DOCKER_HOST", served.url())
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", dir.path())
        .env("DOCKER_CONFIG", dir.path())
        .args(["exec", "-i", "c", "echo"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    match command.spawn() {
        Err(error) => eprintln!("SKIP: the docker command line is not installed: {error}"),
        Ok(mut docker) => {
            docker.stdin.take().unwrap().write_all(b"hello").await.unwrap();
            let ended = timely(docker.wait_with_output()).await.unwrap();
            let errors = String::from_utf8_lossy(&ended.stderr);
            assert_eq!((ended.status.code(), errors.as_ref()), (Some(3), "bye"));
            assert_eq!(ended.stdout, b"hello");
        }
    }
    served.clear().await;
}
