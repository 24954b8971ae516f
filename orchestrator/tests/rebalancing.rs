//! A service that is rebalanced: the tasks that are to move do, as in an update, and no others.

mod support;

use std::sync::Arc;
use std::time::Duration;

use skep_orchestrator::rebalance::{Refusal, begin, check};
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

/// Asks for tasks of these slots to go to the second node, as they are now.
fn ask(swarm: &mut Swarm, slots: &[u64]) {
    let in_slot = |task: &&Arc<Task>| slots.iter().any(|slot| task.slot == Slot::Replica(*slot));
    let tasks = swarm.wanted().iter().filter(in_slot).map(|it| (it.id, NodeId::new(2))).collect();
    let service = Arc::clone(swarm.state.services().get(WEB).unwrap());
    let begun = begin(&swarm.state, &service, &tasks, swarm.now).unwrap();
    swarm.act(Change::Update(Arc::new(begun)));
    swarm.pass();
}

#[test]
fn a_slot_that_another_rebalance_took_down_counts_until_it_is_back() {
    let mut swarm = rebalanced(1, |_| {});
    assert_eq!(of_slot(&swarm, 1)[0].0, DesiredState::Shutdown);
    // A change of labels ends that one; what it began goes on.
    swarm.respec(|spec| drop(spec.annotations.labels.insert("a".to_owned(), "b".to_owned())));
    swarm.pass();
    ask(&mut swarm, &[2]);
    assert_eq!(of_slot(&swarm, 2).len(), 1, "one at a time");
    go_on(&mut swarm);
    assert_eq!(of_slot(&swarm, 1)[1], (DesiredState::Running, TaskState::Running));
    assert_eq!(of_slot(&swarm, 2)[0].0, DesiredState::Shutdown);
    go_on(&mut swarm);
    swarm.wait(MONITOR);
    swarm.pass();
    assert_eq!(status(&swarm).0, UpdateState::Completed);
}

#[test]
fn what_an_earlier_rebalance_could_not_start_does_not_count_for_the_next() {
    let mut swarm = rebalanced(1, |spec| {
        spec.update.order = UpdateOrder::StartFirst;
        spec.update.failure_action = FailureAction::Continue;
        spec.task.restart.condition = RestartCondition::None;
    });
    let successor = swarm.all().into_iter().max_by_key(|task| task.id).unwrap();
    assert_eq!(successor.slot, Slot::Replica(1));
    swarm.end(successor.id, TaskState::Failed);
    swarm.pass();
    assert_eq!(status(&swarm).0, UpdateState::Completed);
    let serves =
        |swarm: &Swarm| of_slot(swarm, 1)[0] == (DesiredState::Running, TaskState::Running);
    assert!(serves(&swarm), "what it was to take over from serves on");
    swarm.wait(Duration::from_secs(1));
    swarm.pass();
    let before = of_slot(&swarm, 1).len();
    ask(&mut swarm, &[1]);
    assert_eq!(status(&swarm).0, UpdateState::Updating, "nothing has moved yet");
    assert_eq!(of_slot(&swarm, 1).len(), before + 1, "another successor is made");
    assert!(serves(&swarm));
    go_on(&mut swarm);
    go_on(&mut swarm);
    swarm.wait(MONITOR);
    swarm.pass();
    assert_eq!(status(&swarm).0, UpdateState::Completed);
    assert_eq!(of_slot(&swarm, 1).last(), Some(&(DesiredState::Running, TaskState::Running)));
}

