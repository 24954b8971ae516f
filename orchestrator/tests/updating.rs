//! Rolling updates by script: a change of a service, and which tasks move when.

mod support;

use std::time::Duration;

use skep_state::State;
use skep_types::service::UpdateState;
use skep_types::*;

use support::{Swarm, WEB, replicas};

const SECOND: i64 = 1_000_000_000;

/// A service of so many running tasks; restarts come at once.
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

fn update(swarm: &mut Swarm) {
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    swarm.pass();
}

/// What a task was made from.
fn image(swarm: &Swarm, task: &Task) -> String {
    swarm.state.spec(WEB, task.spec_version).unwrap().task.container.image.clone()
}

fn wanted_of(swarm: &Swarm, which: &str) -> usize {
    swarm.wanted().iter().filter(|task| image(swarm, task) == which).count()
}

fn running_tasks(swarm: &Swarm) -> usize {
    swarm.all().iter().filter(|task| task.status.state == TaskState::Running).count()
}

/// Ends what was told to stop.
fn stop(swarm: &mut Swarm) {
    for task in swarm.all() {
        if task.desired_state >= DesiredState::Shutdown && !task.status.state.is_terminal() {
            swarm.end(task.id, TaskState::Shutdown);
        }
    }
}

/// What was told to stop has ended, the successors run.
fn settle(swarm: &mut Swarm) {
    stop(swarm);
    swarm.pass();
    swarm.run();
    swarm.pass();
}

fn state(swarm: &Swarm) -> UpdateState {
    swarm.state.services().get(WEB).unwrap().update_status.as_ref().unwrap().state
}

fn message(swarm: &Swarm) -> String {
    swarm.state.services().get(WEB).unwrap().update_status.clone().unwrap().message
}

/// Has the newest running task of the new spec fail.
fn fail_new(swarm: &mut Swarm) -> TaskId {
    let all = swarm.wanted();
    let new = all
        .iter()
        .find(|task| image(swarm, task) == "two" && task.status.state == TaskState::Running);
    let id = new.unwrap().id;
    swarm.end(id, TaskState::Failed);
    swarm.pass();
    id
}

#[test]
fn so_many_slots_move_at_a_time() {
    let mut swarm = running(6, |spec| spec.update.parallelism = 2);
    update(&mut swarm);
    assert_eq!(state(&swarm), UpdateState::Updating);
    assert_eq!(message(&swarm), "update in progress");
    for moved in [2, 4, 6] {
        assert_eq!(wanted_of(&swarm, "two"), moved);
        settle(&mut swarm);
    }
    assert_eq!(state(&swarm), UpdateState::Updating, "the last ones are watched");
    assert_eq!(swarm.wake, Some(Timestamp(6 * SECOND)));
    swarm.now = Timestamp(6 * SECOND);
    swarm.pass();
    assert_eq!(state(&swarm), UpdateState::Completed);
    assert_eq!(message(&swarm), "update completed");
    let status = swarm.state.services().get(WEB).unwrap().update_status.clone().unwrap();
    assert_eq!(status.started_at, Timestamp(SECOND));
    assert_eq!(status.completed_at, Some(Timestamp(6 * SECOND)));
}

#[test]
fn parallelism_zero_moves_all_at_once() {
    let mut swarm = running(6, |spec| spec.update.parallelism = 0);
    update(&mut swarm);
    assert_eq!(wanted_of(&swarm, "two"), 6);
}

#[test]
fn the_next_batch_waits_for_the_delay() {
    let mut swarm = running(2, |spec| spec.update.delay = Duration::from_secs(10));
    update(&mut swarm);
    settle(&mut swarm);
    assert_eq!(wanted_of(&swarm, "two"), 1);
    assert_eq!(swarm.wake, Some(Timestamp(11 * SECOND)));
    swarm.now = Timestamp(11 * SECOND);
    swarm.pass();
    assert_eq!(wanted_of(&swarm, "two"), 2);
}

#[test]
fn stop_first_holds_the_new_task_until_the_old_one_has_ended() {
    let mut swarm = running(1, |spec| spec.task.restart.delay = Duration::from_secs(30));
    update(&mut swarm);
    assert_eq!(swarm.wanted()[0].desired_state, DesiredState::Ready);
    stop(&mut swarm);
    swarm.pass();
    assert_eq!(swarm.wanted()[0].desired_state, DesiredState::Running, "without a restart's delay");
}

