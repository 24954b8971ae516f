//! A connection to a manager with the node's certificate.

use std::sync::Arc;

use rustls_pki_types::ServerName;
use skep_proto::transport::{Connector, channel};
use skep_secrets::identity::NodeCredentials;
use skep_secrets::tls::{MANAGER_NAME, TlsError, client_config};
use tonic::transport::Channel;

use crate::defaults::DIAL_TIMEOUT;

/// Why a manager could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("failed to configure TLS")]
    Tls(#[from] TlsError),
    #[error("failed to connect to manager {address}")]
    Connect { address: String, source: tonic::transport::Error },
    #[error("manager {address} did not answer within {DIAL_TIMEOUT:?}")]
    Late { address: String },
}

/// Connects to the manager at `address` (host:port).
///
/// # Errors
/// It is not there, or its certificate is not a manager's of this swarm.
pub async fn dial(address: &str, credentials: &Arc<NodeCredentials>) -> Result<Channel, DialError> {
    let config = client_config(credentials, &credentials.root_pem)?;
    let name = ServerName::try_from(MANAGER_NAME).expect("a constant DNS name");
    let connector = Connector::new((*config).clone(), name);
    let address = address.to_owned();
    match tokio::time::timeout(DIAL_TIMEOUT, channel(&address, connector)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(source)) => Err(DialError::Connect { address, source }),
        Err(_) => Err(DialError::Late { address }),
    }
}
