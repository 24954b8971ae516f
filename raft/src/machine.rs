//! The wall to the state machine, and its adapter to openraft.
//!
//! The machine lives in memory: after a restart it is the newest snapshot with the committed
//! entries applied again. **Invariant:** entries are applied in the order of the log, each once
//! between two restores.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};

use crate::error::OpenError;
use crate::seal::{Seal, Vault};
use crate::snapshot::Snapshots;
use crate::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// Turns captured state into bytes, off the thread that applies.
pub type Encode = Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>;

/// The replicated state machine.
pub trait Machine: Send + 'static {
    /// Applies one committed command. Total and deterministic: a bad command is answered with a
    /// reply that says so, and never panics.
    fn apply(&mut self, index: u64, command: &[u8]) -> Vec<u8>;
    /// An entry that is no command (a new leader's first, a change of the members) was passed.
    fn pass(&mut self, index: u64);
    /// Captures the state cheaply; encoding it happens later and elsewhere.
    fn snapshot(&self) -> Encode;
    /// Replaces the state by one that [`Machine::snapshot`] encoded when `index` was the last entry
    /// applied; on an error it is as it was.
    fn restore(&mut self, index: u64, bytes: &[u8]) -> Result<(), String>;
}

struct Applied {
    machine: Box<dyn Machine>,
    last: Option<LogId>,
    membership: StoredMembership,
}

/// The machine with its position in the log.
pub struct StateMachine {
    // A lock only because openraft wants `Sync`; one task uses it.
    applied: Arc<Mutex<Applied>>,
    snapshots: Snapshots,
}

impl StateMachine {
    /// Verifies the newest snapshot in `dir`; openraft then restores from it. Blocks.
    pub fn open(
        dir: &Path,
        seal: Arc<dyn Seal>,
        machine: Box<dyn Machine>,
    ) -> Result<Self, OpenError> {
        let snapshots = Snapshots::open(dir, Vault(seal))?;
        let applied = Applied { machine, last: None, membership: StoredMembership::default() };
        Ok(Self { applied: Arc::new(Mutex::new(applied)), snapshots })
    }

    fn applied(&self) -> io::Result<MutexGuard<'_, Applied>> {
        self.applied.lock().map_err(|_| io::Error::other("the state machine has panicked"))
    }
}

/// One captured state on its way to disk.
pub struct Builder {
    meta: SnapshotMeta,
    encode: Option<Encode>,
    snapshots: Snapshots,
}

// `Encode` is not `Sync`, which openraft wants of a builder; a lock is.
pub struct SharedBuilder(Mutex<Builder>);

impl RaftSnapshotBuilder<TypeConfig> for SharedBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let builder =
            self.0.get_mut().map_err(|_| io::Error::other("snapshot builder panicked"))?;
        let encode = builder.encode.take();
        let encode = encode.ok_or_else(|| io::Error::other("snapshot was already built"))?;
        let (meta, snapshots) = (builder.meta.clone(), builder.snapshots.clone());
        tokio::task::spawn_blocking(move || {
            let bytes = encode()?;
            snapshots.save(&meta, &bytes)?;
            Ok(Snapshot { meta, snapshot: Bytes::from(bytes) })
        })
        .await
        .map_err(io::Error::other)?
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SharedBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let a = self.applied()?;
        Ok((a.last, a.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let reply = {
                let mut a = self.applied()?;
                a.last = Some(entry.log_id);
                match entry.payload {
                    EntryPayload::Blank => {
                        a.machine.pass(entry.log_id.index);
                        Bytes::new()
                    }
                    EntryPayload::Normal(command) => {
                        Bytes::from(a.machine.apply(entry.log_id.index, &command.0))
                    }
                    EntryPayload::Membership(m) => {
                        a.membership = StoredMembership::new(Some(entry.log_id), m);
                        a.machine.pass(entry.log_id.index);
                        Bytes::new()
                    }
                }
            };
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SharedBuilder {
        let a = self.applied.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        SharedBuilder(Mutex::new(Builder {
            meta: SnapshotMeta { last_log_id: a.last, last_membership: a.membership.clone() },
            encode: Some(a.machine.snapshot()),
            snapshots: self.snapshots.clone(),
        }))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        let applied = self.applied.clone();
        let (meta, snapshots) = (meta.clone(), self.snapshots.clone());
        tokio::task::spawn_blocking(move || {
            let mut a =
                applied.lock().map_err(|_| io::Error::other("the state machine has panicked"))?;
            // Restored before saved: bytes the machine refuses must not be what it starts from.
            a.machine
                .restore(meta.last_log_id.map_or(0, |last| last.index), &snapshot)
                .map_err(|e| io::Error::other(format!("failed to restore snapshot: {e}")))?;
            snapshots.save(&meta, &snapshot)?;
            a.last = meta.last_log_id;
            a.membership = meta.last_membership;
            Ok(())
        })
        .await
        .map_err(io::Error::other)?
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        tokio::task::spawn_blocking(move || snapshots.current()).await.map_err(io::Error::other)?
    }
}
