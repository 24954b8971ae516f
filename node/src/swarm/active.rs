//! A membership that runs: the agent always, the manager while the node is one; it follows the
//! role that the swarm gives the node, and renews the certificate in time.

use skep_types::error_chain;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use skep_agent::{Agent, AgentConfig, News, dial};
use skep_docker_api::Events;
use skep_manager::metrics::ManagerMetrics;
use skep_manager::{Manager, ManagerConfig};
use skep_proto::v1 as pb;
use skep_proto::v1::membership_client::MembershipClient;
use skep_secrets::Role;
use skep_secrets::identity::NodeCredentials;
use skep_secrets::sealing::Keyring;
use skep_types::{ClusterId, NodeId, NodeRole};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::record::{Record, SwarmDir};
use super::tell::{self, Follow};
use super::{Means, SwarmError, enroll, listen};

/// Between two attempts at what the managers would not do yet.
const RETRY: Duration = Duration::from_millis(500);
/// SwarmKit: what a node gives one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A renewal that is far off is looked at again after this, in case the clock jumps.
const RENEWAL_LOOK: Duration = Duration::from_secs(3600);

/// What a membership is put together from.
pub struct Parts {
    pub dir: SwarmDir,
    pub record: Record,
    pub credentials: watch::Sender<Arc<NodeCredentials>>,
    pub manager: Option<Arc<Manager>>,
    /// Where the manager's state stands.
    pub follow: Follow,
    pub means: Means,
}

/// A manager, and the telling of what changes in its state.
struct Managing {
    manager: Arc<Manager>,
    _tells: AbortOnDropHandle<()>,
}

impl Managing {
    fn new(manager: Arc<Manager>, follow: Follow, events: &Events) -> Self {
        let tells = tell::tell(&manager, follow, events.clone());
        Self { manager, _tells: tells }
    }
}

/// See the module.
pub struct Active {
    node_id: NodeId,
    cluster_id: ClusterId,
    record: Mutex<Record>,
    manager: Mutex<Option<Managing>>,
    events: Events,
    metrics: ManagerMetrics,
    news: watch::Receiver<News>,
    dir: SwarmDir,
    credentials: watch::Sender<Arc<NodeCredentials>>,
    stop: CancellationToken,
    running: tokio::sync::Mutex<Option<(Agent, JoinHandle<()>)>>,
}

impl Active {
    /// Takes up a membership from what stands on disk.
    pub async fn resume(
        dir: SwarmDir,
        record: Record,
        credentials: NodeCredentials,
        manager: Option<(u64, TcpListener, Keyring)>,
        means: Means,
    ) -> Result<Arc<Self>, SwarmError> {
        let credentials = watch::Sender::new(Arc::new(credentials));
        let manager = match manager {
            None => None,
            Some((raft_id, listener, keyring)) => {
                let (node_id, cluster_id) = ids(&credentials.borrow())?;
                let config = ManagerConfig {
                    dir: dir.raft(),
                    keyring,
                    node_id,
                    cluster_id,
                    raft_id,
                    listener,
                    credentials: credentials.subscribe(),
                    metrics: means.metrics.clone(),
                };
                Some(Arc::new(Manager::start(config, None).await?))
            }
        };
        let follow = Follow::OnceCaughtUp;
        Self::start(Parts { dir, record, credentials, manager, follow, means })
    }

    /// Starts the agent and the loop that follows the node's role.
    pub fn start(parts: Parts) -> Result<Arc<Self>, SwarmError> {
        let Parts { dir, record, credentials, manager, follow, means } = parts;
        let Means { executor, events, describe, metrics } = means;
        let (node_id, cluster_id) = ids(&credentials.borrow())?;
        let agent = Agent::start(AgentConfig {
            credentials: credentials.subscribe(),
            managers: record.managers.clone(),
            node_addr: record.data_path_addr,
            describe,
            executor,
        });
        let active = Arc::new(Self {
            node_id,
            cluster_id,
            record: Mutex::new(record),
            manager: Mutex::new(manager.map(|it| Managing::new(it, follow, &events))),
            events,
            metrics,
            news: agent.news(),
            dir,
            credentials,
            stop: CancellationToken::new(),
            running: tokio::sync::Mutex::new(None),
        });
        let follower = Arc::clone(&active);
        let follows = tokio::spawn(async move { follower.follow().await });
        *active.running.try_lock().expect("nobody else has it yet") = Some((agent, follows));
        Ok(active)
    }

    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    pub fn manager(&self) -> Option<Arc<Manager>> {
        let managing = self.manager.lock().expect("no holder panics");
        managing.as_ref().map(|it| Arc::clone(&it.manager))
    }

