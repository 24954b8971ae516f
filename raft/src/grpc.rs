//! The wire: [`PeerTransport`] and the Raft service over gRPC.
//!
//! Connections come from a [`Connector`], which knows certificates; who may call is the server's
//! table. **Invariant:** a connection on which a call broke is never used again, for a dead one
//! that is kept makes every election fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream;
use openraft::EntryPayload;
use openraft::raft::TransferLeaderError;
use skep_proto::v1 as pb;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::error::TransportError;
use crate::node::RaftNode;
use crate::record::{member_sets, membership_of};
use crate::transport::{CallOption, Lane, PeerTransport};
use crate::types::{
    AppendRequest, AppendResponse, Command, Entry, LogId, Member, Membership, Peer, Snapshot,
    SnapshotMeta, SnapshotReply, StoredMembership, TransferRequest, TransferResponse, Vote,
    VoteReply, VoteRequest,
};

/// Bytes of a snapshot in one message: a quarter of gRPC's limit.
const CHUNK_BYTES: usize = 1 << 20;

/// A snapshot larger than this is refused rather than gathered in memory: some ten times what a
/// million tasks take.
const SNAPSHOT_BYTES_MAX: usize = 4 << 30;

/// Makes an authenticated connection to a manager.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    async fn connect(&self, peer: &Member) -> Result<Channel, String>;
}

type Client = pb::raft_client::RaftClient<Channel>;
type Key = (u64, String, Lane);

/// Calls peers over gRPC, each lane on a connection of its own.
pub struct GrpcTransport {
    connector: Arc<dyn Connector>,
    /// One entry for each member and lane; members are few.
    pool: Mutex<HashMap<Key, Channel>>,
}

impl GrpcTransport {
    pub fn new(connector: Arc<dyn Connector>) -> Self {
        Self { connector, pool: Mutex::default() }
    }

    async fn client(&self, peer: &Member, lane: Lane) -> Result<Client, TransportError> {
        let key = (peer.id, peer.peer.addr.clone(), lane);
        let pooled = self.pool.lock().expect("no holder panics").get(&key).cloned();
        let channel = match pooled {
            Some(channel) => channel,
            None => {
                let made = self.connector.connect(peer).await;
                let channel = made.map_err(TransportError::Unreachable)?;
                self.pool.lock().expect("no holder panics").insert(key, channel.clone());
                channel
            }
        };
        Ok(Client::new(channel))
    }

    /// Makes one call under its timeout; a connection that failed it is forgotten.
    async fn call<T>(
        &self,
        peer: &Member,
        option: CallOption,
        call: impl AsyncFnOnce(Client) -> Result<Response<T>, Status>,
    ) -> Result<T, TransportError> {
        let work = async {
            let client = self.client(peer, option.lane).await?;
            call(client).await.map_err(|s| TransportError::Unreachable(s.to_string()))
        };
        let result = match tokio::time::timeout(option.timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Unreachable(format!(
                "{} did not answer within {:?}",
                peer.peer.addr, option.timeout
            ))),
        };
        if result.is_err() {
            let key = (peer.id, peer.peer.addr.clone(), option.lane);
            self.pool.lock().expect("no holder panics").remove(&key);
        }
        result.map(Response::into_inner)
    }
}

fn bad(e: String) -> TransportError {
    TransportError::Failed(e)
}

#[async_trait]
impl PeerTransport for GrpcTransport {
    async fn append_entries(
        &self,
        peer: &Member,
        request: AppendRequest,
        option: CallOption,
    ) -> Result<AppendResponse, TransportError> {
        let request = pb::AppendEntriesRequest {
            vote: Some(to_vote(&request.vote)),
            prev_log_id: request.prev_log_id.map(to_log_id),
            entries: request.entries.into_iter().map(to_entry).collect(),
            leader_commit: request.leader_commit.map(to_log_id),
        };
        use pb::append_entries_response::Result as R;
        let answer =
            self.call(peer, option, async |mut c: Client| c.append_entries(request).await).await?;
        match answer.result.ok_or_else(|| bad("empty answer to AppendEntries".into()))? {
            R::Success(_) => Ok(AppendResponse::Success),
            R::PartialSuccess(p) => Ok(AppendResponse::PartialSuccess(p.log_id.map(log_id))),
            R::Conflict(_) => Ok(AppendResponse::Conflict),
            R::HigherVote(v) => Ok(AppendResponse::HigherVote(from_vote(v))),
        }
    }

    async fn vote(
        &self,
        peer: &Member,
        request: VoteRequest,
        option: CallOption,
    ) -> Result<VoteReply, TransportError> {
        let request = to_vote_request(&request);
        let answer = self.call(peer, option, async |mut c: Client| c.vote(request).await).await?;
        from_vote_reply(answer).map_err(bad)
    }

    async fn pre_vote(
        &self,
        peer: &Member,
        request: VoteRequest,
        option: CallOption,
    ) -> Result<VoteReply, TransportError> {
        let request = to_vote_request(&request);
        let answer =
            self.call(peer, option, async |mut c: Client| c.pre_vote(request).await).await?;
        from_vote_reply(answer).map_err(bad)
    }

