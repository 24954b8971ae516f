//! How far the state has come into each node's kernel: the watermark below which a node has
//! confirmed everything that it was told of its networks.
//!
//! It is the leader's own and stands in no log: a new leader asks every node anew.
//!
//! **Invariant:** a watermark is never ahead of its node's kernel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skep_state::State;
use skep_types::{NetworkId, NodeId, NodeState, Timestamp};

use crate::changed::Changed;
use crate::concern::Networks;
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
struct Following {
    session: SessionId,
    /// It has asked and was told nothing yet: it may still balance as the last leader told it.
    expected: Option<Timestamp>,
    networks: BTreeSet<NetworkId>,
    outstanding: VecDeque<Told>,
    /// Its kernel is as the state was at this index of the log.
    confirmed: u64,
}

#[derive(Debug, Clone)]
enum Standing {
    /// In session, or the last leader had it so: it may balance as that one told it.
    Expected {
        until: Timestamp,
    },
    Follows(Following),
}

/// The watermarks of one leadership.
///
/// A node is told only when something changes on its networks, so its watermark may stay behind
/// the log for ever. Who waits for nodes on a network waits no further than to the index at which
/// the network last changed: whoever has confirmed that knows all there is.
#[derive(Debug, Clone, Default)]
pub struct Watermarks {
    by_node: BTreeMap<NodeId, Standing>,
    expected: BTreeSet<(Timestamp, NodeId)>,
    /// Nodes that know a network, by what they have confirmed.
    by_network: BTreeSet<(NetworkId, u64, NodeId)>,
    changed: Changed,
}

impl Watermarks {
    /// Begins a leadership with the state at an index: nodes balance as the last leader told them
    /// until they ask this one.
    pub fn begin(state: &State, index: u64, now: Timestamp) -> Self {
        let mut marks = Self { changed: Changed::up_to(index), ..Self::default() };
        for node in state.nodes().iter().filter(|node| node.status.state == NodeState::Ready) {
            marks.expect(node.id, now);
        }
        marks
    }

    /// The state has come to an index, and this is what it changed on networks. To be said before
    /// anybody looks at the state as it is there.
    pub fn advance(&mut self, index: u64, networks: &Networks, view: &State) {
        self.changed.advance(index, networks, view);
    }

    /// A node registered.
    pub fn expect(&mut self, node: NodeId, now: Timestamp) {
        self.forget(node);
        let until = now.saturating_add(FOLLOWS_WITHIN);
        self.expected.insert((until, node));
        self.by_node.insert(node, Standing::Expected { until });
    }

    /// A node asks for its networks.
    pub fn follow(&mut self, node: NodeId, session: SessionId) {
        let expected = match self.by_node.get(&node) {
            Some(Standing::Expected { until }) => Some(*until),
            Some(Standing::Follows(follows)) => follows.expected,
            None => None,
        };
        self.forget(node);
        self.expected.extend(expected.map(|until| (until, node)));
        let follows = Standing::Follows(Following {
            session,
            expected,
            networks: BTreeSet::new(),
            outstanding: VecDeque::new(),
            confirmed: 0,
        });
        self.by_node.insert(node, follows);
    }

    /// A node has no session any more, and counts no longer.
    pub fn forget(&mut self, node: NodeId) {
        match self.by_node.remove(&node) {
            Some(Standing::Expected { until }) => {
                self.expected.remove(&(until, node));
            }
            Some(Standing::Follows(follows)) => {
                if let Some(until) = follows.expected {
                    self.expected.remove(&(until, node));
                }
                for network in follows.networks {
                    self.by_network.remove(&(network, follows.confirmed, node));
                }
            }
            None => {}
        }
    }

    /// Before a generation is sent: what it is made from, and the networks that the node knows
    /// before or after it. Says whether somebody may wait for the node no longer.
    pub fn told(
        &mut self,
        node: NodeId,
        session: SessionId,
        known: BTreeSet<NetworkId>,
        (generation, last): (u64, NetworkId),
        index: u64,
    ) -> bool {
        self.change(node, session, |follows| {
            if follows.outstanding.is_empty() {
                follows.networks.clear();
            }
            // Its kernel may still be as it was before what it has not confirmed, a network that it
            // was told is gone included.
            follows.networks.extend(known);
            if follows.outstanding.len() == OUTSTANDING_MAX {
                follows.outstanding.pop_back();
            }
            follows.outstanding.push_back(Told { generation, last, index });
        })
    }

    /// The state has come to this index and nothing of it was news to the node; says whether
    /// somebody may wait for it no longer by that.
    pub fn unchanged(&mut self, node: NodeId, session: SessionId, index: u64) -> bool {
        self.change(node, session, |follows| match follows.outstanding.back_mut() {
            Some(told) => told.index = told.index.max(index),
            None => follows.confirmed = follows.confirmed.max(index),
        })
    }

    /// A node's kernel is as a message said; says whether somebody may wait for it no longer by that.
    pub fn confirmed(
        &mut self,
        node: NodeId,
        session: SessionId,
        (generation, network): (u64, NetworkId),
    ) -> bool {
        self.change(node, session, |follows| {
            while let Some(told) = follows.outstanding.front() {
                let done = told.generation < generation
                    || (told.generation == generation && told.last == network);
                if !done {
                    break;
                }
                follows.confirmed = follows.confirmed.max(told.index);
                follows.outstanding.pop_front();
            }
        })
    }

