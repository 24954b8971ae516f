//! Managers of one swarm in this process, with what makes members of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use skep_manager::{Bootstrap, Manager, ManagerConfig, metrics::ManagerMetrics};
use skep_proto::transport::PeerInfo;
use skep_proto::v1 as pb;
use skep_proto::v1::membership_client::MembershipClient;
use skep_secrets::Role;
use skep_secrets::csr::{self, NodeRequest};
use skep_secrets::identity::NodeCredentials;
use skep_secrets::join_token::JoinToken;
use skep_secrets::root_ca::{NodeSubject, RootCa};
use skep_secrets::sealing::Keyring;
use skep_state::{Action, Change};
use skep_types::node::ManagerStatus;
use skep_types::{
    Cluster, ClusterId, ClusterSpec, JoinTokens, Meta, Network, NetworkId, Node, NodeId, NodeRole,
    NodeSpec, Payload, defaults,
};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long managers may take to form a group, and to elect.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Objects of one transaction while the swarm is furnished: well within its bound in bytes.
const FURNISH_MAX: usize = 1000;
/// Threads of a runtime's pool live on, so that their processor time can still be read.
const KEEP_THREADS: Duration = Duration::from_secs(3600);
/// As on a host of two cores.
const WORKERS: usize = 2;

/// One manager with what runs it.
pub struct Host {
    pub manager: Arc<Manager>,
    pub node: NodeId,
    /// Where it serves, on the loopback interface.
    pub addr: SocketAddr,
    /// There until the host is dropped.
    runtime: Option<Runtime>,
    /// Held: the manager ends its watch of renewals with it.
    _credentials: watch::Sender<Arc<NodeCredentials>>,
}

impl Host {
    /// Stops the manager and waits for it.
    pub async fn stop(self) {
        let (manager, runtime) = (Arc::clone(&self.manager), self.runtime.as_ref());
        let runtime = runtime.expect("it is there until the host is dropped");
        let stopped = runtime.spawn(async move { manager.shutdown().await });
        if let Err(error) = stopped.await {
            tracing::error!(%error, "a manager ended badly");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would wait, which no task may.
            runtime.shutdown_background();
        }
    }
}

/// A swarm that stands.
pub struct Swarm {
    pub cluster_id: ClusterId,
    root: RootCa,
    /// One key for all simulated nodes: making a key each would only take time.
    key: NodeRequest,
    hosts: Vec<Host>,
}

/// Patient ones: whatever else the machine does costs time here, and no leadership.
fn timers(raft_id: u64) -> skep_raft::Config {
    skep_raft::Config {
        heartbeat: Duration::from_secs(1),
        election_min: Duration::from_secs(5),
        election_max: Duration::from_secs(10),
        propose_timeout: PATIENCE,
        ..skep_raft::Config::new(raft_id)
    }
}

/// A runtime whose threads carry a name of at most 15 bytes.
pub(crate) fn runtime(name: &str) -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name(name)
        .thread_keep_alive(KEEP_THREADS)
        .enable_all()
        .build()
        .context("failed to make a runtime")
}

impl Swarm {
    /// Brings `managers` managers up with their logs below `dir`, all of them voters.
    ///
    /// # Errors
    /// One does not start, or they form no group in time.
    pub async fn up(dir: &Path, managers: usize) -> Result<Self> {
        ensure!(managers > 0, "a swarm has a manager");
        let root = RootCa::generate(OffsetDateTime::now_utc())?;
        let (cluster_id, key) = (ClusterId::new(rand::random()), csr::generate()?);
        let mut swarm = Self { cluster_id, root, key, hosts: Vec::new() };
        let mut places = Vec::new();
        for raft_id in 1..=managers as u64 {
            let listener =
                std::net::TcpListener::bind("127.0.0.1:0").context("failed to listen")?;
            listener.set_nonblocking(true).context("failed to listen")?;
            places.push((raft_id, NodeId::new(rand::random()), listener));
        }
        let ingress = Network::ingress(NetworkId::new(rand::random()));
        let mut objects = vec![swarm.cluster(), Change::Create(Arc::new(ingress)).into()];
        for (raft_id, node, listener) in &places {
            let addr = listener.local_addr().context("failed to listen")?.to_string();
            let manager = Some(ManagerStatus { raft_id: *raft_id, addr });
            objects.push(member(*node, NodeRole::Manager, manager));
        }
        let mut objects = Some(objects);
        for (raft_id, node, listener) in places {
            let host = swarm.host(dir, raft_id, node, listener, objects.take()).await?;
            swarm.hosts.push(host);
        }
        swarm.formed(managers).await?;
        Ok(swarm)
    }

    /// The first manager makes the swarm of `objects`; the others find themselves in it.
    async fn host(
        &self,
        dir: &Path,
        raft_id: u64,
        node: NodeId,
        listener: std::net::TcpListener,
        objects: Option<Vec<Action>>,
    ) -> Result<Host> {
        let name = format!("manager-{raft_id}");
        let runtime = runtime(&name)?;
        let addr = listener.local_addr().context("failed to listen")?;
        let credentials = self.credentials(node, Role::Manager)?;
        let credentials = watch::Sender::new(Arc::new(credentials));
        let (dir, cluster_id) = (dir.join(name), self.cluster_id);
        let followed = credentials.subscribe();
        let bootstrap = objects.map(|objects| Bootstrap { advertise_addr: addr, objects });
        let started = runtime.spawn(async move {
            let config = ManagerConfig {
                dir,
                keyring: Keyring::generate(),
                node_id: node,
                cluster_id,
                raft_id,
                listener: TcpListener::from_std(listener).context("failed to listen")?,
                credentials: followed,
                metrics: ManagerMetrics::default(),
            };
            anyhow::Ok(Manager::start_with(config, bootstrap, timers(raft_id)).await?)
        });
        let manager = Arc::new(started.await.context("a manager did not start")??);
        Ok(Host { manager, node, addr, runtime: Some(runtime), _credentials: credentials })
    }

