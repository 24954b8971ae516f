//! Jobs by script: a small swarm, an event, and the tasks that follow.

mod support;

use std::sync::Arc;
use std::time::Duration;

use skep_types::task::Slot;
use skep_types::*;

use support::{Swarm, WEB};

fn job(max_concurrent: u64, total_completions: u64) -> ServiceMode {
    ServiceMode::ReplicatedJob { max_concurrent, total_completions }
}

/// The tasks of the current run that are meant to go on and have not ended, by slot.
fn active(swarm: &Swarm) -> Vec<Slot> {
    let mut slots: Vec<Slot> = live(swarm).iter().map(|task| task.slot).collect();
    slots.sort();
    slots
}

fn live(swarm: &Swarm) -> Vec<Arc<Task>> {
    let mut tasks = swarm.wanted();
    tasks.retain(|task| !task.status.state.is_terminal());
    tasks
}

fn replicas(numbers: &[u64]) -> Vec<Slot> {
    numbers.iter().copied().map(Slot::Replica).collect()
}

/// Puts tasks on nodes and has them run, then has those in these slots end so.
fn end(swarm: &mut Swarm, slots: &[u64], state: TaskState) {
    swarm.run();
    for task in live(swarm) {
        if slots.iter().any(|slot| task.slot == Slot::Replica(*slot)) {
            swarm.end(task.id, state);
        }
    }
    swarm.pass();
}

fn completed(swarm: &Swarm) -> usize {
    swarm.all().iter().filter(|task| task.status.state == TaskState::Complete).count()
}

#[test]
fn so_many_run_at_a_time_until_all_have_completed() {
    let mut swarm = Swarm::new(2);
    swarm.service(job(2, 5), |_| {});
    swarm.pass();
    assert_eq!(active(&swarm), replicas(&[0, 1]));
    for task in live(&swarm) {
        assert_eq!(task.desired_state, DesiredState::Complete);
        assert_eq!(task.job_iteration, Some(0));
    }
    end(&mut swarm, &[1], TaskState::Complete);
    assert_eq!(active(&swarm), replicas(&[0, 2]));
    end(&mut swarm, &[0, 2], TaskState::Complete);
    assert_eq!(active(&swarm), replicas(&[3, 4]));
    end(&mut swarm, &[3, 4], TaskState::Complete);
    assert_eq!(active(&swarm), []);
    assert_eq!((swarm.all().len(), completed(&swarm)), (5, 5), "they stay as history");
    assert_eq!(swarm.wake, None);
}

#[test]
fn what_fails_is_tried_again_in_its_slot_and_counts_as_running_meanwhile() {
    for condition in [RestartCondition::Any, RestartCondition::OnFailure] {
        let mut swarm = Swarm::new(1);
        swarm.service(job(1, 2), |spec| spec.task.restart.condition = condition);
        swarm.pass();
        end(&mut swarm, &[0], TaskState::Failed);
        assert_eq!(active(&swarm), replicas(&[0]), "slot 1 waits for its turn");
        assert_eq!(live(&swarm)[0].desired_state, DesiredState::Ready);
        swarm.now = swarm.wake.unwrap();
        swarm.pass();
        let task = &live(&swarm)[0];
        assert_eq!((task.desired_state, task.job_iteration), (DesiredState::Complete, Some(0)));
        end(&mut swarm, &[0], TaskState::Complete);
        assert_eq!(active(&swarm), replicas(&[1]));
    }
}

#[test]
fn a_slot_that_gives_up_is_not_filled_again() {
    for (condition, attempts, tasks) in
        [(RestartCondition::None, 0, 1), (RestartCondition::OnFailure, 2, 3)]
    {
        let mut swarm = Swarm::new(1);
        swarm.service(job(1, 2), |spec| {
            spec.task.restart = RestartPolicy {
                condition,
                delay: Duration::ZERO,
                max_attempts: attempts,
                window: Duration::ZERO,
            };
        });
        swarm.pass();
        for _ in 0..tasks {
            assert_eq!(active(&swarm), replicas(&[0]));
            end(&mut swarm, &[0], TaskState::Failed);
        }
        assert_eq!(active(&swarm), replicas(&[1]), "{condition:?}");
        end(&mut swarm, &[1], TaskState::Complete);
        assert_eq!(active(&swarm), []);
        assert_eq!(swarm.all().len(), tasks + 1);
    }
}

