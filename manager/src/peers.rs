//! Connections to other managers: for Raft, and for what a follower hands on to the leader.

use skep_types::error_chain;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rustls_pki_types::ServerName;
use skep_proto::transport::{Connector, channel};
use skep_raft::Member;
use skep_secrets::identity::NodeCredentials;
use skep_secrets::tls::{MANAGER_NAME, client_config};
use tokio::sync::watch;
use tonic::transport::Channel;

/// Dials managers with the credentials that are newest.
pub struct Peers {
    credentials: watch::Receiver<Arc<NodeCredentials>>,
    /// The leader's connection, for as long as it works and leads.
    leader: Mutex<Option<(String, Channel)>>,
}

impl Peers {
    pub fn new(credentials: watch::Receiver<Arc<NodeCredentials>>) -> Self {
        Self { credentials, leader: Mutex::new(None) }
    }

    /// A connection of its own, for what would hold up others.
    pub async fn dial(&self, address: &str) -> Result<Channel, String> {
        let credentials = Arc::clone(&self.credentials.borrow());
        let config = client_config(&credentials, &credentials.root_pem)
            .map_err(|error| error_chain(&error))?;
        let name = ServerName::try_from(MANAGER_NAME).expect("a constant DNS name");
        let connector = Connector::new((*config).clone(), name);
        channel(address, connector).await.map_err(|error| error_chain(&error))
    }

    /// A connection to the leader, kept for the next call.
    pub async fn leader(&self, address: &str) -> Result<Channel, String> {
        let kept = self.lock().clone();
        if let Some((at, channel)) = kept
            && at == address
        {
            return Ok(channel);
        }
        let channel = self.dial(address).await?;
        *self.lock() = Some((address.to_owned(), channel.clone()));
        Ok(channel)
    }

    /// A call on the leader's connection broke: the next one dials anew.
    pub fn forget_leader(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(String, Channel)>> {
        self.leader.lock().expect("no holder panics")
    }
}

#[async_trait]
impl skep_raft::grpc::Connector for Peers {
    async fn connect(&self, peer: &Member) -> Result<Channel, String> {
        self.dial(&peer.peer.addr).await
    }
}
