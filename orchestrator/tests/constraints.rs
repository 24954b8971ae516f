//! What becomes of tasks when their node no longer meets their constraints.

mod support;

use skep_orchestrator::constraint_enforcer::{evicts, holds_room};
use skep_types::node::NodeDescription;
use skep_types::resources::GenericResource;
use skep_types::service::{PortConfig, PublishMode};
use skep_types::task::Slot;
use skep_types::*;

use support::{Swarm, WEB, replicas};

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

fn describe(swarm: &mut Swarm, node: u128, change: impl FnOnce(&mut Resources)) {
    swarm.node(node, |node| {
        let description = node.description.get_or_insert_with(NodeDescription::default);
        change(&mut description.resources);
    });
}

fn roomy(mode: ServiceMode, change: impl FnOnce(&mut ServiceSpec)) -> Swarm {
    let mut swarm = Swarm::new(2);
    for node in [1, 2] {
        describe(&mut swarm, node, |has| {
            has.nano_cpus = 8;
            has.memory_bytes = 8;
            has.generic = generic::parse(["gpu=A", "gpu=B", "ssd=4"]).unwrap();
        });
    }
    swarm.service(mode, change);
    for _ in 0..2 {
        // So that each task has an age of its own.
        swarm.now = Timestamp(swarm.now.0 + 1);
        swarm.pass();
    }
    swarm.run();
    swarm.pass();
    swarm
}

#[test]
fn a_node_that_comes_to_have_less_loses_its_youngest_tasks() {
    for (less, stay) in [(8, 4), (7, 3), (2, 1), (1, 0)] {
        for cpu in [true, false] {
            let mut swarm = roomy(replicas(8), |spec| {
                let reserved = &mut spec.task.resources.reservations;
                *(if cpu { &mut reserved.nano_cpus } else { &mut reserved.memory_bytes }) = 2;
            });
            let before = on(&swarm, 1);
            assert_eq!(before.len(), 4);
            describe(&mut swarm, 1, |has| {
                *(if cpu { &mut has.nano_cpus } else { &mut has.memory_bytes }) = less;
            });
            swarm.pass();
            assert_eq!(on(&swarm, 1), before[..stay], "{less} of 8, the oldest stay");
            assert_eq!(swarm.wanted().len(), 8, "each of the others has a successor");
            let told =
                swarm.all().into_iter().filter(|it| it.desired_state > DesiredState::Complete);
            assert!(told.clone().all(|task| task.status.state == TaskState::Running));
            assert_eq!(told.count(), 4 - stay);
        }
    }
}

#[test]
fn a_node_that_is_paused_or_away_or_says_nothing_of_itself_is_left_alone() {
    for change in [
        (|node: &mut Node| node.spec.availability = Availability::Pause) as fn(&mut Node),
        |node| node.status.state = NodeState::Unknown,
        |node| node.description = None,
    ] {
        let mut swarm =
            roomy(replicas(8), |spec| spec.task.resources.reservations.memory_bytes = 2);
        let before = on(&swarm, 1);
        swarm.node(1, |node| {
            node.description.as_mut().unwrap().resources.memory_bytes = 1;
            change(node);
        });
        swarm.pass();
        assert_eq!(on(&swarm, 1), before);
    }
}

#[test]
fn generic_resources_are_held_by_name_and_by_number() {
    let named = |value: &str| GenericResource::Named { kind: "gpu".into(), value: value.into() };
    let counted = |value| GenericResource::Discrete { kind: "ssd".into(), value };
    for (terms, stay) in [
        (&["gpu=A", "gpu=B", "ssd=4"][..], [true, true]),
        (&["gpu=B", "ssd=4"], [false, true]),
        (&["gpu=A", "gpu=B", "ssd=3"], [true, false]),
        (&["gpu=A", "gpu=B"], [false, false]),
        (&["gpu=A", "gpu=B", "ssd=X", "ssd=Y"], [false, false]),
    ] {
        let mut swarm = roomy(replicas(4), |spec| {
            let reserved = &mut spec.task.resources.reservations;
            reserved.generic = vec![counted(2)];
        });
        let tasks = on(&swarm, 1);
        for (task, gpu) in tasks.iter().zip(["A", "B"]) {
            swarm.task(*task, |task| task.generic = vec![named(gpu), counted(2)]);
        }
        describe(&mut swarm, 1, |has| has.generic = generic::parse(terms.iter().copied()).unwrap());
        swarm.pass();
        let stays = on(&swarm, 1);
        let stays: Vec<bool> = tasks.iter().map(|task| stays.contains(task)).collect();
        assert_eq!(stays, stay, "{terms:?}");
    }
}

