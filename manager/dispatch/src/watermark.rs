//! How far the state has come into each node's kernel: the watermark below which a node has
//! confirmed everything that it was told of its networks.
//!
//! It is the leader's own and stands in no log: a new leader asks every node anew.
//!
//! **Invariant:** a watermark is never ahead of its node's kernel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skep_state::State;
use skep_types::{NetworkId, NodeId, NodeState, Timestamp};

use crate::defaults::{FOLLOWS_WITHIN, OUTSTANDING_MAX};
use crate::session::SessionId;

/// What a node was told and has not confirmed.
#[derive(Debug, Clone, Copy)]
struct Told {
    generation: u64,
    /// The last message of the generation was about this one; nodes confirm in order.
    last: NetworkId,
    index: u64,
}

#[derive(Debug, Clone)]
enum Standing {
    /// In session, or the last leader had it so: it may balance as that one told it.
    Expected { until: Timestamp },
    Follows {
        session: SessionId,
        networks: BTreeSet<NetworkId>,
        outstanding: VecDeque<Told>,
        /// Its kernel is as the state was at this index of the log.
        confirmed: u64,
    },
}

/// The watermarks of one leadership.
#[derive(Debug, Clone, Default)]
pub struct Watermarks {
    by_node: BTreeMap<NodeId, Standing>,
}

impl Watermarks {
    /// Begins a leadership: nodes balance as the last leader told them until they ask this one.
    pub fn begin(state: &State, now: Timestamp) -> Self {
        let until = now.saturating_add(FOLLOWS_WITHIN);
        let ready = state.nodes().iter().filter(|node| node.status.state == NodeState::Ready);
        Self { by_node: ready.map(|node| (node.id, Standing::Expected { until })).collect() }
    }

    /// A node registered.
    pub fn expect(&mut self, node: NodeId, now: Timestamp) {
        let until = now.saturating_add(FOLLOWS_WITHIN);
        self.by_node.insert(node, Standing::Expected { until });
    }

    /// A node asks for its networks.
    pub fn follow(&mut self, node: NodeId, session: SessionId) {
        let follows = Standing::Follows {
            session,
            networks: BTreeSet::new(),
            outstanding: VecDeque::new(),
            confirmed: 0,
        };
        self.by_node.insert(node, follows);
    }

    /// A node has no session any more, and counts no longer.
    pub fn forget(&mut self, node: NodeId) {
        self.by_node.remove(&node);
    }

    /// Before a generation is sent: what it is made from, and the networks that the node knows
    /// before or after it.
    pub fn told(
        &mut self,
        node: NodeId,
        session: SessionId,
        known: BTreeSet<NetworkId>,
        (generation, last): (u64, NetworkId),
        index: u64,
    ) {
        let Some((networks, outstanding, _)) = self.follows(node, session) else { return };
        if outstanding.is_empty() {
            networks.clear();
        }
        // Its kernel may still be as it was before what it has not confirmed, a network that it was
        // told is gone included.
        networks.extend(known);
        if outstanding.len() == OUTSTANDING_MAX {
            outstanding.pop_back();
        }
        outstanding.push_back(Told { generation, last, index });
    }

    /// The state has come to this index and nothing of it was news to the node; says whether it
    /// has confirmed more by that.
    pub fn unchanged(&mut self, node: NodeId, session: SessionId, index: u64) -> bool {
        let Some((_, outstanding, confirmed)) = self.follows(node, session) else { return false };
        match outstanding.back_mut() {
            Some(told) => {
                told.index = told.index.max(index);
                false
            }
            None => std::mem::replace(confirmed, index.max(*confirmed)) < index,
        }
    }

    /// A node's kernel is as a message said; says whether it has confirmed more by that.
    pub fn confirmed(
        &mut self,
        node: NodeId,
        session: SessionId,
        (generation, network): (u64, NetworkId),
    ) -> bool {
        let Some((_, outstanding, confirmed)) = self.follows(node, session) else { return false };
        let before = *confirmed;
        while let Some(told) = outstanding.front() {
            let done = told.generation < generation
                || (told.generation == generation && told.last == network);
            if !done {
                break;
            }
            *confirmed = told.index.max(*confirmed);
            outstanding.pop_front();
        }
        *confirmed > before
    }

    /// Whether a node may still balance to a task on these networks as the state was before an
    /// index.
    pub fn is_awaited(&self, networks: &[NetworkId], index: u64, now: Timestamp) -> bool {
        self.awaited(networks, index, now).next().is_some()
    }

    /// The nodes that may still balance so.
    pub fn awaited(
        &self,
        networks: &[NetworkId],
        index: u64,
        now: Timestamp,
    ) -> impl Iterator<Item = NodeId> {
        let is_awaited = move |standing: &Standing| match standing {
            Standing::Expected { until } => now < *until,
            Standing::Follows { networks: known, confirmed, .. } => {
                *confirmed < index && networks.iter().any(|network| known.contains(network))
            }
        };
        self.by_node.iter().filter(move |(_, standing)| is_awaited(standing)).map(|(node, _)| *node)
    }

