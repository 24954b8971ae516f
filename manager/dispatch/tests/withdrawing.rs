//! When a node hears that one of its tasks is to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_dispatch::defaults::WITHDRAWAL_MAX;
use skep_dispatch::{Assignments, SessionId, Watermarks, Whom, Withdrawals};
use skep_state::{Action, Change, State, Transaction};
use skep_types::task::Slot;
use skep_types::*;

const HERE: NodeId = NodeId::new(1);
const BALANCER: NodeId = NodeId::new(2);
const TASK: TaskId = TaskId::new(1);
const WEB: ServiceId = ServiceId::new(1);
const FRONT: NetworkId = NetworkId::new(1);
const SESSION: SessionId = SessionId(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp(0).saturating_add(Duration::from_secs(seconds))
}

struct World {
    state: State,
    marks: Watermarks,
    withdrawals: Withdrawals,
    index: u64,
}

impl World {
    /// A task that runs here on a network, another node that balances to it, both as the log had
    /// it at index 1.
    fn new(labels: &[(&str, &str)]) -> Self {
        let mut world = Self {
            state: State::default(),
            marks: Watermarks::default(),
            withdrawals: Withdrawals::default(),
            index: 0,
        };
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let annotations = Annotations { name: "web".to_owned(), labels: labels.collect() };
        world.act(Change::Create(Arc::new(Service::new(
            WEB,
            Arc::new(ServiceSpec::new(annotations, ServiceMode::Replicated { replicas: 1 })),
        ))));
        let address = "10.0.0.2/24".parse().unwrap();
        world.act(Change::Create(Arc::new(Task {
            id: TASK,
            meta: Meta::default(),
            service_id: WEB,
            slot: Slot::Replica(1),
            spec_version: Revision(1),
            node_id: Some(HERE),
            status: TaskStatus { state: TaskState::Running, ..TaskStatus::default() },
            desired_state: DesiredState::Running,
            networks: vec![NetworkAttachment {
                network: FRONT,
                addresses: vec![address],
                aliases: vec![],
            }],
            job_iteration: None,
            generic: vec![],
        })));
        for node in [HERE, BALANCER] {
            world.marks.follow(node, SESSION);
            world.marks.told(node, SESSION, [FRONT].into(), (1, FRONT), world.index);
            world.marks.confirmed(node, SESSION, (1, FRONT));
        }
        world
    }

    fn act(&mut self, action: impl Into<Action>) {
        let actions = vec![action.into()];
        self.state.apply(&Transaction { epoch: 1, now: Timestamp(1), actions }).unwrap();
        self.index += 1;
    }

    fn desire(&mut self, desired: DesiredState) {
        let mut task = Task::clone(self.state.tasks().get(TASK).unwrap());
        task.desired_state = desired;
        self.act(Change::Update(Arc::new(task)));
    }

    fn told_and_confirmed(&mut self, node: NodeId) {
        self.marks.told(node, SESSION, [FRONT].into(), (2, FRONT), self.index);
        self.marks.confirmed(node, SESSION, (2, FRONT));
    }

    /// What the node is told now that the task is to be.
    fn told(&mut self, now: Timestamp) -> (DesiredState, Option<Timestamp>) {
        let held =
            self.withdrawals.observe(&self.state, HERE, &Whom::All, self.index, &self.marks, now);
        let mut assignments = Assignments::of(&self.state, HERE);
        assignments.hold_back(&self.state, &held.tasks);
        (assignments.tasks[&TASK].task.desired_state, held.look_at)
    }
}

#[test]
fn a_task_goes_on_until_every_balancer_has_confirmed() {
    for desired in [DesiredState::Shutdown, DesiredState::Remove] {
        let mut world = World::new(&[]);
        assert_eq!(world.told(at(0)), (DesiredState::Running, None));
        world.desire(desired);
        let bound = Some(Timestamp(0).saturating_add(WITHDRAWAL_MAX));
        assert_eq!(world.told(at(0)), (DesiredState::Running, bound));
        world.told_and_confirmed(HERE);
        assert_eq!(world.told(at(1)), (DesiredState::Running, bound));
        world.told_and_confirmed(BALANCER);
        assert_eq!(world.told(at(1)), (desired, None));
    }
}

