//! Whole TLS handshakes between the configurations, over a pipe in memory, with right, foreign,
//! expired, missing and misused certificates.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use skep_secrets::identity::{Identity, NodeCredentials};
use skep_secrets::join_token::JoinToken;
use skep_secrets::root_ca::{NodeSubject, RootCa};
use skep_secrets::tls::{self, JOIN_NAME, MANAGER_NAME, TlsError, TlsFloor};
use skep_secrets::{Role, csr};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Far beyond any handshake in memory: reached only by one that hangs.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);

fn root() -> RootCa {
    RootCa::generate(OffsetDateTime::now_utc() - Duration::days(200)).unwrap()
}

/// Credentials of node `n1`, issued `age` ago for 90 days.
fn node(root: &RootCa, role: Role, age: Duration) -> NodeCredentials {
    let request = csr::generate().unwrap();
    let subject = NodeSubject { node_id: "n1", role, cluster_id: "c1" };
    let issued = OffsetDateTime::now_utc() - age;
    let life = Duration::days(90);
    NodeCredentials {
        cert_pem: root.sign(request.csr_pem.as_bytes(), subject, issued, life).unwrap(),
        key_pem: request.key_pem,
        root_pem: root.cert_pem().to_owned(),
    }
}

fn manager(root: &RootCa) -> NodeCredentials {
    node(root, Role::Manager, Duration::ZERO)
}

fn worker(root: &RootCa) -> NodeCredentials {
    node(root, Role::Worker, Duration::ZERO)
}

fn expired(root: &RootCa, role: Role) -> NodeCredentials {
    node(root, role, Duration::days(91))
}

fn server(credentials: &NodeCredentials, root: &RootCa, floor: TlsFloor) -> Arc<ServerConfig> {
    tls::server_config(credentials, root.cert_pem(), floor).unwrap()
}

fn client(credentials: &NodeCredentials, root: &RootCa) -> Arc<ClientConfig> {
    tls::client_config(credentials, root.cert_pem()).unwrap()
}

/// What the server knows of an open connection.
#[derive(Debug)]
struct Seen {
    version: Option<ProtocolVersion>,
    kind: Option<HandshakeKind>,
    alpn: Option<Vec<u8>>,
    peer: Option<Identity>,
}

/// Connects the two and passes a byte each way: in TLS 1.3 a client learns only by reading that
/// its certificate was refused. Gives the server's end and the client's.
async fn connect(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &'static str,
) -> (io::Result<Seen>, io::Result<()>) {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let serve = async move {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let connection = stream.get_ref().1;
        let seen = Seen {
            version: connection.protocol_version(),
            kind: connection.handshake_kind(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            peer: tls::peer_identity(connection.peer_certificates()).unwrap(),
        };
        stream.write_all(b"s").await?;
        stream.flush().await?;
        assert_eq!(stream.read_u8().await?, b'c');
        Ok(seen)
    };
    let dial = async move {
        let name = ServerName::try_from(name).unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        assert_eq!(stream.read_u8().await?, b's');
        stream.write_all(b"c").await?;
        stream.flush().await
    };
    let both = async { tokio::join!(serve, dial) };
    tokio::time::timeout(DEADLINE, both).await.expect("a handshake ends, well or badly")
}

fn reason<T: std::fmt::Debug>(result: io::Result<T>) -> rustls::Error {
    let error = result.expect_err("the handshake is refused");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.unwrap_or_else(|| panic!("not a refusal of TLS: {error}")).clone()
}

fn certificate_reason<T: std::fmt::Debug>(result: io::Result<T>) -> CertificateError {
    match reason(result) {
        rustls::Error::InvalidCertificate(error) => error,
        other => panic!("not for the certificate: {other}"),
    }
}

/// Both roots bear one name, so a foreign certificate looks like ours until its signature.
fn is_foreign(error: &CertificateError) -> bool {
    matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature)
}