#[test]
fn of_two_tasks_that_want_one_port_of_a_node_the_younger_goes() {
    let mut swarm = Swarm::new(2);
    describe(&mut swarm, 2, |_| {});
    swarm.service(replicas(2), |spec| {
        spec.endpoint.ports = vec![PortConfig {
            target_port: 80,
            published_port: 8080,
            publish_mode: PublishMode::Host,
            ..PortConfig::default()
        }];
    });
    swarm.pass();
    let tasks: Vec<TaskId> = swarm.wanted().iter().map(|task| task.id).collect();
    for task in &tasks {
        swarm.task(*task, |task| {
            task.node_id = Some(NodeId::new(2));
            task.status.state = TaskState::Running;
        });
    }
    swarm.pass();
    assert_eq!(on(&swarm, 2), tasks[..1]);
    assert_eq!(swarm.wanted().len(), 2);
}

#[test]
fn a_job_goes_on_elsewhere_and_one_of_each_node_ends_there() {
    let job = ServiceMode::ReplicatedJob { max_concurrent: 4, total_completions: 4 };
    let mut swarm = in_the_east(job);
    let moving = on(&swarm, 1);
    assert!(!moving.is_empty());
    label(&mut swarm, 1, "west");
    swarm.pass();
    assert_eq!(on(&swarm, 1), Vec::<TaskId>::new());
    assert_eq!(swarm.wanted().len(), 4, "each has a successor");
    assert!(swarm.wanted().iter().all(|task| task.job_iteration == Some(0)));

    let mut swarm = in_the_east(ServiceMode::GlobalJob);
    let task = on(&swarm, 1)[0];
    label(&mut swarm, 1, "west");
    swarm.pass();
    assert_eq!(on(&swarm, 1), Vec::<TaskId>::new());
    assert_eq!(swarm.all().len(), 3, "no other node takes its place");
    swarm.end(task, TaskState::Shutdown);
    swarm.pass();
    assert_eq!(swarm.all().len(), 3);
    label(&mut swarm, 1, "east");
    swarm.pass();
    assert_eq!(on(&swarm, 1).len(), 1, "it begins anew where it may be again");
}

#[test]
fn jobs_and_global_services_lose_what_has_no_room() {
    let job = ServiceMode::ReplicatedJob { max_concurrent: 8, total_completions: 8 };
    for (mode, wanted) in [(job, 8), (ServiceMode::Global, 1), (ServiceMode::GlobalJob, 1)] {
        let mut swarm = roomy(mode, |spec| spec.task.resources.reservations.nano_cpus = 2);
        let before = on(&swarm, 1);
        describe(&mut swarm, 1, |has| has.nano_cpus = 1);
        swarm.pass();
        assert_eq!(on(&swarm, 1), Vec::<TaskId>::new());
        assert_eq!(swarm.wanted().len(), wanted, "{mode:?}");
        for task in before {
            swarm.end(task, TaskState::Shutdown);
        }
        swarm.pass();
        // A global one waits for its node, and says why.
        let waits = swarm.wanted().len() - wanted;
        assert_eq!(
            waits,
            usize::from(mode == ServiceMode::Global || mode == ServiceMode::GlobalJob)
        );
        let service = swarm.state.services().get(WEB).unwrap();
        assert!(swarm.wanted().iter().all(|task| task.spec_version == service.spec_version));
    }
}

#[test]
fn a_start_first_successor_without_room_has_another_while_the_task_before_it_serves() {
    let mut swarm = roomy(replicas(1), |spec| {
        spec.update.order = UpdateOrder::StartFirst;
        spec.task.resources.reservations.memory_bytes = 4;
    });
    let first = swarm.wanted()[0].clone();
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.pass();
    let second = swarm.wanted().into_iter().find(|task| task.id != first.id).unwrap().id;
    let other = 3 - first.node_id.unwrap().bits();
    swarm.task(second, |task| {
        task.node_id = Some(NodeId::new(other));
        task.status.state = TaskState::Preparing;
    });
    describe(&mut swarm, other, |has| has.memory_bytes = 1);
    swarm.pass();
    let wanted = swarm.wanted();
    assert!(wanted.iter().any(|task| task.id == first.id), "it serves on");
    assert!(wanted.iter().all(|task| task.id != second), "it has no room");
    assert_eq!(wanted.len(), 2, "another one comes in its place");
}