    fn cluster(&self) -> Action {
        let token = || JoinToken::generate(self.root.digest()).render().to_string();
        let cluster = Cluster {
            id: self.cluster_id,
            meta: Meta::default(),
            spec: ClusterSpec::default(),
            root_ca: skep_types::cluster::RootCa {
                certificate: self.root.cert_pem().as_bytes().to_vec(),
                key: Payload(self.root.key_pem().as_bytes().into()),
                join_tokens: JoinTokens { worker: token(), manager: token() },
            },
            feature_level: skep_manager::FEATURE_LEVEL,
            data_path_port: defaults::DATA_PATH_PORT,
            address_pools: vec![defaults::ADDRESS_POOL.parse().expect("a constant network")],
            subnet_length: defaults::SUBNET_LENGTH,
        };
        Change::Create(Arc::new(cluster)).into()
    }

    /// Waits until each manager votes and follows the same leader.
    async fn formed(&self, managers: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let voters = self.voters().await.unwrap_or_default();
            let follow = self.hosts.iter().all(|host| host.manager.standing().has_leader);
            if voters == managers && follow {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{voters} of {managers} managers vote");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn voters(&self) -> Result<usize> {
        let leader = self.leader().await?;
        let peer = self.peer(&self.credentials(leader.node, Role::Manager)?)?;
        let mut client = MembershipClient::new(leader.manager.door(peer));
        let status = client.status(pb::StatusRequest {}).await?.into_inner();
        Ok(status.members.iter().filter(|member| member.voter).count())
    }

    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The manager that leads.
    ///
    /// # Errors
    /// None does within the patience.
    pub async fn leader(&self) -> Result<&Host> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(host) = self.hosts.iter().find(|host| host.manager.standing().leads) {
                return Ok(host);
            }
            if Instant::now() >= deadline {
                bail!("no manager leads");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Writes workers into the state that no host stands behind yet.
    ///
    /// # Errors
    /// The leader did not take them.
    pub async fn add_workers(&self, count: usize) -> Result<Vec<NodeId>> {
        let nodes: Vec<NodeId> = (0..count).map(|_| NodeId::new(rand::random())).collect();
        self.furnish(nodes.iter().map(|id| member(*id, NodeRole::Worker, None))).await?;
        Ok(nodes)
    }

    /// Brings one more manager up with its log below `dir`, which the leader takes into the group
    /// once it has caught up. It is the caller's to stop.
    ///
    /// # Errors
    /// The leader did not take it, or it does not start.
    pub async fn add_manager(&self, dir: &Path) -> Result<Host> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("failed to listen")?;
        listener.set_nonblocking(true).context("failed to listen")?;
        let addr = listener.local_addr().context("failed to listen")?.to_string();
        let (raft_id, node) = (self.hosts.len() as u64 + 1, NodeId::new(rand::random()));
        let host = self.host(dir, raft_id, node, listener, None).await?;
        let manager = Some(ManagerStatus { raft_id, addr });
        self.furnish([member(node, NodeRole::Manager, manager)]).await?;
        Ok(host)
    }

    /// Has actions applied by the leader as they are, in transactions of a thousand.
    ///
    /// # Errors
    /// The leader did not take one; those before it stand.
    pub async fn furnish(&self, actions: impl IntoIterator<Item = Action>) -> Result<()> {
        let leader = self.leader().await?;
        let mut actions = actions.into_iter();
        loop {
            let part: Vec<Action> = actions.by_ref().take(FURNISH_MAX).collect();
            if part.is_empty() {
                return Ok(());
            }
            leader.manager.furnish(part).await?;
        }
    }

    /// A member's certificate, as the swarm's authority would issue it.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn credentials(&self, node: NodeId, role: Role) -> Result<NodeCredentials> {
        let (node, cluster) = (node.to_string(), self.cluster_id.to_string());
        let subject = NodeSubject { node_id: &node, role, cluster_id: &cluster };
        let life = time::Duration::try_from(defaults::CERT_EXPIRY).context("a constant")?;
        let csr = self.key.csr_pem.as_bytes();
        let cert_pem = self.root.sign(csr, subject, OffsetDateTime::now_utc(), life)?;
        let root_pem = self.root.cert_pem().to_owned();
        Ok(NodeCredentials { cert_pem, key_pem: self.key.key_pem.clone(), root_pem })
    }

    /// Who comes with these credentials, without a handshake.
    ///
    /// # Errors
    /// The certificate is none.
    pub fn peer(&self, credentials: &NodeCredentials) -> Result<PeerInfo> {
        let certificate = CertificateDer::from_pem_slice(credentials.cert_pem.as_bytes());
        let certificate = certificate.context("failed to read a certificate")?;
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(PeerInfo { addr, certificates: Arc::new([certificate]) })
    }

    /// Stops every manager and waits for it.
    pub async fn down(self) {
        for host in self.hosts {
            host.stop().await;
        }
    }
}

fn member(id: NodeId, role: NodeRole, manager: Option<ManagerStatus>) -> Action {
    let node = Node { manager, ..Node::new(id, NodeSpec { role, ..NodeSpec::default() }) };
    Change::Create(Arc::new(node)).into()
}
