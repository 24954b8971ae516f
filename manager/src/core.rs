//! What all parts of a manager share.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_raft::{Observer, Peer, RaftNode};
use skep_types::{ClusterId, NodeId};
use tokio::sync::watch;

use crate::log_table::LogTable;
use crate::metrics::ManagerMetrics;
use crate::peers::Peers;
use crate::proposer::Proposer;
use crate::router::Router;
use crate::session_table::SessionTable;
use crate::upkeep_table::UpkeepTable;

/// The parts, wired together by [`crate::Manager`].
pub struct Core {
    pub node_id: NodeId,
    pub cluster_id: ClusterId,
    pub raft_id: u64,
    pub raft: Arc<RaftNode>,
    pub observer: Observer,
    pub proposer: Proposer,
    pub dispatch: SessionTable,
    pub upkeep: UpkeepTable,
    pub router: Router,
    pub logs: LogTable,
    pub peers: Arc<Peers>,
    pub metrics: ManagerMetrics,
    failure: watch::Sender<Option<String>>,
}

/// What [`Core::new`] puts together.
pub struct CoreParts {
    pub node_id: NodeId,
    pub cluster_id: ClusterId,
    pub raft_id: u64,
    pub raft: Arc<RaftNode>,
    pub observer: Observer,
    pub peers: Arc<Peers>,
    pub metrics: ManagerMetrics,
}

impl Core {
    pub fn new(parts: CoreParts) -> Self {
        let CoreParts { node_id, cluster_id, raft_id, raft, observer, peers, metrics } = parts;
        Self {
            node_id,
            cluster_id,
            raft_id,
            proposer: Proposer::new(Arc::clone(&raft) as _, observer.clone(), metrics.clone()),
            raft,
            observer,
            dispatch: SessionTable::default(),
            upkeep: UpkeepTable::default(),
            router: Router::default(),
            logs: LogTable::default(),
            peers,
            metrics,
            failure: watch::Sender::new(None),
        }
    }

    pub fn is_leader(&self) -> bool {
        self.proposer.view().is_some()
    }

    /// Every member of the Raft group by its id, with whether it votes.
    pub fn members(&self) -> BTreeMap<u64, (Peer, bool)> {
        let metrics = self.raft.metrics();
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let nodes = metrics.membership_config.membership().nodes();
        nodes.map(|(id, peer)| (*id, (peer.clone(), voters.contains(id)))).collect()
    }

    /// This manager cannot go on: the daemon ends it.
    pub fn fail(&self, reason: &str) {
        self.failure.send_replace(Some(reason.to_owned()));
    }

    /// Waits until the manager cannot go on, and says why.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        tokio::select! {
            reason = self.raft.failed() => reason,
            reason = failure.wait_for(Option::is_some) => {
                let reason = reason.ok().and_then(|reason| reason.clone());
                reason.unwrap_or_else(|| "the manager was dropped".to_owned())
            }
        }
    }
}
