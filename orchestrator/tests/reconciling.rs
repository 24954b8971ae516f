//! Reconcilers by script: a small swarm, an event, and the tasks that follow.

mod support;

use std::sync::Arc;
use std::time::Duration;

use skep_state::Change;
use skep_types::service::{NetworkAttachmentConfig, PortConfig};
use skep_types::*;

use support::{Swarm, WEB, replicas};

#[test]
fn a_service_gets_its_slots_and_they_become_pending() {
    let mut swarm = Swarm::new(2);
    swarm.service(replicas(3), |_| {});
    swarm.pass();
    let tasks = swarm.all();
    assert_eq!(tasks.len(), 3);
    assert!(tasks.iter().all(|task| task.status.state == TaskState::Pending));
}

#[test]
fn scaling_down_keeps_running_tasks_and_evens_the_nodes() {
    let mut swarm = Swarm::new(2);
    swarm.service(replicas(4), |_| {});
    swarm.pass();
    swarm.run();
    swarm.respec(|spec| spec.mode = replicas(2));
    swarm.pass();
    let nodes: Vec<_> = swarm.wanted().iter().map(|task| task.node_id).collect();
    assert_eq!(nodes.len(), 2);
    assert_ne!(nodes[0], nodes[1], "one stays on each node");
    let removed = swarm.all().into_iter().filter(|t| t.desired_state == DesiredState::Remove);
    for task in removed.collect::<Vec<_>>() {
        swarm.end(task.id, TaskState::Shutdown);
    }
    swarm.pass();
    assert_eq!(swarm.all().len(), 2, "what was to be removed is gone when it has ended");
}

#[test]
fn a_failed_task_has_a_successor_after_the_delay() {
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(1), |_| {});
    swarm.pass();
    swarm.run();
    let failed = swarm.wanted()[0].id;
    swarm.end(failed, TaskState::Failed);
    swarm.pass();
    let successor = swarm.wanted()[0].clone();
    assert_ne!(successor.id, failed);
    assert_eq!(successor.desired_state, DesiredState::Ready);
    assert_eq!(swarm.wake, Some(Timestamp(5_000_000_000)));
    swarm.now = Timestamp(4_999_999_999);
    swarm.pass();
    assert_eq!(swarm.wanted()[0].desired_state, DesiredState::Ready);
    swarm.now = Timestamp(5_000_000_000);
    swarm.pass();
    assert_eq!(swarm.wanted()[0].desired_state, DesiredState::Running);
}

#[test]
fn a_successor_that_is_rejected_while_it_waits_has_its_own_after_the_delay() {
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(1), |_| {});
    swarm.pass();
    let first = swarm.all()[0].id;
    swarm.end(first, TaskState::Rejected);
    swarm.pass();
    for tasks in [2, 3, 4] {
        let waiting = swarm.all().into_iter().find(|t| t.desired_state == DesiredState::Ready);
        swarm.end(waiting.unwrap().id, TaskState::Rejected);
        let due = Timestamp(swarm.now.0 + 5_000_000_000);
        swarm.pass();
        assert_eq!(swarm.all().len(), tasks, "not at once");
        assert_eq!(swarm.wake, Some(due));
        swarm.now = due;
        swarm.pass();
        assert_eq!(swarm.all().len(), tasks + 1);
    }
}

#[test]
fn restart_conditions_and_attempts_are_kept_to() {
    for (condition, ending, successors) in [
        (RestartCondition::None, TaskState::Failed, 0),
        (RestartCondition::OnFailure, TaskState::Complete, 0),
        (RestartCondition::OnFailure, TaskState::Failed, 2),
        (RestartCondition::Any, TaskState::Complete, 2),
    ] {
        let mut swarm = Swarm::new(1);
        swarm.service(replicas(1), |spec| {
            spec.task.restart = RestartPolicy {
                condition,
                delay: Duration::ZERO,
                max_attempts: 2,
                window: Duration::ZERO,
            };
        });
        swarm.pass();
        let mut ended = 0;
        while let Some(task) = swarm.wanted().first() {
            assert!(ended < 10, "it never ends");
            swarm.now = Timestamp(swarm.now.0 + 1);
            let id = task.id;
            swarm.run();
            swarm.end(id, ending);
            swarm.pass();
            ended += 1;
        }
        assert_eq!(ended, 1 + successors, "{condition:?} after {ending:?}");
    }
}

#[test]
fn a_global_service_has_a_task_on_each_node_and_follows_them() {
    let mut swarm = Swarm::new(2);
    swarm.service(ServiceMode::Global, |_| {});
    swarm.pass();
    swarm.run();
    assert_eq!(swarm.wanted().len(), 2);
    swarm.node(1, |node| node.spec.availability = Availability::Drain);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 1);
    let stopped = swarm.all().into_iter().find(|t| t.desired_state == DesiredState::Shutdown);
    swarm.end(stopped.unwrap().id, TaskState::Shutdown);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 1);
    swarm.now = Timestamp(1);
    swarm.node(1, |node| node.spec.availability = Availability::Active);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 2);
}

