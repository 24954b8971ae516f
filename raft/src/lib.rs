//! The managers' Raft node: a durable log, snapshots, membership and leadership, on openraft and redb.
//!
//! It is not the wire (that is [`PeerTransport`]), and it knows no keys (that is [`Seal`]). To the
//! Raft node a command is opaque bytes; [`SwarmMachine`] is the [`Machine`] that reads them as
//! batches of transactions on the swarm's state, and [`Observer`] shows what it has applied.
//!
//! **Invariant:** nothing is acknowledged, neither to a peer nor to a proposer, before it has been
//! synced to this node's disk.

mod codec;
pub mod defaults;
mod difference;
mod error;
pub mod grpc;
mod leadership;
mod log_db;
mod log_store;
mod log_writer;
mod machine;
mod membership;
mod node;
mod record;
mod seal;
mod snapshot;
mod swarm_machine;
mod swarm_snapshot;
mod transport;
mod types;

#[doc(hidden)]
pub use log_store::LogStore;
#[doc(hidden)]
pub use machine::StateMachine;

pub use codec::{
    CodecError, Rejected, RejectedKind, Verdict, decode_batch, decode_reply, encode_batch,
};
pub use error::{MembershipError, OpenError, ProposeError, TransportError};
pub use leadership::Leadership;
pub use machine::Machine;
pub use membership::Removal;
pub use node::{Config, Proposed, RaftNode, Submitted};
pub use record::{decode_entry, decode_snapshot_meta, encode_entry, encode_snapshot_meta};
pub use seal::Seal;
pub use swarm_machine::{Follower, Observer, Step, SwarmMachine};
pub use transport::{CallOption, Lane, PeerTransport};
pub use types::{
    AppendRequest, AppendResponse, Command, Entry, LogId, Member, Metrics, Peer, Snapshot,
    SnapshotMeta, SnapshotReply, TransferRequest, TransferResponse, TypeConfig, Vote, VoteReply,
    VoteRequest,
};
