//! The wall to the wire: what a Raft node asks of its peers, and the adapter from openraft.
//!
//! Not a connection; an implementation brings those. **Invariant:** a call that brought no answer
//! is an error, never a made-up answer: a pre-vote nobody heard is not a granted one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};

use crate::defaults;
use crate::error::TransportError;
use crate::log_store::entries_bytes;
use crate::types::{
    AppendRequest, AppendResponse, Member, Peer, Snapshot, SnapshotReply, TransferRequest,
    TransferResponse, TypeConfig, Vote, VoteReply, VoteRequest,
};

/// Calls of different lanes must not wait for each other: a heartbeat behind a snapshot would cost
/// the leader its office.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    Replication,
    Heartbeat,
    Snapshot,
}

/// How a call is to be made. The implementation must give up after `timeout`.
#[derive(Debug, Clone, Copy)]
pub struct CallOption {
    pub timeout: Duration,
    pub lane: Lane,
}

/// Carries Raft's calls to a peer's `handle_*` methods.
#[async_trait]
pub trait PeerTransport: Send + Sync + 'static {
    async fn append_entries(
        &self,
        peer: &Member,
        request: AppendRequest,
        option: CallOption,
    ) -> Result<AppendResponse, TransportError>;

    async fn vote(
        &self,
        peer: &Member,
        request: VoteRequest,
        option: CallOption,
    ) -> Result<VoteReply, TransportError>;

    async fn pre_vote(
        &self,
        peer: &Member,
        request: VoteRequest,
        option: CallOption,
    ) -> Result<VoteReply, TransportError>;

    async fn install_snapshot(
        &self,
        peer: &Member,
        vote: Vote,
        snapshot: Snapshot,
        option: CallOption,
    ) -> Result<SnapshotReply, TransportError>;

    async fn transfer_leader(
        &self,
        peer: &Member,
        request: TransferRequest,
        option: CallOption,
    ) -> Result<TransferResponse, TransportError>;
}

pub(crate) struct Network(pub Arc<dyn PeerTransport>);

impl Network {
    fn client(&self, id: u64, peer: &Peer, lane: Lane) -> Client {
        Client { transport: self.0.clone(), peer: Member { id, peer: peer.clone() }, lane }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Lane::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Lane::Snapshot)
    }
}

pub(crate) struct Client {
    transport: Arc<dyn PeerTransport>,
    peer: Member,
    lane: Lane,
}

fn rpc_error(e: TransportError) -> RPCError<TypeConfig> {
    match e {
        TransportError::Unreachable(_) => RPCError::Unreachable(Unreachable::new(&e)),
        TransportError::Failed(_) => RPCError::Network(NetworkError::new(&e)),
    }
}

/// Runs a call under its timeout even if the transport forgets to: a call that hangs would stop
/// replication to that peer for good.
async fn bounded<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(result) => result,
        Err(_) => Err(TransportError::Unreachable(format!("no answer within {timeout:?}"))),
    }
}

impl Client {
    fn option(&self, timeout: Duration) -> CallOption {
        CallOption { timeout, lane: self.lane }
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        mut rpc: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendResponse, RPCError<TypeConfig>> {
        let mut bytes = 0;
        let fits = entries_bytes(&rpc.entries)
            .take_while(|size| {
                bytes += size;
                bytes <= defaults::APPEND_BYTES_MAX
            })
            .count()
            .max(1);
        let cut = fits < rpc.entries.len();
        rpc.entries.truncate(fits);
        let sent = rpc.entries.last().map(|e| e.log_id);
        let timeout = if sent.is_some() { defaults::APPEND_TIMEOUT } else { option.hard_ttl() };
        let option = self.option(timeout);
        let call = self.transport.append_entries(&self.peer, rpc, option);
        let answer = bounded(timeout, call).await.map_err(rpc_error)?;
        Ok(match answer {
            AppendResponse::Success if cut => AppendResponse::PartialSuccess(sent),
            answer => answer,
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteReply, RPCError<TypeConfig>> {
        let timeout = option.hard_ttl();
        let call = self.transport.vote(&self.peer, rpc, self.option(timeout));
        bounded(timeout, call).await.map_err(rpc_error)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteReply, RPCError<TypeConfig>> {
        let timeout = option.hard_ttl();
        let call = self.transport.pre_vote(&self.peer, rpc, self.option(timeout));
        bounded(timeout, call).await.map_err(rpc_error)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotReply, StreamingError<TypeConfig>> {
        let timeout = defaults::SNAPSHOT_TIMEOUT;
        let option = self.option(timeout);
        let call = self.transport.install_snapshot(&self.peer, vote, snapshot, option);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = bounded(timeout, call) => answer.map_err(|e| rpc_error(e).into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferRequest,
        option: RPCOption,
    ) -> Result<TransferResponse, RPCError<TypeConfig>> {
        // The peer waits up to an election timeout for its log to be on disk.
        let timeout = option.hard_ttl().max(defaults::ELECTION_MAX);
        let call = self.transport.transfer_leader(&self.peer, req, self.option(timeout));
        bounded(timeout, call).await.map_err(rpc_error)
    }
}
