//! A value, as bytes, and back: it is equal.

mod support;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use prost::Message;
use skep_proto::convert::{ConvertError, put_record, records};
use skep_proto::{state, swarmkit};
use skep_state::state::Objects;
use skep_state::{Action, Change, State, Transaction};
use skep_types::container::HealthConfig;
use skep_types::node::NodeStatus;
use skep_types::service::*;
use skep_types::task::Slot;
use skep_types::*;
use support::*;

fn check<M, T>(value: &T)
where
    M: Message + Default + for<'a> From<&'a T>,
    T: TryFrom<M, Error = ConvertError> + PartialEq + Debug,
{
    let bytes = M::from(value).encode_to_vec();
    let back = T::try_from(M::decode(bytes.as_slice()).unwrap());
    assert_eq!(back.as_ref(), Ok(value));
}

#[test]
fn every_field_of_a_spec() {
    check::<swarmkit::ServiceSpec, _>(&service_spec());
    check::<swarmkit::TaskSpec, _>(&task_spec());
    check::<swarmkit::ContainerSpec, _>(&container());
    check::<swarmkit::NetworkSpec, _>(&network_spec());
    check::<swarmkit::SecretSpec, _>(&secret().spec);
    check::<swarmkit::ConfigSpec, _>(&config().spec);
    check::<swarmkit::ClusterSpec, _>(&cluster_spec());
    check::<swarmkit::NodeSpec, _>(&node().spec);
    check::<swarmkit::NodeDescription, _>(&description());
    let status = NodeStatus { since: Timestamp::default(), ..node().status };
    check::<swarmkit::NodeStatus, _>(&status);
}

#[test]
fn every_field_of_an_object() {
    check::<state::Service, _>(&service());
    check::<state::Task, _>(&task());
    check::<state::Network, _>(&network());
    check::<state::Node, _>(&node());
    check::<state::Secret, _>(&secret());
    check::<state::Config, _>(&config());
    check::<state::Cluster, _>(&cluster());
    check::<state::Attachment, _>(&of_container());
    check::<swarmkit::Secret, _>(&secret());
    check::<swarmkit::Network, _>(&network());
    check::<swarmkit::TaskStatus, _>(&task_status());
    check::<swarmkit::Config, _>(&config());
}

#[test]
fn the_defaults_too() {
    check::<swarmkit::TaskSpec, _>(&TaskSpec::default());
    check::<swarmkit::ClusterSpec, _>(&ClusterSpec::default());
    check::<swarmkit::NetworkSpec, _>(&NetworkSpec::default());
    check::<swarmkit::NodeSpec, _>(&NodeSpec::default());
    check::<swarmkit::NodeDescription, _>(&Default::default());
    let bare = Network { vni: None, ipam: vec![], spec: NetworkSpec::default(), ..network() };
    check::<state::Network, _>(&bare);
    let bare = Task {
        node_id: None,
        slot: Slot::Node(NodeId::new(0)),
        networks: vec![],
        status: TaskStatus::default(),
        job_iteration: None,
        generic: vec![],
        ..task()
    };
    check::<state::Task, _>(&bare);
    let bare = Service {
        previous_spec: None,
        previous_spec_version: None,
        endpoint: None,
        update_status: None,
        job: None,
        ..service()
    };
    check::<state::Service, _>(&bare);
    let bare = Node { description: None, manager: None, certificate: vec![], ..node() };
    check::<state::Node, _>(&bare);
}

