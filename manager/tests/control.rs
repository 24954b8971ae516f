//! What users ask for and what they are told.

use skep_manager::control::{Code, ControlError, Request, decide};
use skep_state::{State, Transaction};
use skep_types::service::{EndpointMode, PortConfig, Protocol, PublishMode, UpdateState};
use skep_types::*;

/// Decides and applies, as the proposer would.
fn ask(state: &mut State, request: Request) -> Result<String, ControlError> {
    let fresh = state.services().len() as u128 + state.secrets().len() as u128 + 1;
    let plan = decide(state, request, Timestamp(1), fresh)?;
    state.apply(&Transaction { epoch: 1, now: Timestamp(1), actions: plan.actions })?;
    Ok(plan.id)
}

fn web() -> ServiceSpec {
    let mut task = TaskSpec::default();
    task.container.image = "nginx:latest".to_owned();
    ServiceSpec {
        task,
        ..ServiceSpec::new(
            Annotations { name: "web".to_owned(), ..Annotations::default() },
            ServiceMode::Replicated { replicas: 1 },
        )
    }
}

fn bind(source: &str, target: &str) -> Mount {
    Mount {
        kind: MountKind::Bind,
        source: source.to_owned(),
        target: target.to_owned(),
        ..Mount::default()
    }
}

#[test]
fn bad_service_specs_are_refused_in_docker_s_words() {
    type Spoil = fn(&mut ServiceSpec);
    let cases: &[(Spoil, &str)] = &[
        (|it| it.annotations.name.clear(), "name must be provided"),
        (|it| it.annotations.name = "a b".to_owned(), "name must be valid as a DNS name component"),
        (|it| it.task.container.image.clear(), "ContainerSpec: image reference must be provided"),
        (
            |it| it.task.container.mounts = vec![bind("/x", "y")],
            "invalid mount target, must be an absolute path: y",
        ),
        (
            |it| it.task.container.mounts = vec![bind("x", "/y")],
            "invalid bind mount source, must be an absolute path: x",
        ),
        (
            |it| it.task.container.mounts = vec![bind("/x", "/y"), bind("/z", "/y/")],
            "ContainerSpec: duplicate mount point: /y/",
        ),
        (
            |it| it.task.resources.limits.memory_bytes = 1024,
            "invalid memory value 1024: Must be at least 6MiB",
        ),
        (
            |it| it.task.resources.limits.nano_cpus = 1,
            "invalid cpu value 0.000000001: Must be at least 0.001",
        ),
        (
            |it| it.task.placement.constraints = vec!["node.role".to_owned()],
            "constraint expected one operator from ==, !=: \"node.role\"",
        ),
        (
            |it| it.update.max_failure_ratio = 1.5,
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
        (
            |it| {
                it.endpoint.mode = EndpointMode::DnsRoundRobin;
                it.endpoint.ports = vec![PortConfig { target_port: 80, ..Default::default() }];
            },
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
        (
            |it| {
                let port =
                    PortConfig { target_port: 80, published_port: 80, ..PortConfig::default() };
                it.endpoint.ports = vec![port.clone(), port];
            },
            "EndpointSpec: duplicate published ports provided",
        ),
        (
            |it| {
                let publish_mode = PublishMode::Host;
                let port = PortConfig { published_port: 80, publish_mode, ..PortConfig::default() };
                it.endpoint.ports = vec![port];
            },
            "EndpointSpec: target port must be provided",
        ),
        (
            |it| {
                it.annotations.labels.insert("skep.session".to_owned(), "sticky".to_owned());
            },
            "invalid label skep.session=\"sticky\": expected any or client-address",
        ),
        (
            |it| it.task.container.hostname = "{{.Task.Colour}}".to_owned(),
            "expanding hostname failed: template parsing error: can't evaluate field Colour",
        ),
        (
            |it| {
                it.mode = ServiceMode::GlobalJob;
                it.update.parallelism = 2;
            },
            "Jobs may not have an update config",
        ),
        (
            |it| {
                let (max_concurrent, total_completions) = (1, u64::MAX);
                it.mode = ServiceMode::ReplicatedJob { max_concurrent, total_completions };
            },
            "Total completed jobs must not be negative",
        ),
    ];
    for (spoil, expected) in cases {
        let mut spec = web();
        spoil(&mut spec);
        let mut state = State::default();
        let error = ask(&mut state, Request::CreateService(spec)).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::InvalidArgument, *expected));
        assert_eq!(state, State::default());
    }
}

