//! Wakes the streams of nodes that a change of the state concerns, and no others.
//!
//! One task of each leadership follows the state; the streams look at it as it was when they were
//! routed, so that what wakes them and what they see agree. What it comes to is decided in
//! [`Routes`] and [`Concern`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use skep_dispatch::endpoints::NetworkView;
use skep_dispatch::{Changed, Concern, Routes, StreamId, StreamKind};
use skep_raft::{Follower, Step};
use skep_state::State;
use skep_types::{NetworkId, NodeId};
use tokio::sync::Notify;

use crate::core::Core;

/// See the module. Empty while this manager does not lead.
#[derive(Default)]
pub struct Router(Mutex<Option<Shared>>);

/// One leadership's; its streams keep it until they end.
type Shared = Arc<Mutex<Routed>>;

struct Routed {
    index: u64,
    view: State,
    routes: Routes,
    wakers: HashMap<StreamId, Arc<Notify>>,
    /// Networks as nodes see them, made once for all of them.
    networks: BTreeMap<NetworkId, Arc<NetworkView>>,
    changed: Changed,
}

impl Router {
    pub(crate) fn begin(&self, begin: &Step) {
        let routed = Routed {
            index: begin.index,
            view: begin.view.clone(),
            routes: Routes::from(begin.index),
            wakers: HashMap::new(),
            networks: BTreeMap::new(),
            changed: Changed::up_to(begin.index),
        };
        *self.lock() = Some(Arc::new(Mutex::new(routed)));
    }

    pub(crate) fn end(&self) {
        let ended = self.lock().take();
        // Outside the lock: its view may be the last of its kind, and large.
        drop(ended);
    }

    /// Opens a stream; none where this manager does not lead.
    pub fn open(&self, kind: StreamKind, node: NodeId) -> Option<Listener> {
        let shared = Arc::clone(self.lock().as_ref()?);
        let mut routed = locked(&shared);
        let (id, waker) = (routed.routes.open(kind, node), Arc::new(Notify::new()));
        routed.wakers.insert(id, Arc::clone(&waker));
        drop(routed);
        Some(Listener { shared, id, waker })
    }

    fn advance(&self, step: Step, concern: &Concern) {
        let Some(shared) = self.lock().clone() else { return };
        let mut routed = locked(&shared);
        routed.networks.retain(|id, _| !concern.networks.has(id));
        routed.changed.advance(step.index, &concern.networks, &step.view);
        routed.index = step.index;
        let old = std::mem::replace(&mut routed.view, step.view);
        for id in routed.routes.advance(step.index, concern) {
            if let Some(waker) = routed.wakers.get(&id) {
                waker.notify_one();
            }
        }
        drop(routed);
        // Outside the lock: it may be the last of its kind, and large.
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Shared>> {
        self.0.lock().expect("no holder panics")
    }
}

fn locked(shared: &Shared) -> MutexGuard<'_, Routed> {
    shared.lock().expect("no holder panics")
}

/// One open stream.
pub struct Listener {
    shared: Shared,
    id: StreamId,
    waker: Arc<Notify>,
}

impl Listener {
    /// Waits until the state has changed in something that concerns the stream, or may have.
    pub async fn woken(&self) {
        self.waker.notified().await;
    }

    /// The state as far as streams have been woken for it, with its index in the log.
    pub fn view(&self) -> (u64, State) {
        let routed = locked(&self.shared);
        (routed.index, routed.view.clone())
    }

    /// The stream tells of these networks: gives them as nodes are to see them in the view at an
    /// index; those that are not allocated are left out.
    pub fn follow(
        &self,
        wanted: BTreeSet<NetworkId>,
        (index, view): (u64, &State),
    ) -> BTreeMap<NetworkId, Arc<NetworkView>> {
        let mut found = BTreeMap::new();
        for id in &wanted {
            let made = locked(&self.shared).networks.get(id).cloned();
            // One that has changed since is newer than the view: it is told a little early.
            let network = match made {
                Some(network) => Some(network),
                None => NetworkView::of(view, *id).map(|it| self.keep(Arc::new(it), index)),
            };
            found.extend(network.map(|network| (*id, network)));
        }
        if locked(&self.shared).routes.follow(self.id, wanted, index) {
            self.waker.notify_one();
        }
        found
    }

