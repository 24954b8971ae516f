//! What can go wrong at this crate's border.

use std::io;
use std::path::PathBuf;

use crate::types::Member;

/// Why a node could not be opened from its directory. Nothing on disk has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("failed to open raft storage {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("failed to open raft log {path}")]
    Database { path: PathBuf, source: Box<redb::Error> },
    /// A record does not open or a record is missing.
    #[error("raft storage {path} is corrupt at {what}: {reason}")]
    Corrupt { path: PathBuf, what: String, reason: String },
    #[error(
        "raft storage {path} belongs to another manager: expected raft id {expected}, got {got}"
    )]
    Foreign { path: PathBuf, expected: u64, got: u64 },
    #[error("raft storage {path} has a format of a newer version: expected {expected}, got {got}")]
    Format { path: PathBuf, expected: u32, got: u32 },
    #[error("invalid raft configuration: {0}")]
    Config(String),
    #[error("failed to start raft: {0}")]
    Start(String),
}

/// Why a proposal was not answered with a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was written; ask the leader, if one is known.
    #[error("not the leader of the managers")]
    NotLeader { leader: Option<Member> },
    /// The outcome is unknown: the command may be, or may yet become, committed.
    #[error("no quorum of managers answered: {0}")]
    Unavailable(String),
    /// Nothing was written.
    #[error("command too large: expected at most {max} bytes, got {got}")]
    TooLarge { max: usize, got: usize },
    /// The node has stopped; the outcome is unknown.
    #[error("raft node stopped: {0}")]
    Storage(String),
}

/// Why the membership was not changed, or leadership not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    #[error("not the leader of the managers")]
    NotLeader { leader: Option<Member> },
    #[error("another change of the managers is in progress")]
    InProgress,
    #[error("raft member {0} not found")]
    NotFound(u64),
    #[error("raft member {0} is not a voter")]
    NotVoter(u64),
    #[error("raft member {id} already exists with address {addr}")]
    Exists { id: u64, addr: String },
    #[error("raft member {id} has not caught up: {behind} entries behind")]
    NotCaughtUp { id: u64, behind: u64 },
    #[error("failed to remove raft member {0}: it is the last manager")]
    LastManager(u64),
    #[error(
        "failed to remove raft member {id}: {reachable} of the remaining managers are reachable, a quorum is {quorum}"
    )]
    LosesQuorum { id: u64, reachable: usize, quorum: usize },
    #[error("{0} took too long")]
    Timeout(&'static str),
    #[error("raft is already initialized")]
    AlreadyInitialized,
    #[error("failed to change the managers: {0}")]
    Failed(String),
}

/// Why a call to a peer brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The peer is not there; wait before the next attempt.
    #[error("peer unreachable: {0}")]
    Unreachable(String),
    /// The call broke; another attempt may be made at once.
    #[error("call failed: {0}")]
    Failed(String),
}
