//! Sessions: which nodes are there. A node that misses its heartbeats is down.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_state::State;
use skep_types::{NodeId, NodeState, Timestamp};

use crate::defaults::{MISSED_HEARTBEATS, MISSED_HEARTBEATS_AFTER_ELECTION};

/// Names one session of one node; minted by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

/// A node speaks in a session that is not its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("node {0} has no session: register again")]
    None(NodeId),
    #[error("session of node {0} was replaced by a newer one: register again")]
    Replaced(NodeId),
}

#[derive(Debug, Clone)]
struct Session {
    /// None while a node that the last leader knew has not registered with this one.
    id: Option<SessionId>,
    deadline: Timestamp,
}

/// All sessions of one leadership.
#[derive(Debug, Clone)]
pub struct Sessions {
    period: Duration,
    by_node: BTreeMap<NodeId, Session>,
}

impl Sessions {
    /// Begins a leadership: every node that is not known to be down gets the longer time to
    /// register, so that a change of leader takes no node down.
    pub fn begin(state: &State, period: Duration, now: Timestamp) -> Self {
        let deadline = now.saturating_add(period * MISSED_HEARTBEATS_AFTER_ELECTION);
        let by_node = state
            .nodes()
            .iter()
            .filter(|node| matches!(node.status.state, NodeState::Ready | NodeState::Unknown))
            .map(|node| (node.id, Session { id: None, deadline }))
            .collect();
        Self { period, by_node }
    }

    /// A node registers; its session before this one, if any, is over.
    pub fn register(&mut self, node: NodeId, id: SessionId, now: Timestamp) {
        let deadline = self.deadline(now);
        self.by_node.insert(node, Session { id: Some(id), deadline });
    }

    /// A node says that it lives; gives the period in which it shall say so again.
    ///
    /// # Errors
    /// The session is not the node's current one.
    pub fn heartbeat(
        &mut self,
        node: NodeId,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Duration, SessionError> {
        let deadline = self.deadline(now);
        self.current(node, id)?.deadline = deadline;
        Ok(self.period)
    }

    /// Whether a session is its node's current one.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&mut self, node: NodeId, id: SessionId) -> Result<(), SessionError> {
        self.current(node, id).map(drop)
    }

    /// A node's session ended in order, or its node was removed.
    pub fn end(&mut self, node: NodeId, id: SessionId) {
        if self.current(node, id).is_ok() {
            self.by_node.remove(&node);
        }
    }

    /// Whether a node has registered and is not late.
    pub fn contains(&self, node: NodeId) -> bool {
        self.by_node.get(&node).is_some_and(|session| session.id.is_some())
    }

    /// How many nodes have registered and are not late.
    pub fn count(&self) -> usize {
        self.by_node.values().filter(|session| session.id.is_some()).count()
    }

    /// Takes out the nodes whose time is over: they are down.
    pub fn expire(&mut self, now: Timestamp) -> Vec<NodeId> {
        let over: Vec<NodeId> = self
            .by_node
            .iter()
            .filter(|(_, session)| session.deadline <= now)
            .map(|(node, _)| *node)
            .collect();
        for node in &over {
            self.by_node.remove(node);
        }
        over
    }

    /// When [`Self::expire`] would next find something.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.by_node.values().map(|session| session.deadline).min()
    }

    /// The swarm's heartbeat period was changed; sessions follow with their next heartbeat.
    pub fn set_period(&mut self, period: Duration) {
        self.period = period;
    }

    fn deadline(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.period * MISSED_HEARTBEATS)
    }

    fn current(&mut self, node: NodeId, id: SessionId) -> Result<&mut Session, SessionError> {
        match self.by_node.get_mut(&node) {
            Some(session) if session.id == Some(id) => Ok(session),
            Some(Session { id: Some(_), .. }) => Err(SessionError::Replaced(node)),
            Some(Session { id: None, .. }) | None => Err(SessionError::None(node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);
    const NODE: NodeId = NodeId::new(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    #[test]
    fn a_node_is_down_after_three_missed_heartbeats() {
        let mut sessions = Sessions::begin(&State::default(), PERIOD, at(0));
        sessions.register(NODE, SessionId(1), at(0));
        assert_eq!(sessions.heartbeat(NODE, SessionId(1), at(5)), Ok(PERIOD));
        assert_eq!(sessions.next_timeout(), Some(at(20)));
        assert!(sessions.expire(at(19)).is_empty());
        assert_eq!(sessions.expire(at(20)), [NODE]);
        assert_eq!(
            sessions.heartbeat(NODE, SessionId(1), at(21)),
            Err(SessionError::None(NODE)),
            "a node that was taken down has to register again"
        );
    }

    #[test]
    fn a_newer_session_replaces_the_older() {
        let mut sessions = Sessions::begin(&State::default(), PERIOD, at(0));
        sessions.register(NODE, SessionId(1), at(0));
        sessions.register(NODE, SessionId(2), at(1));
        assert_eq!(sessions.check(NODE, SessionId(1)), Err(SessionError::Replaced(NODE)));
        sessions.end(NODE, SessionId(1));
        assert_eq!(sessions.check(NODE, SessionId(2)), Ok(()), "the old one cannot end the new");
    }
}