    /// Whether a node may still balance to a task on these networks as the state was before an
    /// index.
    pub fn is_awaited(&self, networks: &[NetworkId], index: u64, now: Timestamp) -> bool {
        let expected = self.expected.last().is_some_and(|(until, _)| now < *until);
        expected
            || networks.iter().any(|network| self.lowest(*network) < self.bound(*network, index))
    }

    /// The nodes that may still balance so.
    pub fn awaited(&self, networks: &[NetworkId], index: u64, now: Timestamp) -> BTreeSet<NodeId> {
        let expected = self.expected.iter().filter(|(until, _)| now < *until);
        let behind = networks.iter().flat_map(|network| {
            let bound = (*network, self.bound(*network, index), NodeId::new(0));
            self.by_network.range((*network, 0, NodeId::new(0))..bound)
        });
        expected.map(|(_, node)| *node).chain(behind.map(|(_, _, node)| *node)).collect()
    }

    /// What every node that knows a network has confirmed.
    fn lowest(&self, network: NetworkId) -> u64 {
        let all = (network, 0, NodeId::new(0))..=(network, u64::MAX, NodeId::new(u128::MAX));
        self.by_network.range(all).next().map_or(u64::MAX, |(_, confirmed, _)| *confirmed)
    }

    fn bound(&self, network: NetworkId, index: u64) -> u64 {
        index.min(self.changed.at(network))
    }

    /// Changes what is known of a node that follows in this session; says whether somebody may wait
    /// for it no longer by that. That it has confirmed more is no news while others are behind it.
    fn change(
        &mut self,
        node: NodeId,
        session: SessionId,
        change: impl FnOnce(&mut Following),
    ) -> bool {
        let Some(Standing::Follows(follows)) = self.by_node.get_mut(&node) else { return false };
        if follows.session != session {
            return false;
        }
        let (confirmed, networks) = (follows.confirmed, follows.networks.clone());
        change(follows);
        let expected = follows.expected.take();
        let now = (follows.confirmed, follows.networks.clone());
        let mut caught_up = expected.is_some_and(|until| self.expected.remove(&(until, node)));
        if (confirmed, &networks) != (now.0, &now.1) {
            for network in &networks {
                self.by_network.remove(&(*network, confirmed, node));
            }
            self.by_network.extend(now.1.iter().map(|network| (*network, now.0, node)));
            caught_up |= networks.iter().any(|network| self.lowest(*network) > confirmed);
        }
        caught_up
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

    /// Something changes on a network.
    fn on(network: NetworkId) -> Networks {
        [(network, crate::concern::Touched::default())].into()
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
    fn a_node_that_asked_counts_for_all_networks_until_it_was_told_which() {
        let mut marks = Watermarks::default();
        marks.expect(TWO, START);
        marks.follow(TWO, SESSION);
        assert!(marks.is_awaited(&[FRONT], 1, START), "it was told nothing yet");
        assert!(!marks.is_awaited(&[FRONT], 1, START.saturating_add(FOLLOWS_WITHIN)));
        assert!(
            marks.told(TWO, SESSION, [BACK].into(), (1, BACK), 10),
            "of others it knows nothing"
        );
        assert!(!marks.is_awaited(&[FRONT], 1, START));
        assert!(marks.is_awaited(&[BACK], 1, START));
        marks.expect(TWO, START);
        marks.follow(TWO, SESSION);
        marks.forget(TWO);
        assert!(!marks.is_awaited(&[FRONT], 1, START));
    }

    #[test]
    fn only_the_last_that_others_wait_for_is_news_to_them() {
        let mut marks = following(&[FRONT]);
        marks.follow(TWO, SESSION);
        marks.told(TWO, SESSION, [FRONT].into(), (1, FRONT), 10);
        assert!(!marks.confirmed(ONE, SESSION, (1, FRONT)), "the other is behind");
        assert!(marks.is_awaited(&[FRONT], 10, START));
        assert!(marks.confirmed(TWO, SESSION, (1, FRONT)));
        assert!(!marks.is_awaited(&[FRONT], 10, START));
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

    #[test]
    fn who_has_confirmed_the_last_change_of_a_network_is_not_awaited_for_what_came_elsewhere() {
        let mut state = State::default();
        let networks = [FRONT, BACK].map(|id| {
            let meta = skep_types::Meta::default();
            let mut spec = skep_types::NetworkSpec::default();
            spec.annotations.name = id.to_string();
            let network = skep_types::Network { meta, ..skep_types::Network::new(id, spec) };
            skep_state::Change::Create(std::sync::Arc::new(network)).into()
        });
        let actions = networks.to_vec();
        let made = skep_state::Transaction { epoch: 1, now: START, actions };
        state.apply(&made).unwrap();
        let mut marks = Watermarks::begin(&state, 5, START);
        marks.follow(ONE, SESSION);
        marks.told(ONE, SESSION, [FRONT].into(), (1, FRONT), 10);
        marks.confirmed(ONE, SESSION, (1, FRONT));
        marks.advance(20, &on(BACK), &state);
        assert!(!marks.is_awaited(&[FRONT], 25, START));
        marks.advance(30, &on(FRONT), &state);
        assert!(marks.is_awaited(&[FRONT], 25, START), "it has not heard of 30");
        assert_eq!(marks.awaited(&[FRONT, BACK], 25, START), [ONE].into());
        assert!(marks.awaited(&[BACK], 25, START).is_empty());
        marks.unchanged(ONE, SESSION, 30);
        assert!(!marks.is_awaited(&[FRONT], 40, START));
    }
}