#[test]
fn an_update_begins_a_new_run_and_the_old_one_stays_as_history() {
    let mut swarm = Swarm::new(1);
    swarm.service(job(2, 2), |_| {});
    swarm.pass();
    end(&mut swarm, &[0], TaskState::Complete);
    swarm.now = Timestamp(1);
    swarm.respec(|spec| spec.task.force_update += 1);
    swarm.pass();
    assert_eq!(active(&swarm), replicas(&[0, 1]));
    assert!(live(&swarm).iter().all(|task| task.job_iteration == Some(1)));
    let old: Vec<_> = swarm.all().into_iter().filter(|t| t.job_iteration == Some(0)).collect();
    assert_eq!(old.len(), 2);
    assert!(old.iter().all(|task| task.desired_state == DesiredState::Shutdown), "{old:?}");
    // Each run after leaves no more than the limit in each slot.
    for run in 2..12 {
        end(&mut swarm, &[0, 1], TaskState::Complete);
        swarm.now = Timestamp(run);
        swarm.respec(|spec| spec.task.force_update += 1);
        swarm.pass();
        for task in swarm.all() {
            if task.desired_state == DesiredState::Shutdown && !task.status.state.is_terminal() {
                swarm.end(task.id, TaskState::Shutdown);
            }
        }
        swarm.pass();
    }
    assert_eq!(swarm.all().len(), 2 * (5 + 1));
}

#[test]
fn a_scale_changes_how_many_shall_complete() {
    let mut swarm = Swarm::new(1);
    swarm.service(job(3, 3), |_| {});
    swarm.pass();
    end(&mut swarm, &[0, 1, 2], TaskState::Complete);
    swarm.now = Timestamp(1);
    swarm.respec(|spec| spec.mode = job(3, 2));
    swarm.pass();
    assert_eq!(active(&swarm), replicas(&[0, 1]));
    let slots: Vec<Slot> = swarm.all().iter().map(|task| task.slot).collect();
    assert!(
        !slots.contains(&Slot::Replica(2)),
        "the history of a slot that is gone goes: {slots:?}"
    );
}

#[test]
fn a_job_moves_from_a_node_that_is_lost_but_not_what_completed_there() {
    let mut swarm = Swarm::new(2);
    swarm.service(job(2, 2), |_| {});
    swarm.pass();
    swarm.run();
    for task in live(&swarm) {
        if task.slot == Slot::Replica(0) {
            swarm.end(task.id, TaskState::Complete);
        }
    }
    for node in [1, 2] {
        swarm.node(node, |node| node.status.state = NodeState::Down);
    }
    swarm.now = swarm.now.saturating_add(defaults::DOWN_GRACE);
    swarm.pass();
    assert_eq!(active(&swarm), replicas(&[1]));
    assert_eq!(live(&swarm)[0].node_id, None);
    assert_eq!(swarm.all().len(), 3);
}

