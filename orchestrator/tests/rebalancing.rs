//! A service that is rebalanced: the tasks that are to move do, as in an update, and no others.

mod support;

use std::sync::Arc;
use std::time::Duration;

use skep_state::Change;
use skep_types::service::{Moving, UpdateState, UpdateStatus};
use skep_types::task::Slot;
use skep_types::*;

use support::{Swarm, WEB, replicas};

const MONITOR: Duration = defaults::UPDATE_MONITOR;

/// Four tasks that run, of which those in the first `moving` slots are to move.
fn rebalanced(moving: usize, change: impl FnOnce(&mut ServiceSpec)) -> Swarm {
    let mut swarm = Swarm::new(2);
    swarm.service(replicas(4), change);
    swarm.pass();
    swarm.run();
    swarm.pass();
    swarm.wait(Duration::from_secs(100));
    let mut tasks = swarm.all();
    tasks.sort_by_key(|task| task.slot);
    let mut service = Service::clone(swarm.state.services().get(WEB).unwrap());
    let moving = tasks.iter().take(moving).map(|task| {
        let Slot::Replica(slot) = task.slot else { unreachable!() };
        (task.id, Moving { slot, to: NodeId::new(2) })
    });
    service.update_status = Some(UpdateStatus {
        state: UpdateState::Updating,
        started_at: swarm.now,
        completed_at: None,
        message: "rebalance in progress".to_owned(),
        moving: moving.collect(),
    });
    swarm.act(Change::Update(Arc::new(service)));
    swarm.pass();
    swarm
}

fn of_slot(swarm: &Swarm, slot: u64) -> Vec<(DesiredState, TaskState)> {
    let mut tasks = swarm.all();
    tasks.retain(|task| task.slot == Slot::Replica(slot));
    tasks.sort_by_key(|task| (task.meta.created_at, task.id));
    tasks.iter().map(|task| (task.desired_state, task.status.state)).collect()
}

fn status(swarm: &Swarm) -> (UpdateState, String) {
    let service = swarm.state.services().get(WEB).unwrap();
    let status = service.update_status.as_ref().unwrap();
    (status.state, status.message.clone())
}

/// What was told to stop ends, and what may run runs.
fn go_on(swarm: &mut Swarm) {
    for task in swarm.all() {
        if task.desired_state > DesiredState::Complete && task.status.state == TaskState::Running {
            swarm.end(task.id, TaskState::Shutdown);
        }
    }
    swarm.pass();
    swarm.run();
    swarm.pass();
}

#[test]
fn one_after_the_other_moves_and_the_rest_stays() {
    use DesiredState::{Ready, Running as Wanted, Shutdown};
    let mut swarm = rebalanced(2, |_| {});
    assert_eq!(
        of_slot(&swarm, 1),
        [(Shutdown, TaskState::Running), (Ready, TaskState::Pending)],
        "the first stops before its successor begins"
    );
    assert_eq!(of_slot(&swarm, 2), [(Wanted, TaskState::Running)], "one at a time");
    go_on(&mut swarm);
    assert_eq!(of_slot(&swarm, 1), [(Shutdown, TaskState::Shutdown), (Wanted, TaskState::Running)]);
    assert_eq!(of_slot(&swarm, 2)[0].0, Shutdown);
    go_on(&mut swarm);
    assert_eq!(status(&swarm), (UpdateState::Updating, "rebalance in progress".to_owned()));
    swarm.wait(MONITOR);
    swarm.pass();
    assert_eq!(status(&swarm), (UpdateState::Completed, "rebalance completed".to_owned()));
    for slot in [3, 4] {
        assert_eq!(of_slot(&swarm, slot), [(Wanted, TaskState::Running)]);
    }
    assert_eq!(swarm.state.services().get(WEB).unwrap().moving(), None);
    let before = swarm.all();
    swarm.wait(MONITOR);
    swarm.pass();
    assert_eq!(swarm.all(), before, "and nothing is left to do");
}

