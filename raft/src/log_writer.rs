//! The one thread that writes the log: it gathers what waits, syncs once, then answers all of it.
//!
//! **Invariant:** changes reach the disk in the order they were handed in, and after the first
//! failed write nothing is written again: every later change fails with that first error.

use std::io;
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use crate::defaults;
use crate::log_db::{Change, LogDb};
use crate::types::TypeConfig;

/// Whom to tell when a change is on disk.
pub(crate) enum Done {
    Nobody,
    Raft(IOFlushed<TypeConfig>),
    Caller(oneshot::Sender<io::Result<()>>),
}

pub(crate) struct Job {
    pub change: Change,
    pub bytes: usize,
    pub done: Done,
}

/// Called after a change is on disk, before it is acknowledged.
pub(crate) type OnFlushed = Box<dyn Fn(&Change) + Send>;

/// The open file; empty once the writer has ended, so that no late reader keeps it open.
pub(crate) type Slot = Arc<RwLock<Option<LogDb>>>;

pub(crate) fn spawn(
    slot: Slot,
    mut queue: mpsc::Receiver<Job>,
    on_flushed: OnFlushed,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("raft-log".into()).spawn(move || {
        let mut failed: Option<String> = None;
        // A commit position alone is worth no sync: it rides with the next change.
        let mut committed: Option<Change> = None;
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.bytes;
            let mut batch = vec![first];
            while bytes < defaults::WRITE_BATCH_BYTES {
                let Ok(job) = queue.try_recv() else { break };
                bytes += job.bytes;
                batch.push(job);
            }
            let (positions, jobs): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|j| matches!(j.change, Change::Committed(_)));
            if let Some(last) = positions.into_iter().next_back() {
                committed = Some(last.change);
            }
            if jobs.is_empty() {
                continue;
            }
            let result = match &failed {
                Some(reason) => Err(io::Error::other(reason.clone())),
                None => write(&slot, jobs.iter().map(|j| &j.change).chain(committed.iter())),
            };
            match &result {
                Ok(()) => {
                    committed = None;
                    jobs.iter().for_each(|j| on_flushed(&j.change));
                }
                Err(e) => {
                    if failed.is_none() {
                        tracing::error!("raft log write failed, the node stops: {e}");
                        failed = Some(e.to_string());
                    }
                }
            }
            let answer = || match &failed {
                None => Ok(()),
                Some(reason) => Err(io::Error::other(reason.clone())),
            };
            for job in jobs {
                match job.done {
                    Done::Nobody => {}
                    Done::Raft(callback) => callback.io_completed(answer()),
                    // The caller may have gone; the change stands all the same.
                    Done::Caller(tx) => drop(tx.send(answer())),
                }
            }
        }
        if failed.is_none()
            && committed.is_some()
            && let Err(e) = write(&slot, committed.iter())
        {
            tracing::warn!("failed to save the commit position at the end: {e}");
        }
        *slot.write().expect("no holder of the slot panics") = None;
    })
}

fn write<'a>(slot: &Slot, changes: impl Iterator<Item = &'a Change>) -> io::Result<()> {
    let slot = slot.read().map_err(|_| io::Error::other("raft log is poisoned"))?;
    let db = slot.as_ref().ok_or_else(|| io::Error::other("raft log is closed"))?;
    db.commit(changes)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, RwLock};

    use super::*;
    use crate::log_db::LogDb;
    use crate::seal::{Seal, Vault};
    use crate::types::Vote;

    struct Plain;

    impl Seal for Plain {
        fn seal(&self, _: &[u8], plain: &[u8]) -> Vec<u8> {
            plain.to_vec()
        }

        fn open(&self, _: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
            Ok(sealed.to_vec())
        }
    }

    async fn vote(queue: &mpsc::Sender<Job>, term: u64) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        let change = Change::Vote(Vote::new(term, 1));
        queue.send(Job { change, bytes: 0, done: Done::Caller(tx) }).await.unwrap();
        rx.await.unwrap()
    }

    #[tokio::test]
    async fn nothing_is_written_after_a_failed_write() {
        let dir = tempfile::tempdir().unwrap();
        let open = || LogDb::open(dir.path(), Vault(Arc::new(Plain)), 1).unwrap();
        let slot: Slot = Arc::new(RwLock::new(Some(open().0)));
        let (queue, rx) = mpsc::channel(8);
        let thread = spawn(slot.clone(), rx, Box::new(|_| {})).unwrap();
        vote(&queue, 1).await.unwrap();
        let db = slot.write().unwrap().take();
        let first = vote(&queue, 2).await.unwrap_err().to_string();
        // The disk is well again, but what is in memory may be ahead of it: no second attempt.
        *slot.write().unwrap() = db;
        assert_eq!(vote(&queue, 3).await.unwrap_err().to_string(), first);
        drop(queue);
        thread.join().unwrap();
        assert!(slot.read().unwrap().is_none(), "the file is still open");
        assert_eq!(open().1.vote, Some(Vote::new(1, 1)));
    }
}
