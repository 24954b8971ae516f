//! The Raft node: open, propose, read, answer peers, shut down.
//!
//! Not the membership's rules (`membership`) nor the storage. **Invariant:** after
//! [`RaftNode::shutdown`] no task, thread or file of the node is left.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, LinearizableReadError, RaftError};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::OneshotReceiverOf;
use openraft::{Raft, ReadPolicy, SnapshotPolicy, StepDownPolicy};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::defaults;
use crate::error::{MembershipError, OpenError, ProposeError};
use crate::leadership::{self, Leadership};
use crate::log_store::LogStore;
use crate::machine::{Machine, StateMachine};
use crate::membership::leader;
use crate::seal::Seal;
use crate::transport::{Network, PeerTransport};
use crate::types::{
    AppendRequest, AppendResponse, Command, LeaderId, Member, Metrics, Peer, Snapshot,
    SnapshotReply, TransferRequest, TransferResponse, TypeConfig, Vote, VoteReply, VoteRequest,
};

/// What a cluster may choose; the rest is in [`defaults`].
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's Raft id. It is never given to another node, not even after it was removed.
    pub id: u64,
    pub heartbeat: Duration,
    pub election_min: Duration,
    pub election_max: Duration,
    pub snapshot_entries: u64,
    pub snapshot_keep: u64,
    pub propose_timeout: Duration,
    pub catch_up_timeout: Duration,
}

impl Config {
    pub fn new(id: u64) -> Self {
        Self {
            id,
            heartbeat: defaults::HEARTBEAT,
            election_min: defaults::ELECTION_MIN,
            election_max: defaults::ELECTION_MAX,
            snapshot_entries: defaults::SNAPSHOT_ENTRIES,
            snapshot_keep: defaults::SNAPSHOT_KEEP,
            propose_timeout: defaults::PROPOSE_TIMEOUT,
            catch_up_timeout: defaults::CATCH_UP_TIMEOUT,
        }
    }

    fn openraft(&self) -> Result<openraft::Config, OpenError> {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "skep".into(),
            heartbeat_interval: ms(self.heartbeat),
            election_timeout_min: ms(self.election_min),
            election_timeout_max: ms(self.election_max),
            install_snapshot_timeout: ms(defaults::SNAPSHOT_TIMEOUT),
            max_payload_entries: defaults::APPEND_ENTRIES_MAX,
            // More than a whole log between two snapshots: a follower is fed from the log as long
            // as the log reaches back far enough.
            replication_lag_threshold: self.snapshot_entries + self.snapshot_keep,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.snapshot_keep,
            backoff: defaults::BACKOFF.into(),
            removed_leader_step_down: StepDownPolicy::After(ms(self.election_max)),
            enable_pre_vote: Some(true),
            // The commit position is saved lazily, so a restarted leader must be elected anew.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            ..openraft::Config::default()
        }
        .validate()
        .map_err(|e| OpenError::Config(e.to_string()))
    }
}

/// A committed and applied command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    pub index: u64,
    pub reply: Bytes,
}

/// A command that was handed to the Raft core, and its answer to come. Dropped, the command goes
/// its way all the same.
pub struct Submitted {
    answer: OneshotReceiverOf<TypeConfig, ClientWriteResult<TypeConfig>>,
    deadline: Instant,
    patience: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Submitted {
    /// Waits until the command is committed by a quorum and applied here.
    ///
    /// # Errors
    /// See [`ProposeError`], which says of each whether anything was written.
    pub async fn applied(self) -> Result<Proposed, ProposeError> {
        match tokio::time::timeout_at(self.deadline, self.answer).await {
            Ok(Ok(Ok(done))) => Ok(Proposed { index: done.log_id.index, reply: done.data }),
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(f)))) => {
                let leader = f.leader_id.zip(f.leader_node).map(|(id, peer)| Member { id, peer });
                Err(ProposeError::NotLeader { leader })
            }
            Ok(Ok(Err(e))) => Err(ProposeError::Unavailable(e.to_string())),
            // The core ended and took its end of it along.
            Ok(Err(_)) => Err(ProposeError::Storage("it ended meanwhile".into())),
            Err(_) => {
                Err(ProposeError::Unavailable(format!("not committed within {:?}", self.patience)))
            }
        }
    }
}

