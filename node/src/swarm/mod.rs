//! This node's part in a swarm: none, worker or manager; making, joining and leaving one, and
//! following what the swarm makes of the node.
//!
//! **Invariant:** one change at a time. What stands on disk is a whole membership or none.

mod active;
pub mod address;
pub mod enroll;
mod found;
pub mod record;
mod tell;

use std::net::SocketAddr;

use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use skep_agent::Executor;
use skep_docker_api::Events;
use skep_manager::metrics::ManagerMetrics;
use skep_manager::{Manager, StartError};
use skep_secrets::identity::{IdentityError, NodeCredentials};
use skep_secrets::sealing::{Keyring, SealError};
use skep_types::node::NodeDescription;
use skep_types::{Availability, ClusterSpec, error_chain};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, RwLock};

pub use active::Active;
use address::AddressError;
use enroll::EnrollError;
use record::{Record, RecordError, SwarmDir};

/// Docker: how long a join is waited for; it goes on in the background then.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);

/// What a swarm is made with.
#[derive(Debug, Clone)]
pub struct InitOptions {
    pub listen_addr: String,
    pub advertise_addr: String,
    pub data_path_addr: String,
    pub data_path_port: u16,
    pub availability: Availability,
    pub spec: ClusterSpec,
    pub address_pools: Vec<Ipv4Net>,
    pub subnet_length: u8,
}

/// What a swarm is joined with.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    pub listen_addr: String,
    pub advertise_addr: String,
    pub data_path_addr: String,
    pub availability: Availability,
    pub token: String,
    pub remotes: Vec<String>,
}

/// Why the node's part in a swarm could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    #[error("this node is already part of a swarm")]
    AlreadyMember,
    #[error("this node is not part of a swarm")]
    NotMember,
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error("failed to listen on {addr}")]
    Listen { addr: SocketAddr, source: std::io::Error },
    #[error("failed to start the manager")]
    Start(#[from] StartError),
    #[error("failed to make the swarm's identity: {0}")]
    Identity(String),
    #[error("failed to use the keyring")]
    Seal(#[from] SealError),
    #[error("failed to use the node's credentials")]
    Credentials(#[from] IdentityError),
    /// Docker's words.
    #[error(
        "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the \"docker info\" command to see the current swarm status of your node."
    )]
    JoinTimeout,
    #[error("{0}")]
    Refused(String),
}

/// What of this daemon a membership works with.
#[derive(Clone)]
pub struct Means {
    pub executor: Arc<dyn Executor>,
    /// Is told what changes in the swarm while this node manages it.
    pub events: Events,
    pub describe: Describe,
    /// Where managers count their work.
    pub metrics: ManagerMetrics,
}

/// Looks at this host anew.
pub type Describe = Arc<dyn Fn() -> NodeDescription + Send + Sync>;

/// The node's part in a swarm.
pub struct Swarm {
    dir: SwarmDir,
    means: Means,
    /// Held by whoever makes, joins or leaves.
    change: Mutex<()>,
    active: RwLock<Option<Arc<Active>>>,
}

impl Swarm {
    /// Takes up the membership that stands on disk, if one does.
    ///
    /// # Errors
    /// What stands there cannot be used; nothing is changed.
    pub async fn open(data_root: &std::path::Path, means: Means) -> Result<Self, SwarmError> {
        let dir = SwarmDir::new(data_root);
        let active = match dir.load()? {
            None => None,
            Some(record) => {
                let credentials = NodeCredentials::load(&dir.credentials())?;
                let held = dir.clone();
                let manager = match record.raft_id {
                    None => None,
                    Some(raft_id) => {
                        let listener = listen(record.listen_addr).await?;
                        let keyring = Keyring::load(&dir.keyring())?;
                        Some((raft_id, listener, keyring))
                    }
                };
                Some(Active::resume(held, record, credentials, manager, means.clone()).await?)
            }
        };
        Ok(Self { dir, means, change: Mutex::new(()), active: RwLock::new(active) })
    }

    /// The membership, if there is one.
    pub async fn active(&self) -> Option<Arc<Active>> {
        self.active.read().await.clone()
    }

    /// The manager, if this node is one.
    pub async fn manager(&self) -> Option<Arc<Manager>> {
        self.active().await?.manager()
    }

    /// Makes a new swarm with this node as its first manager; gives the node's id.
    ///
    /// # Errors
    /// The node is in a swarm, an address cannot be used, or the swarm cannot be made; nothing of
    /// it is left then.
    pub async fn init(&self, options: InitOptions) -> Result<String, SwarmError> {
        let _one = self.change.lock().await;
        if self.active.read().await.is_some() {
            return Err(SwarmError::AlreadyMember);
        }
        let listen_addr = address::listen(&options.listen_addr)?;
        let advertise_addr = address::advertise(&options.advertise_addr, listen_addr)?;
        let data_path = data_path(&options.data_path_addr, advertise_addr)?;
        let listener = listen(listen_addr).await?;
        self.dir.begin()?;
        let record = Record::new(listen_addr, advertise_addr, data_path);
        let made = found::found(self.dir.clone(), record, listener, options, self.means.clone());
        match made.await {
            Ok(active) => {
                let id = active.node_id().to_string();
                *self.active.write().await = Some(active);
                Ok(id)
            }
            Err(error) => {
                self.dir.clear()?;
                Err(error)
            }
        }
    }

