//! Rebalancing, held to a search through all spreads, and carried out by the scheduler itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use skep_scheduler::{Move, Scheduler, rebalance};
use skep_state::{Action, Change, State, Transaction};
use skep_types::node::{NodeDescription, NodeStatus};
use skep_types::service::{Moving, UpdateState, UpdateStatus};
use skep_types::task::Slot;
use skep_types::*;

const NOW: Timestamp = Timestamp(1);
const WEB: ServiceId = ServiceId::new(1);

/// A node: its zone, how many tasks it has, whether it is active, and how many more it has room for.
#[derive(Debug, Clone)]
struct Site {
    zone: u8,
    has: u64,
    active: bool,
    room: u64,
}

#[derive(Debug, Clone)]
struct World {
    sites: Vec<Site>,
    spread: bool,
    /// Zero: any number.
    max_replicas: u64,
    /// Tasks reserve nothing, and each active node has room for all.
    endless: bool,
}

fn worlds() -> impl Strategy<Value = World> {
    let site = (0..3u8, 0..4u64, prop::bool::weighted(0.85), 0..5u64)
        .prop_map(|(zone, has, active, room)| Site { zone, has, active, room });
    let max_replicas = prop_oneof![3 => Just(0u64), 1 => 1..5u64];
    (prop::collection::vec(site, 1..6), any::<bool>(), max_replicas, any::<bool>()).prop_map(
        |(sites, spread, max_replicas, endless)| World { sites, spread, max_replicas, endless },
    )
}

fn act(state: &mut State, action: impl Into<Action>) {
    let actions = vec![action.into()];
    state.apply(&Transaction { epoch: 1, now: NOW, actions }).unwrap();
}

fn node_id(site: usize) -> NodeId {
    NodeId::new(site as u128 + 1)
}

impl World {
    /// Tasks reserve two bytes each, and a node has them for those that it has and its room, and one.
    fn state(&self) -> State {
        let mut state = State::default();
        for (at, site) in self.sites.iter().enumerate() {
            let mut node = Node {
                description: Some(NodeDescription::default()),
                status: NodeStatus { state: NodeState::Ready, ..NodeStatus::default() },
                ..Node::new(node_id(at), NodeSpec::default())
            };
            node.description.as_mut().unwrap().resources.memory_bytes =
                2 * (site.has + site.room) as i64 + 1;
            let labels = &mut node.spec.annotations.labels;
            labels.insert("zone".to_owned(), site.zone.to_string());
            if !site.active {
                node.spec.availability = Availability::Pause;
            }
            act(&mut state, Change::Create(Arc::new(node)));
        }
        let total = self.sites.iter().map(|site| site.has).sum();
        let mut spec = ServiceSpec::new(
            Annotations { name: "web".to_owned(), ..Annotations::default() },
            ServiceMode::Replicated { replicas: total },
        );
        spec.task.resources.reservations.memory_bytes = if self.endless { 0 } else { 2 };
        spec.task.placement.max_replicas_per_node = self.max_replicas;
        if self.spread {
            spec.task.placement.spread = vec!["node.labels.zone".to_owned()];
        }
        act(&mut state, Change::Create(Arc::new(Service::new(WEB, Arc::new(spec)))));
        let places = self.sites.iter().enumerate();
        let places = places.flat_map(|(at, site)| (0..site.has).map(move |_| node_id(at)));
        for (slot, node) in (1..).zip(places) {
            let mut task = task(slot, slot);
            task.node_id = Some(node);
            task.status.state = TaskState::Running;
            act(&mut state, Change::Create(Arc::new(task)));
        }
        state
    }

    /// What each node must and may have.
    fn bounds(&self) -> Vec<(u64, u64)> {
        let total: u64 = self.sites.iter().map(|site| site.has).sum();
        let room = |site: &Site| if self.endless { total } else { site.room };
        let bound = |site: &Site| match (site.active, self.max_replicas) {
            (false, _) => (site.has, site.has),
            (true, 0) => (0, site.has + room(site)),
            (true, max) => (0, (site.has + room(site)).min(max)),
        };
        let bounds: Vec<_> = self.sites.iter().map(bound).collect();
        if bounds.iter().map(|(_, most)| most).sum::<u64>() >= total {
            return bounds;
        }
        let widened = bounds.iter().zip(&self.sites);
        widened.map(|((least, most), site)| (*least, (*most).max(site.has))).collect()
    }