#[test]
fn it_keeps_to_the_services_parallelism_and_order() {
    use DesiredState::Running as Wanted;
    let mut swarm = rebalanced(3, |spec| {
        spec.update.order = UpdateOrder::StartFirst;
        spec.update.parallelism = 2;
    });
    for slot in [1, 2] {
        assert_eq!(
            of_slot(&swarm, slot),
            [(Wanted, TaskState::Running), (Wanted, TaskState::Pending)],
            "the old one serves until the new one does"
        );
    }
    assert_eq!(of_slot(&swarm, 3).len(), 1);
    swarm.run();
    swarm.pass();
    for slot in [1, 2] {
        assert_eq!(of_slot(&swarm, slot)[0].0, DesiredState::Shutdown);
        assert_eq!(of_slot(&swarm, slot)[1], (Wanted, TaskState::Running));
    }
    assert_eq!(of_slot(&swarm, 3).len(), 2);
}

#[test]
fn a_failure_pauses_it_whatever_the_service_would_roll_back_to() {
    for action in [FailureAction::Pause, FailureAction::Rollback] {
        let mut swarm = rebalanced(2, |spec| {
            spec.update.failure_action = action;
            spec.update.order = UpdateOrder::StartFirst;
            spec.task.restart.delay = Duration::ZERO;
        });
        let version = swarm.state.services().get(WEB).unwrap().spec_version;
        swarm.run();
        let newest = swarm.all().into_iter().max_by_key(|task| task.id).unwrap();
        swarm.end(newest.id, TaskState::Failed);
        swarm.pass();
        let (state, message) = status(&swarm);
        assert_eq!(state, UpdateState::Paused, "{message}");
        assert!(message.starts_with("rebalance paused due to failure"), "{message}");
        let service = swarm.state.services().get(WEB).unwrap();
        assert_eq!(service.spec_version, version, "it went back to nothing");
        assert_eq!(service.moving(), None);
        assert_eq!(of_slot(&swarm, 2).len(), 1, "the second is not begun");
        swarm.run();
        swarm.pass();
        let running = swarm.wanted();
        let running = running.iter().filter(|task| task.status.state == TaskState::Running);
        assert_eq!(running.count(), 4, "each slot is served by one");
    }
}

#[test]
fn old_failures_of_slots_that_stay_do_not_count() {
    let mut swarm = Swarm::new(2);
    swarm.service(replicas(1), |spec| spec.task.restart.delay = Duration::ZERO);
    swarm.pass();
    swarm.run();
    let first = swarm.all()[0].id;
    swarm.end(first, TaskState::Failed);
    swarm.pass();
    swarm.run();
    swarm.pass();
    let second = swarm.wanted()[0].id;
    let mut service = Service::clone(swarm.state.services().get(WEB).unwrap());
    service.update_status = Some(UpdateStatus {
        state: UpdateState::Updating,
        started_at: swarm.now,
        completed_at: None,
        message: String::new(),
        moving: [(second, Moving { slot: 1, to: NodeId::new(2) })].into(),
    });
    swarm.act(Change::Update(Arc::new(service)));
    swarm.wait(Duration::from_secs(1));
    swarm.pass();
    assert_eq!(status(&swarm).0, UpdateState::Updating);
    go_on(&mut swarm);
    swarm.wait(MONITOR);
    swarm.pass();
    assert_eq!(status(&swarm).0, UpdateState::Completed);
}

#[test]
fn a_change_of_the_service_ends_it() {
    let mut swarm = rebalanced(4, |spec| spec.update.order = UpdateOrder::StartFirst);
    swarm.respec(|spec| spec.mode = replicas(5));
    swarm.pass();
    swarm.run();
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 5);
    assert!(swarm.wanted().iter().all(|task| task.status.state == TaskState::Running));
    for slot in [2, 3, 4] {
        assert_eq!(of_slot(&swarm, slot).len(), 1, "what was not moved stays");
    }
}