#[test]
fn a_global_job_runs_once_on_each_node_that_matches_and_was_there() {
    let mut swarm = Swarm::new(3);
    swarm.node(3, |node| {
        node.spec.annotations.labels.insert("zone".to_owned(), "east".to_owned());
    });
    swarm.node(2, |node| node.spec.availability = Availability::Pause);
    swarm.service(ServiceMode::GlobalJob, |spec| {
        spec.task.placement.constraints = vec!["node.labels.zone != east".to_owned()];
    });
    swarm.pass();
    assert_eq!(active(&swarm), [Slot::Node(NodeId::new(1))]);
    swarm.run();
    let first = live(&swarm)[0].id;
    swarm.end(first, TaskState::Complete);
    swarm.node(2, |node| node.spec.availability = Availability::Active);
    swarm.pass();
    assert_eq!(active(&swarm), [Slot::Node(NodeId::new(2))], "a node that takes tasks again");
    swarm.run();
    // The node is lost while it runs, and comes back.
    swarm.node(2, |node| node.status.state = NodeState::Down);
    swarm.pass();
    assert_eq!(active(&swarm), [Slot::Node(NodeId::new(2))], "a short absence ends nothing");
    swarm.now = swarm.now.saturating_add(defaults::DOWN_GRACE);
    swarm.pass();
    assert_eq!(active(&swarm), []);
    let lost = swarm.all().into_iter().find(|task| !task.status.state.is_terminal()).unwrap();
    assert_eq!(lost.desired_state, DesiredState::Shutdown);
    swarm.node(2, |node| node.status.state = NodeState::Ready);
    swarm.pass();
    assert_eq!(live(&swarm).len(), 0, "its task is still to stop");
    swarm.end(lost.id, TaskState::Shutdown);
    swarm.pass();
    assert_eq!(active(&swarm), [Slot::Node(NodeId::new(2))]);
    swarm.run();
    let again = live(&swarm)[0].id;
    swarm.end(again, TaskState::Complete);
    // A node that joins after the run began has none; the next run includes it.
    swarm.now = Timestamp(swarm.now.0 + 10);
    swarm.join(4);
    swarm.pass();
    assert_eq!(active(&swarm), []);
    swarm.respec(|spec| spec.task.force_update += 1);
    swarm.pass();
    let nodes = [1, 2, 4].map(|id| Slot::Node(NodeId::new(id)));
    assert_eq!(active(&swarm), nodes);
    assert!(swarm.state.services().get(WEB).unwrap().update_status.is_none());
}

#[test]
fn when_a_task_that_was_given_up_completes_its_successor_is_told_to_stop() {
    for mode in [
        ServiceMode::ReplicatedJob { max_concurrent: 1, total_completions: 2 },
        ServiceMode::GlobalJob,
    ] {
        let mut swarm = Swarm::new(1);
        swarm.service(mode, |_| {});
        swarm.pass();
        swarm.run();
        let first = swarm.all()[0].id;
        swarm.lose(1);
        swarm.wait(defaults::DOWN_GRACE);
        swarm.pass();
        swarm.regain(1);
        swarm.pass();
        swarm.end(first, TaskState::Complete);
        swarm.pass();
        let of_slot = |swarm: &Swarm| {
            let slot = swarm.state.tasks().get(first).unwrap().slot;
            swarm.wanted().into_iter().filter(|it| it.slot == slot && it.id != first).count()
        };
        assert_eq!(of_slot(&swarm), 0, "{mode:?}: its slot has completed");
        let live = swarm.wanted().iter().filter(|task| !task.status.state.is_terminal()).count();
        assert!(live <= 1, "{mode:?}");
    }
}

#[test]
fn a_task_that_was_told_to_stop_with_its_node_and_failed_is_tried_again_if_the_policy_lets_it() {
    for (condition, tasks) in [(RestartCondition::Any, 1), (RestartCondition::None, 0)] {
        let mut swarm = Swarm::new(1);
        swarm.service(ServiceMode::GlobalJob, |spec| spec.task.restart.condition = condition);
        swarm.pass();
        swarm.run();
        let first = swarm.all()[0].id;
        swarm.lose(1);
        swarm.wait(defaults::DOWN_GRACE);
        swarm.pass();
        assert_eq!(live(&swarm), []);
        swarm.regain(1);
        swarm.end(first, TaskState::Failed);
        swarm.pass();
        assert_eq!(live(&swarm).len(), tasks, "{condition:?}");
    }
}