#[test]
fn a_slot_whose_task_has_failed_or_finds_no_node_holds_no_rebalance_up() {
    for fails in [true, false] {
        let mut swarm = rebalanced(0, |_| {});
        let on = |swarm: &Swarm, node: u128| -> Vec<Arc<Task>> {
            let is_there = |task: &Arc<Task>| task.node_id == Some(NodeId::new(node));
            swarm.wanted().into_iter().filter(is_there).collect()
        };
        let (leaving, stays) = (on(&swarm, 1), on(&swarm, 2));
        assert_eq!((leaving.len(), stays.len()), (2, 2));
        if !fails {
            swarm.node(1, |node| node.spec.availability = Availability::Drain);
            swarm.pass();
        }
        let end = if fails { TaskState::Failed } else { TaskState::Shutdown };
        leaving.iter().for_each(|task| swarm.end(task.id, end));
        swarm.pass();
        for task in swarm.wanted().iter().filter(|it| !fails && it.node_id.is_none()) {
            swarm.task(task.id, |task| task.status.error = "no suitable node".to_owned());
        }
        assert_eq!(swarm.wanted().len(), 4);
        let Slot::Replica(slot) = stays[0].slot else { unreachable!() };
        ask(&mut swarm, &[slot]);
        assert_eq!(of_slot(&swarm, slot)[0].0, DesiredState::Shutdown);
    }
}

fn asked(swarm: &Swarm) -> Result<(), Refusal> {
    check(&swarm.state, swarm.state.services().get(WEB).unwrap())
}

#[test]
fn only_replicas_that_are_not_being_changed_are_spread_anew() {
    let job = ServiceMode::ReplicatedJob { max_concurrent: 1, total_completions: 1 };
    for mode in [ServiceMode::Global, ServiceMode::GlobalJob, job] {
        let mut swarm = Swarm::new(1);
        swarm.service(mode, |_| {});
        swarm.pass();
        assert_eq!(asked(&swarm), Err(Refusal::NotReplicated(mode)));
    }
    let mut swarm = rebalanced(1, |_| {});
    assert_eq!(asked(&swarm), Err(Refusal::Updating), "another one");
    go_on(&mut swarm);
    swarm.wait(MONITOR);
    swarm.pass();
    assert_eq!(asked(&swarm), Ok(()));
    swarm.respec(|spec| spec.task.container.image = "two".to_owned());
    assert_eq!(asked(&swarm), Err(Refusal::Updating), "an update that has yet to begin");
    swarm.pass();
    swarm.run();
    let new = swarm.wanted().into_iter().find(|task| task.status.state != TaskState::Running);
    swarm.end(new.unwrap().id, TaskState::Rejected);
    swarm.pass();
    assert_eq!(status(&swarm).0, UpdateState::Paused);
    assert_eq!(asked(&swarm), Err(Refusal::Updating), "one that is not through");
}

#[test]
fn what_has_changed_since_it_was_planned_is_not_moved() {
    let mut swarm = rebalanced(0, |_| {});
    let mut other = Service::clone(swarm.state.services().get(WEB).unwrap());
    other.id = ServiceId::new(2);
    Arc::make_mut(&mut other.spec).annotations.name = "other".to_owned();
    swarm.act(Change::Create(Arc::new(other)));
    swarm.pass();
    swarm.run();
    let all = swarm.wanted();
    let begun = |swarm: &Swarm, id: TaskId| {
        let service = swarm.state.services().get(WEB).unwrap();
        let tasks = [(id, NodeId::new(2))].into();
        begin(&swarm.state, service, &tasks, swarm.now).map(|it| it.moves(id))
    };
    let id = all[0].id;
    assert_eq!(begun(&swarm, id), Ok(true));
    let others = swarm.state.tasks_of_service(ServiceId::new(2)).next().unwrap().id;
    for gone in [TaskId::new(7), others] {
        assert_eq!(begun(&swarm, gone), Err(Refusal::Gone(gone)));
    }
    swarm.task(id, |task| task.desired_state = DesiredState::Shutdown);
    assert_eq!(begun(&swarm, id), Err(Refusal::Gone(id)));
    let id = all[1].id;
    swarm.end(id, TaskState::Failed);
    assert_eq!(begun(&swarm, id), Err(Refusal::Gone(id)));
}
