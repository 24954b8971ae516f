//! openraft's log storage over the writer thread and a cache of the log's tail.
//!
//! **Invariant:** every entry that [`append`] has taken is readable at once, from the cache until
//! it is on disk; the cache drops only what is on disk.
//!
//! [`append`]: openraft::storage::RaftLogStorage::append

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::thread::JoinHandle;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use tokio::sync::{mpsc, oneshot};

use crate::defaults;
use crate::error::OpenError;
use crate::log_db::{Change, Found, LogDb};
use crate::log_writer::{self, Done, Job, Slot};
use crate::seal::{Seal, Vault};
use crate::types::{Entry, LogId, TypeConfig, Vote};

#[derive(Default)]
struct State {
    found: Found,
    /// Entries by index with their size; contiguous up to the last entry.
    tail: BTreeMap<u64, (Entry, usize)>,
    tail_bytes: usize,
    /// The first index that may not be on disk yet.
    unflushed_from: u64,
}

impl State {
    fn trim(&mut self) {
        while self.tail_bytes > defaults::LOG_CACHE_BYTES {
            match self.tail.first_entry() {
                Some(first) if *first.key() < self.unflushed_from => {
                    self.tail_bytes -= first.remove().1;
                }
                _ => break,
            }
        }
    }

    fn drop_tail(&mut self, keep: impl Fn(u64) -> bool) {
        self.tail.retain(|i, _| keep(*i));
        self.tail_bytes = self.tail.values().map(|(_, b)| b).sum();
    }
}

struct Inner {
    state: Mutex<State>,
    slot: Slot,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The log of one node; clones are handles to the same log.
#[derive(Clone)]
pub struct LogStore(Arc<Inner>);

impl LogStore {
    /// Opens the log in `dir`, verifying every record. Blocks.
    pub fn open(dir: &Path, seal: Arc<dyn Seal>, raft_id: u64) -> Result<Self, OpenError> {
        let (db, found) = LogDb::open(dir, Vault(seal), raft_id)?;
        let unflushed_from = found.last.map_or(0, |l| l.index + 1);
        let state = State { found, unflushed_from, ..State::default() };
        let slot: Slot = Arc::new(RwLock::new(Some(db)));
        let (tx, rx) = mpsc::channel(defaults::WRITE_QUEUE);
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            slot: slot.clone(),
            queue: Mutex::new(Some(tx)),
            thread: Mutex::new(None),
        });
        // Weak: the thread must end when the last handle is dropped without a close.
        let weak = Arc::downgrade(&inner);
        let on_flushed = Box::new(move |change: &Change| {
            if let Some(inner) = weak.upgrade() {
                inner.flushed(change);
            }
        });
        let thread = log_writer::spawn(slot, rx, on_flushed)
            .map_err(|source| OpenError::Io { path: dir.into(), source })?;
        *inner.thread.lock().expect("fresh lock") = Some(thread);
        Ok(Self(inner))
    }

    /// Writes what waits, closes the file and ends the thread. Blocks.
    pub(crate) fn close(&self) {
        self.0.queue.lock().expect("no holder panics").take();
        let thread = self.0.thread.lock().expect("no holder panics").take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the raft log thread panicked");
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let s = self.0.state();
        s.found.last.is_none() && s.found.vote.is_none()
    }

    async fn send(&self, change: Change, bytes: usize, done: Done) -> io::Result<()> {
        let queue = self.0.queue.lock().expect("no holder panics").clone();
        let queue = queue.ok_or_else(|| io::Error::other("raft log is closed"))?;
        let job = Job { change, bytes, done };
        queue.send(job).await.map_err(|_| io::Error::other("the raft log thread has ended"))
    }

    async fn write(&self, change: Change) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        self.send(change, 0, Done::Caller(tx)).await?;
        rx.await.map_err(|_| io::Error::other("the raft log thread has ended"))?
    }

    async fn read(&self, start: u64, end: u64, limit: usize) -> io::Result<Vec<Entry>> {
        let (start, mid, tail) = self.0.tail(start, end);
        let mut bytes = 0;
        let mut out = Vec::new();
        let mut take = |(entry, size): (Entry, usize)| {
            bytes += size;
            let fits = bytes <= limit || out.is_empty();
            if fits {
                out.push(entry);
            }
            fits
        };
        let mut open = true;
        if start < mid {
            let slot = self.0.slot.clone();
            let rows = tokio::task::spawn_blocking(move || {
                let slot = slot.read().map_err(|_| io::Error::other("raft log is poisoned"))?;
                let db = slot.as_ref().ok_or_else(|| io::Error::other("raft log is closed"))?;
                db.read(start..mid, limit)
            })
            .await
            .map_err(io::Error::other)??;
            let complete = rows.last().is_none_or(|(e, _)| e.log_id.index + 1 == mid);
            open = rows.into_iter().all(&mut take) && complete;
        }
        if open {
            let _ = tail.into_iter().all(&mut take);
        }
        Ok(out)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the log state panics")
    }

    fn flushed(&self, change: &Change) {
        let mut s = self.state();
        match change {
            Change::Append(entries) => {
                if let Some(last) = entries.last() {
                    s.unflushed_from = last.log_id.index + 1;
                }
                s.trim();
            }
            Change::TruncateAfter(last) => {
                s.unflushed_from = s.unflushed_from.min(last.map_or(0, |l| l + 1));
            }
            Change::Vote(_) | Change::Purge(_) | Change::Committed(_) => {}
        }
    }

    /// The range cut to what the log holds: where it starts, where the cache takes over, and what
    /// the cache has.
    fn tail(&self, start: u64, end: u64) -> (u64, u64, Vec<(Entry, usize)>) {
        let s = self.state();
        let start = start.max(s.found.purged.map_or(0, |p| p.index + 1));
        let end = end.min(s.found.last.map_or(0, |l| l.index + 1));
        if start >= end {
            return (start, start, Vec::new());
        }
        let cached = s.tail.keys().next().copied().unwrap_or(end).clamp(start, end);
        let rows = s.tail.range(cached..end).map(|(_, row)| row.clone()).collect();
        (start, cached, rows)
    }
}