    pub fn record(&self) -> Record {
        self.record.lock().expect("no holder panics").clone()
    }

    /// What the managers said last.
    pub fn news(&self) -> News {
        self.news.borrow().clone()
    }

    /// The swarm's root certificate, as this node trusts it.
    pub fn root_pem(&self) -> String {
        self.credentials.borrow().root_pem.clone()
    }

    /// Returns once the node has a session, and a manager knows who leads.
    pub async fn joined(&self) {
        let mut news = self.news.clone();
        if news.wait_for(|news| news.in_session).await.is_err() {
            return;
        }
        if self.role() != Some(Role::Manager) {
            return;
        }
        loop {
            if let Some(manager) = self.manager() {
                let mut leadership = manager.leadership();
                // An error says that the manager stopped; whoever waits sees that elsewhere.
                let _ = leadership.wait_for(|now| now.leader.is_some()).await;
                return;
            }
            tokio::time::sleep(RETRY / 10).await;
        }
    }

    fn role(&self) -> Option<Role> {
        self.credentials.borrow().identity().ok().map(|identity| identity.role)
    }

    /// Leaves the managers' group if this is one of several; then stops.
    pub async fn leave(&self) {
        if let Some(manager) = self.manager() {
            // DEVIATION: Docker's manager only vanishes, and its vote is missing from then on.
            if manager.members().await.len() != 1
                && let Err(error) = manager.leave_group().await
            {
                tracing::warn!(%error, "left the swarm without leaving the managers' group");
            }
        }
        self.shutdown().await;
    }