#[test]
fn a_global_service_leaves_out_nodes_that_do_not_match() {
    let mut swarm = Swarm::new(2);
    let zone = |node: &mut Node, zone: &str| {
        drop(node.spec.annotations.labels.insert("zone".to_owned(), zone.to_owned()));
    };
    swarm.node(1, |node| zone(node, "east"));
    swarm.service(ServiceMode::Global, |spec| {
        spec.task.placement.constraints = vec!["node.labels.zone == east".to_owned()];
    });
    swarm.pass();
    swarm.run();
    let nodes = |swarm: &Swarm| -> Vec<_> { swarm.wanted().iter().map(|t| t.node_id).collect() };
    assert_eq!(nodes(&swarm), [Some(NodeId::new(1))]);
    // The labels change places: so does the task.
    let first = swarm.wanted()[0].id;
    swarm.node(1, |node| zone(node, "west"));
    swarm.node(2, |node| zone(node, "east"));
    swarm.pass();
    assert_eq!(nodes(&swarm), [Some(NodeId::new(2))]);
    swarm.end(first, TaskState::Shutdown);
    swarm.node(1, |node| zone(node, "east"));
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 2, "and it comes back");
}

#[test]
fn a_global_task_that_failed_on_a_drained_node_comes_back_with_the_node() {
    let mut swarm = Swarm::new(1);
    swarm.service(ServiceMode::Global, |_| {});
    swarm.pass();
    swarm.run();
    swarm.end(swarm.wanted()[0].id, TaskState::Failed);
    swarm.node(1, |node| node.spec.availability = Availability::Drain);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 0);
    swarm.now = Timestamp(1);
    swarm.node(1, |node| node.spec.availability = Availability::Active);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 1);
}

#[test]
fn a_removed_service_takes_its_tasks_along() {
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(2), |_| {});
    swarm.pass();
    swarm.run();
    swarm.act(Change::<Service>::Remove(WEB, None));
    swarm.pass();
    for task in swarm.all() {
        assert_eq!(task.desired_state, DesiredState::Remove);
        swarm.end(task.id, TaskState::Shutdown);
    }
    swarm.pass();
    assert!(swarm.all().is_empty());
}

#[test]
fn tasks_that_no_node_was_told_of_go_with_their_service() {
    for mode in [replicas(2), ServiceMode::Global] {
        let mut swarm = Swarm::new(2);
        swarm.service(mode, |_| {});
        swarm.pass();
        swarm.act(Change::<Service>::Remove(WEB, None));
        swarm.pass();
        assert!(swarm.all().is_empty(), "{mode:?}");
    }
}

#[test]
fn history_is_trimmed_to_the_limit() {
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(1), |spec| spec.task.restart.delay = Duration::ZERO);
    for second in 0..9 {
        swarm.now = Timestamp(second);
        swarm.pass();
        swarm.run();
        let task = swarm.wanted()[0].id;
        swarm.end(task, TaskState::Failed);
    }
    swarm.pass();
    assert_eq!(swarm.all().len(), 1 + defaults::TASK_HISTORY_LIMIT as usize);
}

#[test]
fn networks_vips_ports_and_addresses_are_allocated_once_each() {
    let mut swarm = Swarm::new(1);
    swarm.network(1, "ingress", true);
    swarm.network(2, "front", false);
    swarm.service(replicas(2), |spec| {
        let target = NetworkId::new(2);
        spec.task.networks = vec![NetworkAttachmentConfig { target, aliases: vec![] }];
        spec.endpoint.ports = vec![PortConfig { target_port: 80, ..PortConfig::default() }];
    });
    swarm.pass();
    let networks: Vec<_> = swarm
        .state
        .networks()
        .iter()
        .map(|n| (n.vni.unwrap().0, n.ipam[0].subnet.to_string(), n.ipam[0].gateway.unwrap()))
        .collect();
    assert_eq!(networks[0], (4096, "10.0.0.0/24".to_owned(), "10.0.0.1".parse().unwrap()));
    assert_eq!(networks[1], (4097, "10.0.1.0/24".to_owned(), "10.0.1.1".parse().unwrap()));
    let endpoint = swarm.state.services().get(WEB).unwrap().endpoint.clone().unwrap();
    assert_eq!(endpoint.ports[0].published_port, 30_000);
    let vips: Vec<String> = endpoint.virtual_ips.iter().map(|v| v.address.to_string()).collect();
    assert_eq!(vips, ["10.0.0.2", "10.0.1.2"]);
    let addresses: Vec<Vec<String>> = swarm
        .all()
        .iter()
        .map(|task| task.networks.iter().map(|at| at.addresses[0].to_string()).collect())
        .collect();
    assert_eq!(addresses, [["10.0.1.3/24", "10.0.0.3/24"], ["10.0.1.4/24", "10.0.0.4/24"]]);
}

