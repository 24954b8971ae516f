//! A manager from start to stop: Raft, the leader's loop, the gRPC server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use skep_proto::swarmkit::ca_server::CaServer;
use skep_proto::swarmkit::dispatcher_server::DispatcherServer;
use skep_proto::swarmkit::health_server::HealthServer;
use skep_proto::swarmkit::log_broker_server::LogBrokerServer;
use skep_proto::swarmkit::logs_server::LogsServer;
use skep_proto::swarmkit::node_ca_server::NodeCaServer;
use skep_proto::swarmkit::resource_allocator_server::ResourceAllocatorServer;
use skep_proto::transport::{PeerInfo, TlsIncoming};
use skep_proto::v1 as pb;
use skep_proto::v1::control_server::ControlServer;
use skep_proto::v1::membership_server::MembershipServer;
use skep_proto::v1::overlay_server::OverlayServer;
use skep_proto::v1::raft_server::RaftServer;
use skep_raft::grpc::{GrpcTransport, RaftService};
use skep_raft::{Config, Leadership, MembershipError, OpenError, Peer, RaftNode, SwarmMachine};
use skep_scheduler::Move;
use skep_secrets::identity::NodeCredentials;
use skep_secrets::sealing::Keyring;
use skep_secrets::tls::{TlsError, TlsFloor, server_config};
use skep_state::{Action, Event, State};
use skep_types::{ClusterId, NodeId, ServiceId};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::Layer;

use crate::control::{self, Code, ControlError, Request};
use crate::core::{Core, CoreParts};
use crate::defaults::{
    CALL_TIMEOUT, ELECTION_PATIENCE, LOG_MESSAGE_BYTES_MAX, RETRY_INTERVAL, SHUTDOWN_GRACE,
    STREAMS_PER_CONNECTION,
};
use crate::door::Door;
use crate::execute::{Done, unavailable};
use crate::gate::GateLayer;
use crate::lead;
use crate::logs::{LogOptions, LogSelector};
use crate::metrics::{ManagerMetrics, Standing};
use crate::peers::Peers;
use crate::proposer::ProposalError;
use crate::service::ca::{CaService, SharedCa};
use crate::service::control::ControlService;
use crate::service::dispatcher::DispatcherService;
use crate::service::health::HealthService;
use crate::service::logbroker::LogBrokerService;
use crate::service::membership::MembershipService;
use crate::service::overlay::OverlayService;
use crate::service::resource::ResourceService;
use crate::subscribe::LogStream;

/// What a manager is started with.
pub struct ManagerConfig {
    /// Where the Raft log and snapshots stand.
    pub dir: PathBuf,
    /// Seals them.
    pub keyring: Keyring,
    pub node_id: NodeId,
    pub cluster_id: ClusterId,
    pub raft_id: u64,
    pub listener: TcpListener,
    /// The node's own, renewed while the manager runs.
    pub credentials: watch::Receiver<Arc<NodeCredentials>>,
    /// Where it counts its work.
    pub metrics: ManagerMetrics,
}

/// What the first manager of a swarm makes it of.
pub struct Bootstrap {
    /// Where other managers will reach this one.
    pub advertise_addr: SocketAddr,
    /// The swarm, its first node, its ingress network.
    pub objects: Vec<Action>,
}

