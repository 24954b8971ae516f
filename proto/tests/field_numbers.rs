//! Bytes put together by hand, as SwarmKit writes them, decode to the fields that were meant: the
//! eight calls that an agent makes.

use prost::Message;
use skep_proto::swarmkit::*;

/// A length-delimited field.
fn field(number: u32, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A varint field.
fn number(number: u32, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3), &mut bytes);
    prost::encoding::encode_varint(value, &mut bytes);
    bytes
}

fn check<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[Vec<u8>], expected: M) {
    let bytes = bytes.concat();
    let decoded = M::decode(bytes.as_slice()).unwrap();
    assert!(decoded == expected, "expected {expected:?}, got {decoded:?}");
    assert_eq!(expected.encode_to_vec().len(), bytes.len(), "{expected:?}");
}

#[test]
fn get_root_ca_certificate() {
    check(&[field(1, "PEM")], GetRootCaCertificateResponse { certificate: b"PEM".to_vec() });
}

#[test]
fn issue_node_certificate() {
    check(
        &[field(2, "CSR"), field(3, "SWMTKN"), number(4, 2)],
        IssueNodeCertificateRequest {
            role: 0,
            csr: b"CSR".to_vec(),
            token: "SWMTKN".into(),
            availability: node_spec::Availability::Drain as i32,
        },
    );
    check(
        &[field(1, "n1"), number(2, 1)],
        IssueNodeCertificateResponse { node_id: "n1".into(), node_membership: 1 },
    );
}

#[test]
fn node_certificate_status() {
    check(&[field(1, "n1")], NodeCertificateStatusRequest { node_id: "n1".into() });
    let certificate =
        [number(1, 1), field(2, "CSR"), field(3, number(1, 3)), field(4, "PEM"), field(5, "n1")];
    check(
        &[field(1, number(1, 3)), field(2, certificate.concat())],
        NodeCertificateStatusResponse {
            status: Some(IssuanceStatus { state: 3, err: String::new() }),
            certificate: Some(Certificate {
                role: NodeRole::Manager as i32,
                csr: b"CSR".to_vec(),
                status: Some(IssuanceStatus { state: 3, err: String::new() }),
                certificate: b"PEM".to_vec(),
                cn: "n1".into(),
            }),
        },
    );
}

#[test]
fn session() {
    let description =
        [field(1, "host1"), field(2, [field(1, "x86_64"), field(2, "linux")].concat())];
    check(
        &[field(1, description.concat()), field(2, "s1")],
        SessionRequest {
            description: Some(NodeDescription {
                hostname: "host1".into(),
                platform: Some(Platform { architecture: "x86_64".into(), os: "linux".into() }),
                ..Default::default()
            }),
            session_id: "s1".into(),
        },
    );
    let peer = [field(1, "n1"), field(2, "10.0.0.1:2377")].concat();
    check(
        &[
            field(1, "s1"),
            field(2, field(1, "n1")),
            field(3, [field(1, peer), number(2, 10)].concat()),
            field(5, "PEM"),
        ],
        SessionMessage {
            session_id: "s1".into(),
            node: Some(Node { id: "n1".into(), ..Default::default() }),
            managers: vec![WeightedPeer {
                peer: Some(Peer { node_id: "n1".into(), addr: "10.0.0.1:2377".into() }),
                weight: 10,
            }],
            network_bootstrap_keys: vec![],
            root_ca: b"PEM".to_vec(),
        },
    );
}

#[test]
fn heartbeat() {
    check(&[field(1, "s1")], HeartbeatRequest { session_id: "s1".into() });
    check(
        &[field(1, number(1, 5))],
        HeartbeatResponse { period: Some(prost_types::Duration { seconds: 5, nanos: 0 }) },
    );
}

#[test]
fn assignments() {
    let container = [field(1, "redis"), field(14, "h"), number(13, 1), field(29, field(1, "core"))];
    let task = [
        field(1, "t1"),
        field(
            3,
            field(
                1,
                [&container[0], &container[2], &container[1], &container[3]]
                    .map(Vec::as_slice)
                    .concat(),
            ),
        ),
        field(4, "svc"),
        number(5, 3),
        field(6, "n1"),
        field(9, number(2, 192)),
        number(10, 512),
    ];
    let changes = [
        field(1, field(2, [field(1, "sec"), field(3, field(2, "data"))].concat())),
        field(1, field(1, task.concat())),
        [field(1, field(3, field(1, "cfg"))), number(2, 1)].concat(),
    ];
    let assign = |item, action| AssignmentChange {
        assignment: Some(Assignment { item: Some(item) }),
        action,
    };
    check(
        &[
            number(1, 1),
            field(2, "1"),
            field(3, "2"),
            field(4, &changes[0]),
            field(4, &changes[1]),
            field(4, &changes[2]),
        ],
        AssignmentsMessage {
            r#type: assignments_message::Type::Incremental as i32,
            applies_to: "1".into(),
            results_in: "2".into(),
            changes: vec![
                assign(
                    assignment::Item::Secret(Secret {
                        id: "sec".into(),
                        spec: Some(SecretSpec { data: b"data".to_vec(), ..Default::default() }),
                        ..Default::default()
                    }),
                    0,
                ),
                assign(
                    assignment::Item::Task(Task {
                        id: "t1".into(),
                        spec: Some(TaskSpec {
                            runtime: Some(task_spec::Runtime::Container(ContainerSpec {
                                image: "redis".into(),
                                tty: true,
                                hostname: "h".into(),
                                ulimits: vec![container_spec::Ulimit {
                                    name: "core".into(),
                                    ..Default::default()
                                }],
                                ..Default::default()
                            })),
                            ..Default::default()
                        }),
                        service_id: "svc".into(),
                        slot: 3,
                        node_id: "n1".into(),
                        status: Some(TaskStatus { state: 192, ..Default::default() }),
                        desired_state: TaskState::Running as i32,
                        ..Default::default()
                    }),
                    0,
                ),
                assign(
                    assignment::Item::Config(Config { id: "cfg".into(), ..Default::default() }),
                    1,
                ),
            ],
        },
    );
}

#[test]
fn listen_subscriptions() {
    // The streams one by one, not packed.
    let options = [number(1, 1), number(1, 2), number(2, 1), number(3, 100)];
    check(
        &[field(1, "sub"), field(2, field(3, "t1")), field(3, options.concat()), number(4, 1)],
        SubscriptionMessage {
            id: "sub".into(),
            selector: Some(LogSelector { task_ids: vec!["t1".into()], ..Default::default() }),
            options: Some(LogSubscriptionOptions {
                streams: vec![1, 2],
                follow: true,
                tail: 100,
                since: None,
            }),
            close: true,
        },
    );
}

#[test]
fn update_task_status() {
    let status = [
        number(2, 704),
        field(3, "m"),
        field(4, "e"),
        field(5, [field(1, "c1"), number(2, 7), number(3, 1)].concat()),
    ];
    check(
        &[field(1, "s1"), field(3, [field(1, "t1"), field(2, status.concat())].concat())],
        UpdateTaskStatusRequest {
            session_id: "s1".into(),
            updates: vec![update_task_status_request::TaskStatusUpdate {
                task_id: "t1".into(),
                status: Some(TaskStatus {
                    state: TaskState::Failed as i32,
                    message: "m".into(),
                    err: "e".into(),
                    runtime_status: Some(task_status::RuntimeStatus::Container(ContainerStatus {
                        container_id: "c1".into(),
                        pid: 7,
                        exit_code: 1,
                    })),
                    ..Default::default()
                }),
            }],
        },
    );
}
