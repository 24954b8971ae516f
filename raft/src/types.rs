//! The words this crate shares with openraft: node ids, peers, commands and messages.
//!
//! Not the encoding of any of them; that is `record`.

use std::fmt;

use bytes::Bytes;

/// One manager as the membership holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// `host:port` at which the manager's Raft service listens.
    pub addr: String,
    /// The swarm node id of the manager.
    pub node: String,
}

/// A member of the Raft group with its place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    pub peer: Peer,
}

/// One opaque command of the state machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Command(pub Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Commands carry secrets: say how long, never what.
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

mod config {
    // The runtime's old path is what openraft's macro itself expands to.
    #![allow(deprecated)]
    openraft::declare_raft_types!(
        /// openraft's types as this crate uses them. Several leaders may share a term (ordered by
        /// node id), so two candidates of one term need no second round of voting.
        pub TypeConfig:
            D = super::Command,
            R = bytes::Bytes,
            NodeId = u64,
            Node = super::Peer,
    );
}
pub use config::TypeConfig;
pub(crate) use openraft::impls::leader_id_adv::LeaderId;

pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
/// A snapshot with its (unsealed) bytes.
pub type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, Bytes>;
pub type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub type AppendResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub type VoteReply = openraft::raft::VoteResponse<TypeConfig>;
pub type SnapshotReply = openraft::raft::SnapshotResponse<TypeConfig>;
pub type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;
pub type Metrics = openraft::RaftMetrics<TypeConfig>;

pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
