//! How a host gets its identity: the root by the token's digest, a certificate by its secret; and
//! how a node renews it.
//!
//! **Invariant:** the token's secret is sent only to a server that the token's digest has proven,
//! and the private key never leaves this host.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use skep_proto::swarmkit as pb;
use skep_proto::swarmkit::ca_client::CaClient;
use skep_proto::swarmkit::node_ca_client::NodeCaClient;
use skep_proto::transport::{Connector, channel};
use skep_secrets::csr;
use skep_secrets::identity::NodeCredentials;
use skep_secrets::join_token::{JoinToken, TokenError};
use skep_secrets::tls::{JOIN_NAME, TlsError, client_config, joining_config, rooted_config};
use skep_types::Availability;
use tonic::Status;
use tonic::transport::Channel;
use zeroize::Zeroizing;

/// SwarmKit: one call to the CA.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A certificate is issued at once or soon; SwarmKit's agents ask again like this.
const ISSUE_ATTEMPTS: u32 = 20;
const ISSUE_INTERVAL: Duration = Duration::from_millis(250);

/// Why a host got no identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("failed to make a key")]
    Csr(#[from] csr::CsrError),
    #[error("failed to configure TLS")]
    Tls(#[from] TlsError),
    #[error("failed to connect to manager {address}")]
    Connect { address: String, source: tonic::transport::Error },
    #[error("rpc error: code = {:?} desc = {}", .0.code(), .0.message())]
    Call(Box<Status>),
    #[error("manager {0} did not answer in time")]
    Late(String),
    #[error("the managers issued no certificate in time")]
    NotIssued,
    #[error("the managers sent a root certificate that is not text")]
    RootNotText,
    #[error("the managers issued a certificate that is not usable")]
    Certificate(#[from] skep_secrets::identity::IdentityError),
}

impl From<Status> for EnrollError {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

async fn connect(address: &str, config: Arc<rustls::ClientConfig>) -> Result<Channel, EnrollError> {
    let name = ServerName::try_from(JOIN_NAME).expect("a constant DNS name");
    let connector = Connector::new((*config).clone(), name);
    match tokio::time::timeout(CALL_TIMEOUT, channel(address, connector)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(source)) => Err(EnrollError::Connect { address: address.to_owned(), source }),
        Err(_) => Err(EnrollError::Late(address.to_owned())),
    }
}

async fn within<T>(
    address: &str,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, EnrollError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(EnrollError::Late(address.to_owned())),
    }
}

/// Joins: gives the credentials of a new node.
///
/// # Errors
/// The server is not the token's swarm, or the managers refuse the token.
pub async fn join(
    address: &str,
    token: &str,
    availability: Availability,
) -> Result<NodeCredentials, EnrollError> {
    let parsed = JoinToken::parse(token)?;
    let mut ca = CaClient::new(connect(address, joining_config()?).await?);
    let root = within(address, ca.get_root_ca_certificate(pb::GetRootCaCertificateRequest {}));
    let root = root.await?.certificate;
    parsed.check_root(&root)?;
    let root_pem = String::from_utf8(root).map_err(|_| EnrollError::RootNotText)?;
    let request = csr::generate()?;
    let availability = match availability {
        Availability::Active => pb::node_spec::Availability::Active,
        Availability::Pause => pb::node_spec::Availability::Pause,
        Availability::Drain => pb::node_spec::Availability::Drain,
    };
    let issue = pb::IssueNodeCertificateRequest {
        csr: request.csr_pem.clone().into_bytes(),
        token: token.to_owned(),
        availability: availability.into(),
        ..Default::default()
    };
    let channel = connect(address, rooted_config(&root_pem)?).await?;
    issued(address, channel, issue, request.key_pem, root_pem).await
}

/// Renews: a new key and certificate for the same node, in the role that the swarm has for it.
///
/// # Errors
/// No manager answers, or the node is being taken out of the managers.
pub async fn renew(
    channel: Channel,
    address: &str,
    old: &NodeCredentials,
) -> Result<NodeCredentials, EnrollError> {
    let request = csr::generate()?;
    let issue = pb::IssueNodeCertificateRequest {
        csr: request.csr_pem.clone().into_bytes(),
        ..Default::default()
    };
    issued(address, channel, issue, request.key_pem, old.root_pem.clone()).await
}

async fn issued(
    address: &str,
    channel: Channel,
    request: pb::IssueNodeCertificateRequest,
    key_pem: Zeroizing<String>,
    root_pem: String,
) -> Result<NodeCredentials, EnrollError> {
    let mut client = NodeCaClient::new(channel);
    let node_id = within(address, client.issue_node_certificate(request)).await?.node_id;
    let mut credentials = NodeCredentials { cert_pem: String::new(), key_pem, root_pem };
    for _ in 0..ISSUE_ATTEMPTS {
        let ask = pb::NodeCertificateStatusRequest { node_id: node_id.clone() };
        let answer = within(address, client.node_certificate_status(ask)).await?;
        let issued = answer
            .status
            .is_some_and(|status| status.state() == pb::issuance_status::State::Issued);
        let certificate = answer.certificate.unwrap_or_default().certificate;
        credentials.cert_pem = String::from_utf8(certificate).unwrap_or_default();
        // A leader that has just taken over may still show the certificate before this one: only
        // the one that belongs to the key is taken.
        if issued && client_config(&credentials, &credentials.root_pem).is_ok() {
            credentials.identity()?;
            return Ok(credentials);
        }
        tokio::time::sleep(ISSUE_INTERVAL).await;
    }
    Err(EnrollError::NotIssued)
}
