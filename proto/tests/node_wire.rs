//! What a manager shows a node, and what the node reports: as SwarmKit has it, and back.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use skep_proto::convert::{
    ConvertError, NodeAttachment, NodeTask, id, part, reported_status, status_update, task_name,
    wire_attachment, wire_node, wire_task,
};
use skep_proto::swarmkit::{self, node_status, task_spec, task_status};
use skep_proto::v1;
use skep_types::service::{Endpoint, EndpointMode, PublishMode};
use skep_types::task::Slot;
use skep_types::*;
use support::*;

fn over_the_wire<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn shown(task: &Task, endpoint: Option<&Endpoint>) -> swarmkit::Task {
    let other = Network { id: NetworkId::new(99), ..network() };
    let networks = [Arc::new(other), Arc::new(network())];
    over_the_wire(&wire_task(task, &service_spec(), endpoint, &networks))
}

#[test]
fn a_node_reads_all_that_a_task_is() {
    let (task, endpoint) = (task(), endpoint());
    let expected = NodeTask {
        id: task.id,
        meta: meta(),
        service_id: task.service_id,
        service_name: "web".into(),
        service_labels: annotations("web").labels,
        slot: Slot::Replica(1),
        node_id: NodeId::new(11),
        desired_state: DesiredState::Shutdown,
        status: task_status(),
        spec: task_spec(),
        annotations: Annotations { name: format!("web.1.{}", task.id), labels: BTreeMap::new() },
        networks: vec![(network(), attachment())],
        endpoint: Some(endpoint.clone()),
        generic: task.generic.clone(),
    };
    assert_eq!(NodeTask::try_from(shown(&task, Some(&endpoint))), Ok(expected));
}

#[test]
fn a_global_services_task_goes_by_its_node() {
    let node = NodeId::new(11);
    let task = Task { slot: Slot::Node(node), networks: vec![], ..task() };
    let message = shown(&task, None);
    assert_eq!((message.slot, message.node_id.as_str()), (0, node.to_string().as_str()));
    let read = NodeTask::try_from(message).unwrap();
    assert_eq!(read.slot, Slot::Node(node));
    assert_eq!(read.annotations.name, format!("web.{node}.{}", task.id));
    assert_eq!((read.networks, read.endpoint), (vec![], None));
}

#[test]
fn what_dockers_overlay_driver_looks_for_is_there() {
    let endpoint = Endpoint { mode: EndpointMode::Vip, ..endpoint() };
    let task = shown(&task(), Some(&endpoint));
    let network = task.networks[0].network.as_ref().unwrap();
    let driver = network.driver_state.as_ref().unwrap();
    assert_eq!(driver.name, "overlay");
    assert_eq!(
        driver.options,
        map(&[("com.docker.network.driver.overlay.vxlanid_list", "4097"), ("encrypted", "")])
    );
    let ipam = network.ipam.as_ref().unwrap();
    assert_eq!(ipam.driver.as_ref().unwrap().name, "default");
    let config = &ipam.configs[0];
    assert_eq!(
        (config.family, config.subnet.as_str(), config.gateway.as_str()),
        (4, "10.0.1.0/24", "10.0.1.1")
    );
    assert_eq!(task.networks[0].addresses, ["10.0.1.7/24", "fd00::7/64"]);
    let endpoint = task.endpoint.unwrap();
    assert_eq!(endpoint.virtual_ips[0].addr, "10.0.1.2/24");
    assert_eq!(endpoint.spec.unwrap().mode, 0, "what was allocated, not what is asked for since");
    assert_eq!(task.desired_state, 640);
    assert_eq!(task.spec_version.unwrap().index, 6);
    assert_eq!(task.log_driver, task.spec.unwrap().log_driver);
}