#[test]
fn start_first_keeps_the_capacity() {
    let mut swarm = running(3, |spec| spec.update.order = UpdateOrder::StartFirst);
    update(&mut swarm);
    for moved in 1..=3 {
        assert_eq!(wanted_of(&swarm, "two"), moved);
        assert_eq!(running_tasks(&swarm), 3, "none is stopped before its successor runs");
        swarm.run();
        assert_eq!(running_tasks(&swarm), 4);
        swarm.pass();
        stop(&mut swarm);
    }
    assert_eq!(wanted_of(&swarm, "two"), 3);
    assert_eq!(swarm.wanted().len(), 3);
}

#[test]
fn labels_and_scale_replace_no_task() {
    let mut swarm = running(2, |_| {});
    let before: Vec<TaskId> = swarm.all().iter().map(|task| task.id).collect();
    swarm.respec(|spec| {
        spec.annotations.labels.insert("a".to_owned(), "b".to_owned());
        spec.mode = replicas(3);
    });
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 3);
    assert!(before.iter().all(|id| swarm.wanted().iter().any(|task| task.id == *id)));
    assert_eq!(swarm.state.services().get(WEB).unwrap().update_status, None);
}

#[test]
fn force_replaces_all_though_nothing_else_changed() {
    let mut swarm = running(2, |spec| spec.update.parallelism = 0);
    let before: Vec<TaskId> = swarm.all().iter().map(|task| task.id).collect();
    swarm.respec(|spec| spec.task.force_update += 1);
    swarm.pass();
    assert_eq!(swarm.wanted().len(), 2);
    assert!(swarm.wanted().iter().all(|task| !before.contains(&task.id)));
}

#[test]
fn a_failure_pauses_the_update() {
    let mut swarm = running(3, |_| {});
    update(&mut swarm);
    stop(&mut swarm);
    swarm.pass();
    swarm.run();
    let failed = fail_new(&mut swarm);
    assert_eq!(state(&swarm), UpdateState::Paused);
    let text = format!("update paused due to failure or early termination of task {failed}");
    assert_eq!(message(&swarm), text);
    settle(&mut swarm);
    assert_eq!(wanted_of(&swarm, ""), 2, "the others stay");
    update_again_starts_afresh(&mut swarm);
}

fn update_again_starts_afresh(swarm: &mut Swarm) {
    swarm.respec(|spec| spec.task.container.image = "three".to_owned());
    swarm.pass();
    assert_eq!(state(swarm), UpdateState::Updating);
    assert_eq!(wanted_of(swarm, "three"), 1);
}

#[test]
fn tolerated_failures_do_not_pause() {
    let mut swarm = running(4, |spec| spec.update.max_failure_ratio = 0.25);
    update(&mut swarm);
    stop(&mut swarm);
    swarm.pass();
    swarm.run();
    fail_new(&mut swarm);
    assert_eq!(state(&swarm), UpdateState::Updating);
    settle(&mut swarm);
    fail_new(&mut swarm);
    settle(&mut swarm);
    fail_new(&mut swarm);
    assert_eq!(state(&swarm), UpdateState::Paused);
}

#[test]
fn an_update_goes_on_in_spite_of_failures_if_it_is_to() {
    let mut swarm = running(2, |spec| spec.update.failure_action = FailureAction::Continue);
    update(&mut swarm);
    settle(&mut swarm);
    fail_new(&mut swarm);
    settle(&mut swarm);
    settle(&mut swarm);
    assert_eq!(wanted_of(&swarm, "two"), 2);
    assert_eq!(state(&swarm), UpdateState::Completed);
}

/// An update whose first task failed and that goes back.
fn rolled_back() -> Swarm {
    let mut swarm = running(3, |spec| {
        spec.update.failure_action = FailureAction::Rollback;
        spec.rollback.failure_action = FailureAction::Rollback;
    });
    update(&mut swarm);
    stop(&mut swarm);
    swarm.pass();
    swarm.run();
    let failed = fail_new(&mut swarm);
    assert_eq!(state(&swarm), UpdateState::RollbackStarted);
    let text = format!("update rolled back due to failure or early termination of task {failed}");
    assert_eq!(message(&swarm), text);
    swarm
}

#[test]
fn a_failure_rolls_back_to_the_previous_spec() {
    let mut swarm = rolled_back();
    settle(&mut swarm);
    settle(&mut swarm);
    swarm.now = Timestamp(swarm.now.0 + 5 * SECOND);
    swarm.pass();
    assert_eq!(state(&swarm), UpdateState::RollbackCompleted);
    assert_eq!(message(&swarm), "rollback completed");
    assert_eq!(wanted_of(&swarm, ""), 3);
}