#[test]
fn every_value_of_an_enumeration() {
    for state in TaskState::ALL {
        check::<state::Task, _>(&Task { status: TaskStatus { state, ..task_status() }, ..task() });
        let status = TaskStatus { state, ..task_status() };
        assert_eq!(state::TaskStatus::from(&status).state, state as i32, "SwarmKit's numbers");
    }
    for desired_state in [
        DesiredState::Ready,
        DesiredState::Running,
        DesiredState::Complete,
        DesiredState::Shutdown,
        DesiredState::Remove,
    ] {
        check::<state::Task, _>(&Task { desired_state, ..task() });
    }
    for mode in [
        ServiceMode::Replicated { replicas: 0 },
        ServiceMode::Global,
        ServiceMode::ReplicatedJob { max_concurrent: 2, total_completions: 9 },
        ServiceMode::GlobalJob,
    ] {
        check::<swarmkit::ServiceSpec, _>(&ServiceSpec { mode, ..service_spec() });
    }
    for condition in [RestartCondition::None, RestartCondition::OnFailure, RestartCondition::Any] {
        check::<swarmkit::RestartPolicy, _>(&RestartPolicy { condition, ..Default::default() });
    }
    for failure_action in [FailureAction::Pause, FailureAction::Continue, FailureAction::Rollback] {
        check::<swarmkit::UpdateConfig, _>(&UpdateConfig { failure_action, ..Default::default() });
    }
    for state in [
        UpdateState::Updating,
        UpdateState::Paused,
        UpdateState::Completed,
        UpdateState::RollbackStarted,
        UpdateState::RollbackPaused,
        UpdateState::RollbackCompleted,
    ] {
        let started_at = Timestamp(1);
        let completed_at = None;
        check::<state::UpdateStatus, _>(&UpdateStatus {
            state,
            started_at,
            completed_at,
            message: String::new(),
            moving: Default::default(),
        });
    }
    for state in [NodeState::Unknown, NodeState::Down, NodeState::Ready, NodeState::Disconnected] {
        check::<swarmkit::NodeStatus, _>(&NodeStatus { state, ..Default::default() });
    }
    for availability in [Availability::Active, Availability::Pause, Availability::Drain] {
        for role in [NodeRole::Worker, NodeRole::Manager] {
            check::<swarmkit::NodeSpec, _>(&NodeSpec { availability, role, ..Default::default() });
        }
    }
}

fn check_change<T: skep_state::Object>(object: T)
where
    Action: From<Change<T>>,
{
    let id = object.id();
    let object = Arc::new(object);
    let actions = vec![
        Change::Create(Arc::clone(&object)).into(),
        Change::Update(object).into(),
        Change::<T>::Remove(id, None).into(),
        Change::<T>::Remove(id, Some(Revision(0))).into(),
    ];
    for action in &actions {
        check::<state::Action, _>(action);
    }
    check::<state::Transaction, _>(&Transaction { epoch: 3, now: Timestamp(-5), actions });
}

#[test]
fn every_action_on_every_kind() {
    check_change(cluster());
    check_change(node());
    check_change(service());
    check_change(task());
    check_change(network());
    check_change(secret());
    check_change(config());
    check_change(of_container());
}

#[test]
fn a_state_is_its_records() {
    let mut other = service();
    other.id = ServiceId::new(2);
    let spec = ServiceSpec {
        annotations: annotations("other"),
        endpoint: EndpointSpec::default(),
        ..service_spec()
    };
    other.spec = Arc::new(spec.clone());
    other.endpoint = None;
    let objects = Objects {
        epoch: 4,
        cluster: Some(cluster()),
        nodes: vec![node()],
        services: vec![other, service()],
        // Those that tasks are made from, as `apply` keeps them.
        specs: vec![
            (ServiceId::new(2), Revision(6), Arc::new(spec)),
            (service().id, Revision(6), service().spec),
        ],
        tasks: vec![Task { status: TaskStatus::default(), ..task() }],
        networks: vec![network()],
        secrets: vec![secret()],
        configs: vec![config()],
        attachments: vec![of_container()],
    };
    let view = State::from_objects(objects).unwrap();
    let mut back = Objects { epoch: 4, ..Objects::default() };
    for record in records(&view) {
        let bytes = record.encode_to_vec();
        put_record(&mut back, state::Record::decode(bytes.as_slice()).unwrap()).unwrap();
    }
    assert_eq!(back.specs.len(), 2);
    let back = State::from_objects(back).unwrap();
    assert!(back == view, "indexes and tables are the same");

    let mut twice = Objects::default();
    let record = records(&view).next().unwrap();
    put_record(&mut twice, record.clone()).unwrap();
    let error = put_record(&mut twice, record).unwrap_err().to_string();
    assert_eq!(error, "invalid message: field object.cluster: a second cluster is not supported");
}