    fn follows(
        &mut self,
        node: NodeId,
        session: SessionId,
    ) -> Option<(&mut BTreeSet<NetworkId>, &mut VecDeque<Told>, &mut u64)> {
        match self.by_node.get_mut(&node) {
            Some(Standing::Follows { session: its, networks, outstanding, confirmed })
                if *its == session =>
            {
                Some((networks, outstanding, confirmed))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId::new(1);
    const TWO: NodeId = NodeId::new(2);
    const FRONT: NetworkId = NetworkId::new(1);
    const BACK: NetworkId = NetworkId::new(2);
    const SESSION: SessionId = SessionId(7);
    const START: Timestamp = Timestamp(0);

    fn following(networks: &[NetworkId]) -> Watermarks {
        let mut marks = Watermarks::default();
        marks.expect(ONE, START);
        marks.follow(ONE, SESSION);
        let known = networks.iter().copied().collect();
        marks.told(ONE, SESSION, known, (1, *networks.last().unwrap()), 10);
        marks
    }

    #[test]
    fn a_node_is_awaited_until_it_has_confirmed_the_last_message_of_a_generation() {
        let mut marks = following(&[FRONT, BACK]);
        assert!(marks.is_awaited(&[FRONT], 10, START));
        assert!(!marks.confirmed(ONE, SESSION, (1, FRONT)), "the other is still to come");
        assert!(marks.is_awaited(&[FRONT], 10, START));
        assert!(marks.confirmed(ONE, SESSION, (1, BACK)));
        assert!(!marks.is_awaited(&[FRONT], 10, START));
        assert!(marks.is_awaited(&[FRONT], 11, START), "what came after is not confirmed");
    }

    #[test]
    fn what_is_no_news_to_a_node_is_confirmed_with_what_it_was_told_last() {
        let mut marks = following(&[FRONT]);
        assert!(!marks.unchanged(ONE, SESSION, 12));
        assert!(marks.is_awaited(&[FRONT], 12, START));
        assert!(marks.confirmed(ONE, SESSION, (1, FRONT)));
        assert!(!marks.is_awaited(&[FRONT], 12, START));
        assert!(marks.unchanged(ONE, SESSION, 20), "nothing is outstanding");
        assert!(!marks.is_awaited(&[FRONT], 20, START));
    }

    #[test]
    fn a_node_without_the_network_or_without_a_session_does_not_count() {
        let mut marks = following(&[FRONT]);
        assert!(!marks.is_awaited(&[BACK], 10, START));
        marks.forget(ONE);
        assert!(!marks.is_awaited(&[FRONT], 10, START));
    }

    #[test]
    fn a_node_that_registered_counts_until_it_should_have_asked_for_networks() {
        let mut marks = Watermarks::default();
        marks.expect(TWO, START);
        assert!(marks.is_awaited(&[FRONT], 1, START));
        assert!(!marks.is_awaited(&[FRONT], 1, START.saturating_add(FOLLOWS_WITHIN)));
    }

    #[test]
    fn a_node_is_awaited_on_a_network_until_it_has_confirmed_that_it_is_gone() {
        let mut marks = following(&[FRONT, BACK]);
        marks.confirmed(ONE, SESSION, (1, BACK));
        marks.told(ONE, SESSION, [FRONT, BACK].into(), (2, BACK), 11);
        marks.told(ONE, SESSION, [FRONT].into(), (3, FRONT), 12);
        assert!(marks.is_awaited(&[BACK], 11, START), "it has confirmed neither");
        marks.confirmed(ONE, SESSION, (3, FRONT));
        marks.told(ONE, SESSION, [FRONT].into(), (4, FRONT), 13);
        assert!(!marks.is_awaited(&[BACK], 13, START));
    }

    #[test]
    fn a_word_of_an_older_session_is_not_heard() {
        let mut marks = following(&[FRONT]);
        assert!(!marks.confirmed(ONE, SessionId(6), (1, FRONT)));
        assert!(marks.is_awaited(&[FRONT], 10, START));
    }

    #[test]
    fn what_is_outstanding_is_bounded_and_nothing_is_confirmed_early_by_that() {
        let mut marks = following(&[FRONT]);
        let generations = 2..=(OUTSTANDING_MAX as u64 + 10);
        for generation in generations.clone() {
            let known = [FRONT].into();
            marks.told(ONE, SESSION, known, (generation, FRONT), 10 * generation);
        }
        let last = *generations.end();
        marks.confirmed(ONE, SESSION, (last - 1, FRONT));
        assert!(marks.is_awaited(&[FRONT], 10 * last, START));
        marks.confirmed(ONE, SESSION, (last, FRONT));
        assert!(!marks.is_awaited(&[FRONT], 10 * last, START));
    }
}