#[test]
fn a_service_is_made_changed_and_rolled_back() {
    let mut state = State::default();
    let id: ServiceId = ask(&mut state, Request::CreateService(web())).unwrap().parse().unwrap();
    let conflict = ask(&mut state, Request::CreateService(web())).unwrap_err();
    assert_eq!(conflict.code, Code::AlreadyExists);
    let rollback = |revision| Request::RollbackService { id, revision: Revision(revision) };
    let error = ask(&mut state, rollback(1)).unwrap_err();
    assert_eq!(error.message, "service web does not have a previous spec");

    let mut spec = web();
    spec.task.container.image = "nginx:2".to_owned();
    let update = |revision, spec| Request::UpdateService { id, revision: Revision(revision), spec };
    ask(&mut state, update(1, spec.clone())).unwrap();
    let stale = ask(&mut state, update(1, spec)).unwrap_err();
    assert_eq!(stale.code, Code::OutOfSequence);
    ask(&mut state, rollback(2)).unwrap();
    let image = |state: &State| state.services().get(id).unwrap().spec.task.container.image.clone();
    assert_eq!(image(&state), "nginx:latest");
    let status = state.services().get(id).unwrap().update_status.clone().unwrap();
    assert_eq!(status.state, UpdateState::RollbackStarted);
    assert_eq!(status.message, "manually requested rollback");
    ask(&mut state, update(3, web())).unwrap();
    let status = state.services().get(id).unwrap().update_status.clone();
    assert_eq!(status, None, "a new update starts afresh");

    let mut renamed = web();
    renamed.annotations.name = "other".to_owned();
    let error = ask(&mut state, update(4, renamed)).unwrap_err();
    assert_eq!(error.message, "renaming services is not supported");
    let mut global = web();
    global.mode = ServiceMode::Global;
    let error = ask(&mut state, update(4, global)).unwrap_err();
    assert_eq!(error.message, "service mode change is not allowed");
    ask(&mut state, Request::RemoveService(id)).unwrap();
    assert_eq!(ask(&mut state, Request::RemoveService(id)).unwrap_err().code, Code::NotFound);
}

#[test]
fn every_update_of_a_job_is_another_run() {
    let mut state = State::default();
    let mut spec = web();
    spec.mode = ServiceMode::ReplicatedJob { max_concurrent: 1, total_completions: 2 };
    let create = Request::CreateService(spec.clone());
    let id: ServiceId = ask(&mut state, create).unwrap().parse().unwrap();
    let run = |state: &State| state.services().get(id).unwrap().job.unwrap().iteration;
    assert_eq!(run(&state), 0);
    // Even one that changes nothing.
    let revision = Revision(1);
    ask(&mut state, Request::UpdateService { id, revision, spec: spec.clone() }).unwrap();
    assert_eq!(run(&state), 1);
    spec.task.force_update = 1;
    ask(&mut state, Request::UpdateService { id, revision: Revision(2), spec }).unwrap();
    ask(&mut state, Request::RollbackService { id, revision: Revision(3) }).unwrap();
    let service = state.services().get(id).unwrap();
    assert_eq!((run(&state), service.spec.task.force_update), (3, 0));
    assert_eq!(service.update_status, None, "there is nothing to watch");
}

#[test]
fn a_secrets_content_is_fixed_and_its_labels_are_not() {
    let mut state = State::default();
    let spec = |data: &[u8]| SecretSpec {
        annotations: Annotations { name: "db".to_owned(), ..Annotations::default() },
        data: Payload(data.into()),
        template: false,
    };
    let created = ask(&mut state, Request::CreateSecret(spec(b"one"))).unwrap();
    let id: SecretId = created.parse().unwrap();
    let update = |spec| Request::UpdateSecret { id, revision: Revision(1), spec };
    let error = ask(&mut state, update(spec(b"two"))).unwrap_err();
    assert_eq!(error.message, "only updates to Labels are allowed");
    let mut labelled = spec(b"");
    labelled.annotations.labels.insert("a".to_owned(), "b".to_owned());
    ask(&mut state, update(labelled)).unwrap();
    let stored = state.secrets().get(id).unwrap();
    assert_eq!(
        (stored.spec.data.0.as_ref(), stored.spec.annotations.labels.len()),
        (&b"one"[..], 1)
    );
    ask(&mut state, Request::CreateSecret(spec(b""))).unwrap_err();
}

#[test]
fn nodes_are_removed_only_when_it_is_safe() {
    let node = |id, role, node_state| Node {
        status: skep_types::node::NodeStatus { state: node_state, ..Default::default() },
        ..Node::new(NodeId::new(id), NodeSpec { role, ..NodeSpec::default() })
    };
    let mut state = State::default();
    let nodes = [
        node(1, NodeRole::Manager, NodeState::Ready),
        node(2, NodeRole::Worker, NodeState::Ready),
        node(3, NodeRole::Worker, NodeState::Down),
    ];
    let actions =
        nodes.map(|node| skep_state::Change::Create(std::sync::Arc::new(node)).into()).to_vec();
    state.apply(&Transaction { epoch: 1, now: Timestamp(1), actions }).unwrap();
    let remove = |id, force| Request::RemoveNode { id: NodeId::new(id), force };
    let error = ask(&mut state, remove(1, true)).unwrap_err();
    assert!(error.message.contains("must be demoted to worker before removal"), "{error}");
    let error = ask(&mut state, remove(2, false)).unwrap_err();
    assert!(error.message.ends_with("is not down and can't be removed"), "{error}");
    ask(&mut state, remove(2, true)).unwrap();
    ask(&mut state, remove(3, false)).unwrap();
    let demote = Request::UpdateNode {
        id: NodeId::new(1),
        revision: Revision(1),
        spec: NodeSpec::default(),
    };
    let error = ask(&mut state, demote).unwrap_err();
    assert_eq!(error.message, "attempting to demote the last manager of the swarm");
}