    /// Whether nobody who could give one has two more than somebody who could take it.
    fn is_even(&self, counts: &[u64]) -> bool {
        let bounds = self.bounds();
        let of_group = |group: &[usize]| {
            let sum = |of: &dyn Fn(usize) -> u64| group.iter().map(|site| of(*site)).sum::<u64>();
            (sum(&|at| counts[at]), sum(&|at| bounds[at].0), sum(&|at| bounds[at].1))
        };
        let even = |groups: &[Vec<usize>]| {
            groups.iter().all(|giver| {
                groups.iter().all(|taker| {
                    let (has, least, _) = of_group(giver);
                    let (had, _, most) = of_group(taker);
                    has <= least || had >= most || has <= had + 1
                })
            })
        };
        let mut zones: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (at, site) in self.sites.iter().enumerate() {
            zones.entry(if self.spread { site.zone } else { 0 }).or_default().push(at);
        }
        let zones: Vec<Vec<usize>> = zones.into_values().collect();
        even(&zones)
            && zones.iter().all(|zone| {
                let sites: Vec<Vec<usize>> = zone.iter().map(|site| vec![*site]).collect();
                even(&sites)
            })
    }

    /// The fewest moves that lead to any even spread, by trying all.
    fn fewest(&self) -> u64 {
        fn search(
            world: &World,
            bounds: &[(u64, u64)],
            counts: &mut Vec<u64>,
            left: u64,
        ) -> Option<u64> {
            let Some((least, most)) = bounds.get(counts.len()).copied() else {
                let gone = world.sites.iter().zip(&*counts);
                let moves = gone.map(|(site, count)| site.has.saturating_sub(*count)).sum();
                return (left == 0 && world.is_even(counts)).then_some(moves);
            };
            let mut best: Option<u64> = None;
            for count in least..=most.min(left) {
                counts.push(count);
                let found = search(world, bounds, counts, left - count);
                counts.pop();
                best = best.into_iter().chain(found).min();
            }
            best
        }
        let total = self.sites.iter().map(|site| site.has).sum();
        search(self, &self.bounds(), &mut Vec::new(), total).expect("there is an even spread")
    }
}

fn task(id: u64, slot: u64) -> Task {
    Task {
        id: TaskId::new(id.into()),
        meta: Meta::default(),
        service_id: WEB,
        slot: Slot::Replica(slot),
        spec_version: Revision(1),
        node_id: None,
        status: TaskStatus { state: TaskState::Pending, ..TaskStatus::default() },
        desired_state: DesiredState::Running,
        networks: vec![],
        job_iteration: None,
        generic: vec![],
    }
}

fn planned(state: &State) -> Vec<Move> {
    rebalance(state, state.services().get(WEB).unwrap(), NOW)
}

fn counts(state: &State, sites: usize) -> Vec<u64> {
    let on = |node| {
        let tasks = state.tasks_on_node(node);
        tasks.filter(|task| task.desired_state == DesiredState::Running).count() as u64
    };
    (0..sites).map(|site| on(node_id(site))).collect()
}

/// Whether an old task stops before its successor is placed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    StopFirst,
    StartFirst,
}

fn moving(state: &State, it: &Move) -> Moving {
    let Slot::Replica(slot) = state.tasks().get(it.task).unwrap().slot else { unreachable!() };
    Moving { slot, to: it.to }
}