/// Nearly empty, as dockerd 28.5 as a manager sends it: no restart policy, no name, no log driver.
#[test]
fn a_docker_managers_task_is_read() {
    let (task_id, node, service) = (TaskId::new(1), NodeId::new(2), ServiceId::new(3));
    let network_id = NetworkId::new(4);
    let message = swarmkit::Task {
        id: task_id.to_string(),
        spec: Some(swarmkit::TaskSpec {
            runtime: Some(task_spec::Runtime::Container(swarmkit::ContainerSpec {
                image: "probe:1".into(),
                init: Some(false),
                dns_config: Some(Default::default()),
                ..Default::default()
            })),
            resources: Some(swarmkit::ResourceRequirements {
                limits: Some(Default::default()),
                reservations: Some(Default::default()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        service_id: service.to_string(),
        node_id: node.to_string(),
        annotations: Some(Default::default()),
        service_annotations: Some(swarmkit::Annotations {
            name: "web".into(),
            ..Default::default()
        }),
        status: Some(swarmkit::TaskStatus {
            state: 192,
            timestamp: Some(prost_types::Timestamp { seconds: 1_795_460_593, nanos: 422_006_742 }),
            ..Default::default()
        }),
        desired_state: 512,
        networks: vec![swarmkit::NetworkAttachment {
            network: Some(swarmkit::Network {
                id: network_id.to_string(),
                spec: Some(swarmkit::NetworkSpec {
                    annotations: Some(swarmkit::Annotations {
                        name: "ingress".into(),
                        ..Default::default()
                    }),
                    driver_config: Some(Default::default()),
                    ipam: Some(swarmkit::IpamOptions {
                        driver: Some(Default::default()),
                        configs: vec![],
                    }),
                    ingress: true,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            addresses: vec!["10.0.0.5/24".into()],
            ..Default::default()
        }],
        spec_version: Some(Default::default()),
        ..Default::default()
    };
    let task = NodeTask::try_from(over_the_wire(&message)).unwrap();
    assert_eq!(task.annotations.name, task_name("web", Slot::Node(node), task_id));
    assert_eq!(task.spec.restart, RestartPolicy::default());
    assert_eq!(task.spec.container.init, Some(false));
    assert_eq!(task.status.timestamp, Timestamp(1_795_460_593_422_006_742));
    assert_eq!(task.networks[0].1.addresses, ["10.0.0.5/24".parse().unwrap()]);
    assert_eq!(task.networks[0].0.vni, None);
}

#[test]
fn what_a_node_cannot_run_is_refused_by_field() {
    let refused = |change: fn(&mut swarmkit::Task)| {
        let mut message = shown(&task(), Some(&endpoint()));
        change(&mut message);
        NodeTask::try_from(message).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|task| task.volumes.push(Default::default())),
        "invalid message: field volumes: a cluster volume is not supported"
    );
    assert_eq!(
        refused(|task| task.networks[0].addresses[1] = "10.0.0.1".into()),
        "invalid message: field networks[0].addresses[1]: \
         expected an address with its prefix length, got \"10.0.0.1\""
    );
    assert_eq!(
        refused(|task| task.spec.as_mut().unwrap().runtime = None),
        "invalid message: field spec.container: missing"
    );
    assert_eq!(
        refused(|task| {
            let network = task.networks[0].network.as_mut().unwrap();
            let options = &mut network.driver_state.as_mut().unwrap().options;
            options.insert(
                "com.docker.network.driver.overlay.vxlanid_list".into(),
                "4097,4098".into(),
            );
        }),
        "invalid message: field networks[0].network.driver_state.options: \
         expected one VXLAN id, got \"4097,4098\""
    );
}

#[test]
fn a_report_is_read_as_it_was_meant() {
    for state in TaskState::ALL {
        let status = TaskStatus { state, ..task_status() };
        let update = over_the_wire(&status_update(TaskId::new(31), &status));
        assert_eq!(reported_status(update), Ok((TaskId::new(31), status)));
    }
    let bare = TaskStatus::default();
    let update = status_update(TaskId::new(31), &bare);
    assert_eq!(update.status.as_ref().unwrap().port_status, None);
    assert_eq!(reported_status(update), Ok((TaskId::new(31), bare)));

    let mut odd = status_update(TaskId::new(31), &task_status());
    odd.status.as_mut().unwrap().state = 513;
    let error = reported_status(odd).unwrap_err().to_string();
    assert_eq!(error, "invalid message: field status.state: unknown value 513");
}

#[test]
fn a_dockerds_report_is_read() {
    let status =
        swarmkit::TaskStatus {
            timestamp: None,
            state: 704,
            err: "task: non-zero exit (3)".into(),
            runtime_status: Some(task_status::RuntimeStatus::Container(
                swarmkit::ContainerStatus { container_id: "c1".into(), pid: 0, exit_code: 3 },
            )),
            port_status: Some(swarmkit::PortStatus {
                ports: vec![swarmkit::PortConfig {
                    target_port: 80,
                    published_port: 32_768,
                    publish_mode: swarmkit::port_config::PublishMode::Host.into(),
                    ..Default::default()
                }],
            }),
            applied_by: "n1".into(),
            ..Default::default()
        };
    let status = TaskStatus::try_from(over_the_wire(&status)).unwrap();
    assert_eq!((status.state, status.container.unwrap().exit_code), (TaskState::Failed, 3));
    let port = &status.host_ports[0];
    assert_eq!((port.publish_mode, port.published_port), (PublishMode::Host, 32_768));
}

#[test]
fn a_dockerds_description_is_read() {
    let message = swarmkit::NodeDescription {
        tls_info: Some(Default::default()),
        fips: true,
        csi_info: vec![Default::default()],
        ..(&description()).into()
    };
    assert_eq!(node::NodeDescription::try_from(over_the_wire(&message)), Ok(description()));
}

#[test]
fn a_sessions_node_has_the_role_it_may_have_a_certificate_for() {
    let of = |role, manager| {
        let node = Node { spec: NodeSpec { role, ..node().spec }, manager, ..node() };
        let message = over_the_wire(&wire_node(&node, 4789));
        let certificate = message.certificate.unwrap();
        assert_eq!(certificate.role, message.role);
        (message.role, message.spec.unwrap().desired_role)
    };
    let member = || node().manager;
    assert_eq!(of(NodeRole::Worker, None), (0, 0));
    assert_eq!(of(NodeRole::Manager, None), (1, 1), "promoted: it asks for a manager's");
    assert_eq!(of(NodeRole::Manager, member()), (1, 1));
    assert_eq!(of(NodeRole::Worker, member()), (1, 0), "demoted, and a member still");

    let message = wire_node(&node(), 4790);
    assert_eq!((message.id, message.vxlanudp_port), (node().id.to_string(), 4790));
    assert_eq!(message.status.unwrap().state, node_status::State::Ready as i32);
    let certificate = message.certificate.unwrap();
    assert_eq!((certificate.certificate, certificate.cn), (b"PEM".to_vec(), node().id.to_string()));
}

#[test]
fn a_request_of_a_follower_holds_every_spec() {
    use v1::control_request::Request;
    fn check<T>(spec: &T, request: Request, read: fn(Request) -> Result<T, ConvertError>)
    where
        T: PartialEq + std::fmt::Debug,
    {
        let message = over_the_wire(&v1::ControlRequest { request: Some(request) });
        assert_eq!(read(message.request.unwrap()).as_ref(), Ok(spec));
    }
    macro_rules! carried {
        ($spec:expr, $request:ident { $($field:ident: $value:expr),* }) => {
            check(
                &$spec,
                Request::$request(v1::$request {
                    spec: Some((&$spec).into()),
                    $($field: $value,)*
                }),
                |request| match request {
                    Request::$request(it) => part(it.spec, "spec"),
                    other => panic!("{other:?}"),
                },
            )
        };
    }
    let text = || ServiceId::new(7).to_string();
    carried!(service_spec(), CreateService {});
    carried!(service_spec(), UpdateService { id: text(), version: 4 });
    carried!(network_spec(), CreateNetwork {});
    carried!(secret().spec, CreateSecret {});
    carried!(secret().spec, UpdateSecret { id: text(), version: 4 });
    carried!(config().spec, CreateConfig {});
    carried!(config().spec, UpdateConfig { id: text(), version: 4 });
    carried!(node().spec, UpdateNode { id: text(), version: 4 });
    carried!(
        cluster_spec(),
        UpdateCluster {
            id: text(),
            version: 4,
            rotate_worker_token: true,
            rotate_manager_token: false,
            rotate_unlock_key: true
        }
    );
    assert_eq!(id(&text(), "id"), Ok(ServiceId::new(7)));
    let absent = part::<_, ServiceSpec>(None::<swarmkit::ServiceSpec>, "spec").unwrap_err();
    assert_eq!(absent.to_string(), "invalid message: field spec: missing");
}

#[test]
fn an_attachment_is_a_task_that_runs_nothing() {
    let wire = wire_attachment(&of_container(), &network());
    assert!(NodeAttachment::is_one(&wire));
    assert_eq!((wire.service_id.as_str(), wire.node_id.parse()), ("", Ok(NodeId::new(11))));
    let read = NodeAttachment::try_from(wire.clone()).unwrap();
    let expected = NodeAttachment {
        id: of_container().id,
        container_id: of_container().container_id,
        network: network(),
        addresses: of_container().addresses,
    };
    assert_eq!(read, expected);
    assert!(NodeTask::try_from(wire).is_err(), "no task of ours");
}
