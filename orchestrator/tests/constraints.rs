//! What becomes of tasks when their node no longer meets their constraints.

mod support;

use skep_types::*;

use support::{Swarm, replicas};

fn label(swarm: &mut Swarm, node: u128, zone: &str) {
    swarm.node(node, |node| {
        let labels = &mut node.spec.annotations.labels;
        labels.insert("zone".to_owned(), zone.to_owned());
    });
}

/// A service in the east, where all nodes are.
fn in_the_east(mode: ServiceMode) -> Swarm {
    let mut swarm = Swarm::new(3);
    for node in 1..=3 {
        label(&mut swarm, node, "east");
    }
    swarm.service(mode, |spec| {
        spec.task.placement.constraints = vec!["node.labels.zone == east".to_owned()];
    });
    swarm.pass();
    swarm.run();
    swarm.pass();
    swarm
}

fn on(swarm: &Swarm, node: u128) -> Vec<TaskId> {
    let node = Some(NodeId::new(node));
    swarm.wanted().iter().filter(|task| task.node_id == node).map(|task| task.id).collect()
}

#[test]
fn a_changed_label_moves_the_tasks_of_that_node_and_no_others() {
    let mut swarm = in_the_east(replicas(6));
    let (moving, staying) = (on(&swarm, 1), on(&swarm, 2));
    assert!(!moving.is_empty() && !staying.is_empty());
    label(&mut swarm, 1, "west");
    swarm.pass();
    for task in &moving {
        let task = swarm.state.tasks().get(*task).unwrap();
        assert_eq!(task.desired_state, DesiredState::Shutdown);
        assert_eq!(task.status.state, TaskState::Running, "it stops as others do");
    }
    assert_eq!(on(&swarm, 2), staying);
    assert_eq!(swarm.wanted().len(), 6, "each has a successor");
}

#[test]
fn a_paused_or_drained_node_is_not_looked_at() {
    let mut swarm = in_the_east(replicas(3));
    let before = on(&swarm, 1);
    swarm.node(1, |node| node.spec.availability = Availability::Pause);
    label(&mut swarm, 1, "west");
    swarm.pass();
    assert_eq!(on(&swarm, 1), before);
    swarm.node(1, |node| node.spec.availability = Availability::Active);
    swarm.pass();
    assert_eq!(on(&swarm, 1), Vec::<TaskId>::new(), "it is, when it is active again");
}

#[test]
fn a_global_task_leaves_its_node_and_comes_back_when_that_matches_again() {
    let mut swarm = in_the_east(ServiceMode::Global);
    let first = on(&swarm, 1);
    label(&mut swarm, 1, "west");
    swarm.pass();
    assert_eq!(on(&swarm, 1), Vec::<TaskId>::new());
    swarm.end(first[0], TaskState::Shutdown);
    label(&mut swarm, 1, "east");
    swarm.pass();
    assert_eq!(on(&swarm, 1).len(), 1);
    assert_ne!(on(&swarm, 1), first);
}

#[test]
fn tasks_without_constraints_stay() {
    let mut swarm = Swarm::new(2);
    swarm.service(replicas(4), |_| {});
    swarm.pass();
    swarm.run();
    let before = on(&swarm, 1);
    label(&mut swarm, 1, "west");
    swarm.pass();
    assert_eq!(on(&swarm, 1), before);
}
