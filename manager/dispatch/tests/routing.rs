//! Streams that look only when they are woken tell what streams would that look at every change.

#[path = "../../../state/tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use skep_dispatch::endpoints::{self, Answers, NetworkView, networks_of, of_node};
use skep_dispatch::{
    Assignments, Concern, Difference, Look, NodesTasks, Routes, StreamId, StreamKind,
    ToldAssignments, Touched, Watermarks, Whom, Withdrawals,
};
use skep_state::{Action, Event, State, Transaction};
use skep_types::container::{FileTarget, SecretReference};
use skep_types::service::{Endpoint, NetworkAttachmentConfig, PortConfig};
use skep_types::*;
use support::*;

const NODES: u128 = 3;

/// Ids of two objects, a number, and which kind of change.
type Choice = (u128, u128, usize, u8);

fn any_choice() -> impl Strategy<Value = Choice> {
    (0..NODES + 1, 0..NODES, 0..14usize, 0..23u8)
}

fn secret_reference(id: u128) -> SecretReference {
    let target = FileTarget { name: "s".into(), uid: "0".into(), gid: "0".into(), mode: 0o400 };
    SecretReference { secret_id: SecretId::new(id), secret_name: format!("s{id}"), target }
}

/// A service of one of several shapes.
fn shaped(service: &Service, b: u128, shape: usize) -> Service {
    let mut changed = respec(service, |spec| {
        let at = NetworkAttachmentConfig { target: NetworkId::new(b), aliases: vec![] };
        spec.task.networks = if shape.is_multiple_of(2) { vec![at] } else { vec![] };
        let reads = shape.is_multiple_of(3);
        spec.task.container.secrets = if reads { vec![secret_reference(b)] } else { vec![] };
        spec.annotations.name = format!("{}-{}", service.id, shape / 10);
        spec.annotations.labels = match shape {
            5 => BTreeMap::from([(drain::LABEL.to_owned(), "5s".to_owned())]),
            8 => BTreeMap::from([(session::LABEL.to_owned(), "client-address".to_owned())]),
            _ => BTreeMap::new(),
        };
    });
    let published = 8000 + service.id.bits() as u16;
    let port = PortConfig { target_port: 80, published_port: published, ..PortConfig::default() };
    changed.endpoint = (shape > 6).then(|| Endpoint {
        ports: if shape > 9 { vec![port] } else { vec![] },
        ..Endpoint::default()
    });
    changed
}

