//! What of a task may change, how many a slot has room for, and what is counted.

mod support;

use skep_state::State;
use skep_types::resources::GenericResource;
use skep_types::task::Slot;
use skep_types::*;
use support::*;

const WEB: ServiceId = ServiceId::new(1);

/// What of a task is changed, and how.
type Case = (&'static str, fn(&mut Task));

/// A service of two specs, and a task of the first on a node.
fn state() -> State {
    let mut state = State::default();
    apply(&mut state, vec![create(service(1, "web")), create(service(2, "api"))]).unwrap();
    apply(&mut state, vec![create(node(7, NodeRole::Worker)), create(task(1, WEB, 1, 1))]).unwrap();
    let web = Service::clone(state.services().get(WEB).unwrap());
    apply(&mut state, vec![update(publishing(&web, 80))]).unwrap();
    state
}

fn changed(state: &State, id: u128, change: impl FnOnce(&mut Task)) -> skep_state::Action {
    let mut task = Task::clone(state.tasks().get(TaskId::new(id)).unwrap());
    change(&mut task);
    update(task)
}

#[test]
fn what_a_task_is_made_from_and_where_it_is_stays() {
    let mut state = state();
    let placed = changed(&state, 1, |task| task.node_id = Some(NodeId::new(7)));
    apply(&mut state, vec![placed]).unwrap();
    let changes: [Case; 6] = [
        ("service", |task| task.service_id = ServiceId::new(2)),
        ("run", |task| task.job_iteration = Some(1)),
        ("slot", |task| task.slot = Slot::Replica(2)),
        ("spec version", |task| task.spec_version = Revision(2)),
        ("node", |task| task.node_id = Some(NodeId::new(8))),
        ("node", |task| task.node_id = None),
    ];
    for (what, change) in changes {
        let other = changed(&state, 1, change);
        let error = apply(&mut state, vec![other]).unwrap_err();
        assert_eq!(error, format!("task {} cannot change its {what}", TaskId::new(1)));
    }
}

#[test]
fn what_is_asked_of_a_task_only_grows() {
    let mut state = state();
    let told = changed(&state, 1, |task| task.desired_state = DesiredState::Shutdown);
    apply(&mut state, vec![told]).unwrap();
    let back = changed(&state, 1, |task| task.desired_state = DesiredState::Running);
    assert_eq!(
        apply(&mut state, vec![back]).unwrap_err(),
        format!("task {} cannot go from shutdown back to running", TaskId::new(1))
    );
    let on = changed(&state, 1, |task| task.desired_state = DesiredState::Remove);
    apply(&mut state, vec![on]).unwrap();
}

#[test]
fn only_live_tasks_fill_a_slot() {
    let with = |id, state, desired| {
        let mut task = task(id, WEB, 2, 1);
        (task.status.state, task.desired_state) = (state, desired);
        task
    };
    let live = |id| with(id, TaskState::Running, DesiredState::Running);
    let mut state = state();
    apply(&mut state, vec![create(live(2))]).unwrap();
    let told = with(3, TaskState::Running, DesiredState::Shutdown);
    let ended = with(4, TaskState::Failed, DesiredState::Running);
    // What does not count needs no room.
    apply(&mut state, vec![create(told), create(ended)]).unwrap();
    let error = apply(&mut state, vec![create(live(5))]).unwrap_err();
    assert_eq!(error, format!("slot of service {WEB} has 2 live tasks already"));
    let stops = changed(&state, 2, |task| task.desired_state = DesiredState::Shutdown);
    apply(&mut state, vec![stops, create(live(5))]).unwrap();
    let ends = changed(&state, 1, |task| task.status.state = TaskState::Failed);
    apply(&mut state, vec![ends, create(live(6))]).unwrap();
}

#[test]
fn a_task_that_waits_for_a_node_may_still_be_given_other_resources() {
    let mut state = state();
    let gpu =
        |value: &str| GenericResource::Named { kind: "gpu".to_owned(), value: value.to_owned() };
    // Without a node nothing is claimed of one.
    for value in ["A", "B"] {
        let given = changed(&state, 1, |task| task.generic = vec![gpu(value)]);
        apply(&mut state, vec![given]).unwrap();
    }
    let mut other = task(2, WEB, 2, 2);
    (other.node_id, other.generic) = (Some(NodeId::new(7)), vec![gpu("B")]);
    apply(&mut state, vec![create(other)]).unwrap();
    // With one, but nothing of it yet, it may have what is free.
    let mut third = task(3, WEB, 2, 3);
    third.node_id = Some(NodeId::new(7));
    apply(&mut state, vec![create(third)]).unwrap();
    let given = |value| changed(&state, 3, |task| task.generic = vec![gpu(value)]);
    let (taken, free) = (given("B"), given("A"));
    let error = apply(&mut state, vec![taken]).unwrap_err();
    let owner = TaskId::new(2);
    assert_eq!(error, format!("generic resource gpu=B is already in use by task {owner}"));
    apply(&mut state, vec![free]).unwrap();
}

#[test]
fn tasks_are_found_by_slot_and_by_node() {
    let mut state = state();
    let ids = |tasks: &mut dyn Iterator<Item = &std::sync::Arc<Task>>| -> Vec<u128> {
        tasks.map(|task| task.id.bits()).collect()
    };
    let mut global = task(2, WEB, 2, 0);
    global.slot = Slot::Node(NodeId::new(u128::MAX));
    apply(&mut state, vec![create(global), create(task(3, WEB, 2, 0))]).unwrap();
    apply(&mut state, vec![create(task(4, ServiceId::new(2), 1, 1))]).unwrap();
    assert_eq!(ids(&mut state.tasks_of_service(WEB)), [3, 1, 2]);
    assert_eq!(ids(&mut state.tasks_in_slot(WEB, Slot::Replica(1))), [1]);
    assert_eq!(ids(&mut state.tasks_on_node(NodeId::new(7))), [0; 0]);
    let placed = changed(&state, 1, |task| task.node_id = Some(NodeId::new(7)));
    apply(&mut state, vec![placed]).unwrap();
    assert_eq!(ids(&mut state.tasks_on_node(NodeId::new(7))), [1]);
    apply(&mut state, vec![remove::<Task>(TaskId::new(1))]).unwrap();
    assert_eq!(ids(&mut state.tasks_on_node(NodeId::new(7))), [0; 0]);
    assert_eq!(ids(&mut state.tasks_of_service(WEB)), [3, 2]);
}

#[test]
fn what_runs_is_counted_where_nodes_are_not_down() {
    let mut state = state();
    let counts = |state: &State, iteration| {
        let tally = state.tally(WEB, iteration);
        [tally.running, tally.completed, tally.wanted, tally.unfinished]
    };
    assert_eq!(counts(&state, None), [0, 0, 1, 1]);
    let runs = changed(&state, 1, |task| {
        task.node_id = Some(NodeId::new(7));
        task.status.state = TaskState::Running;
    });
    apply(&mut state, vec![runs]).unwrap();
    assert_eq!(counts(&state, None), [1, 0, 1, 1]);
    // Of another run of a job, and on a node that is not there.
    let mut other = task(2, WEB, 2, 2);
    (other.job_iteration, other.node_id) = (Some(3), Some(NodeId::new(9)));
    other.status.state = TaskState::Running;
    apply(&mut state, vec![create(other)]).unwrap();
    assert_eq!((counts(&state, None), counts(&state, Some(3))), ([1, 0, 1, 1], [0, 0, 1, 1]));
    let set = |state: &State, to| {
        let mut node = Node::clone(state.nodes().get(NodeId::new(7)).unwrap());
        node.status.state = to;
        update(node)
    };
    for (to, running) in [
        (NodeState::Down, 0),
        (NodeState::Disconnected, 1),
        (NodeState::Ready, 1),
        (NodeState::Down, 0),
        (NodeState::Ready, 1),
    ] {
        let change = set(&state, to);
        apply(&mut state, vec![change]).unwrap();
        assert_eq!(counts(&state, None), [running, 0, 1, 1], "{to:?}");
    }
    apply(&mut state, vec![remove::<Node>(NodeId::new(7))]).unwrap();
    assert_eq!(counts(&state, None), [0, 0, 1, 1]);
    apply(&mut state, vec![create(node(7, NodeRole::Worker)), create(node(9, NodeRole::Worker))])
        .unwrap();
    assert_eq!((counts(&state, None), counts(&state, Some(3))), ([1, 0, 1, 1], [1, 0, 1, 1]));
    let ends = changed(&state, 1, |task| {
        task.status.state = TaskState::Complete;
        task.desired_state = DesiredState::Shutdown;
    });
    apply(&mut state, vec![ends, remove::<Task>(TaskId::new(2))]).unwrap();
    assert_eq!((counts(&state, None), counts(&state, Some(3))), ([0, 1, 0, 0], [0; 4]));
}

#[test]
fn a_spec_goes_with_the_last_of_its_tasks_unless_its_service_has_it() {
    let mut state = state();
    let versions = |state: &State| -> Vec<u64> {
        state.specs().filter(|(id, ..)| *id == WEB).map(|(_, version, _)| version.0).collect()
    };
    apply(&mut state, vec![create(task(2, WEB, 1, 2)), create(task(3, WEB, 2, 3))]).unwrap();
    for port in [81, 82] {
        let web = Service::clone(state.services().get(WEB).unwrap());
        apply(&mut state, vec![update(publishing(&web, port))]).unwrap();
    }
    assert_eq!(versions(&state), [1, 2, 3, 4]);
    apply(&mut state, vec![remove::<Task>(TaskId::new(1))]).unwrap();
    assert_eq!(versions(&state), [1, 2, 3, 4], "another one was made from it");
    apply(&mut state, vec![remove::<Task>(TaskId::new(2)), create(task(4, WEB, 4, 4))]).unwrap();
    assert_eq!(versions(&state), [2, 3, 4]);
    apply(&mut state, vec![remove::<Task>(TaskId::new(4)), remove::<Task>(TaskId::new(3))])
        .unwrap();
    assert_eq!(versions(&state), [3, 4], "the service's own, and the one that it would go back to");
}

#[test]
fn a_change_of_anything_but_the_spec_makes_no_new_version() {
    let mut state = state();
    let versions = |state: &State| {
        let web = state.services().get(WEB).unwrap();
        (web.meta.revision.0, web.spec_version.0, web.previous_spec_version.map(|it| it.0))
    };
    assert_eq!(versions(&state), (2, 2, Some(1)));
    let mut web = Service::clone(state.services().get(WEB).unwrap());
    web.endpoint = Some(skep_types::service::Endpoint::default());
    // What a service had before is not for whoever changes it to say.
    (web.spec_version, web.previous_spec, web.previous_spec_version) = (Revision(9), None, None);
    apply(&mut state, vec![update(web)]).unwrap();
    assert_eq!(versions(&state), (3, 2, Some(1)));
    let web = state.services().get(WEB).unwrap();
    assert!(web.previous_spec.is_some() && web.endpoint.is_some());
}
