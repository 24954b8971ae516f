//! TLS configurations of servers and clients, from a node's credentials and the swarm's root.
//!
//! Cryptography is ring's, named here and not taken from a process-wide default. A proven
//! certificate says who the peer is; what it may call is decided in [`crate::roles`].
//! Invariant: no session is resumed. A resumed one would carry a certificate that is not verified
//! again, and connections here live long enough to make the saving worthless.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion, WantsVerifier,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::Role;
use crate::defaults::ROOT_CN;
use crate::identity::{Identity, IdentityError, NodeCredentials};

/// The server name that a node with a certificate dials (SwarmKit `ca.ManagerRole`).
pub const MANAGER_NAME: &str = Role::Manager.ou();
/// The server name that a joining node dials (SwarmKit `ca.CARole`).
pub const JOIN_NAME: &str = ROOT_CN;

const ALPN_H2: &[u8] = b"h2";

/// The oldest version that a server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFloor {
    /// For ports that dockerd workers dial; a peer that has 1.3 still gets 1.3.
    V12,
    /// Between our own nodes.
    V13,
}

impl TlsFloor {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static FROM_V12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static FROM_V13: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self {
            TlsFloor::V12 => &FROM_V12,
            TlsFloor::V13 => &FROM_V13,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("malformed PEM of {object}")]
    Pem { object: &'static str, source: pem::Error },
    #[error("no certificate in PEM of {object}: expected at least one")]
    Empty { object: &'static str },
    #[error("failed to trust root certificate")]
    Root(#[source] rustls::Error),
    #[error("failed to verify client certificates against root certificate")]
    ClientVerifier(#[source] rustls::server::VerifierBuilderError),
    #[error("failed to use node certificate and key")]
    Credentials(#[source] rustls::Error),
    #[error("failed to configure TLS versions")]
    Versions(#[source] rustls::Error),
}

/// A server that shows `credentials` and verifies a client's certificate against `root_pem` (one
/// root, or several while the root rotates). A client without one is let in: see [`crate::roles`].
pub fn server_config(
    credentials: &NodeCredentials,
    root_pem: &str,
    floor: TlsFloor,
) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = chain_and_key(credentials)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(root_pem)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::ClientVerifier)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(floor.versions())
        .map_err(TlsError::Versions)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Credentials)?;
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A node's client: verifies the server against `root_pem` and shows its own certificate.
pub fn client_config(
    credentials: &NodeCredentials,
    root_pem: &str,
) -> Result<Arc<ClientConfig>, TlsError> {
    let (chain, key) = chain_and_key(credentials)?;
    let config = client_builder()?
        .with_root_certificates(roots(root_pem)?)
        .with_client_auth_cert(chain, key)
        .map_err(TlsError::Credentials)?;
    Ok(finish(config))
}

/// A client without a certificate that verifies the server against `root_pem`: for a node that
/// has the root and asks for its certificate. It may send a join token, which
/// [`joining_config`] may not.
pub fn rooted_config(root_pem: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let config = client_builder()?.with_root_certificates(roots(root_pem)?).with_no_client_auth();
    Ok(finish(config))
}

/// A client that accepts any server certificate, only to fetch the root. Nothing that it brings is
/// to be believed before [`crate::join_token::JoinToken::check_root`], and nothing secret sent.
pub fn joining_config() -> Result<Arc<ClientConfig>, TlsError> {
    let algorithms = provider().signature_verification_algorithms;
    let config = client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer { algorithms }))
        .with_no_client_auth();
    Ok(finish(config))
}

/// Who the peer is, from the certificates that its verified connection gives (its own first);
/// none when it showed none.
pub fn peer_identity(
    certificates: Option<&[CertificateDer<'_>]>,
) -> Result<Option<Identity>, IdentityError> {
    certificates.and_then(<[_]>::first).map(|der| Identity::from_der(der)).transpose()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS 1.3 alone: our own servers have it, and so has what is built with Go 1.13 or newer, as
/// Docker's managers are since 20.10.
fn client_builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(TlsFloor::V13.versions())
        .map_err(TlsError::Versions)
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn certificates(
    object: &'static str,
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { object, source })?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { object });
    }
    Ok(certificates)
}

fn roots(root_pem: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("root certificate", root_pem)? {
        store.add(certificate).map_err(TlsError::Root)?;
    }
    Ok(Arc::new(store))
}

fn chain_and_key(
    credentials: &NodeCredentials,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates("node certificate", &credentials.cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes())
        .map_err(|source| TlsError::Pem { object: "node key", source })?;
    Ok((chain, key))
}

/// Believes every certificate, but not a peer that lacks the certificate's key.
#[derive(Debug)]
struct AnyServer {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