#[tokio::test]
async fn nodes_of_one_swarm_speak_h2_over_tls_1_3() {
    let root = root();
    for floor in [TlsFloor::V12, TlsFloor::V13] {
        for (role, credentials) in [(Role::Manager, manager(&root)), (Role::Worker, worker(&root))]
        {
            let server = server(&manager(&root), &root, floor);
            let (seen, dialled) = connect(server, client(&credentials, &root), MANAGER_NAME).await;
            dialled.unwrap();
            let seen = seen.unwrap();
            assert_eq!(seen.version, Some(ProtocolVersion::TLSv1_3));
            assert_eq!(seen.alpn.as_deref(), Some(&b"h2"[..]));
            let peer = seen.peer.unwrap();
            assert_eq!((peer.role, peer.node_id.as_str()), (role, "n1"));
            assert_eq!(peer.cluster_id, "c1");
        }
    }
}

#[tokio::test]
async fn no_session_is_resumed() {
    let root = root();
    let server = server(&manager(&root), &root, TlsFloor::V12);
    for client in [client(&worker(&root), &root), old_client(&root)] {
        for _ in 0..2 {
            let (seen, dialled) = connect(server.clone(), client.clone(), MANAGER_NAME).await;
            dialled.unwrap();
            assert_eq!(seen.unwrap().kind, Some(HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn a_client_without_certificate_is_let_in_as_nobody() {
    let root = root();
    let rooted = tls::rooted_config(root.cert_pem()).unwrap();
    let server = server(&manager(&root), &root, TlsFloor::V12);
    let (seen, dialled) = connect(server, rooted, JOIN_NAME).await;
    dialled.unwrap();
    assert_eq!(seen.unwrap().peer, None);
}

#[tokio::test]
async fn a_foreign_or_expired_client_certificate_is_refused() {
    let (ours, theirs) = (root(), root());
    let server = server(&manager(&ours), &ours, TlsFloor::V12);
    // It trusts our root, so only its own certificate is wrong.
    let foreign = client(&manager(&theirs), &ours);
    let (seen, dialled) = connect(server.clone(), foreign, MANAGER_NAME).await;
    assert!(is_foreign(&certificate_reason(seen)));
    assert!(matches!(reason(dialled), rustls::Error::AlertReceived(_)));

    let late = client(&expired(&ours, Role::Manager), &ours);
    let (seen, dialled) = connect(server, late, MANAGER_NAME).await;
    assert!(matches!(certificate_reason(seen), CertificateError::ExpiredContext { .. }));
    let alert = rustls::AlertDescription::CertificateExpired;
    assert_eq!(reason(dialled), rustls::Error::AlertReceived(alert));
}

#[tokio::test]
async fn a_foreign_expired_or_misused_server_certificate_is_refused() {
    let (ours, theirs) = (root(), root());
    let clients = [client(&worker(&ours), &ours), tls::rooted_config(ours.cert_pem()).unwrap()];
    for client in clients {
        let foreign = server(&manager(&theirs), &ours, TlsFloor::V13);
        let (_, dialled) = connect(foreign, client.clone(), MANAGER_NAME).await;
        assert!(is_foreign(&certificate_reason(dialled)));

        let late = server(&expired(&ours, Role::Manager), &ours, TlsFloor::V13);
        let (_, dialled) = connect(late, client.clone(), MANAGER_NAME).await;
        assert!(matches!(certificate_reason(dialled), CertificateError::ExpiredContext { .. }));

        // A worker is a member, but must not pass for a manager under either name.
        for name in [MANAGER_NAME, JOIN_NAME] {
            let misused = server(&worker(&ours), &ours, TlsFloor::V13);
            let (_, dialled) = connect(misused, client.clone(), name).await;
            let error = certificate_reason(dialled);
            assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error}");
        }
    }
}

#[tokio::test]
async fn two_roots_are_trusted_while_the_root_rotates() {
    let (old, new) = (root(), root());
    let both = format!("{}{}", old.cert_pem(), new.cert_pem());
    let server = tls::server_config(&manager(&new), &both, TlsFloor::V13).unwrap();
    for credentials in [worker(&old), worker(&new)] {
        let client = tls::client_config(&credentials, &both).unwrap();
        let (seen, dialled) = connect(server.clone(), client, MANAGER_NAME).await;
        dialled.unwrap();
        assert!(seen.unwrap().peer.is_some());
    }
}

#[tokio::test]
async fn joining_accepts_any_server_and_the_token_tells_the_root() {
    let (ours, theirs) = (root(), root());
    let token = JoinToken::generate(ours.digest());
    for credentials in
        [manager(&theirs), expired(&theirs, Role::Manager), worker(&theirs), manager(&ours)]
    {
        let server = server(&credentials, &theirs, TlsFloor::V12);
        let (seen, dialled) = connect(server, tls::joining_config().unwrap(), JOIN_NAME).await;
        dialled.unwrap();
        assert_eq!(seen.unwrap().peer, None);
    }
    token.check_root(ours.cert_pem().as_bytes()).unwrap();
    token.check_root(theirs.cert_pem().as_bytes()).unwrap_err();
}

/// Shows one node's certificate and signs with another's key.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn a_server_without_the_certificates_key_is_refused_even_while_joining() {
    let root = root();
    let (shown, held) = (manager(&root), manager(&root));
    let provider = Arc::new(ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(shown.cert_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(held.key_pem.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let impostor = Impostor(Arc::new(CertifiedKey::new(vec![certificate], key)));
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(impostor));
    server.alpn_protocols = vec![b"h2".to_vec()];
    let server = Arc::new(server);
    let rooted = tls::rooted_config(root.cert_pem()).unwrap();
    for client in [tls::joining_config().unwrap(), rooted] {
        let (_, dialled) = connect(server.clone(), client, JOIN_NAME).await;
        assert_eq!(certificate_reason(dialled), CertificateError::BadSignature);
    }
}

/// A client that has nothing newer than TLS 1.2, with a worker's certificate, as an old dockerd.
fn old_client(root: &RootCa) -> Arc<ClientConfig> {
    let credentials = worker(root);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.cert_pem().as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(credentials.cert_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[tokio::test]
async fn tls_1_2_stands_only_above_its_floor() {
    let root = root();
    let low = server(&manager(&root), &root, TlsFloor::V12);
    let (seen, dialled) = connect(low, old_client(&root), MANAGER_NAME).await;
    dialled.unwrap();
    let seen = seen.unwrap();
    assert_eq!(seen.version, Some(ProtocolVersion::TLSv1_2));
    assert_eq!(seen.peer.unwrap().role, Role::Worker);

    let high = server(&manager(&root), &root, TlsFloor::V13);
    let (seen, dialled) = connect(high, old_client(&root), MANAGER_NAME).await;
    assert!(matches!(reason(seen), rustls::Error::PeerIncompatible(_)));
    let alert = rustls::AlertDescription::ProtocolVersion;
    assert_eq!(reason(dialled), rustls::Error::AlertReceived(alert));
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused() {
    let root = root();
    let mut other = (*client(&worker(&root), &root)).clone();
    other.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = server(&manager(&root), &root, TlsFloor::V12);
    let (seen, dialled) = connect(server, Arc::new(other), MANAGER_NAME).await;
    assert_eq!(reason(seen), rustls::Error::NoApplicationProtocol);
    dialled.unwrap_err();
}

#[test]
fn malformed_and_mixed_credentials_make_no_configuration() {
    let root = root();
    let good = manager(&root);
    for text in ["", "nonsense", &*good.key_pem] {
        assert!(matches!(tls::rooted_config(text), Err(TlsError::Empty { .. })));
        let refused = tls::server_config(&good, text, TlsFloor::V13);
        assert!(matches!(refused, Err(TlsError::Empty { .. })));
    }
    let cut = &root.cert_pem()[..root.cert_pem().len() / 2];
    assert!(matches!(tls::rooted_config(cut), Err(TlsError::Pem { .. })));
    let mixed = NodeCredentials { key_pem: worker(&root).key_pem, ..manager(&root) };
    assert!(matches!(
        tls::client_config(&mixed, root.cert_pem()),
        Err(TlsError::Credentials(rustls::Error::InconsistentKeys(_)))
    ));
    assert!(tls::server_config(&mixed, root.cert_pem(), TlsFloor::V13).is_err());
    let keyless = NodeCredentials { key_pem: String::new().into(), ..manager(&root) };
    assert!(matches!(
        tls::client_config(&keyless, root.cert_pem()),
        Err(TlsError::Pem { object: "node key", .. })
    ));
}
