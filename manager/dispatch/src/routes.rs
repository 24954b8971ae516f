//! Which streams of nodes are to look at the state again when it has changed.
//!
//! **Invariant:** a stream that looked at the state as it was at an index, and was not woken since,
//! would be told nothing new.

use std::collections::{BTreeMap, BTreeSet};

use skep_types::{NetworkId, NodeId, TaskId};

use crate::concern::{Concern, Whom};

/// Names one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

/// What a stream tells its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamKind {
    Session,
    Assignments,
    Endpoints,
}

#[derive(Debug, Clone)]
struct Stream {
    node: NodeId,
    kind: StreamKind,
    networks: BTreeSet<NetworkId>,
}

/// What a stream is to look at again, beside what concerns it whatever has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Its node may have other networks than before.
    pub moved: bool,
    /// Tasks of its node that may be to be told otherwise.
    pub tasks: Whom<TaskId>,
}

impl Look {
    /// For one that has not looked yet.
    pub fn first() -> Self {
        Self { moved: true, tasks: Whom::All }
    }

    pub fn join(&mut self, more: Self) {
        self.moved |= more.moved;
        self.tasks.join(more.tasks);
    }
}

/// The streams that are open, and how far they have been routed.
#[derive(Debug, Clone)]
pub struct Routes {
    index: u64,
    last: StreamId,
    streams: BTreeMap<StreamId, Stream>,
    by_node: BTreeSet<(StreamKind, NodeId, StreamId)>,
    by_network: BTreeSet<(NetworkId, StreamId)>,
}

impl Routes {
    /// No stream, and what comes after an index is routed.
    pub fn from(index: u64) -> Self {
        Self {
            index,
            last: StreamId(0),
            streams: BTreeMap::new(),
            by_node: BTreeSet::new(),
            by_network: BTreeSet::new(),
        }
    }

    /// Opens a stream. It looks at the state after this.
    pub fn open(&mut self, kind: StreamKind, node: NodeId) -> StreamId {
        self.last = StreamId(self.last.0 + 1);
        self.streams.insert(self.last, Stream { node, kind, networks: BTreeSet::new() });
        self.by_node.insert((kind, node, self.last));
        self.last
    }

    pub fn close(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.by_node.remove(&(stream.kind, stream.node, id));
        for network in stream.networks {
            self.by_network.remove(&(network, id));
        }
    }

    /// These are the networks that a stream tells of, as the state was at an index. Says whether it
    /// is to look again: what became of a network meanwhile that is new to it has passed it by.
    pub fn follow(&mut self, id: StreamId, networks: &BTreeSet<NetworkId>, index: u64) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        if stream.networks == *networks {
            return false;
        }
        let news = networks.difference(&stream.networks).next().is_some();
        for gone in stream.networks.difference(networks) {
            self.by_network.remove(&(*gone, id));
        }
        self.by_network.extend(networks.difference(&stream.networks).map(|new| (*new, id)));
        stream.networks.clone_from(networks);
        news && index < self.index
    }

    /// The state has come to an index. Gives the streams that it concerns, and what each is to look at.
    pub fn advance(&mut self, index: u64, concern: &Concern) -> BTreeMap<StreamId, Look> {
        self.index = index;
        let mut woken = BTreeSet::new();
        self.of_nodes(StreamKind::Session, &concern.sessions, &mut woken);
        let mut moved = BTreeSet::new();
        self.of_nodes(StreamKind::Endpoints, &concern.places, &mut moved);
        woken.extend(concern.networks.keys().flat_map(|network| self.followers(*network)));
        let moved = moved.into_iter().map(|id| (id, Look { moved: true, ..Look::default() }));
        let woken = woken.into_iter().map(|id| (id, Look::default()));
        let assigned = concern.assignments.iter().flat_map(|(node, tasks)| {
            let look = || Look { moved: false, tasks: Whom::Some(tasks.clone()) };
            self.between(StreamKind::Assignments, *node, *node).map(move |id| (id, look()))
        });
        woken.chain(moved).chain(assigned).collect()
    }

    /// The streams that tell of a network.
    fn followers(&self, network: NetworkId) -> impl Iterator<Item = StreamId> + '_ {
        let all = (network, StreamId(0))..=(network, StreamId(u64::MAX));
        self.by_network.range(all).map(|(_, id)| *id)
    }

    /// Whether any stream tells of a network.
    pub fn is_followed(&self, network: NetworkId) -> bool {
        self.followers(network).next().is_some()
    }

    fn of_nodes(&self, kind: StreamKind, whom: &Whom<NodeId>, woken: &mut BTreeSet<StreamId>) {
        match whom {
            Whom::All => woken.extend(self.between(kind, NodeId::new(0), NodeId::new(u128::MAX))),
            Whom::Some(nodes) => {
                woken.extend(nodes.iter().flat_map(|node| self.between(kind, *node, *node)));
            }
        }
    }

    fn between(
        &self,
        kind: StreamKind,
        first: NodeId,
        last: NodeId,
    ) -> impl Iterator<Item = StreamId> + '_ {
        let all = (kind, first, StreamId(0))..=(kind, last, StreamId(u64::MAX));
        self.by_node.range(all).map(|(_, _, id)| *id)
    }
}