#[test]
fn there_is_one_ingress_network() {
    let mut state = State::default();
    let network = |name: &str, ingress| {
        let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
        Request::CreateNetwork(NetworkSpec { annotations, ingress, ..NetworkSpec::default() })
    };
    let id: NetworkId = ask(&mut state, network("ingress", true)).unwrap().parse().unwrap();
    let error = decide(&state, network("other", true), Timestamp(1), 9).unwrap_err();
    assert_eq!(error.message, "ingress network (ingress) is already present");
    let mut attached = web();
    attached.task.networks =
        vec![skep_types::service::NetworkAttachmentConfig { target: id, aliases: vec![] }];
    let error = decide(&state, Request::CreateService(attached), Timestamp(1), 9).unwrap_err();
    assert!(error.message.starts_with("Service cannot be explicitly attached"), "{error}");
}

fn ingress(state: &mut State) {
    let annotations = Annotations { name: "ingress".to_owned(), ..Annotations::default() };
    let spec = NetworkSpec { annotations, ingress: true, ..NetworkSpec::default() };
    let id: NetworkId = ask(state, Request::CreateNetwork(spec)).unwrap().parse().unwrap();
    assert!(state.networks().get(id).is_some());
}

fn publishing(name: &str, protocol: Protocol, number: u16, publish_mode: PublishMode) -> Request {
    let mut spec = web();
    spec.annotations.name = name.to_owned();
    let published_port = number;
    spec.endpoint.ports = vec![PortConfig {
        protocol,
        target_port: 80,
        published_port,
        publish_mode,
        ..Default::default()
    }];
    Request::CreateService(spec)
}

#[test]
fn a_port_that_another_service_has_is_refused_with_its_owner() {
    use Protocol::{Tcp, Udp};
    use PublishMode::{Host, Ingress};
    let mut state = State::default();
    let error = ask(&mut state, publishing("web", Tcp, 8080, Ingress)).unwrap_err();
    assert_eq!(error.code, Code::FailedPrecondition);
    assert_eq!(error.message, "service needs ingress network, but no ingress network is present");
    ingress(&mut state);
    let web: ServiceId =
        ask(&mut state, publishing("web", Tcp, 8080, Ingress)).unwrap().parse().unwrap();
    let host: ServiceId =
        ask(&mut state, publishing("host", Tcp, 9090, Host)).unwrap().parse().unwrap();
    let by_ingress =
        format!("port '8080' is already in use by service 'web' ({web}) as an ingress port");
    let by_host = format!(
        "port '9090' is already in use by service 'host' ({host}) as a host-published port"
    );
    for (number, mode, expected) in
        [(8080, Ingress, &by_ingress), (8080, Host, &by_ingress), (9090, Ingress, &by_host)]
    {
        let before = state.clone();
        let error = ask(&mut state, publishing("other", Tcp, number, mode)).unwrap_err();
        assert_eq!((error.code, &error.message), (Code::InvalidArgument, expected));
        assert_eq!(state, before);
    }
    // Several may ask for one in host mode: the scheduler keeps two of a node apart.
    ask(&mut state, publishing("second", Tcp, 9090, Host)).unwrap();
    ask(&mut state, publishing("third", Udp, 8080, Ingress)).unwrap();
    // One's own is no conflict, and what another has is one for an update and a rollback too.
    let update = |revision, request| {
        let Request::CreateService(spec) = request else { unreachable!() };
        Request::UpdateService { id: web, revision: Revision(revision), spec }
    };
    ask(&mut state, update(1, publishing("web", Tcp, 8080, Host))).unwrap();
    let error = ask(&mut state, update(2, publishing("web", Udp, 8080, Ingress))).unwrap_err();
    assert!(error.message.contains("already in use by service 'third'"), "{error}");
    ask(&mut state, update(2, publishing("web", Tcp, 8081, Ingress))).unwrap();
    ask(&mut state, publishing("fourth", Tcp, 8080, Ingress)).unwrap();
    let back = Request::RollbackService { id: web, revision: Revision(3) };
    let error = ask(&mut state, back).unwrap_err();
    assert!(error.message.contains("already in use by service 'fourth'"), "{error}");
}
