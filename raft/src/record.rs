//! The protobuf of what lies on disk, and between it and openraft's types.
//!
//! Field numbers are a format: they are never reused. Not sealed here; that is `seal`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::EntryPayload;
use prost::Message;

use crate::types::{
    Command, Entry, LogId, Membership, Peer, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct LogIdRecord {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(uint64, tag = "3")]
    pub index: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct VoteRecord {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct VoterSet {
    #[prost(uint64, repeated, tag = "1")]
    ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct MemberRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    addr: String,
    #[prost(string, tag = "3")]
    node: String,
}

#[derive(Clone, PartialEq, Message)]
struct MembershipRecord {
    #[prost(message, repeated, tag = "1")]
    configs: Vec<VoterSet>,
    #[prost(message, repeated, tag = "2")]
    members: Vec<MemberRecord>,
}

/// Neither command nor membership: the blank entry of a new leader.
#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(message, optional, tag = "1")]
    log_id: Option<LogIdRecord>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    command: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    membership: Option<MembershipRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotMetaRecord {
    #[prost(message, optional, tag = "1")]
    last: Option<LogIdRecord>,
    #[prost(message, optional, tag = "2")]
    membership_log_id: Option<LogIdRecord>,
    #[prost(message, optional, tag = "3")]
    membership: Option<MembershipRecord>,
}

/// Heads a snapshot file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotHead {
    #[prost(bytes = "vec", tag = "1")]
    pub meta: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub chunks: u64,
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
}

/// Whose log this is, and in which format.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Identity {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(uint64, tag = "2")]
    pub raft_id: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(l: LogId) -> Self {
        Self { term: l.leader_id.term, node: l.leader_id.node_id, index: l.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(r: LogIdRecord) -> Self {
        LogId::new(LeaderId { term: r.term, node_id: r.node }, r.index)
    }
}

impl From<&Vote> for VoteRecord {
    fn from(v: &Vote) -> Self {
        Self { term: v.leader_id.term, node: v.leader_id.node_id, committed: v.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(r: VoteRecord) -> Self {
        if r.committed { Vote::new_committed(r.term, r.node) } else { Vote::new(r.term, r.node) }
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(m: &Membership) -> Self {
        let member = |(id, p): (&u64, &Peer)| MemberRecord {
            id: *id,
            addr: p.addr.clone(),
            node: p.node.clone(),
        };
        Self {
            configs: member_sets(m).map(|ids| VoterSet { ids }).collect(),
            members: m.nodes().map(member).collect(),
        }
    }
}

/// The sets of voters: one, or two while a change is under way.
pub(crate) fn member_sets(m: &Membership) -> impl Iterator<Item = Vec<u64>> + '_ {
    m.get_joint_config().iter().map(|set| set.iter().copied().collect())
}

/// The reverse of [`member_sets`] and the members.
pub(crate) fn membership_of(
    voters: impl Iterator<Item = Vec<u64>>,
    members: impl Iterator<Item = (u64, Peer)>,
) -> Result<Membership, String> {
    let voters: Vec<BTreeSet<u64>> = voters.map(|set| set.into_iter().collect()).collect();
    let members: BTreeMap<u64, Peer> = members.collect();
    Membership::new(voters, members).map_err(|e| format!("invalid membership: {e}"))
}

fn membership(r: MembershipRecord) -> Result<Membership, String> {
    let members = r.members.into_iter();
    membership_of(
        r.configs.into_iter().map(|c| c.ids),
        members.map(|m| (m.id, Peer { addr: m.addr, node: m.node })),
    )
}

/// One entry as protobuf: what is sealed on disk, and what may travel.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    let (command, membership) = match &entry.payload {
        EntryPayload::Blank => (None, None),
        EntryPayload::Normal(c) => (Some(c.0.clone()), None),
        EntryPayload::Membership(m) => (None, Some(m.into())),
    };
    EntryRecord { log_id: Some(entry.log_id.into()), command, membership }.encode_to_vec()
}

/// The reverse of [`encode_entry`]; an error says what is wrong with the bytes.
pub fn decode_entry(bytes: Bytes) -> Result<Entry, String> {
    let r = EntryRecord::decode(bytes).map_err(|e| format!("invalid entry: {e}"))?;
    let log_id = r.log_id.ok_or("invalid entry: no log id")?.into();
    let payload = match (r.command, r.membership) {
        (None, None) => EntryPayload::Blank,
        (Some(c), None) => EntryPayload::Normal(Command(c)),
        (None, Some(m)) => EntryPayload::Membership(membership(m)?),
        (Some(_), Some(_)) => return Err("invalid entry: both command and membership".into()),
    };
    Ok(Entry { log_id, payload })
}

/// What a snapshot holds, as protobuf.
pub fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    SnapshotMetaRecord {
        last: meta.last_log_id.map(Into::into),
        membership_log_id: meta.last_membership.log_id().map(Into::into),
        membership: Some(meta.last_membership.membership().into()),
    }
    .encode_to_vec()
}

/// The reverse of [`encode_snapshot_meta`].
pub fn decode_snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, String> {
    let r = SnapshotMetaRecord::decode(bytes).map_err(|e| format!("invalid snapshot: {e}"))?;
    let last_membership = match r.membership {
        // A membership that was never set has no configuration at all.
        Some(m) if !m.configs.is_empty() => {
            StoredMembership::new(r.membership_log_id.map(Into::into), membership(m)?)
        }
        _ => StoredMembership::default(),
    };
    Ok(SnapshotMeta { last_log_id: r.last.map(Into::into), last_membership })
}
