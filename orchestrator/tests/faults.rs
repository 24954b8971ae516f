//! What the simulation found, once more by script: each was a fault of the reconcilers.

mod support;

use std::time::Duration;

use skep_state::Change;
use skep_types::*;

use support::{Swarm, WEB, replicas};

const SECOND: i64 = 1_000_000_000;

fn running(count: u64, change: impl FnOnce(&mut ServiceSpec)) -> Swarm {
    let mut swarm = Swarm::new(3);
    swarm.service(replicas(count), |spec| {
        spec.task.restart.delay = Duration::ZERO;
        change(spec);
    });
    swarm.pass();
    swarm.run();
    swarm.now = Timestamp(SECOND);
    swarm
}

fn scale(swarm: &mut Swarm, count: u64) {
    swarm.respec(|spec| spec.mode = replicas(count));
    swarm.pass();
}

/// The task that is held, if there is one.
fn held(swarm: &Swarm) -> Option<TaskId> {
    let wanted = swarm.wanted();
    wanted.iter().find(|task| task.desired_state == DesiredState::Ready).map(|task| task.id)
}

fn desired(swarm: &Swarm, task: TaskId) -> DesiredState {
    swarm.state.tasks().get(task).unwrap().desired_state
}

#[test]
fn a_slot_that_is_filled_anew_waits_for_what_still_stops_in_it() {
    let mut swarm = running(1, |_| {});
    let first = swarm.all()[0].id;
    scale(&mut swarm, 0);
    scale(&mut swarm, 1);
    let next = held(&swarm).expect("the slot's next task is held");
    swarm.end(first, TaskState::Shutdown);
    swarm.pass();
    assert_eq!(desired(&swarm, next), DesiredState::Running);
}

#[test]
fn a_task_on_a_drained_node_ends_before_its_successor_starts() {
    let mut swarm = running(1, |_| {});
    let first = swarm.all()[0].clone();
    let node = first.node_id.unwrap();
    swarm.node(node.bits(), |node| node.spec.availability = Availability::Drain);
    swarm.pass();
    let next = held(&swarm).expect("the successor is held");
    assert_eq!(desired(&swarm, first.id), DesiredState::Shutdown);
    swarm.end(first.id, TaskState::Shutdown);
    swarm.pass();
    assert_eq!(desired(&swarm, next), DesiredState::Running);
}

#[test]
fn a_third_task_of_a_start_first_update_waits_for_the_second_to_end() {
    let mut swarm = running(1, |spec| spec.update.order = UpdateOrder::StartFirst);
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.pass();
    let second = swarm.wanted().into_iter().find(|it| it.spec_version != Revision(1)).unwrap();
    swarm.task(second.id, |task| {
        task.node_id = Some(NodeId::new(1));
        task.status.state = TaskState::Starting;
    });
    swarm.respec(|spec| spec.task.container.image = "three".to_owned());
    swarm.pass();
    let third = held(&swarm).expect("the third is held while the second stops");
    swarm.end(second.id, TaskState::Shutdown);
    swarm.pass();
    assert_eq!(desired(&swarm, third), DesiredState::Running, "the first serves on");
    assert_eq!(swarm.wanted().len(), 2);
}

#[test]
fn the_successor_of_one_that_was_rejected_while_held_waits_too() {
    let mut swarm = running(1, |_| {});
    let first = swarm.all()[0].id;
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.pass();
    let second = held(&swarm).unwrap();
    swarm.task(second, |task| {
        task.node_id = Some(NodeId::new(1));
        task.status.state = TaskState::Rejected;
    });
    swarm.pass();
    let third = held(&swarm).expect("held, for the first may still run");
    assert_ne!(third, second);
    swarm.end(first, TaskState::Shutdown);
    swarm.pass();
    assert_eq!(desired(&swarm, third), DesiredState::Running);
}

#[test]
fn a_change_of_scale_during_an_update_counts_the_slot_that_is_down() {
    let mut swarm = running(3, |spec| spec.update.parallelism = 1);
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.pass();
    let stopping = |swarm: &Swarm| {
        let all = swarm.all();
        all.iter().filter(|task| task.desired_state == DesiredState::Shutdown).count()
    };
    assert_eq!(stopping(&swarm), 1);
    scale(&mut swarm, 4);
    assert_eq!(stopping(&swarm), 1, "one at a time, though the spec has another version now");
}

#[test]
fn a_global_task_that_waited_on_a_node_comes_back_with_it() {
    let mut swarm = Swarm::new(1);
    swarm.service(ServiceMode::Global, |_| {});
    swarm.pass();
    let waiting = swarm.all()[0].id;
    swarm.task(waiting, |task| task.status.error = "no suitable node".to_owned());
    swarm.node(1, |node| node.spec.availability = Availability::Drain);
    swarm.pass();
    assert!(swarm.wanted().is_empty());
    swarm.node(1, |node| node.spec.availability = Availability::Active);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 1);
}

