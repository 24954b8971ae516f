//! Wakes the streams of nodes that a change of the state concerns, and no others.
//!
//! One task of each leadership follows the state; the streams look at it as it was when they were
//! routed, so that what wakes them and what they see agree. What it comes to is decided in
//! [`Routes`] and [`Concern`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use skep_dispatch::endpoints::networks_of;
use skep_dispatch::{Concern, Look, Routes, StreamId, StreamKind, Touched};
use skep_raft::{Follower, Step};
use skep_state::State;
use skep_types::{Network, NetworkId, NodeId};
use tokio::sync::Notify;

use crate::core::Core;
use crate::defaults::{NETWORKS_INTERVAL_MIN, NETWORKS_SHARE};
use crate::networks::{Networks, News, Whole};

/// Each node has one of each kind.
const STREAMS_OF_NODE: usize = 3;

/// See the module. Empty while this manager does not lead.
#[derive(Default)]
pub struct Router(Mutex<Option<Shared>>);

/// One leadership's; its streams keep it until they end.
type Shared = Arc<Mutex<Routed>>;

struct Routed {
    index: u64,
    view: State,
    routes: Routes,
    wakers: HashMap<StreamId, Waker>,
    networks: Networks,
}

struct Waker {
    notify: Arc<Notify>,
    /// What it has not looked at yet.
    look: Look,
}

