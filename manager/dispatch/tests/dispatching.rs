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

/// A container of the node HERE on an attachable network, which is all there is.
fn with_attachment() -> State {
    let mut state = State::default();
    let root_ca = skep_types::cluster::RootCa {
        certificate: vec![],
        key: Payload::default(),
        join_tokens: JoinTokens::default(),
    };
    act(
        &mut state,
        Change::Create(Arc::new(Cluster {
            id: ClusterId::new(1),
            meta: Meta::default(),
            spec: ClusterSpec::default(),
            root_ca,
            feature_level: feature::NEWEST,
            data_path_port: defaults::DATA_PATH_PORT,
            address_pools: vec![],
            subnet_length: defaults::SUBNET_LENGTH,
        })),
    );
    for id in [HERE, ELSEWHERE] {
        let mut node = Node::new(id, NodeSpec::default());
        node.status.addr = "192.0.2.1".to_owned();
        act(&mut state, Change::Create(Arc::new(node)));
    }
    let annotations = Annotations { name: "open".to_owned(), ..Annotations::default() };
    let spec = NetworkSpec { annotations, attachable: true, ..NetworkSpec::default() };
    let subnet = "10.0.1.0/24".parse().unwrap();
    act(
        &mut state,
        Change::Create(Arc::new(Network {
            vni: Some(Vni(4097)),
            ipam: vec![skep_types::network::IpamConfig { subnet, range: None, gateway: None }],
            ..Network::new(NetworkId::new(1), spec)
        })),
    );
    act(
        &mut state,
        Change::Create(Arc::new(Attachment {
            id: AttachmentId::new(7),
            meta: Meta::default(),
            node_id: HERE,
            network: NetworkId::new(1),
            container_id: "c0ffee".to_owned(),
            names: vec!["web".to_owned()],
            addresses: vec!["10.0.1.2/24".parse().unwrap()],
        })),
    );
    state
}

#[test]
fn a_node_is_told_of_its_containers_on_networks_and_everybody_there_of_their_names() {
    use skep_dispatch::endpoints::{networks_of, of_node};
    let state = with_attachment();
    let assigned = Assignments::of(&state, HERE);
    assert!(assigned.attachments.contains_key(&AttachmentId::new(7)));
    assert!(Assignments::of(&state, ELSEWHERE).attachments.is_empty());
    assert!(networks_of(&state, ELSEWHERE).is_empty());
    let networks = of_node(&state, HERE);
    let [endpoint] = &networks[&NetworkId::new(1)].answers.endpoints[..] else {
        panic!("{networks:?}")
    };
    assert_eq!((endpoint.service, endpoint.task), (None, TaskId::new(7)));
    assert_eq!(endpoint.names, ["web"]);
}

#[test]
fn an_attachment_that_a_dockerd_says_has_ended_is_gone() {
    let mut state = with_attachment();
    let report = |state| Report {
        task: TaskId::new(7),
        status: TaskStatus { state, ..TaskStatus::default() },
    };
    let of = |node, it| reported(&state, node, &[report(it)]);
    assert_eq!(of(HERE, TaskState::Running), Ok(vec![]));
    assert!(of(ELSEWHERE, TaskState::Failed).is_err(), "it is another node's");
    for action in of(HERE, TaskState::Failed).unwrap() {
        act(&mut state, action);
    }
    assert!(state.attachments().is_empty());
}