#[test]
fn tasks_of_a_node_that_was_removed_are_given_up_and_replaced() {
    let mut swarm = running(1, |_| {});
    let first = swarm.all()[0].clone();
    swarm.act(Change::<Node>::Remove(first.node_id.unwrap(), None));
    swarm.pass();
    let given_up = swarm.state.tasks().get(first.id).unwrap();
    assert_eq!(given_up.status.state, TaskState::Orphaned);
    assert_eq!(swarm.wanted().len(), 1);
}

#[test]
fn a_held_task_of_a_start_first_update_that_is_lost_with_its_node_is_made_again() {
    let mut swarm = running(1, |spec| spec.update.order = UpdateOrder::StartFirst);
    let first = swarm.all()[0].id;
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.pass();
    let second = swarm.wanted().into_iter().find(|task| task.id != first).unwrap().id;
    swarm.task(second, |task| {
        task.node_id = Some(NodeId::new(2));
        task.status.state = TaskState::Ready;
    });
    swarm.act(Change::<Node>::Remove(NodeId::new(2), None));
    swarm.pass();
    let wanted = swarm.wanted();
    assert!(wanted.iter().any(|task| task.id != first && task.id != second), "{wanted:?}");
}

#[test]
fn tasks_of_a_node_that_is_down_for_a_day_are_given_up() {
    let mut swarm = running(1, |_| {});
    let first = swarm.all()[0].clone();
    let since = swarm.now;
    swarm.node(first.node_id.unwrap().bits(), |node| {
        node.status.state = NodeState::Down;
        node.status.since = since;
    });
    swarm.pass();
    let grace = since.saturating_add(defaults::DOWN_GRACE);
    assert_eq!(swarm.wake, Some(grace));
    swarm.now = grace;
    swarm.pass();
    let due = since.saturating_add(defaults::NODE_DOWN_PERIOD);
    assert_eq!(swarm.wake, Some(due), "it looks again when the time is over");
    assert_eq!(swarm.state.tasks().get(first.id).unwrap().status.state, TaskState::Running);
    swarm.now = due;
    swarm.pass();
    assert_eq!(swarm.state.tasks().get(first.id).unwrap().status.state, TaskState::Orphaned);
}

#[test]
fn the_history_of_a_global_service_goes_with_the_node() {
    let mut swarm = Swarm::new(2);
    swarm.service(ServiceMode::Global, |_| {});
    swarm.pass();
    swarm.run();
    swarm.act(Change::<Node>::Remove(NodeId::new(1), None));
    for _ in 0..2 {
        swarm.pass();
    }
    let left = swarm.all();
    assert!(left.iter().all(|task| task.node_id == Some(NodeId::new(2))), "{left:?}");
}

#[test]
fn what_failed_beside_its_successor_is_history() {
    let mut swarm = running(1, |spec| spec.update.order = UpdateOrder::StartFirst);
    let first = swarm.all()[0].id;
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.pass();
    swarm.end(first, TaskState::Failed);
    swarm.pass();
    assert_eq!(desired(&swarm, first), DesiredState::Shutdown);
    assert_eq!(swarm.state.tasks_of_service(WEB).count(), 2, "its successor was under way");
}

#[test]
fn a_global_slot_that_serves_is_not_filled_again_for_a_newer_task_that_was_given_up() {
    let mut swarm = Swarm::new(1);
    swarm.service(ServiceMode::Global, |_| {});
    swarm.pass();
    swarm.run();
    let serving = swarm.all()[0].clone();
    let label = ("tier".to_owned(), "front".to_owned());
    swarm.respec(|spec| spec.annotations.labels.extend([label]));
    let mut given_up = Task::clone(&serving);
    given_up.id = TaskId::new(7);
    given_up.spec_version = swarm.state.services().get(WEB).unwrap().spec_version;
    given_up.status.state = TaskState::New;
    given_up.networks.clear();
    given_up.desired_state = DesiredState::Shutdown;
    swarm.now = Timestamp(SECOND);
    swarm.act(Change::Create(std::sync::Arc::new(given_up)));
    swarm.pass();
    assert_eq!(swarm.all().len(), 2, "it serves as the spec wants it");
    assert_eq!(desired(&swarm, serving.id), DesiredState::Running);
}

#[test]
fn of_two_tasks_that_one_pass_made_the_one_of_the_later_spec_is_the_newer() {
    let swarm = running(1, |_| {});
    let made = |id, version| {
        let mut task = Task::clone(&swarm.all()[0]);
        (task.id, task.spec_version) = (TaskId::new(id), Revision(version));
        std::sync::Arc::new(task)
    };
    let (rolled_back, failed) = (made(1, 8), made(2, 6));
    let mut tasks = vec![failed, rolled_back];
    skep_orchestrator::slot::newest_first(&mut tasks);
    assert_eq!(tasks[0].spec_version, Revision(8));
}