/// One member of the Raft group, running.
pub struct RaftNode {
    pub(crate) raft: Raft<TypeConfig, StateMachine>,
    pub(crate) config: Config,
    /// Held while the membership changes.
    pub(crate) change: Mutex<()>,
    log: LogStore,
    in_flight: Arc<Semaphore>,
    leadership: watch::Receiver<Leadership>,
    follower: StdMutex<Option<JoinHandle<()>>>,
}

impl RaftNode {
    /// Opens the node's directory (made if it is not there), verifies all of it, and starts. A new
    /// node is a learner of nothing until it is bootstrapped or added by a leader.
    pub async fn open(
        dir: &Path,
        config: Config,
        machine: Box<dyn Machine>,
        seal: Arc<dyn Seal>,
        transport: Arc<dyn PeerTransport>,
    ) -> Result<Self, OpenError> {
        let raft_config = Arc::new(config.openraft()?);
        let (path, id) = (dir.to_owned(), config.id);
        let (log, machine) = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&path)
                .map_err(|source| OpenError::Io { path: path.clone(), source })?;
            let machine = StateMachine::open(&path, seal.clone(), machine)?;
            Ok::<_, OpenError>((LogStore::open(&path, seal, id)?, machine))
        })
        .await
        .map_err(|e| OpenError::Start(e.to_string()))??;
        let raft = Raft::new(id, raft_config, Network(transport), log.clone(), machine)
            .await
            .map_err(|e| OpenError::Start(e.to_string()))?;
        let metrics = raft.metrics();
        let (tx, leadership) = watch::channel(Leadership::of(&metrics.borrow_watched()));
        let follower = tokio::spawn(leadership::follow(metrics, tx));
        Ok(Self {
            raft,
            config,
            change: Mutex::new(()),
            log,
            in_flight: Arc::new(Semaphore::new(defaults::IN_FLIGHT_BYTES_MAX)),
            leadership,
            follower: StdMutex::new(Some(follower)),
        })
    }

    /// Whether this node has never been part of a group.
    pub fn is_new(&self) -> bool {
        self.log.is_empty()
    }

    /// Makes this new node the only manager of a new group.
    pub async fn bootstrap(&self, peer: Peer) -> Result<(), MembershipError> {
        let members = BTreeMap::from([(self.config.id, peer)]);
        self.raft.initialize(members).await.map_err(|e| match e {
            RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_)) => {
                MembershipError::AlreadyInitialized
            }
            e => MembershipError::Failed(e.to_string()),
        })
    }

    /// Has the command committed by a quorum and applied here. Waits while too much is in flight.
    pub async fn propose(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        self.hand_in(command, None).await?.applied().await
    }

    /// Puts a command in flight as the leader of `term`, after every one that was submitted before;
    /// with another term, or not leading, its answer is that nothing was written. Those of one term
    /// are applied in the order of submitting. Waits while too much is in flight.
    ///
    /// # Errors
    /// It is too large, or the node has stopped: nothing was written.
    pub async fn submit(&self, term: u64, command: Bytes) -> Result<Submitted, ProposeError> {
        self.hand_in(command, Some(term)).await
    }

    async fn hand_in(&self, command: Bytes, term: Option<u64>) -> Result<Submitted, ProposeError> {
        let (max, got) = (defaults::COMMAND_BYTES_MAX, command.len());
        if got > max {
            return Err(ProposeError::TooLarge { max, got });
        }
        let cost = u32::try_from(got.max(defaults::IN_FLIGHT_BYTES_MIN)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.in_flight).acquire_many_owned(cost).await;
        let permit = permit.map_err(|_| ProposeError::Storage("shut down".into()))?;
        let (responder, answer) = ProgressResponder::complete_only();
        let mut write = self.raft.write(Command(command)).responder(responder);
        if let Some(term) = term {
            write = write.with_leader(LeaderId { term, node_id: self.config.id });
        }
        let patience = self.config.propose_timeout;
        let deadline = Instant::now() + patience;
        write.await.map_err(stopped)?;
        Ok(Submitted { answer, deadline, patience, _permit: permit })
    }

    /// Returns once this leader's machine holds everything that was committed before the call, and
    /// a quorum has confirmed the leadership: a read of the machine is then linearizable.
    pub async fn read_index(&self) -> Result<u64, ProposeError> {
        let read = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match tokio::time::timeout(defaults::READ_TIMEOUT, read).await {
            // Not the metrics': they are told of what is applied only after it is.
            Ok(Ok(read)) => Ok(read.index()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(f)))) => {
                let leader = f.leader_id.zip(f.leader_node).map(|(id, peer)| Member { id, peer });
                Err(ProposeError::NotLeader { leader })
            }
            Ok(Err(RaftError::APIError(e))) => Err(ProposeError::Unavailable(e.to_string())),
            Ok(Err(RaftError::Fatal(e))) => Err(ProposeError::Storage(e.to_string())),
            Err(_) => Err(ProposeError::Unavailable("the quorum did not answer".into())),
        }
    }

    /// Who leads, now and from now on.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// The leader and where it is reached, if this node knows.
    pub fn leader(&self) -> Option<Member> {
        leader(&self.metrics())
    }

    pub fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Waits until the node has stopped by itself (a failed write, a panic) and says why.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(e) = &metrics.borrow_and_update().running_state {
                return e.to_string();
            }
            if metrics.changed().await.is_err() {
                return "raft node stopped".into();
            }
        }
    }

    /// Begins a snapshot now, whatever the policy says.
    pub async fn trigger_snapshot(&self) -> Result<(), ProposeError> {
        self.raft.trigger().snapshot().await.map_err(stopped)
    }

    pub async fn handle_append_entries(
        &self,
        request: AppendRequest,
    ) -> Result<AppendResponse, ProposeError> {
        self.raft.append_entries(request).await.map_err(|e| stopped(e.unwrap_fatal()))
    }

    pub async fn handle_vote(&self, request: VoteRequest) -> Result<VoteReply, ProposeError> {
        self.raft.vote(request).await.map_err(|e| stopped(e.unwrap_fatal()))
    }

    pub async fn handle_pre_vote(&self, request: VoteRequest) -> Result<VoteReply, ProposeError> {
        self.raft.pre_vote(request).await.map_err(|e| stopped(e.unwrap_fatal()))
    }

    pub async fn handle_install_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotReply, ProposeError> {
        self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)
    }

    pub async fn handle_transfer_leader(
        &self,
        request: TransferRequest,
    ) -> Result<TransferResponse, ProposeError> {
        self.raft.handle_transfer_leader(request).await.map_err(stopped)
    }

    /// Stops the node and waits for all of it; a second call does nothing.
    pub async fn shutdown(&self) {
        self.in_flight.close();
        if let Err(e) = self.raft.shutdown().await {
            tracing::warn!("raft core ended badly: {e}");
        }
        let follower = self.follower.lock().expect("no holder panics").take();
        if let Some(follower) = follower {
            // The core's end has closed what it follows, unless a handle of the core is about.
            follower.abort();
            if let Err(e) = follower.await
                && !e.is_cancelled()
            {
                tracing::warn!("leadership follower ended badly: {e}");
            }
        }
        let log = self.log.clone();
        if let Err(e) = tokio::task::spawn_blocking(move || log.close()).await {
            tracing::warn!("closing the raft log ended badly: {e}");
        }
    }
}

fn stopped(e: Fatal<TypeConfig>) -> ProposeError {
    ProposeError::Storage(e.to_string())
}