    async fn install_snapshot(
        &self,
        peer: &Member,
        vote: Vote,
        snapshot: Snapshot,
        option: CallOption,
    ) -> Result<SnapshotReply, TransportError> {
        use pb::snapshot_chunk::Part;
        let header =
            pb::SnapshotHeader { vote: Some(to_vote(&vote)), meta: Some(to_meta(&snapshot.meta)) };
        let bytes = snapshot.snapshot;
        let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
        let data = starts.map(move |at| {
            let end = bytes.len().min(at + CHUNK_BYTES);
            Part::Data(pb::Opaque { data: bytes[at..end].to_vec() })
        });
        let parts = std::iter::once(Part::Header(header)).chain(data);
        let chunks = stream::iter(parts.map(|part| pb::SnapshotChunk { part: Some(part) }));
        let answer =
            self.call(peer, option, async |mut c: Client| c.install_snapshot(chunks).await).await?;
        let vote = answer.vote.ok_or_else(|| bad("answer to a snapshot without vote".into()))?;
        Ok(SnapshotReply::new(from_vote(vote)))
    }

    async fn transfer_leader(
        &self,
        peer: &Member,
        request: TransferRequest,
        option: CallOption,
    ) -> Result<TransferResponse, TransportError> {
        let expected = *request.from_leader();
        let request = pb::TransferLeaderRequest {
            from_leader: Some(to_vote(&expected)),
            to_node_id: *request.to_node_id(),
            last_log_id: request.last_log_id().copied().map(to_log_id),
        };
        let answer =
            self.call(peer, option, async |mut c: Client| c.transfer_leader(request).await).await?;
        Ok(match answer.changed_vote {
            None => Ok(()),
            Some(v) => Err(TransferLeaderError::VoteChanged { expected, actual: from_vote(v) }),
        })
    }
}

/// The Raft service of this node.
pub struct RaftService(pub Arc<RaftNode>);

fn invalid(e: impl Into<String>) -> Status {
    Status::invalid_argument(e)
}

fn stopped(e: crate::ProposeError) -> Status {
    Status::unavailable(e.to_string())
}

#[async_trait]
impl pb::raft_server::Raft for RaftService {
    async fn append_entries(
        &self,
        request: Request<pb::AppendEntriesRequest>,
    ) -> Result<Response<pb::AppendEntriesResponse>, Status> {
        use pb::append_entries_response::Result as R;
        let r = request.into_inner();
        let entries: Result<Vec<Entry>, String> = r.entries.into_iter().map(from_entry).collect();
        let request = AppendRequest {
            vote: r.vote.map(from_vote).ok_or_else(|| invalid("no vote"))?,
            prev_log_id: r.prev_log_id.map(log_id),
            entries: entries.map_err(invalid)?,
            leader_commit: r.leader_commit.map(log_id),
        };
        let answer = self.0.handle_append_entries(request).await.map_err(stopped)?;
        let result = Some(match answer {
            AppendResponse::Success => R::Success(pb::Success {}),
            AppendResponse::PartialSuccess(l) => {
                R::PartialSuccess(pb::PartialSuccess { log_id: l.map(to_log_id) })
            }
            AppendResponse::Conflict => R::Conflict(pb::Conflict {}),
            AppendResponse::HigherVote(v) => R::HigherVote(to_vote(&v)),
        });
        Ok(Response::new(pb::AppendEntriesResponse { result }))
    }