/// Why a manager did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to open the managers' log")]
    Open(#[from] OpenError),
    #[error("failed to configure TLS of the managers' port")]
    Tls(#[from] TlsError),
    #[error("failed to make the managers' group")]
    Group(#[from] MembershipError),
    #[error("failed to make the swarm")]
    Swarm(#[from] ProposalErrorText),
}

/// Why the first transaction was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProposalErrorText(String);

impl From<ProposalError> for StartError {
    fn from(error: ProposalError) -> Self {
        Self::Swarm(ProposalErrorText(error.to_string()))
    }
}

/// One manager as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberReport {
    pub raft_id: u64,
    pub leader: bool,
    pub reachable: bool,
}

/// A manager that runs.
pub struct Manager {
    core: Arc<Core>,
    routes: Routes,
    stop: CancellationToken,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

impl Manager {
    /// Starts a manager; with `bootstrap` it makes a new swarm first.
    ///
    /// # Errors
    /// The log cannot be opened, or the swarm not be made; nothing runs then.
    pub async fn start(
        config: ManagerConfig,
        bootstrap: Option<Bootstrap>,
    ) -> Result<Self, StartError> {
        let raft = Config::new(config.raft_id);
        Self::start_with(config, bootstrap, raft).await
    }

    /// The same with Raft's timers of one's own: a benchmark beside other work wants patient ones.
    ///
    /// # Errors
    /// See [`Self::start`].
    #[doc(hidden)]
    pub async fn start_with(
        config: ManagerConfig,
        bootstrap: Option<Bootstrap>,
        raft: Config,
    ) -> Result<Self, StartError> {
        let ManagerConfig {
            dir,
            keyring,
            node_id,
            cluster_id,
            raft_id,
            listener,
            credentials,
            metrics,
        } = config;
        let tls = tls_of(&credentials)?;
        let peers = Arc::new(Peers::new(credentials.clone()));
        let (machine, observer) = SwarmMachine::new();
        let raft = RaftNode::open(
            &dir,
            raft,
            Box::new(machine),
            Arc::new(Sealed(keyring)),
            Arc::new(GrpcTransport::new(Arc::clone(&peers) as _)),
        );
        let raft = Arc::new(raft.await?);
        let parts = CoreParts { node_id, cluster_id, raft_id, raft, observer, peers, metrics };
        let core = Arc::new(Core::new(parts));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let routes = routes(&core);
        serve(&core, routes.clone(), listener, credentials, tls, &stop, &mut tasks);
        tasks.spawn(lead::run(Arc::clone(&core), stop.clone()));
        let manager = Self { core, routes, stop, tasks: tokio::sync::Mutex::new(tasks) };
        if let Some(bootstrap) = bootstrap
            && let Err(error) = manager.make_swarm(bootstrap).await
        {
            manager.shutdown().await;
            return Err(error);
        }
        Ok(manager)
    }

    async fn make_swarm(&self, bootstrap: Bootstrap) -> Result<(), StartError> {
        let core = &self.core;
        let Bootstrap { advertise_addr, objects } = bootstrap;
        let peer = Peer { addr: advertise_addr.to_string(), node: core.node_id.to_string() };
        core.raft.bootstrap(peer).await?;
        let leads = async {
            while !core.is_leader() {
                tokio::time::sleep(RETRY_INTERVAL / 25).await;
            }
        };
        let late = || StartError::from(ProposalError::Unavailable("no leader was elected".into()));
        tokio::time::timeout(ELECTION_PATIENCE, leads).await.map_err(|_| late())?;
        let made = core.proposer.submit::<ProposalError>(|_| Ok(objects))?;
        made.applied().await?;
        Ok(())
    }

    pub fn raft_id(&self) -> u64 {
        self.core.raft_id
    }

    /// What this manager has applied; it may lag behind the leader.
    pub fn view(&self) -> State {
        self.core.observer.view()
    }

    /// Changes with every entry that this manager applies.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.core.observer.applied()
    }

    /// What each entry that this manager applies changes, from now on; entries that change nothing
    /// are left out. A receiver that lags is told so.
    pub fn changes(&self) -> broadcast::Receiver<Arc<Vec<Event>>> {
        self.core.observer.events()
    }

    /// How it stands now, for whoever watches over it.
    pub fn standing(&self) -> Standing {
        let raft = self.core.raft.metrics();
        let (applied_index, view) = self.core.observer.indexed_view();
        Standing {
            term: raft.current_term,
            last_log_index: raft.last_log_index.unwrap_or_default(),
            applied_index,
            snapshot_index: raft.snapshot.map_or(0, |last| last.index),
            leads: self.core.is_leader(),
            has_leader: raft.current_leader.is_some(),
            members: raft.membership_config.membership().nodes().count(),
            sessions: self.core.dispatch.count(),
            view,
        }
    }

    /// Who leads, as far as this manager knows.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.core.raft.leadership()
    }

    /// A view that holds everything that was acknowledged before the call.
    ///
    /// # Errors
    /// No leader answers.
    pub async fn fresh_view(&self) -> Result<State, ControlError> {
        self.core.fresh_view().await
    }

    /// Has a request decided by the leader and applied, here too.
    ///
    /// # Errors
    /// It was refused, or no leader answers; the outcome is unknown only if the text says so.
    pub async fn execute(&self, request: Request) -> Result<Done, ControlError> {
        self.core.execute(request).await
    }

    /// What a rebalance of a service would move, as a view has it.
    ///
    /// # Errors
    /// There is no such service, it has no tasks to spread, or it is being changed.
    pub async fn moves(&self, view: State, id: ServiceId) -> Result<Vec<Move>, ControlError> {
        let now = self.core.proposer.now();
        // It looks at every task of the swarm.
        let planned = tokio::task::spawn_blocking(move || control::moves(&view, id, now));
        planned.await.expect("planning does not panic")
    }

    /// What the nodes last said of their networks, to the leader.
    ///
    /// # Errors
    /// No leader answers.
    pub async fn upkeep(&self) -> Result<Vec<pb::NodeUpkeep>, ControlError> {
        self.core.upkeep().await
    }

    /// Has actions applied as they are, where this manager leads: benchmarks and tests furnish large
    /// swarms so. Gives the log index.
    ///
    /// # Errors
    /// They were refused, or the outcome is unknown.
    #[doc(hidden)]
    pub async fn furnish(&self, actions: Vec<Action>) -> Result<u64, ControlError> {
        let pending = self.core.proposer.submit::<ProposalError>(|_| Ok(actions))?;
        Ok(pending.applied().await?)
    }

    /// Begins a snapshot now; [`Standing::snapshot_index`] says when it is there.
    ///
    /// # Errors
    /// This manager stops.
    #[doc(hidden)]
    pub async fn begin_snapshot(&self) -> Result<(), ControlError> {
        let begun = self.core.raft.trigger_snapshot().await;
        begun.map_err(|error| unavailable(error.to_string()))
    }

    /// The managers' port for a caller of this process; see [`Door`].
    #[doc(hidden)]
    pub fn door(&self, peer: PeerInfo) -> Door {
        let gate = GateLayer(Arc::clone(&self.core)).layer(self.routes.clone());
        Door { gate, peer }
    }

    /// Has tasks' logs read from every node that runs them; dropping them ends the reading.
    ///
    /// # Errors
    /// The subscription was refused, or no leader answers. In the stream: the reader was too slow,
    /// the leader changed, or, at the end, what could not be had.
    pub async fn subscribe_logs(
        &self,
        selector: &LogSelector,
        options: &LogOptions,
    ) -> Result<LogStream, ControlError> {
        self.core.subscribe_logs(selector, options).await
    }

    /// The managers as the leader sees them; from here alone if it cannot be asked.
    pub async fn members(&self) -> Vec<MemberReport> {
        let core = &self.core;
        if let Some(leader) = core.raft.leader().filter(|leader| leader.id != core.raft_id)
            && let Ok(channel) = core.peers.leader(&leader.peer.addr).await
        {
            let mut client = pb::membership_client::MembershipClient::new(channel);
            let ask = client.status(pb::StatusRequest {});
            if let Ok(Ok(answer)) = tokio::time::timeout(CALL_TIMEOUT, ask).await {
                let members = answer.into_inner().members.into_iter();
                let report = |member: pb::MemberStatus| MemberReport {
                    raft_id: member.member.map_or(0, |it| it.raft_id),
                    leader: member.leader,
                    reachable: member.reachable,
                };
                return members.map(report).collect();
            }
            core.peers.forget_leader();
        }
        let leader = core.raft.metrics().current_leader;
        let reachable = core.raft.reachable();
        let report = |raft_id| MemberReport {
            raft_id,
            leader: leader == Some(raft_id),
            reachable: reachable.contains(&raft_id),
        };
        core.members().into_keys().map(report).collect()
    }

    /// Takes this manager out of the group, for good: it becomes a worker in the state.
    ///
    /// # Errors
    /// It is the last manager, or the group could not be changed within the patience.
    pub async fn leave_group(&self) -> Result<(), ControlError> {
        let core = &self.core;
        let deadline = tokio::time::Instant::now() + ELECTION_PATIENCE;
        loop {
            let view = core.fresh_view().await?;
            let Some(node) = view.nodes().get(core.node_id) else { break };
            let mut spec = node.spec.clone();
            spec.role = skep_types::NodeRole::Worker;
            let (id, revision) = (core.node_id, node.meta.revision);
            match core.execute(Request::UpdateNode { id, revision, spec }).await {
                Ok(_) => break,
                // Its status changed meanwhile: once more, from what stands now.
                Err(error)
                    if error.code == Code::OutOfSequence
                        && tokio::time::Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
        // What the leader says counts: one that was taken out is not told of it by the log.
        while self.members().await.iter().any(|member| member.raft_id == core.raft_id) {
            if tokio::time::Instant::now() >= deadline {
                return Err(ProposalError::Unavailable(
                    "the other managers did not take this one out in time".to_owned(),
                )
                .into());
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until the manager cannot go on by itself, and says why.
    pub async fn failed(&self) -> String {
        self.core.failed().await
    }

    /// Hands leadership over if it can, ends every call, and stops. Nothing runs after.
    pub async fn shutdown(&self) {
        self.hand_over().await;
        self.stop.cancel();
        let mut tasks = self.tasks.lock().await;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the manager ended badly");
            }
        }
        self.core.raft.shutdown().await;
    }

    async fn hand_over(&self) {
        let core = &self.core;
        if !core.raft.leadership().borrow().is_leader {
            return;
        }
        let reachable = core.raft.reachable();
        let members = core.members();
        let voters = members.iter().filter(|(_, (_, voter))| *voter).map(|(id, _)| *id);
        let next = voters.into_iter().find(|id| *id != core.raft_id && reachable.contains(id));
        if let Some(next) = next
            && let Err(error) = core.raft.transfer_leader(next).await
        {
            tracing::info!(%error, "leadership was not handed over before the stop");
        }
    }
}

/// All services of a manager; each stands behind the gate.
fn routes(core: &Arc<Core>) -> Routes {
    let ca = SharedCa(Arc::new(CaService::new(Arc::clone(core))));
    let of = |core: &Arc<Core>| Arc::clone(core);
    let logs = LogBrokerService(of(core));
    let broker = LogBrokerServer::new(logs.clone());
    Routes::new(CaServer::new(ca.clone()))
        .add_service(NodeCaServer::new(ca))
        .add_service(DispatcherServer::new(DispatcherService(of(core))))
        .add_service(broker.max_decoding_message_size(LOG_MESSAGE_BYTES_MAX))
        .add_service(LogsServer::new(logs))
        .add_service(ResourceAllocatorServer::new(ResourceService(of(core))))
        .add_service(HealthServer::new(HealthService))
        .add_service(RaftServer::new(RaftService(Arc::clone(&core.raft))))
        .add_service(MembershipServer::new(MembershipService(of(core))))
        .add_service(OverlayServer::new(OverlayService(of(core))))
        .add_service(ControlServer::new(ControlService(of(core))))
        .prepare()
}

/// Serves the managers' port until told to stop, with the newest certificate.
fn serve(
    core: &Arc<Core>,
    routes: Routes,
    listener: TcpListener,
    mut credentials: watch::Receiver<Arc<NodeCredentials>>,
    tls: Arc<rustls::ServerConfig>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    let (configs, newest) = watch::channel(tls);
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .layer(GateLayer(Arc::clone(core)))
        .add_routes(routes);
    let (stop, of_stop) = (stop.clone(), stop.clone());
    tasks.spawn(async move {
        let incoming = TlsIncoming::new(listener, newest);
        let stopped = stop.cancelled();
        let serving = server.serve_with_incoming_shutdown(incoming, stopped);
        // Streams do not end by themselves: past the grace they are cut.
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        tokio::select! {
            ended = serving => if let Err(error) = ended {
                tracing::error!(%error, "the managers' port ended badly");
            },
            () = late => tracing::debug!("calls still under way at shutdown were cut"),
        }
    });
    let stop = of_stop;
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = credentials.changed() => if changed.is_err() { return },
            }
            match tls_of(&credentials) {
                Ok(config) => drop(configs.send_replace(config)),
                // The old certificate is good for a while yet; the next renewal may do better.
                Err(error) => tracing::error!(%error, "renewed certificate cannot be served"),
            }
        }
    });
}

fn tls_of(
    credentials: &watch::Receiver<Arc<NodeCredentials>>,
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let credentials = Arc::clone(&credentials.borrow());
    // dockerd's workers may still speak 1.2; our own nodes ask for 1.3.
    server_config(&credentials, &credentials.root_pem, TlsFloor::V12)
}

/// The keyring as the log's seal.
struct Sealed(Keyring);

impl skep_raft::Seal for Sealed {
    fn seal(&self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        self.0.seal(aad, plain).expect("a record is far below the cipher's limit of 256 GiB")
    }

    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
        self.0.open(aad, sealed).map(|plain| plain.to_vec()).map_err(|error| error.to_string())
    }
}