    /// Keeps what was made of a network in the view at an index, unless it is stale already.
    fn keep(&self, network: Arc<NetworkView>, index: u64) -> Arc<NetworkView> {
        let (id, mut routed) = (network.network.id, locked(&self.shared));
        if routed.changed.at(id) <= index {
            routed.networks.insert(id, Arc::clone(&network));
        }
        network
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut routed = locked(&self.shared);
        routed.routes.close(self.id);
        routed.wakers.remove(&self.id);
    }
}

/// Routes what is applied, as long as it is polled.
pub async fn run(core: &Core, mut follower: Follower) {
    loop {
        let step = follower.next().await;
        let concern = match &step.news {
            Some(news) => Concern::of(news.iter().flat_map(|entry| entry.iter()), &step.view),
            None => Concern::everything(),
        };
        // Before anybody sees it: a task that is to stop waits for those who must hear of it.
        core.dispatch.mark(|marks| {
            marks.advance(step.index, &concern.networks, &step.view);
            false
        });
        core.router.advance(step, &concern);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use skep_state::{Change, Transaction};
    use skep_types::{Node, NodeSpec, Timestamp};

    use super::*;

    const ONE: NodeId = NodeId::new(1);
    const TWO: NodeId = NodeId::new(2);

    struct World {
        router: Router,
        state: State,
        index: u64,
    }

    impl World {
        fn new() -> Self {
            let (router, state) = (Router::default(), State::default());
            router.begin(&Step { index: 0, view: state.clone(), news: None });
            Self { router, state, index: 0 }
        }

        /// A node comes into the state, or its availability changes; the router is told of it.
        fn change(&mut self, id: NodeId, availability: skep_types::Availability) {
            let spec = NodeSpec { availability, ..NodeSpec::default() };
            let change = match self.state.nodes().get(id) {
                Some(node) => Change::Update(Arc::new(Node { spec, ..Node::clone(node) })),
                None => Change::Create(Arc::new(Node::new(id, spec))),
            };
            let actions = vec![change.into()];
            let now = Timestamp(1);
            let events = self.state.apply(&Transaction { epoch: 1, now, actions }).unwrap();
            self.advance(&Concern::of(&events, &self.state));
        }

        fn advance(&mut self, concern: &Concern) {
            self.index += 1;
            let step = Step { index: self.index, view: self.state.clone(), news: None };
            self.router.advance(step, concern);
        }
    }

    fn is_woken(listener: &Listener) -> bool {
        listener.woken().now_or_never().is_some()
    }

    #[test]
    fn only_whom_a_change_concerns_is_woken_and_all_after_a_lag() {
        let mut world = World::new();
        let one = world.router.open(StreamKind::Session, ONE).unwrap();
        let two = world.router.open(StreamKind::Session, TWO).unwrap();
        world.change(ONE, skep_types::Availability::Active);
        assert!(is_woken(&one) && !is_woken(&two));
        assert_eq!(one.view().0, 1);
        assert!(one.view().1.nodes().get(ONE).is_some());
        world.change(ONE, skep_types::Availability::Active);
        assert!(!is_woken(&one), "nothing of it is news to the node");
        world.advance(&Concern::everything());
        assert!(is_woken(&one) && is_woken(&two));
    }

    #[test]
    fn a_stream_of_a_leadership_that_ended_takes_nothing_from_the_next() {
        let mut world = World::new();
        let old = world.router.open(StreamKind::Session, ONE).unwrap();
        world.router.end();
        assert!(world.router.open(StreamKind::Session, ONE).is_none());
        world.router.begin(&Step { index: 0, view: world.state.clone(), news: None });
        let new = world.router.open(StreamKind::Session, ONE).unwrap();
        drop(old);
        world.change(ONE, skep_types::Availability::Active);
        assert!(is_woken(&new));
    }
}