fn action((a, b, number, kind): Choice, now: &State, gone: &BTreeSet<ServiceId>) -> Action {
    match kind {
        0..=2 => match now.services().get(ServiceId::new(a)) {
            Some(there) => update(shaped(there, b, number)),
            // Ids are minted: no service ever gets one that was another's.
            None if gone.contains(&ServiceId::new(a)) => remove::<Service>(ServiceId::new(a)),
            None => create(shaped(&service(a, "new"), b, number)),
        },
        3 => remove::<Service>(ServiceId::new(a)),
        4..=6 => {
            let version = now.services().get(ServiceId::new(b)).map_or(9, |s| s.spec_version.0);
            let id = a + NODES * (number as u128 % 3);
            let mut made = task(id, ServiceId::new(b), version, number as u64);
            let places = [a, b].into_iter().take(1 + number % 2).map(|network| NetworkAttachment {
                network: NetworkId::new(network),
                addresses: vec![format!("10.{network}.{b}.{id}/16").parse().unwrap()],
                aliases: vec![],
            });
            made.networks = places.collect();
            made.networks.dedup_by_key(|at| at.network);
            create(made)
        }
        7..=11 => {
            let id = TaskId::new(a + NODES * (number as u128 % 3));
            let Some(there) = now.tasks().get(id) else { return remove::<Task>(id) };
            let mut moved = Task::clone(there);
            moved.status.state = TaskState::ALL[number.max(2)];
            moved.node_id = Some(moved.node_id.unwrap_or(NodeId::new(b)));
            if kind == 11 {
                moved.status.state = TaskState::Running;
                moved.desired_state = DesiredState::Shutdown;
            }
            moved.status.message = number.to_string();
            update(moved)
        }
        12 => remove::<Task>(TaskId::new(a + NODES * (number as u128 % 3))),
        13 => {
            let mut made = network(a, &format!("n{a}"), 4096 + a as u32, &format!("10.{a}.0.0/16"));
            made.spec.ingress = a == 0;
            made.spec.attachable = a != 0;
            create(made)
        }
        14 => match now.networks().get(NetworkId::new(a)) {
            Some(there) => {
                let mut changed = Network::clone(there);
                changed.vni = (number > 3).then_some(Vni(5000 + b as u32));
                update(changed)
            }
            None => remove::<Network>(NetworkId::new(a)),
        },
        15 => remove::<Network>(NetworkId::new(a)),
        16 => match now.secrets().get(SecretId::new(a)) {
            Some(_) => remove::<Secret>(SecretId::new(a)),
            None => create(secret(a, &format!("s{a}"))),
        },
        17 | 18 => match now.nodes().get(NodeId::new(a)) {
            Some(there) => {
                let mut changed = Node::clone(there);
                changed.status.addr = format!("192.0.2.{}", number / 3);
                changed.status.state = [NodeState::Ready, NodeState::Down][number % 2];
                changed.manager = (number > 9).then(|| skep_types::node::ManagerStatus {
                    raft_id: a as u64,
                    addr: format!("192.0.2.{number}:2377"),
                });
                update(changed)
            }
            None => create(node(a, NodeRole::Worker)),
        },
        20 => create(Attachment {
            id: AttachmentId::new(100 + number as u128),
            meta: Meta::default(),
            node_id: NodeId::new(b),
            network: NetworkId::new(a),
            container_id: format!("c{number}"),
            names: vec![format!("c{number}")],
            addresses: vec![format!("10.{a}.9.{number}/16").parse().unwrap()],
        }),
        21 => {
            let id = AttachmentId::new(100 + number as u128);
            let names = vec![format!("n{b}")];
            match now.attachments().get(id) {
                Some(there) => update(Attachment { names, ..Attachment::clone(there) }),
                None => remove::<Attachment>(id),
            }
        }
        22 => remove::<Attachment>(AttachmentId::new(100 + number as u128)),
        _ => remove::<Node>(NodeId::new(a)),
    }
}

/// What a stream has told its node, as far as it matters.
enum Told {
    Session(Box<Option<Node>>, Vec<String>),
    Assignments(Assignments, BTreeSet<TaskId>),
    Endpoints(BTreeMap<NetworkId, NetworkView>),
}

fn look(state: &State, kind: StreamKind, node: NodeId) -> Told {
    match kind {
        StreamKind::Session => {
            let mut of_itself = state.nodes().get(node).map(|node| Node::clone(node));
            if let Some(node) = &mut of_itself {
                (node.meta, node.status) =
                    (Meta::default(), skep_types::node::NodeStatus::default());
                node.description = None;
            }
            let managers = state.managers().filter_map(|node| node.manager.as_ref());
            Told::Session(Box::new(of_itself), managers.map(|it| it.addr.clone()).collect())
        }
        StreamKind::Assignments => {
            // Somebody is waited for, so that whatever serves and is to stop is held back.
            let mut marks = Watermarks::default();
            marks.expect(node, Timestamp(0));
            let mut withdrawals = Withdrawals::default();
            let held = withdrawals.observe(state, node, &Whom::All, 1, &marks, Timestamp(0));
            let mut assignments = Assignments::of(state, node);
            assignments.hold_back(state, &held.tasks);
            Told::Assignments(assignments, held.tasks)
        }
        StreamKind::Endpoints => Told::Endpoints(of_node(state, node)),
    }
}

/// Whether a stream that has told `self` has nothing to add.
fn is_up_to_date(told: &Told, now: &Told) -> bool {
    match (told, now) {
        (Told::Session(node, managers), Told::Session(other, others)) => {
            node == other && managers == others
        }
        (Told::Assignments(known, held), Told::Assignments(next, holds)) => {
            known.difference(next).is_empty() && held == holds
        }
        (Told::Endpoints(known), Told::Endpoints(next)) => known == next,
        _ => false,
    }
}

