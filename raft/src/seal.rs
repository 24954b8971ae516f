//! The wall to the key keeper: every record on disk passes through [`Seal`].
//!
//! Not cryptography. **Invariant:** each record is bound to what it is and where it stands, so a
//! record moved to another place does not open.

use std::sync::Arc;

use crate::types::LogId;

/// Seals and opens records; authenticated, so a changed byte does not open.
pub trait Seal: Send + Sync {
    fn seal(&self, aad: &[u8], plain: &[u8]) -> Vec<u8>;
    /// The plain bytes, or why the record is refused.
    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String>;
}

/// What a record is; becomes the bytes it is bound to.
pub(crate) enum Place {
    Entry(u64),
    Meta(&'static str),
    SnapshotHead,
    SnapshotChunk { last: Option<LogId>, index: u64, count: u64 },
}

impl Place {
    fn aad(&self) -> Vec<u8> {
        match self {
            Place::Entry(index) => format!("skep/raft/log/1/{index}"),
            Place::Meta(key) => format!("skep/raft/meta/1/{key}"),
            Place::SnapshotHead => "skep/raft/snapshot/1".to_owned(),
            Place::SnapshotChunk { last, index, count } => {
                let last = last.map(|l| (l.leader_id.term, l.leader_id.node_id, l.index));
                format!("skep/raft/snapshot-chunk/1/{last:?}/{index}/{count}")
            }
        }
        .into_bytes()
    }
}

#[derive(Clone)]
pub(crate) struct Vault(pub Arc<dyn Seal>);

impl Vault {
    pub fn seal(&self, place: &Place, plain: &[u8]) -> Vec<u8> {
        self.0.seal(&place.aad(), plain)
    }

    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<Vec<u8>, String> {
        self.0.open(&place.aad(), sealed)
    }
}