#[test]
fn a_balancer_that_does_not_confirm_is_waited_for_within_a_bound() {
    let mut world = World::new(&[]);
    world.desire(DesiredState::Shutdown);
    let over = Timestamp(0).saturating_add(WITHDRAWAL_MAX);
    assert_eq!(world.told(at(0)), (DesiredState::Running, Some(over)));
    world.told_and_confirmed(HERE);
    let unconfirmed = |world: &mut World| {
        let held = world.withdrawals.observe(
            &world.state,
            HERE,
            &Whom::default(),
            world.index,
            &world.marks,
            over,
        );
        held.unconfirmed
    };
    // It is said once who is to blame.
    assert_eq!(unconfirmed(&mut world), BTreeMap::from([(TASK, vec![BALANCER])]));
    assert_eq!(unconfirmed(&mut world), BTreeMap::new());
    assert_eq!(world.told(over), (DesiredState::Shutdown, None));
    // Whatever else happens then, it is not held back again.
    world.act(Change::<Service>::Update({
        let mut service = Service::clone(world.state.services().get(WEB).unwrap());
        let labels = BTreeMap::from([(drain::LABEL.to_owned(), "10s".to_owned())]);
        Arc::make_mut(&mut service.spec).annotations.labels = labels;
        Arc::new(service)
    }));
    assert_eq!(world.told(over), (DesiredState::Shutdown, None));
}

#[test]
fn a_balancer_that_goes_away_does_not_count() {
    let mut world = World::new(&[]);
    world.desire(DesiredState::Shutdown);
    world.told_and_confirmed(HERE);
    assert_eq!(world.told(at(0)).0, DesiredState::Running);
    world.marks.forget(BALANCER);
    assert_eq!(world.told(at(0)), (DesiredState::Shutdown, None));
}

#[test]
fn a_balancer_that_registers_anew_counts_as_it_did_before() {
    let mut world = World::new(&[]);
    world.desire(DesiredState::Shutdown);
    world.told_and_confirmed(HERE);
    // Its kernel balances on meanwhile, and it may take its time to ask.
    world.marks.expect(BALANCER, at(0));
    assert_eq!(world.told(at(9)).0, DesiredState::Running);
    world.marks.follow(BALANCER, SESSION);
    world.marks.told(BALANCER, SESSION, [FRONT].into(), (1, FRONT), world.index);
    assert_eq!(world.told(at(20)).0, DesiredState::Running);
    world.marks.confirmed(BALANCER, SESSION, (1, FRONT));
    assert_eq!(world.told(at(20)), (DesiredState::Shutdown, None));
}

#[test]
fn the_drain_time_begins_when_the_last_balancer_has_confirmed() {
    let mut world = World::new(&[(drain::LABEL, "7s")]);
    world.desire(DesiredState::Shutdown);
    assert_eq!(world.told(at(0)).0, DesiredState::Running);
    world.told_and_confirmed(HERE);
    world.told_and_confirmed(BALANCER);
    assert_eq!(world.told(at(2)), (DesiredState::Running, Some(at(9))));
    assert_eq!(world.told(at(8)), (DesiredState::Running, Some(at(9))));
    assert_eq!(world.told(at(9)), (DesiredState::Shutdown, None));
}

#[test]
fn what_does_not_serve_or_nobody_asks_for_is_told_at_once() {
    // Its service is gone.
    let mut world = World::new(&[]);
    world.desire(DesiredState::Remove);
    world.act(Change::<Service>::Remove(WEB, None));
    assert_eq!(world.told(at(0)), (DesiredState::Remove, None));
    // It has ended by itself.
    let mut world = World::new(&[]);
    world.desire(DesiredState::Shutdown);
    let mut task = Task::clone(world.state.tasks().get(TASK).unwrap());
    task.status.state = TaskState::Failed;
    world.act(Change::Update(Arc::new(task)));
    assert_eq!(world.told(at(0)), (DesiredState::Shutdown, None));
}