struct Stream {
    kind: StreamKind,
    node: NodeId,
    told: Told,
    /// What it has told, brought up to date by what it was to look at.
    assignments: ToldAssignments,
    withdrawals: Withdrawals,
    networks: BTreeSet<NetworkId>,
    /// Its networks and the index at which it looked, while that is not known to the routes.
    late: Option<(BTreeSet<NetworkId>, u64)>,
}

/// Who answers on a network as one knows it who was told of it once, and then of what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Heard {
    nodes: BTreeSet<IpAddr>,
    endpoints: BTreeMap<TaskId, endpoints::Endpoint>,
    services: BTreeMap<ServiceId, endpoints::Service>,
}

impl Heard {
    fn and(mut self, answers: Answers) -> Self {
        self.nodes.retain(|it| !answers.nodes_gone.contains(it));
        self.nodes.extend(answers.nodes);
        self.endpoints.retain(|id, _| !answers.endpoints_gone.contains(id));
        self.endpoints.extend(answers.endpoints.into_iter().map(|it| (it.task, it)));
        self.services.retain(|id, _| !answers.services_gone.contains(id));
        self.services.extend(answers.services.into_iter().map(|it| (it.id, it)));
        self
    }
}

impl Stream {
    fn new(kind: StreamKind, node: NodeId, told: Told) -> Self {
        let (assignments, withdrawals) = (ToldAssignments::default(), Withdrawals::default());
        Self { kind, node, told, assignments, withdrawals, networks: BTreeSet::new(), late: None }
    }

    /// Brings what was told of assignments up to date, and checks that it is what a look at
    /// everything gives, and that the node was told no more and no less.
    fn renew(&mut self, state: &State, touched: &Whom<TaskId>) {
        let Told::Assignments(expected, held) = &self.told else { return };
        // Somebody is waited for, so that whatever serves and is to stop is held back.
        let mut marks = Watermarks::default();
        marks.expect(self.node, Timestamp(0));
        let now = Timestamp(0);
        let holds = self.withdrawals.observe(state, self.node, touched, 1, &marks, now);
        assert_eq!(&holds.tasks, held, "who is held back");
        let before = self.assignments.has().clone();
        let told = self.assignments.renew(state, self.node, touched, held);
        let has = self.assignments.has();
        assert!(has.difference(expected).is_empty(), "what the node has");
        let whole = before.difference(expected);
        let ids = |it: &Difference| {
            let tasks: Vec<_> = it.tasks.iter().map(|it| it.task.id).collect();
            let secrets: Vec<_> = it.secrets.iter().map(|it| it.id).collect();
            let attachments: Vec<_> = it.attachments.iter().map(|it| it.attachment.id).collect();
            let gone = (it.removed_tasks.clone(), it.removed_attachments.clone());
            (tasks, secrets, attachments, gone, it.removed_secrets.clone())
        };
        assert_eq!(ids(&told), ids(&whole), "what it is told");
    }
}

struct World {
    state: State,
    /// Of every network that ever was; none where it is not allocated.
    heard: BTreeMap<NetworkId, Option<Heard>>,
    gone: BTreeSet<ServiceId>,
    index: u64,
    routes: Routes,
    streams: BTreeMap<StreamId, Stream>,
}