/// What was let go in the same look in which it came back would serve nobody for a while.
#[test]
fn a_rollback_keeps_what_still_serves_beside_its_successor() {
    let mut swarm = running(3, |spec| {
        spec.update.order = UpdateOrder::StartFirst;
        spec.update.parallelism = 2;
        spec.update.failure_action = FailureAction::Rollback;
    });
    let before: Vec<TaskId> = swarm.wanted().iter().map(|task| task.id).collect();
    update(&mut swarm);
    let new: Vec<TaskId> = swarm.all().iter().map(|it| it.id).skip(3).collect();
    assert_eq!(new.len(), 2);
    // Of the two one runs and one fails before either is looked at.
    for (id, state) in new.iter().zip([TaskState::Running, TaskState::Rejected]) {
        swarm.task(*id, |task| {
            task.node_id = Some(NodeId::new(1));
            task.status.state = state;
        });
    }
    swarm.pass();
    let status = message(&swarm);
    assert!(state(&swarm) == UpdateState::RollbackCompleted, "there was none to move: {status}");
    let wanted: Vec<TaskId> = swarm.wanted().iter().map(|task| task.id).collect();
    assert_eq!(wanted, before);
    assert!(swarm.wanted().iter().all(|task| task.status.state == TaskState::Running));
}

#[test]
fn after_a_rollback_by_itself_there_is_nothing_to_go_back_to() {
    let mut swarm = rolled_back();
    let service = swarm.state.services().get(WEB).unwrap();
    assert_eq!((&service.previous_spec, service.previous_spec_version), (&None, None));
    // What is changed then can be gone back from.
    let restored = service.spec_version;
    update(&mut swarm);
    let service = swarm.state.services().get(WEB).unwrap();
    assert_eq!(service.previous_spec_version, Some(restored));
}

/// Has a new task run from one moment and fail at another, on its node's clock.
fn fail_after(swarm: &mut Swarm, ran: Duration) {
    let all = swarm.wanted();
    let new = all.iter().find(|task| image(swarm, task) == "two").unwrap().id;
    swarm.task(new, |task| {
        task.status.running_since = Some(Timestamp(SECOND));
        task.status.timestamp = Timestamp(SECOND).saturating_add(ran);
        task.status.state = TaskState::Failed;
    });
    swarm.pass();
}

#[test]
fn a_failure_counts_while_the_new_task_is_watched() {
    for (ran, expected) in [
        (Duration::ZERO, UpdateState::Paused),
        (Duration::from_secs(3), UpdateState::Paused),
        (Duration::from_millis(3001), UpdateState::Updating),
    ] {
        let mut swarm = running(3, |spec| spec.update.monitor = Duration::from_secs(3));
        update(&mut swarm);
        stop(&mut swarm);
        swarm.pass();
        swarm.run();
        fail_after(&mut swarm, ran);
        assert_eq!(state(&swarm), expected, "after {ran:?}");
    }
}

#[test]
fn a_rollback_is_never_rolled_back() {
    let mut swarm = rolled_back();
    settle(&mut swarm);
    let service = swarm.state.services().get(WEB).unwrap().clone();
    let restored = swarm.all().into_iter().find(|task| {
        task.spec_version == service.spec_version && task.status.state == TaskState::Running
    });
    let failed = restored.unwrap().id;
    swarm.end(failed, TaskState::Failed);
    swarm.pass();
    assert_eq!(state(&swarm), UpdateState::RollbackPaused);
    let text = format!("rollback paused due to failure or early termination of task {failed}");
    assert_eq!(message(&swarm), text);
}

#[test]
fn a_new_leader_goes_on_from_the_state_alone() {
    let mut swarm = running(4, |spec| spec.update.delay = Duration::from_secs(10));
    update(&mut swarm);
    settle(&mut swarm);
    swarm.state = State::from_objects(swarm.state.to_objects()).unwrap();
    swarm.now = Timestamp(10 * SECOND);
    swarm.pass();
    assert_eq!(wanted_of(&swarm, "two"), 1, "the delay is not over");
    assert_eq!(swarm.wake, Some(Timestamp(11 * SECOND)));
    swarm.now = Timestamp(11 * SECOND);
    swarm.pass();
    assert_eq!(wanted_of(&swarm, "two"), 2);
}

