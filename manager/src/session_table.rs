//! The sessions of this manager's leadership and what their nodes have confirmed, shared by the
//! dispatcher's calls and streams.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use skep_dispatch::{SessionError, SessionId, Sessions, Watermarks};
use skep_types::{NodeId, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Empty while this manager does not lead.
#[derive(Default)]
pub struct SessionTable {
    leading: Mutex<Option<Leading>>,
    /// Changes when a node has confirmed more or counts no longer.
    confirmed: watch::Sender<u64>,
}

struct Leading {
    sessions: Sessions,
    marks: Watermarks,
    /// One for each session; to drop it ends the session's streams.
    ends: BTreeMap<NodeId, DropGuard>,
}

/// Why a call in a session is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this manager is not the leader")]
    NotLeader,
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl SessionTable {
    pub(crate) fn begin(&self, sessions: Sessions, marks: Watermarks) {
        *self.lock() = Some(Leading { sessions, marks, ends: BTreeMap::new() });
    }

    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    pub fn register(&self, node: NodeId, id: SessionId, now: Timestamp) -> Result<(), Refused> {
        let mut guard = self.lock();
        let leading = guard.as_mut().ok_or(Refused::NotLeader)?;
        leading.sessions.register(node, id, now);
        leading.marks.expect(node, now);
        leading.ends.insert(node, CancellationToken::new().drop_guard());
        Ok(())
    }

    pub fn heartbeat(
        &self,
        node: NodeId,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Duration, Refused> {
        let mut guard = self.lock();
        Ok(guard.as_mut().ok_or(Refused::NotLeader)?.sessions.heartbeat(node, id, now)?)
    }

    pub fn check(&self, node: NodeId, id: SessionId) -> Result<(), Refused> {
        Ok(self.lock().as_mut().ok_or(Refused::NotLeader)?.sessions.check(node, id)?)
    }

    pub fn set_period(&self, period: Duration) {
        if let Some(leading) = self.lock().as_mut() {
            leading.sessions.set_period(period);
        }
    }

    pub fn in_session(&self, node: NodeId) -> bool {
        self.lock().as_ref().is_some_and(|leading| leading.sessions.contains(node))
    }

    /// Nodes in session; none where this manager does not lead.
    pub fn count(&self) -> usize {
        self.lock().as_ref().map_or(0, |leading| leading.sessions.count())
    }

    /// Takes out the nodes that are late, and says when to look again.
    pub fn expire(&self, now: Timestamp) -> (Vec<NodeId>, Option<Timestamp>) {
        let mut guard = self.lock();
        let Some(leading) = guard.as_mut() else { return (Vec::new(), None) };
        let expired = leading.sessions.expire(now);
        let next = leading.sessions.next_timeout();
        for node in &expired {
            leading.marks.forget(*node);
            leading.ends.remove(node);
        }
        drop(guard);
        if !expired.is_empty() {
            self.note_confirmed();
        }
        (expired, next)
    }

    /// Returns once the session is over.
    pub async fn over(&self, node: NodeId, id: SessionId) {
        let end = self.lock().as_mut().and_then(|leading| {
            leading.sessions.check(node, id).ok()?;
            leading.ends.get(&node).map(|end| end.token().clone())
        });
        if let Some(end) = end {
            end.cancelled().await;
        }
    }

    /// Changes what nodes have confirmed, where this manager leads; `change` says whether somebody may
    /// wait for one no longer by it.
    pub fn mark(&self, change: impl FnOnce(&mut Watermarks) -> bool) {
        let more = self.lock().as_mut().is_some_and(|leading| change(&mut leading.marks));
        if more {
            self.note_confirmed();
        }
    }

    /// Looks at what nodes have confirmed; none where this manager does not lead.
    pub fn marks<T>(&self, look: impl FnOnce(&Watermarks) -> T) -> Option<T> {
        self.lock().as_ref().map(|leading| look(&leading.marks))
    }

    /// Follows what nodes have confirmed.
    pub fn confirmations(&self) -> watch::Receiver<u64> {
        self.confirmed.subscribe()
    }

    fn note_confirmed(&self) {
        self.confirmed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Leading>> {
        self.leading.lock().expect("no holder panics")
    }
}