/// Moves the tasks so many at a time, each to where the scheduler puts its successor.
fn carry_out(state: &mut State, moves: &[Move], parallelism: usize, order: Order) {
    let mut service = Service::clone(state.services().get(WEB).unwrap());
    service.update_status = Some(UpdateStatus {
        state: UpdateState::Updating,
        started_at: NOW,
        completed_at: None,
        message: String::new(),
        moving: moves.iter().map(|it| (it.task, moving(state, it))).collect(),
    });
    act(state, Change::Update(Arc::new(service)));
    for batch in moves.chunks(parallelism) {
        let slots: Vec<Task> =
            batch.iter().map(|it| Task::clone(state.tasks().get(it.task).unwrap())).collect();
        let stop = |state: &mut State| {
            for old in &slots {
                let mut old = old.clone();
                old.meta = state.tasks().get(old.id).unwrap().meta;
                old.desired_state = DesiredState::Shutdown;
                old.status.state = TaskState::Shutdown;
                act(state, Change::Update(Arc::new(old)));
            }
        };
        if order == Order::StopFirst {
            stop(state);
        }
        for old in &slots {
            let Slot::Replica(slot) = old.slot else { unreachable!() };
            act(state, Change::Create(Arc::new(task(1000 + slot, slot))));
        }
        for decision in Scheduler::of(state).schedule(NOW).decisions {
            let mut placed = Task::clone(state.tasks().get(decision.task).unwrap());
            placed.node_id = Some(decision.node.expect("there is room"));
            placed.status.state = TaskState::Running;
            act(state, Change::Update(Arc::new(placed)));
        }
        if order == Order::StartFirst {
            stop(state);
        }
    }
    let mut service = Service::clone(state.services().get(WEB).unwrap());
    service.update_status = None;
    act(state, Change::Update(Arc::new(service)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_task_moves_that_need_not(world in worlds()) {
        let state = world.state();
        let moves = planned(&state);
        prop_assert_eq!(moves.len() as u64, world.fewest());
        let mut planned = counts(&state, world.sites.len());
        for Move { from, to, task } in &moves {
            prop_assert_eq!(state.tasks().get(*task).unwrap().node_id, Some(*from));
            planned[from.bits() as usize - 1] -= 1;
            planned[to.bits() as usize - 1] += 1;
        }
        prop_assert!(world.is_even(&planned), "planned {planned:?}");
        let mut bounds = planned.iter().zip(world.bounds());
        let within = bounds.all(|(count, (least, most))| (least..=most).contains(count));
        prop_assert!(within, "planned {planned:?} within {:?}", world.bounds());
    }

    #[test]
    fn the_scheduler_carries_it_out_and_nothing_is_left_to_move(
        world in worlds(),
        parallelism in 1..4usize,
        starts_first in any::<bool>(),
    ) {
        // A successor that starts first needs room beside what is to go.
        let order = if starts_first { Order::StartFirst } else { Order::StopFirst };
        let mut state = world.state();
        let moves = planned(&state);
        carry_out(&mut state, &moves, parallelism, order);
        let after = counts(&state, world.sites.len());
        prop_assert!(world.is_even(&after), "came to {after:?}");
        prop_assert_eq!(planned(&state), vec![]);
    }
}

#[test]
fn what_stops_or_waits_is_not_counted_and_does_not_move() {
    let site = |has| Site { zone: 0, has, active: true, room: 9 };
    let world =
        World { sites: vec![site(4), site(0)], spread: false, max_replicas: 0, endless: true };
    let mut state = world.state();
    assert_eq!(planned(&state).len(), 2);
    for id in [1, 2, 3] {
        let mut stops = Task::clone(state.tasks().get(TaskId::new(id)).unwrap());
        stops.desired_state = DesiredState::Shutdown;
        act(&mut state, Change::Update(Arc::new(stops)));
    }
    // Nor one that failed, or has a node in view and is not assigned.
    for (id, state_of) in [(11, TaskState::Failed), (12, TaskState::Pending)] {
        let mut other = task(id, id);
        other.node_id = Some(node_id(0));
        other.status.state = state_of;
        act(&mut state, Change::Create(Arc::new(other)));
    }
    assert_eq!(planned(&state), vec![]);
}

/// Tasks of another service with the same needs run on a node.
fn occupy(state: &mut State, node: NodeId, tasks: std::ops::Range<u64>) {
    let id = ServiceId::new(2);
    if state.services().get(id).is_none() {
        let mut other = Service::clone(state.services().get(WEB).unwrap());
        other.id = id;
        Arc::make_mut(&mut other.spec).annotations.name = "other".to_owned();
        act(state, Change::Create(Arc::new(other)));
    }
    for number in tasks {
        let mut busy = task(7000 + number, number);
        (busy.service_id, busy.node_id) = (id, Some(node));
        busy.status.state = TaskState::Running;
        act(state, Change::Create(Arc::new(busy)));
    }
}

#[test]
fn a_full_node_is_given_nothing_though_it_has_the_fewest_tasks_in_all() {
    let site = |has, room| Site { zone: 0, has, active: true, room };
    let sites = vec![site(2, 0), site(0, 9), site(0, 9), site(8, 0)];
    let world = World { sites, spread: false, max_replicas: 0, endless: false };
    let mut state = world.state();
    occupy(&mut state, node_id(1), 1..4);
    occupy(&mut state, node_id(2), 4..7);
    let mut to: Vec<NodeId> = planned(&state).iter().map(|it| it.to).collect();
    to.sort_unstable();
    assert_eq!(to, [1, 1, 1, 2, 2].map(node_id));
}

#[test]
fn of_nodes_that_are_as_good_the_one_with_fewer_tasks_in_all_is_chosen() {
    let site = |has| Site { zone: 0, has, active: true, room: 9 };
    let sites = vec![site(2), site(0), site(0)];
    let world = World { sites, spread: false, max_replicas: 0, endless: true };
    let mut state = world.state();
    let to = |state: &State| planned(state).iter().map(|it| it.to).collect::<Vec<_>>();
    assert_eq!(to(&state), [node_id(1)]);
    occupy(&mut state, node_id(1), 1..2);
    assert_eq!(to(&state), [node_id(2)]);
}

#[test]
fn what_does_not_run_yet_leaves_first_and_then_the_youngest() {
    let site = |has| Site { zone: 0, has, active: true, room: 9 };
    let sites = vec![site(0), site(0)];
    let world = World { sites, spread: false, max_replicas: 0, endless: true };
    let mut state = world.state();
    for (id, state_of) in [
        (1, TaskState::Running),
        (2, TaskState::Preparing),
        (3, TaskState::Running),
        (4, TaskState::Running),
    ] {
        let mut made = task(id, id);
        made.node_id = Some(node_id(0));
        made.status.state = state_of;
        act(&mut state, Change::Create(Arc::new(made)));
    }
    let moved: Vec<u128> = planned(&state).iter().map(|it| it.task.bits()).collect();
    assert_eq!(moved, [2, 4]);
}