fn size_of(entry: &Entry) -> usize {
    // What the record adds around a command is small and bounded.
    64 + match &entry.payload {
        EntryPayload::Normal(c) => c.0.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(m) => m.nodes().map(|(_, p)| p.addr.len() + p.node.len()).sum(),
    }
}

pub(crate) fn entries_bytes(entries: &[Entry]) -> impl Iterator<Item = usize> + '_ {
    entries.iter().map(size_of)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(i) => *i,
            Bound::Excluded(i) => i + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(i) => i + 1,
            Bound::Excluded(i) => *i,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.state().found.vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, defaults::APPEND_BYTES_MAX).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let s = self.0.state();
        Ok(LogState { last_purged_log_id: s.found.purged, last_log_id: s.found.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(Change::Vote(*vote)).await?;
        self.0.state().found.vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.state().found.committed = committed;
        self.send(Change::Committed(committed), 0, Done::Nobody).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.0.state().found.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let bytes = {
            let mut s = self.0.state();
            let mut bytes = 0;
            for entry in &entries {
                let size = size_of(entry);
                bytes += size;
                s.tail_bytes += size;
                s.found.last = Some(entry.log_id);
                s.tail.insert(entry.log_id.index, (entry.clone(), size));
            }
            bytes
        };
        self.send(Change::Append(entries), bytes, Done::Raft(callback)).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let index = last.map(|l| l.index);
        {
            let mut s = self.0.state();
            s.drop_tail(|i| index.is_some_and(|last| i <= last));
            // Truncating above the end changes nothing.
            s.found.last = s.found.last.min(last);
        }
        self.write(Change::TruncateAfter(index)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        {
            let mut s = self.0.state();
            s.drop_tail(|i| i > upto.index);
            s.found.purged = Some(upto);
            if s.found.last.is_none_or(|l| l.index < upto.index) {
                s.found.last = Some(upto);
            }
        }
        self.write(Change::Purge(upto)).await
    }
}
