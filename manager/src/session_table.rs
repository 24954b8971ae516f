//! The sessions of this manager's leadership and what their nodes have confirmed, shared by the
//! dispatcher's calls and streams.

use std::sync::Mutex;
use std::time::Duration;

use skep_dispatch::{SessionError, SessionId, Sessions, Watermarks};
use skep_types::{NodeId, Timestamp};
use tokio::sync::watch;

/// Empty while this manager does not lead.
#[derive(Default)]
pub struct SessionTable {
    leading: Mutex<Option<Leading>>,
    /// Changes when any session ends; streams look whether it was theirs.
    ended: watch::Sender<u64>,
    /// Changes when a node has confirmed more or counts no longer.
    confirmed: watch::Sender<u64>,
}

struct Leading {
    sessions: Sessions,
    marks: Watermarks,
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
        *self.lock() = Some(Leading { sessions, marks });
        self.note_end();
    }

    pub(crate) fn end(&self) {
        *self.lock() = None;
        self.note_end();
    }

    pub fn register(&self, node: NodeId, id: SessionId, now: Timestamp) -> Result<(), Refused> {
        let mut guard = self.lock();
        let leading = guard.as_mut().ok_or(Refused::NotLeader)?;
        leading.sessions.register(node, id, now);
        leading.marks.expect(node, now);
        drop(guard);
        self.note_end();
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
        }
        drop(guard);
        if !expired.is_empty() {
            self.note_end();
            self.note_confirmed();
        }
        (expired, next)
    }

    /// Returns once the session is over.
    pub async fn over(&self, node: NodeId, id: SessionId) {
        let mut ended = self.ended.subscribe();
        while self.check(node, id).is_ok() {
            if ended.changed().await.is_err() {
                return;
            }
        }
    }

    /// Changes what nodes have confirmed, where this manager leads; `change` says whether one has
    /// confirmed more by it.
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

    fn note_end(&self) {
        self.ended.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Leading>> {
        self.leading.lock().expect("no holder panics")
    }
}