#[test]
fn errors_name_the_field() {
    let refused =
        |message: swarmkit::ServiceSpec| ServiceSpec::try_from(message).unwrap_err().to_string();
    let good = || swarmkit::ServiceSpec::from(&service_spec());
    fn container(spec: &mut swarmkit::ServiceSpec) -> &mut swarmkit::ContainerSpec {
        match spec.task.as_mut().unwrap().runtime.as_mut().unwrap() {
            swarmkit::task_spec::Runtime::Container(container) => container,
            other => panic!("{other:?}"),
        }
    }

    let mut bad = good();
    container(&mut bad).mounts[2].r#type = swarmkit::mount::Type::Npipe as i32;
    assert_eq!(
        refused(bad),
        "invalid message: field task.container.mounts[2].type: unknown value 3"
    );
    let mut bad = good();
    container(&mut bad).secrets[0].secret_id = "s1".into();
    assert_eq!(
        refused(bad),
        "invalid message: field task.container.secrets[0].secret_id: \
         expected an id of 25 digits of 0-9a-z, got \"s1\""
    );
    let mut bad = good();
    container(&mut bad).isolation = 1;
    assert_eq!(
        refused(bad),
        "invalid message: field task.container.isolation: isolation is not supported"
    );
    let mut bad = good();
    bad.endpoint.as_mut().unwrap().ports[1].target_port = 65_536;
    assert_eq!(
        refused(bad),
        "invalid message: field endpoint.ports[1].target_port: expected a port number, got 65536"
    );
    let mut bad = good();
    bad.mode = None;
    assert_eq!(refused(bad), "invalid message: field mode: missing");

    let mut bad = state::Task::from(&task());
    bad.desired_state = swarmkit::TaskState::Orphaned as i32;
    let error = Task::try_from(bad).unwrap_err().to_string();
    assert_eq!(error, "invalid message: field desired_state: unknown value 832");
    let mut bad = state::Network::from(&network());
    bad.ipam[0].subnet.as_mut().unwrap().length = 33;
    let error = Network::try_from(bad).unwrap_err().to_string();
    assert!(error.contains("field ipam[0].subnet.length: expected a prefix"), "{error}");
}

#[test]
fn no_error_shows_a_payload() {
    let mut bad = swarmkit::Secret::from(&secret());
    bad.spec.as_mut().unwrap().driver = Some(swarmkit::Driver::default());
    let error = Secret::try_from(bad).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn a_count_of_retries_stays_within_32_bits() {
    let health = HealthConfig { retries: i64::MAX, ..HealthConfig::default() };
    assert_eq!(swarmkit::HealthConfig::from(&health).retries, i32::MAX);
}

proptest! {
    #[test]
    fn policies(delay: Duration, window: Duration, max_attempts: u64) {
        let delay = Duration::new(delay.as_secs() >> 1, delay.subsec_nanos());
        let window = Duration::new(window.as_secs() >> 1, window.subsec_nanos());
        let condition = RestartCondition::OnFailure;
        check::<swarmkit::RestartPolicy, _>(&RestartPolicy { condition, delay, max_attempts, window });
    }

    #[test]
    fn ports_of_any_number(name: String, target_port: u16, published_port: u16) {
        let port = PortConfig { name, target_port, published_port, ..PortConfig::default() };
        check::<swarmkit::PortConfig, _>(&port);
    }

    #[test]
    fn attachments_of_any_address(network: u128, v4: [u8; 4], v6: [u8; 16], a in 0..=32u8, b in 0..=128u8) {
        let addresses = vec![
            ipnet::IpNet::new(v4.into(), a).unwrap(),
            ipnet::IpNet::new(v6.into(), b).unwrap(),
        ];
        let network = NetworkId::new(network);
        check::<state::NetworkAttachment, _>(&NetworkAttachment { network, addresses, aliases: vec![] });
    }

    #[test]
    fn bytes_of_any_kind_do_not_panic(bytes: Vec<u8>) {
        if let Ok(message) = state::Transaction::decode(bytes.as_slice()) {
            let _ = Transaction::try_from(message);
        }
        if let Ok(message) = swarmkit::TaskSpec::decode(bytes.as_slice()) {
            let _ = TaskSpec::try_from(message);
        }
    }
}