#[test]
fn a_full_network_says_so_on_the_task() {
    let mut swarm = Swarm::new(1);
    let annotations = Annotations { name: "tiny".to_owned(), ..Annotations::default() };
    let ipam = vec![skep_types::network::IpamConfig {
        subnet: "192.168.7.0/30".parse().unwrap(),
        range: None,
        gateway: None,
    }];
    swarm.act(Change::Create(Arc::new(Network::new(
        NetworkId::new(2),
        NetworkSpec { annotations, ipam, ..NetworkSpec::default() },
    ))));
    swarm.service(replicas(1), |spec| {
        let target = NetworkId::new(2);
        spec.task.networks = vec![NetworkAttachmentConfig { target, aliases: vec![] }];
    });
    swarm.pass();
    let task = &swarm.all()[0];
    assert_eq!(task.status.state, TaskState::New);
    assert_eq!(task.status.error, "network tiny has no free address left");
}

#[test]
fn scaling_down_takes_from_the_node_that_holds_most() {
    let mut swarm = Swarm::new(2);
    swarm.service(replicas(4), |_| {});
    swarm.pass();
    for task in swarm.all() {
        let task::Slot::Replica(slot) = task.slot else { unreachable!() };
        swarm.task(task.id, |task| {
            task.node_id = Some(NodeId::new(if slot < 4 { 1 } else { 2 }));
            task.status.state = TaskState::Running;
        });
    }
    let left = |swarm: &Swarm| {
        let mut nodes: Vec<u128> =
            swarm.wanted().iter().map(|task| task.node_id.unwrap().bits()).collect();
        nodes.sort_unstable();
        nodes
    };
    swarm.respec(|spec| spec.mode = replicas(3));
    swarm.pass();
    assert_eq!(left(&swarm), [1, 1, 2]);
    swarm.respec(|spec| spec.mode = replicas(2));
    swarm.pass();
    assert_eq!(left(&swarm), [1, 2]);
}

#[test]
fn a_slot_that_gave_up_is_tried_again_under_another_spec_only() {
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(2), |spec| spec.task.restart.condition = RestartCondition::None);
    swarm.pass();
    swarm.run();
    swarm.end(swarm.wanted()[0].id, TaskState::Failed);
    swarm.pass();
    assert_eq!((swarm.wanted().len(), swarm.all().len()), (1, 2));
    // Something else of the service changes, and of the swarm.
    swarm.join(2);
    swarm.pass();
    assert_eq!(swarm.all().len(), 2);
    swarm.respec(|spec| spec.mode = replicas(3));
    swarm.pass();
    // The scale is of the spec: so the first slot has another task, too.
    assert_eq!(swarm.wanted().len(), 3);
}

#[test]
fn attempts_are_counted_within_the_window() {
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(1), |spec| {
        spec.task.restart = RestartPolicy {
            condition: RestartCondition::OnFailure,
            delay: Duration::ZERO,
            max_attempts: 2,
            window: Duration::from_secs(10),
        };
    });
    swarm.pass();
    let mut fail_after = |seconds| {
        swarm.run();
        swarm.wait(Duration::from_secs(seconds));
        let id = swarm.wanted().first().map(|task| task.id);
        id.into_iter().for_each(|id| swarm.end(id, TaskState::Failed));
        swarm.pass();
        swarm.wanted().len()
    };
    // At most one restart lies within ten seconds before each end.
    for _ in 0..4 {
        assert_eq!(fail_after(6), 1);
    }
    // One that lies just ten seconds back counts.
    assert_eq!(fail_after(4), 0);
}

#[test]
fn a_global_task_that_was_told_to_stop_comes_back_whatever_its_policy() {
    for (end, comes_back) in [
        (TaskState::Shutdown, true),
        (TaskState::Orphaned, true),
        (TaskState::Failed, false),
        (TaskState::Complete, false),
    ] {
        let mut swarm = Swarm::new(1);
        swarm.service(ServiceMode::Global, |spec| {
            spec.task.restart.condition = RestartCondition::None;
        });
        swarm.pass();
        swarm.run();
        let first = swarm.wanted()[0].id;
        swarm.node(1, |node| node.spec.availability = Availability::Drain);
        swarm.pass();
        swarm.end(first, end);
        swarm.pass();
        swarm.node(1, |node| node.spec.availability = Availability::Active);
        swarm.pass();
        assert_eq!(swarm.wanted().len(), usize::from(comes_back), "{end:?}");
    }
}

#[test]
fn a_global_task_that_its_node_may_know_of_is_waited_for() {
    let mut swarm = Swarm::new(1);
    swarm.service(ServiceMode::Global, |_| {});
    swarm.pass();
    let first = swarm.wanted()[0].id;
    swarm.task(first, |task| task.status.state = TaskState::Assigned);
    swarm.node(1, |node| node.spec.availability = Availability::Drain);
    swarm.pass();
    swarm.node(1, |node| node.spec.availability = Availability::Active);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 0);
    swarm.end(first, TaskState::Shutdown);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 1);
}
