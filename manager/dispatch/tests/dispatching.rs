//! What nodes are sent and what their reports do.

use std::sync::Arc;

use skep_dispatch::{Assignments, Report, reported};
use skep_state::{Action, Change, State, Transaction};
use skep_types::container::{FileTarget, SecretReference};
use skep_types::task::Slot;
use skep_types::*;

const HERE: NodeId = NodeId::new(1);
const ELSEWHERE: NodeId = NodeId::new(2);
const TASK: TaskId = TaskId::new(1);
const SECRET: SecretId = SecretId::new(1);

fn act(state: &mut State, action: impl Into<Action>) {
    let actions = vec![action.into()];
    state.apply(&Transaction { epoch: 1, now: Timestamp(1), actions }).unwrap();
}

/// A service that reads a secret, with a task assigned here, and a secret that nobody reads.
fn swarm() -> State {
    let mut state = State::default();
    for (id, name) in [(1, "read"), (2, "unread")] {
        let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
        act(
            &mut state,
            Change::Create(Arc::new(Secret {
                id: SecretId::new(id),
                meta: Meta::default(),
                spec: SecretSpec {
                    annotations,
                    data: Payload(b"x".as_slice().into()),
                    template: false,
                },
            })),
        );
    }
    let mut task_spec = TaskSpec::default();
    task_spec.container.secrets.push(SecretReference {
        secret_id: SECRET,
        secret_name: "read".to_owned(),
        target: FileTarget {
            name: "read".to_owned(),
            uid: "0".to_owned(),
            gid: "0".to_owned(),
            mode: 0o444,
        },
    });
    act(
        &mut state,
        Change::Create(Arc::new(Service::new(
            ServiceId::new(1),
            Arc::new(ServiceSpec {
                task: task_spec,
                ..ServiceSpec::new(
                    Annotations { name: "web".to_owned(), ..Annotations::default() },
                    ServiceMode::Replicated { replicas: 1 },
                )
            }),
        ))),
    );
    act(
        &mut state,
        Change::Create(Arc::new(Task {
            id: TASK,
            meta: Meta::default(),
            service_id: ServiceId::new(1),
            slot: Slot::Replica(1),
            spec_version: Revision(1),
            node_id: Some(HERE),
            status: TaskStatus { state: TaskState::Assigned, ..TaskStatus::default() },
            desired_state: DesiredState::Running,
            networks: vec![],
            job_iteration: None,
            generic: vec![],
        })),
    );
    state
}

fn change_task(state: &mut State, change: impl FnOnce(&mut Task)) {
    let mut task = Task::clone(state.tasks().get(TASK).unwrap());
    change(&mut task);
    act(state, Change::Update(Arc::new(task)));
}

fn report(state: TaskState) -> Report {
    Report { task: TASK, status: TaskStatus { state, ..TaskStatus::default() } }
}

#[test]
fn a_node_is_sent_its_tasks_and_only_the_secrets_they_read() {
    let state = swarm();
    let here = Assignments::default().difference(&Assignments::of(&state, HERE));
    assert_eq!(here.tasks.iter().map(|it| it.task.id).collect::<Vec<_>>(), [TASK]);
    assert_eq!(here.secrets.iter().map(|it| it.id).collect::<Vec<_>>(), [SECRET]);
    let elsewhere = Assignments::default().difference(&Assignments::of(&state, ELSEWHERE));
    assert!(elsewhere.is_empty());
}

#[test]
fn a_nodes_own_reports_are_not_sent_back_to_it() {
    let mut state = swarm();
    let before = Assignments::of(&state, HERE);
    change_task(&mut state, |task| task.status.state = TaskState::Running);
    assert!(before.difference(&Assignments::of(&state, HERE)).is_empty());
}

#[test]
fn a_secret_leaves_the_node_when_the_last_task_that_reads_it_stops() {
    let mut state = swarm();
    let before = Assignments::of(&state, HERE);
    change_task(&mut state, |task| task.desired_state = DesiredState::Shutdown);
    let told = before.difference(&Assignments::of(&state, HERE));
    assert_eq!(told.tasks[0].task.desired_state, DesiredState::Shutdown);
    assert_eq!(told.removed_secrets, [SECRET]);
    assert!(told.removed_tasks.is_empty(), "the task stays until it is removed from the state");
}

#[test]
fn a_report_moves_a_task_forward_and_a_late_one_changes_nothing() {
    let mut state = swarm();
    let actions = reported(&state, HERE, &[report(TaskState::Running)]).unwrap();
    assert_eq!(actions.len(), 1);
    state.apply(&Transaction { epoch: 1, now: Timestamp(1), actions }).unwrap();
    assert_eq!(state.tasks().get(TASK).unwrap().status.state, TaskState::Running);
    for late in [TaskState::Preparing, TaskState::Running] {
        assert!(reported(&state, HERE, &[report(late)]).unwrap().is_empty());
    }
}

#[test]
fn many_reports_on_one_task_become_one_change() {
    let mut state = swarm();
    let reports = [TaskState::Accepted, TaskState::Running, TaskState::Ready].map(report);
    let actions = reported(&state, HERE, &reports).unwrap();
    assert_eq!(actions.len(), 1);
    state.apply(&Transaction { epoch: 1, now: Timestamp(1), actions }).unwrap();
    assert_eq!(state.tasks().get(TASK).unwrap().status.state, TaskState::Running);
}

#[test]
fn a_node_cannot_report_on_another_nodes_task() {
    let error = reported(&swarm(), ELSEWHERE, &[report(TaskState::Failed)]).unwrap_err();
    assert_eq!(error.node, ELSEWHERE);
    let gone = Report { task: TaskId::new(9), ..report(TaskState::Failed) };
    assert_eq!(reported(&swarm(), ELSEWHERE, &[gone]), Ok(vec![]));
}

#[test]
fn a_task_says_when_it_began_to_run_after_it_has_ended_too() {
    let at = |seconds, state| Report {
        task: TASK,
        status: TaskStatus { state, timestamp: Timestamp(seconds), ..TaskStatus::default() },
    };
    let since = |reports: &[&[Report]]| {
        let mut state = swarm();
        for reports in reports {
            let actions = reported(&state, HERE, reports).unwrap();
            state.apply(&Transaction { epoch: 1, now: Timestamp(99), actions }).unwrap();
        }
        state.tasks().get(TASK).unwrap().status.running_since
    };
    let (starting, running) = (at(1, TaskState::Starting), at(2, TaskState::Running));
    let failed = at(5, TaskState::Failed);
    let alone = std::slice::from_ref;
    assert_eq!(since(&[alone(&starting), alone(&failed)]), None);
    assert_eq!(since(&[alone(&running), alone(&failed)]), Some(Timestamp(2)));
    assert_eq!(since(&[&[running, failed]]), Some(Timestamp(2)), "in one report");
}
