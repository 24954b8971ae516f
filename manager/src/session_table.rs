//! The sessions of this manager's leadership, shared by the dispatcher's calls and streams.

use std::sync::Mutex;
use std::time::Duration;

use skep_dispatch::{SessionError, SessionId, Sessions};
use skep_types::{NodeId, Timestamp};
use tokio::sync::watch;

/// Empty while this manager does not lead.
#[derive(Default)]
pub struct SessionTable {
    sessions: Mutex<Option<Sessions>>,
    /// Changes when any session ends; streams look whether it was theirs.
    ended: watch::Sender<u64>,
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
    pub(crate) fn begin(&self, sessions: Sessions) {
        *self.lock() = Some(sessions);
        self.note_end();
    }

    pub(crate) fn end(&self) {
        *self.lock() = None;
        self.note_end();
    }

    pub fn register(&self, node: NodeId, id: SessionId, now: Timestamp) -> Result<(), Refused> {
        let mut guard = self.lock();
        guard.as_mut().ok_or(Refused::NotLeader)?.register(node, id, now);
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
        Ok(self.lock().as_mut().ok_or(Refused::NotLeader)?.heartbeat(node, id, now)?)
    }

    pub fn check(&self, node: NodeId, id: SessionId) -> Result<(), Refused> {
        Ok(self.lock().as_mut().ok_or(Refused::NotLeader)?.check(node, id)?)
    }

    pub fn set_period(&self, period: Duration) {
        if let Some(sessions) = self.lock().as_mut() {
            sessions.set_period(period);
        }
    }

    pub fn in_session(&self, node: NodeId) -> bool {
        self.lock().as_ref().is_some_and(|sessions| sessions.contains(node))
    }

    /// Takes out the nodes that are late, and says when to look again.
    pub fn expire(&self, now: Timestamp) -> (Vec<NodeId>, Option<Timestamp>) {
        let mut guard = self.lock();
        let Some(sessions) = guard.as_mut() else { return (Vec::new(), None) };
        let expired = sessions.expire(now);
        let next = sessions.next_timeout();
        drop(guard);
        if !expired.is_empty() {
            self.note_end();
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

    fn note_end(&self) {
        self.ended.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Sessions>> {
        self.sessions.lock().expect("no holder panics")
    }
}