impl Router {
    pub(crate) fn begin(&self, begin: &Step) {
        let routed = Routed {
            index: begin.index,
            view: begin.view.clone(),
            routes: Routes::from(begin.index),
            wakers: HashMap::new(),
            networks: Networks::from(begin.index),
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
        let (id, notify) = (routed.routes.open(kind, node), Arc::new(Notify::new()));
        routed.wakers.insert(id, Waker { notify: Arc::clone(&notify), look: Look::first() });
        drop(routed);
        Some(Listener { shared, id, node, notify })
    }

    fn advance(&self, step: Step, concern: &Concern) {
        let Some(shared) = self.lock().clone() else { return };
        // Outside the lock: it takes as long as there are news. Who begins to follow a network
        // meanwhile finds that it is to be told anew.
        let news = news(&shared, &concern.networks, &step.view);
        let mut routed = locked(&shared);
        routed.networks.write(step.index, news);
        routed.index = step.index;
        let old = std::mem::replace(&mut routed.view, step.view);
        let Routed { routes, wakers, .. } = &mut *routed;
        for (id, look) in routes.advance(step.index, concern) {
            if let Some(waker) = wakers.get_mut(&id) {
                waker.look.join(look);
                waker.notify.notify_one();
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

/// What became of networks.
fn news(shared: &Shared, networks: &skep_dispatch::Networks, view: &State) -> Vec<News> {
    let followed: BTreeSet<NetworkId> = {
        let routed = locked(shared);
        networks.keys().copied().filter(|id| routed.routes.is_followed(*id)).collect()
    };
    let news =
        |(id, touched): (&NetworkId, &Touched)| News::of(view, *id, touched, followed.contains(id));
    networks.iter().map(news).collect()
}

fn locked(shared: &Shared) -> MutexGuard<'_, Routed> {
    shared.lock().expect("no holder panics")
}

/// One open stream.
pub struct Listener {
    shared: Shared,
    id: StreamId,
    node: NodeId,
    notify: Arc<Notify>,
}

impl Listener {
    /// Waits until the state has changed in something that concerns the stream, or may have.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// How long a stream of networks is to wait after a word: what comes meanwhile is one message, and
    /// the more nodes there are, the longer, so that all of them together cost no more.
    pub fn pause(&self) -> Duration {
        let nodes = locked(&self.shared).wakers.len() / STREAMS_OF_NODE;
        NETWORKS_INTERVAL_MIN.max(NETWORKS_SHARE * u32::try_from(nodes).unwrap_or(u32::MAX))
    }

    /// The state as far as streams have been woken for it, with its index in the log, and what of it
    /// is to be looked at.
    pub fn look(&self) -> (u64, State, Look) {
        let mut routed = locked(&self.shared);
        let waker = routed.wakers.get_mut(&self.id);
        let look = waker.map(|waker| std::mem::take(&mut waker.look)).unwrap_or_default();
        (routed.index, routed.view.clone(), look)
    }

    /// What the stream's node is to hear of its networks, as far as streams have been woken; `told` is
    /// what it has heard before, and after this it is what it will have heard. Gives the index of the
    /// log from which nothing is missing.
    pub fn hear(&self, told: &mut ToldNetworks) -> (u64, Vec<Word>) {
        let (index, view, look) = self.look();
        if look.moved {
            told.wanted = networks_of(&view, self.node);
        }
        (index, self.follow(told, index))
    }

    fn follow(&self, told: &mut ToldNetworks, index: u64) -> Vec<Word> {
        let ToldNetworks { wanted, known } = told;
        let mut words = Vec::new();
        let gone = known.extract_if(.., |id, _| !wanted.contains(id));
        words.extend(gone.map(|(id, _)| Word::Gone(id)));
        let mut routed = locked(&self.shared);
        if routed.routes.follow(self.id, wanted, index) {
            self.notify.notify_one();
        }
        let (at, view) = (routed.index, routed.view.clone());
        let mut unmade = Vec::new();
        for id in wanted.iter().copied() {
            let since = known.get(&id).and_then(|known| routed.networks.since(id, *known));
            match since {
                Some(answers) if answers.is_empty() => {}
                Some(answers) => words.push(Word::More(id, answers)),
                None => match routed.networks.whole(id) {
                    Some((network, answers)) => words.push(Word::Whole(network, answers)),
                    None => {
                        unmade.push(id);
                        continue;
                    }
                },
            }
            known.insert(id, at);
        }
        drop(routed);
        for id in unmade {
            // One that is not allocated yet is as good as none.
            let Some(whole) = Whole::of(&view, at, id) else {
                words.extend(known.remove(&id).map(|_| Word::Gone(id)));
                continue;
            };
            known.insert(id, at);
            locked(&self.shared).networks.keep(whole.clone());
            words.push(Word::Whole(Arc::clone(&whole.network), whole.into_answers()));
        }
        words
    }
}

/// What a node has been told of networks.
#[derive(Debug, Default)]
pub struct ToldNetworks {
    /// The node's, whether they are allocated or not.
    wanted: BTreeSet<NetworkId>,
    /// Those that it knows, each as it was at an index of the log.
    known: BTreeMap<NetworkId, u64>,
}

impl ToldNetworks {
    pub fn known(&self) -> impl Iterator<Item = NetworkId> + '_ {
        self.known.keys().copied()
    }
}

/// What a node is to hear of a network, encoded.
#[derive(Debug)]
pub enum Word {
    /// All of it, in order.
    Whole(Arc<Network>, Vec<Bytes>),
    /// What became of it, in order.
    More(NetworkId, Vec<Bytes>),
    Gone(NetworkId),
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
        let events = step.news.iter().flat_map(|entry| entry.iter());
        let concern = Concern::of(events, &step.view);
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
    use prost::Message;
    use skep_proto::v1 as pb;
    use skep_state::{Action, Change, Transaction};
    use skep_types::network::IpamConfig;
    use skep_types::service::NetworkAttachmentConfig;
    use skep_types::task::Slot;
    use skep_types::*;

    use super::*;

    const ONE: NodeId = NodeId::new(1);
    const TWO: NodeId = NodeId::new(2);
    const FRONT: NetworkId = NetworkId::new(1);

    struct World {
        router: Router,
        state: State,
        index: u64,
    }

    impl World {
        fn new() -> Self {
            let (router, state) = (Router::default(), State::default());
            router.begin(&Step { index: 0, view: state.clone(), news: Vec::new() });
            Self { router, state, index: 0 }
        }

        /// A node comes into the state, or its availability changes; the router is told of it.
        fn change(&mut self, id: NodeId, availability: skep_types::Availability) {
            let spec = NodeSpec { availability, ..NodeSpec::default() };
            let change = match self.state.nodes().get(id) {
                Some(node) => Change::Update(Arc::new(Node { spec, ..Node::clone(node) })),
                None => Change::Create(Arc::new(Node::new(id, spec))),
            };
            self.apply(vec![change.into()]);
        }

        fn apply(&mut self, actions: Vec<Action>) {
            let now = Timestamp(1);
            let events = self.state.apply(&Transaction { epoch: 1, now, actions }).unwrap();
            self.advance(&Concern::of(&events, &self.state));
        }

        /// A task comes onto the network, or goes from it.
        fn task(&mut self, id: u128, is_there: bool) {
            let id = TaskId::new(id);
            let address = format!("10.0.1.{}/24", 10 + id.bits());
            let at = NetworkAttachment {
                network: FRONT,
                addresses: vec![address.parse().unwrap()],
                aliases: vec![],
            };
            let mut made = Task {
                id,
                meta: Meta::default(),
                service_id: ServiceId::new(1),
                slot: Slot::Replica(1 + id.bits() as u64),
                spec_version: Revision(1),
                node_id: Some(ONE),
                status: TaskStatus::default(),
                desired_state: DesiredState::Running,
                networks: vec![at],
                job_iteration: None,
                generic: vec![],
            };
            made.status.state = TaskState::Running;
            self.apply(vec![match is_there {
                true => Change::Create(Arc::new(made)).into(),
                false => Change::<Task>::Remove(id, None).into(),
            }]);
        }

        /// Two nodes, a network, and a service with one task on it.
        fn with_network() -> Self {
            let mut world = Self::new();
            for (id, addr) in [(ONE, "192.0.2.1"), (TWO, "192.0.2.2")] {
                let mut node = Node::new(id, NodeSpec::default());
                node.status.addr = addr.to_owned();
                world.apply(vec![Change::Create(Arc::new(node)).into()]);
            }
            let mut spec = NetworkSpec { driver: "overlay".to_owned(), ..NetworkSpec::default() };
            spec.annotations.name = "front".to_owned();
            let subnet = "10.0.1.0/24".parse().unwrap();
            let network = Network {
                vni: Some(Vni(4097)),
                ipam: vec![IpamConfig { subnet, range: None, gateway: None }],
                ..Network::new(FRONT, spec)
            };
            let annotations = Annotations { name: "web".to_owned(), ..Annotations::default() };
            let mode = ServiceMode::Replicated { replicas: 1 };
            let mut spec = ServiceSpec::new(annotations, mode);
            spec.task.networks = vec![NetworkAttachmentConfig { target: FRONT, aliases: vec![] }];
            let service = Service::new(ServiceId::new(1), Arc::new(spec));
            world.apply(vec![
                Change::Create(Arc::new(network)).into(),
                Change::Create(Arc::new(service)).into(),
            ]);
            world.task(1, true);
            world
        }

        fn advance(&mut self, concern: &Concern) {
            self.index += 1;
            let step = Step { index: self.index, view: self.state.clone(), news: Vec::new() };
            self.router.advance(step, concern);
        }
    }

    fn is_woken(listener: &Listener) -> bool {
        listener.woken().now_or_never().is_some()
    }

    #[test]
    fn only_whom_a_change_concerns_is_woken() {
        let mut world = World::new();
        let one = world.router.open(StreamKind::Session, ONE).unwrap();
        let two = world.router.open(StreamKind::Session, TWO).unwrap();
        world.change(ONE, skep_types::Availability::Active);
        assert!(is_woken(&one) && !is_woken(&two));
        let (index, view, _) = one.look();
        assert_eq!(index, 1);
        assert!(view.nodes().get(ONE).is_some());
        world.change(ONE, skep_types::Availability::Active);
        assert!(!is_woken(&one), "nothing of it is news to the node");
    }

    #[test]
    fn a_stream_of_a_leadership_that_ended_takes_nothing_from_the_next() {
        let mut world = World::new();
        let old = world.router.open(StreamKind::Session, ONE).unwrap();
        world.router.end();
        assert!(world.router.open(StreamKind::Session, ONE).is_none());
        world.router.begin(&Step { index: 0, view: world.state.clone(), news: Vec::new() });
        let new = world.router.open(StreamKind::Session, ONE).unwrap();
        drop(old);
        world.change(ONE, skep_types::Availability::Active);
        assert!(is_woken(&new));
    }

    /// What a stream is told that looks now: of each network the tasks that came and those that
    /// went, all of them or more of them.
    fn hear(listener: &Listener, told: &mut ToldNetworks) -> Vec<String> {
        let (_, words) = listener.hear(told);
        let of = |answers: Vec<Bytes>| {
            let mut text = String::new();
            for part in answers {
                let part = pb::NetworkAnswers::decode(part).unwrap();
                let number = |id: &str| id.parse::<TaskId>().unwrap().bits();
                let came = part.endpoints.iter().map(|it| format!(" +{}", number(&it.task_id)));
                let went = part.removed_task_ids.iter().map(|id| format!(" -{}", number(id)));
                text.extend(came.chain(went));
            }
            text
        };
        let told = |word| match word {
            Word::Whole(_, answers) => format!("all:{}", of(answers)),
            Word::More(_, answers) => format!("more:{}", of(answers)),
            Word::Gone(_) => "gone".to_owned(),
        };
        words.into_iter().map(told).collect()
    }

    #[test]
    fn a_node_hears_all_of_a_network_once_and_then_what_became_of_it() {
        let mut world = World::with_network();
        let one = world.router.open(StreamKind::Endpoints, ONE).unwrap();
        let mut known = ToldNetworks::default();
        assert_eq!(hear(&one, &mut known), ["all: +1"]);
        assert!(hear(&one, &mut known).is_empty());
        world.task(2, true);
        world.task(3, true);
        world.task(2, false);
        assert!(is_woken(&one));
        assert_eq!(hear(&one, &mut known), ["more: +2 +3 -2"]);

        // What came since is more than what was made for the first: it is made anew.
        let late = world.router.open(StreamKind::Endpoints, ONE).unwrap();
        let mut known_late = ToldNetworks::default();
        assert_eq!(hear(&late, &mut known_late), ["all: +1 +3"]);
        world.task(4, true);
        assert_eq!(hear(&late, &mut known_late), ["more: +4"]);
        // Here it is less, and follows what was made.
        let latest = world.router.open(StreamKind::Endpoints, ONE).unwrap();
        assert_eq!(hear(&latest, &mut ToldNetworks::default()), ["all: +1 +3 +4"]);
        drop(latest);

        world.task(5, true);
        assert_eq!(hear(&one, &mut known), ["more: +4 +5"]);

        for task in [1, 3, 4, 5] {
            world.task(task, false);
        }
        assert_eq!(hear(&one, &mut known), ["gone"]);
        assert!(hear(&one, &mut known).is_empty());
        // While nobody listened, it was not written what became of the network.
        assert_eq!(hear(&late, &mut known_late), ["gone"]);
        world.task(6, true);
        world.task(7, true);
        assert_eq!(hear(&one, &mut known), ["all: +6 +7"]);
    }

    #[test]
    fn what_comes_between_a_streams_look_and_its_word_is_not_missed() {
        let mut world = World::with_network();
        let one = world.router.open(StreamKind::Endpoints, ONE).unwrap();
        let (index, view, look) = one.look();
        assert_eq!(look, Look::first());
        let wanted = networks_of(&view, ONE);
        let mut known = ToldNetworks { wanted, known: BTreeMap::new() };
        world.task(2, true);
        let words = one.follow(&mut known, index);
        assert!(matches!(&words[..], [Word::Whole(..)]));
        world.task(3, true);
        assert!(is_woken(&one));
        assert_eq!(hear(&one, &mut known), ["more: +3"], "the second came with all of it");
    }
}