    /// Stops all of it. A second call does nothing.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        if let Some((agent, follows)) = self.running.lock().await.take() {
            agent.shutdown().await;
            if let Err(error) = follows.await {
                tracing::error!(%error, "following the node's role ended badly");
            }
        }
        let manager = self.manager.lock().expect("no holder panics").take();
        if let Some(managing) = manager {
            managing.manager.shutdown().await;
        }
    }

    async fn follow(&self) {
        let mut news = self.news.clone();
        let share = rand::random_range(0.0..1.0);
        loop {
            let now = news.borrow_and_update().clone();
            if let Err(error) = self.step(&now, share).await {
                let error = error_chain(&error);
                tracing::info!(error, "the node could not follow its role yet");
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => continue,
                }
            }
            let renewal = self.until_renewal(share).min(RENEWAL_LOOK);
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = news.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(renewal) => {}
                () = self.manager_failed() => {}
            }
        }
    }

    /// A manager that cannot go on would answer nobody and yet hold the port: it is stopped, and
    /// the log says why. Starting the daemon again opens its log anew.
    async fn manager_failed(&self) {
        match self.manager() {
            None => std::future::pending().await,
            Some(manager) => {
                let reason = manager.failed().await;
                tracing::error!(reason, "the manager stopped");
                std::future::pending().await
            }
        }
    }

    fn until_renewal(&self, share: f64) -> Duration {
        let now = OffsetDateTime::now_utc();
        let at = self.credentials.borrow().renew_at(now, share);
        at.ok().and_then(|at| Duration::try_from(at - now).ok()).unwrap_or(RENEWAL_LOOK)
    }

    /// Brings the node to what the managers say of it.
    async fn step(&self, now: &News, share: f64) -> Result<(), SwarmError> {
        self.remember(now)?;
        let role = match now.role {
            Some(NodeRole::Manager) => Role::Manager,
            Some(NodeRole::Worker) => Role::Worker,
            None => return Ok(()),
        };
        if self.role() != Some(role) || self.until_renewal(share).is_zero() {
            self.renew(now).await?;
        }
        match (self.role(), self.manager()) {
            (Some(Role::Manager), None) => self.become_manager(now).await,
            // Taken out of the group and promoted again before it was seen here, or in the group
            // for so short a time that word of it is still on the way: joining again tells.
            (Some(Role::Manager), Some(manager)) if now.raft_id != Some(manager.raft_id()) => {
                if self.join_group(now).await? == manager.raft_id() {
                    return Ok(());
                }
                self.end_manager(&manager).await?;
                self.become_manager(now).await
            }
            (Some(Role::Worker), Some(manager)) => {
                self.end_manager(&manager).await?;
                tracing::info!("this node is a worker now");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn remember(&self, now: &News) -> Result<(), SwarmError> {
        if !now.managers.is_empty() && self.record().managers != now.managers {
            self.update_record(|record| record.managers = now.managers.clone())?;
        }
        Ok(())
    }

    fn update_record(&self, change: impl FnOnce(&mut Record)) -> Result<(), SwarmError> {
        let mut record = self.record.lock().expect("no holder panics");
        let mut next = record.clone();
        change(&mut next);
        self.dir.save(&next)?;
        *record = next;
        Ok(())
    }

    async fn any_manager(
        &self,
        now: &News,
    ) -> Result<(String, tonic::transport::Channel), SwarmError> {
        let credentials = Arc::clone(&self.credentials.borrow());
        let mut failure = SwarmError::Refused("no manager is known".to_owned());
        for address in &now.managers {
            match dial(address, &credentials).await {
                Ok(channel) => return Ok((address.clone(), channel)),
                Err(error) => failure = SwarmError::Refused(error_chain(&error)),
            }
        }
        Err(failure)
    }

    async fn renew(&self, now: &News) -> Result<(), SwarmError> {
        let (address, channel) = self.any_manager(now).await?;
        let old = Arc::clone(&self.credentials.borrow());
        let renewed = enroll::renew(channel, &address, &old).await?;
        renewed.save(&self.dir.credentials())?;
        self.credentials.send_replace(Arc::new(renewed));
        tracing::info!("node certificate renewed");
        Ok(())
    }

    async fn end_manager(&self, manager: &Manager) -> Result<(), SwarmError> {
        manager.shutdown().await;
        *self.manager.lock().expect("no holder panics") = None;
        self.update_record(|record| record.raft_id = None)?;
        Ok(self.dir.clear_raft()?)
    }

    /// Asks for a place in the managers' group; gives the Raft id. Asking again changes nothing.
    async fn join_group(&self, now: &News) -> Result<u64, SwarmError> {
        let (_, channel) = self.any_manager(now).await?;
        let request = pb::JoinRequest {
            addr: self.record().advertise_addr.to_string(),
            feature_level: skep_manager::FEATURE_LEVEL,
        };
        let mut client = MembershipClient::new(channel);
        let joined = tokio::time::timeout(CALL_TIMEOUT, client.join(request)).await;
        let late = || SwarmError::Refused("the managers did not answer in time".to_owned());
        let joined = joined.map_err(|_| late())?;
        let joined = joined.map_err(|status| SwarmError::Refused(status.message().to_owned()))?;
        Ok(joined.into_inner().raft_id)
    }

    async fn become_manager(&self, now: &News) -> Result<(), SwarmError> {
        let record = self.record();
        let listener = listen(record.listen_addr).await?;
        let raft_id = self.join_group(now).await?;
        if record.raft_id != Some(raft_id) {
            self.dir.clear_raft()?;
            Keyring::generate().save(&self.dir.keyring())?;
            self.update_record(|record| record.raft_id = Some(raft_id))?;
        }
        let config = ManagerConfig {
            dir: self.dir.raft(),
            keyring: Keyring::load(&self.dir.keyring())?,
            node_id: self.node_id,
            cluster_id: self.cluster_id,
            raft_id,
            listener,
            credentials: self.credentials.subscribe(),
            metrics: self.metrics.clone(),
        };
        let manager = Arc::new(Manager::start(config, None).await?);
        let managing = Managing::new(manager, Follow::OnceCaughtUp, &self.events);
        *self.manager.lock().expect("no holder panics") = Some(managing);
        tracing::info!("this node is a manager now");
        Ok(())
    }
}

fn ids(credentials: &NodeCredentials) -> Result<(NodeId, ClusterId), SwarmError> {
    let identity = credentials.identity()?;
    let bad = |_| SwarmError::Identity("the certificate's subject holds no ids".to_owned());
    Ok((identity.node_id.parse().map_err(bad)?, identity.cluster_id.parse().map_err(bad)?))
}