    /// Joins a swarm; returns when the node has its first session there.
    ///
    /// # Errors
    /// The node is in a swarm, no remote answers, or the token is refused: nothing is left then.
    /// [`SwarmError::JoinTimeout`] leaves the node joining.
    pub async fn join(&self, options: JoinOptions) -> Result<(), SwarmError> {
        let _one = self.change.lock().await;
        if self.active.read().await.is_some() {
            return Err(SwarmError::AlreadyMember);
        }
        let listen_addr = address::listen(&options.listen_addr)?;
        let remotes = remotes(&options.remotes)?;
        let mut failure = SwarmError::Refused("at least 1 RemoteAddr is required to join".into());
        for remote in remotes {
            match self.join_at(&options, listen_addr, &remote).await {
                Ok(active) => {
                    *self.active.write().await = Some(Arc::clone(&active));
                    return match tokio::time::timeout(JOIN_PATIENCE, active.joined()).await {
                        Ok(()) => Ok(()),
                        Err(_) => Err(SwarmError::JoinTimeout),
                    };
                }
                Err(error) => {
                    self.dir.clear()?;
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    async fn join_at(
        &self,
        options: &JoinOptions,
        listen_addr: SocketAddr,
        remote: &str,
    ) -> Result<Arc<Active>, SwarmError> {
        let advertise_addr = match &options.advertise_addr[..] {
            "" if listen_addr.ip().is_unspecified() => {
                let found = tokio::net::lookup_host(remote).await.ok().and_then(|mut it| it.next());
                let ip = found.and_then(address::towards).ok_or(AddressError::None)?;
                SocketAddr::new(ip, listen_addr.port())
            }
            given => address::advertise(given, listen_addr)?,
        };
        let data_path = data_path(&options.data_path_addr, advertise_addr)?;
        let credentials = enroll::join(remote, &options.token, options.availability).await?;
        self.dir.begin()?;
        credentials.save(&self.dir.credentials())?;
        let mut record = Record::new(listen_addr, advertise_addr, data_path);
        record.managers = vec![remote.to_owned()];
        self.dir.save(&record)?;
        let dir = self.dir.clone();
        Active::resume(dir, record, credentials, None, self.means.clone()).await
    }

    /// Leaves the swarm and forgets it. A manager must be forced to.
    ///
    /// # Errors
    /// The node is in no swarm, or is a manager and not forced.
    pub async fn leave(&self, force: bool) -> Result<(), SwarmError> {
        let _one = self.change.lock().await;
        let active = self.active().await.ok_or(SwarmError::NotMember)?;
        if !force && let Some(manager) = active.manager() {
            return Err(SwarmError::Refused(why_stay(&manager).await));
        }
        active.leave().await;
        *self.active.write().await = None;
        for task in self.means.executor.tasks().await {
            if let Err(error) = self.means.executor.remove(task).await {
                tracing::warn!(%task, %error, "failed to remove the container of a task");
            }
        }
        if let Err(error) = self.means.executor.end_networks().await {
            let error = error_chain(&error);
            tracing::warn!(error, "failed to take this node's networks down");
        }
        self.dir.clear()?;
        Ok(())
    }

    /// Stops the node's part in the swarm; containers go on.
    pub async fn shutdown(&self) {
        let _one = self.change.lock().await;
        if let Some(active) = self.active.write().await.take() {
            active.shutdown().await;
        }
    }
}

/// Docker's words on what leaving would do.
async fn why_stay(manager: &Manager) -> String {
    let mut text =
        "You are attempting to leave the swarm on a node that is participating as a manager. "
            .to_owned();
    let members = manager.members().await;
    let reachable = members.iter().filter(|member| member.reachable).count();
    let quorum_after = members.len().saturating_sub(1) / 2 + 1;
    if members.len() == 1 {
        return text
            + "Removing the last manager erases all current state of a swarm. Use `--force` to ignore this message. ";
    }
    if reachable.saturating_sub(1) < quorum_after {
        let (left, all) = (reachable.saturating_sub(1), members.len());
        text += &format!(
            "Removing this node leaves {left} managers out of {all}. Without a Raft quorum your swarm will be inaccessible. "
        );
    }
    text + "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message."
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, SwarmError> {
    TcpListener::bind(addr).await.map_err(|source| SwarmError::Listen { addr, source })
}

fn data_path(given: &str, advertise: SocketAddr) -> Result<std::net::IpAddr, SwarmError> {
    match given {
        "" => Ok(advertise.ip()),
        given => Ok(address::advertise(given, advertise)?.ip()),
    }
}

/// `host` or `host:port`; the port is Swarm's by default.
fn remotes(given: &[String]) -> Result<Vec<String>, SwarmError> {
    let with_port = |text: &String| {
        let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
            port.parse::<u16>().is_ok() && (!host.contains(':') || host.starts_with('['))
        });
        match (has_port, text.contains(':')) {
            (true, _) => text.clone(),
            (false, true) => format!("[{text}]:{}", skep_types::defaults::MANAGER_PORT),
            (false, false) => format!("{text}:{}", skep_types::defaults::MANAGER_PORT),
        }
    };
    if given.iter().any(|text| text.trim().is_empty()) {
        return Err(SwarmError::Refused("remote address is empty".into()));
    }
    Ok(given.iter().map(with_port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_get_swarms_port() {
        let given = ["10.0.0.1", "10.0.0.1:7", "fd00::1", "[fd00::1]:7", "boss"].map(String::from);
        let expected =
            ["10.0.0.1:2377", "10.0.0.1:7", "[fd00::1]:2377", "[fd00::1]:7", "boss:2377"];
        assert_eq!(remotes(&given).unwrap(), expected);
        assert!(remotes(&[String::new()]).is_err());
    }
}