#[test]
fn a_change_of_scale_during_an_update_keeps_what_was_moved() {
    let mut swarm = running(4, |_| {});
    update(&mut swarm);
    settle(&mut swarm);
    let moved: Vec<TaskId> = swarm
        .wanted()
        .iter()
        .filter(|task| task.status.state == TaskState::Running && image(&swarm, task) == "two")
        .map(|task| task.id)
        .collect();
    swarm.respec(|spec| spec.mode = replicas(6));
    for _ in 0..8 {
        settle(&mut swarm);
    }
    assert_eq!(wanted_of(&swarm, "two"), 6);
    assert!(moved.iter().all(|id| swarm.wanted().iter().any(|task| task.id == *id)));
}

#[test]
fn global_services_move_too() {
    let mut swarm = Swarm::new(3);
    swarm.service(ServiceMode::Global, |_| {});
    swarm.pass();
    swarm.run();
    swarm.now = Timestamp(SECOND);
    update(&mut swarm);
    for moved in 1..=3 {
        assert_eq!(wanted_of(&swarm, "two"), moved);
        settle(&mut swarm);
    }
    swarm.now = Timestamp(6 * SECOND);
    swarm.pass();
    assert_eq!(state(&swarm), UpdateState::Completed);
}

#[test]
fn a_slot_that_is_new_with_the_spec_takes_no_worker() {
    let mut swarm = running(3, |_| {});
    swarm.respec(|spec| {
        spec.mode = replicas(5);
        spec.task.container.image = "two".to_owned();
    });
    swarm.pass();
    // Two that are new, and of the others one at a time.
    assert_eq!((wanted_of(&swarm, "two"), wanted_of(&swarm, "")), (3, 2));
    // While the new ones find no node the update goes on.
    let moved = swarm.wanted().into_iter().find(|it| it.desired_state == DesiredState::Ready);
    stop(&mut swarm);
    swarm.pass();
    swarm.task(moved.unwrap().id, |task| {
        task.node_id = Some(NodeId::new(1));
        task.status.state = TaskState::Running;
    });
    swarm.pass();
    assert_eq!((wanted_of(&swarm, "two"), wanted_of(&swarm, "")), (4, 1));
}

#[test]
fn a_rollback_is_watched_for_as_long_as_it_says_itself() {
    for (ran, expected) in [
        (Duration::from_secs(7), UpdateState::RollbackPaused),
        (Duration::from_secs(8), UpdateState::RollbackStarted),
    ] {
        let mut swarm = running(3, |spec| {
            spec.update.failure_action = FailureAction::Rollback;
            spec.update.monitor = Duration::from_secs(1);
            spec.rollback.monitor = Duration::from_secs(7);
            spec.rollback.failure_action = FailureAction::Pause;
        });
        update(&mut swarm);
        stop(&mut swarm);
        swarm.pass();
        swarm.run();
        fail_new(&mut swarm);
        assert_eq!(state(&swarm), UpdateState::RollbackStarted);
        stop(&mut swarm);
        swarm.pass();
        swarm.run();
        let version = swarm.state.services().get(WEB).unwrap().spec_version;
        let back = swarm.wanted().into_iter().find(|task| task.spec_version == version).unwrap();
        swarm.task(back.id, |task| {
            task.status.running_since = Some(Timestamp(SECOND));
            task.status.timestamp = Timestamp(SECOND).saturating_add(ran);
            task.status.state = TaskState::Failed;
        });
        swarm.pass();
        assert_eq!(state(&swarm), expected, "after {ran:?}");
    }
}

#[test]
fn a_successor_waits_a_minute_at_most_and_as_long_as_the_task_before_it_drains() {
    for (drain, seconds) in [(None, 60), (Some("30s"), 90)] {
        let mut swarm = running(1, |spec| {
            let label = drain.map(|time| (drain::LABEL.to_owned(), time.to_owned()));
            spec.annotations.labels.extend(label);
        });
        update(&mut swarm);
        let last = Timestamp((1 + seconds) * SECOND);
        assert_eq!(swarm.wake, Some(last));
        for (now, expected) in
            [(Timestamp(last.0 - 1), DesiredState::Ready), (last, DesiredState::Running)]
        {
            swarm.now = now;
            swarm.pass();
            assert_eq!(swarm.wanted()[0].desired_state, expected, "{drain:?} at {now:?}");
        }
        assert_ne!(swarm.wake, Some(last));
    }
}