    async fn vote(
        &self,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteResponse>, Status> {
        let request = from_vote_request(request.into_inner()).map_err(invalid)?;
        let answer = self.0.handle_vote(request).await.map_err(stopped)?;
        Ok(Response::new(to_vote_reply(&answer)))
    }

    async fn pre_vote(
        &self,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteResponse>, Status> {
        let request = from_vote_request(request.into_inner()).map_err(invalid)?;
        let answer = self.0.handle_pre_vote(request).await.map_err(stopped)?;
        Ok(Response::new(to_vote_reply(&answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotChunk>>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        use pb::snapshot_chunk::Part;
        let mut chunks = request.into_inner();
        let first = chunks.message().await?.and_then(|c| c.part);
        let Some(Part::Header(header)) = first else {
            return Err(invalid("a snapshot begins with its header"));
        };
        let vote = header.vote.map(from_vote).ok_or_else(|| invalid("no vote"))?;
        let meta = header.meta.ok_or_else(|| invalid("no meta"))?;
        let meta = from_meta(meta).map_err(invalid)?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = chunks.message().await? {
            let Some(Part::Data(piece)) = chunk.part else {
                return Err(invalid("a snapshot has one header"));
            };
            if bytes.len() + piece.data.len() > SNAPSHOT_BYTES_MAX {
                return Err(Status::resource_exhausted("snapshot too large"));
            }
            bytes.extend_from_slice(&piece.data);
        }
        let snapshot = Snapshot { meta, snapshot: bytes.freeze() };
        let answer = self.0.handle_install_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(pb::SnapshotResponse { vote: Some(to_vote(&answer.vote)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let r = request.into_inner();
        let from = r.from_leader.map(from_vote).ok_or_else(|| invalid("no vote"))?;
        let request = TransferRequest::new(from, r.to_node_id, r.last_log_id.map(log_id));
        let changed_vote = match self.0.handle_transfer_leader(request).await.map_err(stopped)? {
            Ok(()) => None,
            Err(TransferLeaderError::VoteChanged { actual, .. }) => Some(to_vote(&actual)),
            Err(e @ TransferLeaderError::LogNotFlushed { .. }) => {
                return Err(Status::failed_precondition(e.to_string()));
            }
        };
        Ok(Response::new(pb::TransferLeaderResponse { changed_vote }))
    }
}

fn to_vote(v: &Vote) -> pb::LeaderVote {
    pb::LeaderVote { term: v.leader_id.term, node_id: v.leader_id.node_id, committed: v.committed }
}

fn from_vote(v: pb::LeaderVote) -> Vote {
    if v.committed { Vote::new_committed(v.term, v.node_id) } else { Vote::new(v.term, v.node_id) }
}

fn to_log_id(l: LogId) -> pb::LogId {
    pb::LogId { term: l.leader_id.term, node_id: l.leader_id.node_id, index: l.index }
}

fn log_id(l: pb::LogId) -> LogId {
    let vote = Vote::new(l.term, l.node_id);
    LogId::new(vote.leader_id, l.index)
}

fn to_entry(e: Entry) -> pb::Entry {
    use pb::entry::Payload;
    let payload = match e.payload {
        EntryPayload::Blank => Payload::Blank(pb::Blank {}),
        EntryPayload::Normal(c) => Payload::Normal(pb::Opaque { data: c.0.into() }),
        EntryPayload::Membership(m) => Payload::Membership(to_membership(&m)),
    };
    pb::Entry { log_id: Some(to_log_id(e.log_id)), payload: Some(payload) }
}

fn from_entry(e: pb::Entry) -> Result<Entry, String> {
    use pb::entry::Payload;
    let payload = match e.payload.ok_or("entry without payload")? {
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Normal(c) => EntryPayload::Normal(Command(Bytes::from(c.data))),
        Payload::Membership(m) => EntryPayload::Membership(from_membership(m)?),
    };
    Ok(Entry { log_id: log_id(e.log_id.ok_or("entry without log id")?), payload })
}

fn to_membership(m: &Membership) -> pb::RaftMembership {
    let member = |(id, p): (&u64, &Peer)| pb::RaftMember {
        raft_id: *id,
        node_id: p.node.clone(),
        addr: p.addr.clone(),
    };
    pb::RaftMembership {
        voters: member_sets(m).map(|raft_ids| pb::MemberSet { raft_ids }).collect(),
        members: m.nodes().map(member).collect(),
    }
}

fn from_membership(m: pb::RaftMembership) -> Result<Membership, String> {
    let members = m.members.into_iter();
    membership_of(
        m.voters.into_iter().map(|v| v.raft_ids),
        members.map(|m| (m.raft_id, Peer { addr: m.addr, node: m.node_id })),
    )
}

fn to_meta(m: &SnapshotMeta) -> pb::SnapshotMeta {
    pb::SnapshotMeta {
        last_log_id: m.last_log_id.map(to_log_id),
        last_membership: Some(pb::StoredMembership {
            log_id: m.last_membership.log_id().map(to_log_id),
            membership: Some(to_membership(m.last_membership.membership())),
        }),
        snapshot_id: String::new(),
    }
}

fn from_meta(m: pb::SnapshotMeta) -> Result<SnapshotMeta, String> {
    let stored = m.last_membership.unwrap_or_default();
    let last_membership = match stored.membership {
        Some(m) if !m.voters.is_empty() => {
            StoredMembership::new(stored.log_id.map(log_id), from_membership(m)?)
        }
        _ => StoredMembership::default(),
    };
    Ok(SnapshotMeta { last_log_id: m.last_log_id.map(log_id), last_membership })
}

fn to_vote_request(r: &VoteRequest) -> pb::VoteRequest {
    pb::VoteRequest {
        vote: Some(to_vote(&r.vote)),
        last_log_id: r.last_log_id.map(to_log_id),
        leadership_transfer: r.leadership_transfer,
    }
}

fn from_vote_request(r: pb::VoteRequest) -> Result<VoteRequest, String> {
    Ok(VoteRequest {
        vote: from_vote(r.vote.ok_or("no vote")?),
        last_log_id: r.last_log_id.map(log_id),
        leadership_transfer: r.leadership_transfer,
    })
}

fn to_vote_reply(r: &VoteReply) -> pb::VoteResponse {
    pb::VoteResponse {
        vote: Some(to_vote(&r.vote)),
        vote_granted: r.vote_granted,
        last_log_id: r.last_log_id.map(to_log_id),
    }
}

fn from_vote_reply(r: pb::VoteResponse) -> Result<VoteReply, String> {
    let vote = from_vote(r.vote.ok_or("answer to a vote without vote")?);
    Ok(VoteReply::new(vote, r.last_log_id.map(log_id), r.vote_granted))
}