#[test]
fn a_global_start_first_successor_without_room_is_waited_for_while_the_task_before_it_serves() {
    let mut swarm = roomy(ServiceMode::Global, |spec| {
        spec.update.order = UpdateOrder::StartFirst;
        spec.task.resources.reservations.memory_bytes = 4;
    });
    let first = on(&swarm, 1);
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.now = Timestamp(swarm.now.0 + 1);
    swarm.pass();
    let slot = Slot::Node(NodeId::new(1));
    let wanted = |swarm: &Swarm| -> Vec<TaskId> {
        swarm.wanted().iter().filter(|task| task.slot == slot).map(|task| task.id).collect()
    };
    let second = wanted(&swarm).into_iter().find(|id| !first.contains(id)).unwrap();
    swarm.task(second, |task| task.status.state = TaskState::Preparing);
    describe(&mut swarm, 1, |has| has.memory_bytes = 4);
    for _ in 0..2 {
        swarm.pass();
        let wanted = wanted(&swarm);
        assert!(wanted.contains(&first[0]), "it serves on");
        assert!(!wanted.contains(&second), "it has no room");
        assert_eq!(wanted.len(), 2, "another one waits in its place");
    }
}

#[test]
fn only_tasks_that_have_a_place_leave_it() {
    for (state, expected) in [
        (TaskState::Pending, false),
        (TaskState::Assigned, true),
        (TaskState::Running, true),
        (TaskState::Complete, false),
        (TaskState::Failed, false),
    ] {
        let mut swarm = in_the_east(replicas(1));
        let mut task = Task::clone(&swarm.wanted()[0]);
        assert!(!evicts(&swarm.state, &task));
        label(&mut swarm, task.node_id.unwrap().bits(), "west");
        task.status.state = state;
        assert_eq!(evicts(&swarm.state, &task), expected, "{state:?}");
    }
}

#[test]
fn what_nodes_can_run_out_of_is_held() {
    let holds = |change: &dyn Fn(&mut ServiceSpec)| {
        let mut spec = ServiceSpec::new(Annotations::default(), replicas(1));
        change(&mut spec);
        holds_room(&spec)
    };
    let port = |publish_mode, published_port| {
        move |spec: &mut ServiceSpec| {
            let port = PortConfig { target_port: 80, published_port, ..PortConfig::default() };
            spec.endpoint.ports = vec![PortConfig { publish_mode, ..port }];
        }
    };
    let no_more = |spec: &mut ServiceSpec| {
        let reserved = &mut spec.task.resources.reservations;
        (reserved.nano_cpus, reserved.memory_bytes) = (-1, -1);
    };
    let gpu = |spec: &mut ServiceSpec| {
        spec.task.resources.reservations.generic = generic::parse(["gpu=1"]).unwrap();
    };
    assert!(!holds(&|_| {}));
    assert!(!holds(&no_more));
    assert!(holds(&|spec| spec.task.resources.reservations.nano_cpus = 1));
    assert!(holds(&|spec| spec.task.resources.reservations.memory_bytes = 1));
    assert!(holds(&gpu));
    assert!(holds(&port(PublishMode::Host, 80)));
    assert!(!holds(&port(PublishMode::Host, 0)), "its node finds one that is free");
    assert!(!holds(&port(PublishMode::Ingress, 80)));
}

#[test]
fn a_task_without_room_that_has_its_successor_gets_no_other() {
    let mut swarm = roomy(replicas(1), |spec| {
        spec.update.order = UpdateOrder::StartFirst;
        spec.task.resources.reservations.memory_bytes = 4;
    });
    let first = swarm.wanted()[0].clone();
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.now = Timestamp(swarm.now.0 + 1);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 2);
    describe(&mut swarm, first.node_id.unwrap().bits(), |has| has.memory_bytes = 1);
    swarm.pass();
    let wanted = swarm.wanted();
    assert_eq!(wanted.len(), 1, "{wanted:?}");
    assert_ne!(wanted[0].id, first.id);
    assert_eq!(swarm.all().len(), 2);
}
