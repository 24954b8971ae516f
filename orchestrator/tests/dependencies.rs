//! Services that wait for others, by script.

mod support;

use std::sync::Arc;

use skep_state::Change;
use skep_types::service::JobStatus;
use skep_types::*;

use support::{Swarm, WEB, replicas};

const DB: ServiceId = ServiceId::new(2);

/// A swarm whose service `web` waits for `db`.
fn waiting_for_db(condition: &str) -> Swarm {
    let mut swarm = Swarm::new(1);
    let value = format!("db:{condition}");
    swarm.service(replicas(1), |spec| {
        spec.annotations.labels.insert("com.docker.stack.depends-on".to_owned(), value);
    });
    swarm
}

fn add_db(swarm: &mut Swarm, mode: ServiceMode) {
    let web = Service::clone(swarm.state.services().get(WEB).unwrap());
    let mut spec = ServiceSpec::clone(&web.spec);
    spec.annotations = Annotations { name: "db".to_owned(), ..Annotations::default() };
    spec.mode = mode;
    let job = mode.is_job().then(JobStatus::default);
    swarm.act(Change::Create(Arc::new(Service { id: DB, spec: Arc::new(spec), job, ..web })));
}

fn of(swarm: &Swarm, service: ServiceId) -> Arc<Task> {
    swarm.state.tasks_of_service(service).max_by_key(|task| task.id).unwrap().clone()
}

fn come_to(swarm: &mut Swarm, state: TaskState) {
    let task = of(swarm, DB).id;
    swarm.task(task, |task| {
        task.node_id = Some(NodeId::new(1));
        task.status.state = state;
    });
    swarm.pass();
}

/// What it depends on changes: a task that has waited for it goes on, another one waits anew.
fn only_who_begins_now_waits(swarm: &mut Swarm, db: Service) {
    swarm.act(Change::Update(Arc::new(db)));
    swarm.respec(|spec| spec.mode = replicas(2));
    swarm.pass();
    let states: Vec<_> = swarm.state.tasks_of_service(WEB).map(|task| task.status.state).collect();
    assert_eq!(states, [TaskState::Pending, TaskState::New]);
}

#[test]
fn tasks_begin_when_what_they_wait_for_has_come_so_far() {
    let job = ServiceMode::ReplicatedJob { max_concurrent: 1, total_completions: 1 };
    for (condition, mode, steps, why) in [
        (
            "service_started",
            replicas(1),
            &[(TaskState::Preparing, false), (TaskState::Starting, true)][..],
            "waits for service db, which has not started",
        ),
        (
            "service_healthy",
            replicas(1),
            &[(TaskState::Starting, false), (TaskState::Running, true)],
            "waits for service db, which is not healthy",
        ),
        (
            "service_completed_successfully",
            job,
            &[(TaskState::Running, false), (TaskState::Complete, true)],
            "waits for service db, which has not completed successfully",
        ),
        (
            "service_started",
            job,
            &[(TaskState::Complete, true)],
            "waits for service db, which has not started",
        ),
    ] {
        let mut swarm = waiting_for_db(condition);
        swarm.pass();
        let waiting = of(&swarm, WEB);
        assert_eq!(waiting.status.state, TaskState::New);
        assert_eq!(waiting.status.error, "waits for service db, which does not exist");
        add_db(&mut swarm, mode);
        swarm.pass();
        assert_eq!(of(&swarm, WEB).status.error, why);
        for (state, begins) in steps {
            come_to(&mut swarm, *state);
            let task = of(&swarm, WEB);
            assert_eq!(task.status.state == TaskState::Pending, *begins, "{condition} {state:?}");
            assert_eq!(task.status.error.is_empty(), *begins);
        }
    }
}

#[test]
fn a_job_that_failed_has_not_completed_and_one_that_runs_again_neither() {
    let mut swarm = waiting_for_db("service_completed_successfully");
    add_db(&mut swarm, ServiceMode::ReplicatedJob { max_concurrent: 1, total_completions: 1 });
    swarm.pass();
    come_to(&mut swarm, TaskState::Failed);
    assert_eq!(of(&swarm, WEB).status.state, TaskState::New);
    // The next attempt does it.
    swarm.now = swarm.wake.unwrap();
    swarm.pass();
    come_to(&mut swarm, TaskState::Complete);
    assert_eq!(of(&swarm, WEB).status.state, TaskState::Pending);
    // Another run: what begins from now on waits for it.
    let mut db = Service::clone(swarm.state.services().get(DB).unwrap());
    db.job = Some(JobStatus { iteration: 1, last_execution: swarm.now });
    only_who_begins_now_waits(&mut swarm, db);
}