/// A swarm whose managers know attachments.
fn founded() -> State {
    let mut state = State::default();
    apply(&mut state, vec![create(cluster(feature::NEWEST))]).unwrap();
    state
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            state: founded(),
            heard: BTreeMap::new(),
            gone: BTreeSet::new(),
            index: 0,
            routes: Routes::from(0),
            streams: BTreeMap::new(),
        };
        for node in (0..NODES).map(NodeId::new) {
            for kind in [StreamKind::Session, StreamKind::Assignments, StreamKind::Endpoints] {
                world.open(kind, node);
            }
        }
        world
    }

    fn open(&mut self, kind: StreamKind, node: NodeId) {
        let id = self.routes.open(kind, node);
        let told = look(&self.state, kind, node);
        self.streams.insert(id, Stream::new(kind, node, told));
        self.look_again(id, false, Look::first());
    }

    fn apply(&mut self, choices: &[Choice]) -> Vec<Event> {
        self.index += 1;
        let actions = choices.iter().map(|choice| action(*choice, &self.state, &self.gone));
        let actions = actions.collect();
        let now = Timestamp(self.index as i64);
        let applied = self.state.apply(&Transaction { epoch: 1, now, actions });
        let events = applied.unwrap_or_default();
        for event in &events {
            if let Event::Service(delta) = event
                && delta.after.is_none()
            {
                self.gone.extend(delta.before.as_ref().map(|service| service.id));
            }
        }
        events
    }

    fn look_again(&mut self, id: StreamId, late: bool, at: Look) {
        let stream = self.streams.get_mut(&id).unwrap();
        stream.told = look(&self.state, stream.kind, stream.node);
        stream.renew(&self.state, &at.tasks);
        if stream.kind == StreamKind::Endpoints {
            let networks = networks_of(&self.state, stream.node);
            stream.networks.clone_from(&networks);
            match late {
                true => stream.late = Some((networks, self.index)),
                false => {
                    stream.late = None;
                    assert!(!self.routes.follow(id, &networks, self.index));
                }
            }
        }
    }

    /// Takes in what became of networks.
    fn hear(&mut self, concern: &Concern) {
        let state = &self.state;
        let whole = |id| NetworkView::of(state, id).map(|view| Heard::default().and(view.answers));
        for (id, touched) in &concern.networks {
            let heard = self.heard.entry(*id).or_default();
            *heard = match (heard.take(), state.networks().get(*id)) {
                (Some(heard), Some(network)) if !touched.all => {
                    Some(heard.and(Answers::of(state, network, touched)))
                }
                _ => whole(*id),
            };
        }
    }

    /// Routes what happened; `late` streams are in the middle of their look at the next step.
    fn step(&mut self, concern: &Concern, late: bool) {
        let woken = self.routes.advance(self.index, concern);
        // Those that had looked before this step say only now at what.
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            let Some((networks, index)) = self.streams.get_mut(&id).unwrap().late.take() else {
                continue;
            };
            if self.routes.follow(id, &networks, index) {
                self.look_again(id, false, Look::default());
            }
        }
        for (id, at) in woken {
            if !at.moved
                && let Told::Endpoints(_) = &self.streams[&id].told
            {
                let stream = &self.streams[&id];
                assert_eq!(
                    stream.networks,
                    networks_of(&self.state, stream.node),
                    "it has not moved"
                );
            }
            self.look_again(id, late, at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn who_is_not_woken_has_nothing_to_tell(
        steps in prop::collection::vec(
            (prop::collection::vec(prop::collection::vec(any_choice(), 1..3), 1..4), any::<bool>(), 0..20u8),
            1..60,
        ),
    ) {
        let mut world = World::new();
        for (entries, late, chance) in steps {
            let mut events = Vec::new();
            for choices in entries {
                events.extend(world.apply(&choices));
            }
            let concern = Concern::of(&events, &world.state);
            world.hear(&concern);
            world.step(&concern, late);
            if chance == 1 {
                let gone = *world.streams.keys().next().unwrap();
                let stream = world.streams.remove(&gone).unwrap();
                world.routes.close(gone);
                world.open(stream.kind, stream.node);
            }
            for (id, heard) in &world.heard {
                let whole = NetworkView::of(&world.state, *id);
                let whole = whole.map(|view| Heard::default().and(view.answers));
                prop_assert_eq!(heard, &whole, "by {:#?}", events);
            }
            for stream in world.streams.values().filter(|stream| stream.late.is_none()) {
                let now = look(&world.state, stream.kind, stream.node);
                prop_assert!(
                    is_up_to_date(&stream.told, &now),
                    "{:?} of node {} was not woken by {events:#?}", stream.kind, stream.node,
                );
            }
        }
    }
}

/// Whom a change of one object concerns, in a swarm where one task serves on a network.
fn concern_of(change: impl FnOnce(&State) -> Action) -> Concern {
    let mut state = State::default();
    let mut made = network(1, "front", 4097, "10.1.0.0/16");
    made.spec.ingress = false;
    let mut serving = task(1, ServiceId::new(1), 1, 1);
    serving.node_id = Some(NodeId::new(1));
    serving.status.state = TaskState::Running;
    serving.networks = vec![NetworkAttachment {
        network: NetworkId::new(1),
        addresses: vec!["10.1.0.2/16".parse().unwrap()],
        aliases: vec![],
    }];
    let objects = vec![
        create(made),
        create(node(1, NodeRole::Worker)),
        create(node(2, NodeRole::Manager)),
        create(secret(1, "unread")),
        create(attached(&service(1, "web"), NetworkId::new(1))),
        create(serving),
    ];
    apply(&mut state, objects).unwrap();
    let actions = vec![change(&state)];
    let events = state.apply(&Transaction { epoch: 1, now: Timestamp(9), actions }).unwrap();
    Concern::of(&events, &state)
}

/// The one task, which is on the first node.
fn of_node_1() -> NodesTasks {
    [(NodeId::new(1), [TaskId::new(1)].into())].into()
}

fn a_task(state: &State) -> Task {
    Task::clone(state.tasks().get(TaskId::new(1)).unwrap())
}

#[test]
fn what_a_node_reports_of_its_tasks_wakes_nobody() {
    let concern = concern_of(|state| {
        let mut task = a_task(state);
        task.status.message = "healthy".to_owned();
        update(task)
    });
    assert_eq!(concern, Concern::default());
}

#[test]
fn a_task_that_is_to_stop_concerns_its_node_and_its_networks() {
    let concern = concern_of(|state| {
        let mut task = a_task(state);
        task.desired_state = DesiredState::Shutdown;
        update(task)
    });
    let touched = Touched { tasks: [TaskId::new(1)].into(), ..Touched::default() };
    let expected = Concern {
        assignments: of_node_1(),
        networks: [(NetworkId::new(1), touched)].into(),
        places: skep_dispatch::Whom::Some([NodeId::new(1)].into()),
        ..Concern::default()
    };
    assert_eq!(concern, expected);
}

#[test]
fn a_payload_nobody_reads_and_an_updates_progress_wake_nobody() {
    assert_eq!(concern_of(|_| remove::<Secret>(SecretId::new(1))), Concern::default());
    let concern = concern_of(|state| {
        let service = state.services().get(ServiceId::new(1)).unwrap();
        update(respec(service, |spec| spec.task.force_update += 1))
    });
    assert_eq!(concern, Concern::default());
}

#[test]
fn a_node_says_of_itself_what_concerns_itself_alone_and_a_manager_all() {
    let concern = concern_of(|state| {
        let mut node = Node::clone(state.nodes().get(NodeId::new(1)).unwrap());
        node.spec.availability = skep_types::Availability::Drain;
        update(node)
    });
    let only = skep_dispatch::Whom::Some([NodeId::new(1)].into());
    assert_eq!(concern, Concern { sessions: only, ..Concern::default() });
    let concern = concern_of(|state| {
        let mut node = Node::clone(state.nodes().get(NodeId::new(2)).unwrap());
        let addr = "192.0.2.1:2377".to_owned();
        node.manager = Some(skep_types::node::ManagerStatus { raft_id: 2, addr });
        update(Arc::unwrap_or_clone(Arc::new(node)))
    });
    assert_eq!(concern.sessions, skep_dispatch::Whom::All);
    assert_eq!(concern.assignments, NodesTasks::default());
}

#[test]
fn a_payload_that_only_old_tasks_read_concerns_their_nodes_when_it_goes() {
    let mut state = State::default();
    let reading = respec(&service(1, "web"), |spec| {
        spec.task.container.secrets = vec![secret_reference(1)];
    });
    let mut old = task(1, ServiceId::new(1), 1, 1);
    old.node_id = Some(NodeId::new(1));
    old.status.state = TaskState::Running;
    apply(&mut state, vec![create(secret(1, "s1")), create(reading), create(old)]).unwrap();
    let standing = Service::clone(state.services().get(ServiceId::new(1)).unwrap());
    let changed = respec(&standing, |spec| spec.task.container.secrets.clear());
    apply(&mut state, vec![update(changed)]).unwrap();
    let actions = vec![remove::<Secret>(SecretId::new(1))];
    let events = state.apply(&Transaction { epoch: 1, now: Timestamp(9), actions }).unwrap();
    let expected = Concern { assignments: of_node_1(), ..Concern::default() };
    assert_eq!(Concern::of(&events, &state), expected);
}