#[test]
fn without_its_label_a_service_waits_no_more() {
    let mut swarm = waiting_for_db("service_started");
    swarm.pass();
    assert_eq!(of(&swarm, WEB).status.state, TaskState::New);
    swarm.respec(|spec| spec.annotations.labels.clear());
    swarm.pass();
    assert_eq!(of(&swarm, WEB).status.state, TaskState::Pending);
}

#[test]
fn of_two_services_that_are_waited_for_the_one_that_was_told_stays_told() {
    let mut swarm = waiting_for_db("service_started");
    let both = "db:service_started,cache:service_started".to_owned();
    swarm.respec(|spec| {
        spec.annotations.labels.insert("com.docker.stack.depends-on".to_owned(), both);
    });
    add_db(&mut swarm, replicas(1));
    swarm.pass();
    come_to(&mut swarm, TaskState::Running);
    let cache = "waits for service cache, which does not exist";
    assert_eq!(of(&swarm, WEB).status.error, cache);
    swarm.act(Change::<Service>::Remove(DB, None));
    swarm.pass();
    assert_eq!(of(&swarm, WEB).status.error, cache, "it still does not");
}

/// The tasks of `db`, each in its slot, and which state each comes to; whether `web` may begin.
fn begins_after(mode: ServiceMode, states: &[TaskState]) -> bool {
    let mut swarm = waiting_for_db("service_completed_successfully");
    (2..=states.len() as u128).for_each(|node| swarm.join(node));
    add_db(&mut swarm, mode);
    let mut db = Service::clone(swarm.state.services().get(DB).unwrap());
    Arc::make_mut(&mut db.spec).task.restart.condition = RestartCondition::None;
    swarm.act(Change::Update(Arc::new(db)));
    swarm.pass();
    let mut tasks: Vec<_> = swarm.state.tasks_of_service(DB).cloned().collect();
    tasks.sort_by_key(|task| task.slot);
    for (task, state) in tasks.iter().zip(states) {
        swarm.task(task.id, |task| {
            task.node_id = task.node_id.or(Some(NodeId::new(1)));
            task.status.state = *state;
        });
    }
    swarm.pass();
    of(&swarm, WEB).status.state == TaskState::Pending
}

#[test]
fn a_service_has_completed_when_all_of_its_slots_have() {
    use TaskState::{Complete, Failed, Running};
    let of_two =
        |max_concurrent| ServiceMode::ReplicatedJob { max_concurrent, total_completions: 2 };
    for (mode, states, expected) in [
        (replicas(2), &[Complete, Complete][..], true),
        (replicas(2), &[Complete, Running], false),
        (replicas(2), &[Complete, Failed], false),
        (of_two(2), &[Complete, Complete], true),
        (of_two(2), &[Complete, Failed], false),
        // The second has no task yet.
        (of_two(1), &[Complete], false),
        (ServiceMode::GlobalJob, &[Complete, Complete], true),
        (ServiceMode::GlobalJob, &[Complete, Running], false),
        (ServiceMode::Global, &[Complete, Complete], true),
    ] {
        assert_eq!(begins_after(mode, states), expected, "{mode:?} {states:?}");
    }
}

#[test]
fn what_completed_under_an_earlier_spec_has_not_completed() {
    let mut swarm = waiting_for_db("service_completed_successfully");
    add_db(&mut swarm, replicas(1));
    let mut db = Service::clone(swarm.state.services().get(DB).unwrap());
    Arc::make_mut(&mut db.spec).task.restart.condition = RestartCondition::None;
    swarm.act(Change::Update(Arc::new(db)));
    swarm.pass();
    come_to(&mut swarm, TaskState::Complete);
    assert_eq!(of(&swarm, WEB).status.state, TaskState::Pending);
    // Of the next spec nothing has run: who begins now waits.
    let mut db = Service::clone(swarm.state.services().get(DB).unwrap());
    Arc::make_mut(&mut db.spec).task.container.image = "two".to_owned();
    only_who_begins_now_waits(&mut swarm, db);
}

#[test]
fn where_no_node_is_one_for_a_global_job_nothing_has_completed() {
    let mut swarm = waiting_for_db("service_completed_successfully");
    add_db(&mut swarm, ServiceMode::GlobalJob);
    let mut db = Service::clone(swarm.state.services().get(DB).unwrap());
    Arc::make_mut(&mut db.spec).task.placement.constraints =
        vec!["node.role == manager".to_owned()];
    swarm.act(Change::Update(Arc::new(db)));
    swarm.pass();
    assert_eq!(swarm.state.tasks_of_service(DB).count(), 0);
    assert_eq!(of(&swarm, WEB).status.state, TaskState::New);
}
