//! What belongs to one object at a time, who has it, and up to which bound: rule by rule.

mod support;

use std::sync::Arc;

use skep_state::state::{AddressOwner, Named};
use skep_state::{Action, State};
use skep_types::container::{ConfigReference, FileTarget, SecretReference};
use skep_types::network::IpamConfig;
use skep_types::node::ManagerStatus;
use skep_types::service::{Endpoint, Protocol, VirtualIp};
use skep_types::*;
use support::*;

fn state_of(actions: Vec<Action>) -> State {
    let mut state = State::default();
    apply(&mut state, actions).unwrap();
    state
}

fn node_of(state: &State, id: u128) -> Node {
    Node::clone(state.nodes().get(NodeId::new(id)).unwrap())
}

fn managing(mut node: Node, raft_id: u64) -> Node {
    node.manager = Some(ManagerStatus { raft_id, addr: "10.0.0.1:2377".to_owned() });
    node
}

fn managers(state: &State) -> Vec<u128> {
    state.managers().map(|node| node.id.bits()).collect()
}

#[test]
fn a_raft_id_belongs_to_one_node() {
    let manager = |id, raft_id| managing(node(id, NodeRole::Manager), raft_id);
    let mut state = state_of(vec![create(manager(1, 5)), create(manager(2, 6))]);
    let taken = format!("raft id 5 belongs to node {}", NodeId::new(1));
    assert_eq!(apply(&mut state, vec![create(manager(3, 5))]).unwrap_err(), taken);
    let second = node_of(&state, 2);
    assert_eq!(apply(&mut state, vec![update(managing(second.clone(), 5))]).unwrap_err(), taken);
    // Its own it keeps, and a free one it may have.
    apply(&mut state, vec![update(second)]).unwrap();
    let second = node_of(&state, 2);
    apply(&mut state, vec![update(managing(second, 7)), create(manager(3, 6))]).unwrap();
}

#[test]
fn managers_are_those_by_role_and_those_still_in_the_raft_group() {
    let mut state = state_of(vec![
        create(node(1, NodeRole::Worker)),
        create(managing(node(2, NodeRole::Worker), 5)),
        create(node(3, NodeRole::Manager)),
        create(managing(node(4, NodeRole::Manager), 6)),
    ]);
    assert_eq!(managers(&state), [2, 3, 4]);
    let mut left = node_of(&state, 2);
    left.manager = None;
    let mut promoted = node_of(&state, 1);
    promoted.spec.role = NodeRole::Manager;
    apply(&mut state, vec![update(left), update(promoted)]).unwrap();
    assert_eq!(managers(&state), [1, 3, 4]);
    apply(&mut state, vec![remove::<Node>(NodeId::new(3))]).unwrap();
    assert_eq!(managers(&state), [1, 4]);
}

#[test]
fn one_of_two_managers_may_be_lost_but_a_member_of_the_group_does_not_stand_in_for_the_last() {
    let mut state =
        state_of(vec![create(node(1, NodeRole::Manager)), create(node(2, NodeRole::Manager))]);
    let mut demoted = managing(node_of(&state, 1), 5);
    demoted.spec.role = NodeRole::Worker;
    apply(&mut state, vec![update(demoted)]).unwrap();
    let last = apply(&mut state, vec![remove::<Node>(NodeId::new(2))]).unwrap_err();
    assert_eq!(last, "attempting to demote the last manager of the swarm");
    let mut changed = node_of(&state, 2);
    changed.spec.availability = Availability::Drain;
    apply(&mut state, vec![update(changed)]).unwrap();
}

fn cluster_of(id: u128) -> Cluster {
    Cluster { id: ClusterId::new(id), ..cluster(1) }
}

#[test]
fn there_is_one_swarm_and_it_stays() {
    let mut state = state_of(vec![create(cluster_of(1))]);
    let mut second = cluster_of(2);
    second.spec.annotations.name = "other".to_owned();
    assert_eq!(apply(&mut state, vec![create(second)]).unwrap_err(), "the swarm exists already");
    assert_eq!(
        apply(&mut state, vec![remove::<Cluster>(ClusterId::new(1))]).unwrap_err(),
        "the swarm itself cannot be removed"
    );
    let mut changed = Cluster::clone(state.cluster().unwrap());
    changed.feature_level = 2;
    apply(&mut state, vec![update(changed)]).unwrap();
    assert_eq!(state.cluster().unwrap().feature_level, 2);
}

#[test]
fn vxlan_ids_have_24_bits() {
    let with = |vni| create(network(1, "front", vni, "10.0.1.0/24"));
    for vni in [1, (1 << 24) - 1] {
        let mut state = state_of(vec![with(vni)]);
        assert_eq!(state.vni_owner(Vni(vni)), Some(NetworkId::new(1)));
        let mut moved = Network::clone(state.networks().by_name("front").unwrap());
        moved.vni = Some(Vni(4096));
        apply(&mut state, vec![update(moved)]).unwrap();
        assert_eq!(state.vni_owner(Vni(vni)), None);
    }
    let error = apply(&mut State::default(), vec![with(1 << 24)]).unwrap_err();
    assert_eq!(error, "VXLAN id 16777216 is out of range: expected 1 to 16777215");
}

#[test]
fn subnets_overlap_where_one_is_within_the_other() {
    let at = |id, vni, subnet| network(id, &format!("n{id}"), vni, subnet);
    let mut both = at(2, 4097, "10.2.0.0/16");
    let ipam =
        |subnet: &str| IpamConfig { subnet: subnet.parse().unwrap(), range: None, gateway: None };
    both.ipam.push(ipam("fd00::/64"));
    let state = state_of(vec![create(at(1, 4096, "10.1.0.0/24")), create(both)]);
    let owners = |subnet: &str| -> Vec<u128> {
        state.subnet_owners(subnet.parse().unwrap()).map(|id| id.bits()).collect()
    };
    for (subnet, expected) in [
        ("10.1.0.0/24", &[1][..]),
        ("10.1.0.0/25", &[1]),
        ("10.1.0.128/25", &[1]),
        ("10.1.0.255/32", &[1]),
        ("10.1.0.0/16", &[1]),
        ("10.0.0.0/8", &[1, 2]),
        ("0.0.0.0/0", &[1, 2]),
        ("10.1.1.0/24", &[]),
        ("10.0.255.0/24", &[]),
        ("10.2.255.255/32", &[2]),
        ("10.3.0.0/16", &[]),
        ("fd00::/64", &[2]),
        ("fd00::7/128", &[2]),
        ("fc00::/7", &[2]),
        ("fd00:0:0:1::/64", &[]),
    ] {
        assert_eq!(owners(subnet), expected, "{subnet}");
    }
}

fn vip(network: u128, address: &str) -> VirtualIp {
    VirtualIp {
        network: NetworkId::new(network),
        address: address.parse().unwrap(),
        prefix_length: 24,
    }
}

fn with_vip(mut service: Service, vip: VirtualIp) -> Service {
    service.endpoint = Some(Endpoint { virtual_ips: vec![vip], ..Endpoint::default() });
    service
}

fn on(mut task: Task, network: u128, address: &str) -> Task {
    task.networks = vec![NetworkAttachment {
        network: NetworkId::new(network),
        addresses: vec![address.parse().unwrap()],
        aliases: vec![],
    }];
    task
}

#[test]
fn a_service_and_a_task_share_no_address() {
    let web = with_vip(service(1, "web"), vip(1, "10.0.1.2"));
    let mut state = state_of(vec![
        create(network(1, "front", 4096, "10.0.1.0/24")),
        create(network(2, "back", 4097, "10.0.2.0/24")),
        create(web),
    ]);
    let (web, first) = (ServiceId::new(1), TaskId::new(1));
    let taken =
        |address| format!("address {address} is already in use on network {}", NetworkId::new(1));
    let on_front = |id, address| create(on(task(id, web, 1, id as u64), 1, address));
    let error = apply(&mut state, vec![on_front(1, "10.0.1.2/24")]).unwrap_err();
    assert_eq!(error, taken("10.0.1.2"));
    apply(&mut state, vec![on_front(1, "10.0.1.3/24")]).unwrap();
    let api = with_vip(service(2, "api"), vip(1, "10.0.1.3"));
    assert_eq!(apply(&mut state, vec![create(api)]).unwrap_err(), taken("10.0.1.3"));
    // The same address on another network is another one.
    apply(&mut state, vec![create(with_vip(service(2, "api"), vip(2, "10.0.1.3")))]).unwrap();

    let front = NetworkId::new(1);
    let address = |last: u8| std::net::IpAddr::from([10, 0, 1, last]);
    assert_eq!(state.address_owner(front, address(2)), Some(AddressOwner::Service(web)));
    assert_eq!(state.address_owner(front, address(3)), Some(AddressOwner::Task(first)));
    assert_eq!(state.address_owner(front, address(4)), None);
    assert_eq!(state.addresses(front).collect::<Vec<_>>(), [address(2), address(3)]);
    let owners: Vec<_> = state.address_owners(front).collect();
    assert_eq!(owners, [AddressOwner::Service(web), AddressOwner::Task(first)]);

    // A service that gives its address up, and a task that moves, leave theirs to others.
    let mut without = Service::clone(state.services().get(web).unwrap());
    without.endpoint = None;
    let moved = on(Task::clone(state.tasks().get(first).unwrap()), 1, "10.0.1.4/24");
    apply(&mut state, vec![update(without), update(moved)]).unwrap();
    assert_eq!(state.addresses(front).collect::<Vec<_>>(), [address(4)]);
    apply(&mut state, vec![remove::<Task>(first)]).unwrap();
    assert_eq!(state.addresses(front).count(), 0);
}

#[test]
fn a_network_stays_while_a_task_has_a_place_on_it() {
    let web = with_vip(service(1, "web"), vip(1, "10.0.1.2"));
    let mut state = state_of(vec![create(network(1, "front", 4096, "10.0.1.0/24")), create(web)]);
    let (front, first) = (NetworkId::new(1), TaskId::new(1));
    apply(&mut state, vec![create(on(task(1, ServiceId::new(1), 1, 1), 1, "10.0.1.3/24"))])
        .unwrap();
    assert_eq!(
        apply(&mut state, vec![remove::<Network>(front)]).unwrap_err(),
        format!("network 'front' is in use by task {first}")
    );
    let mut ended = Task::clone(state.tasks().get(first).unwrap());
    ended.status.state = TaskState::Complete;
    // The service's own address holds nothing: its spec names the network no more.
    apply(&mut state, vec![update(ended), remove::<Network>(front)]).unwrap();
    assert_eq!(state.subnet_owners("10.0.1.0/24".parse().unwrap()).count(), 0);
    assert_eq!(state.vni_owner(Vni(4096)), None);
}

fn config(id: u128, name: &str) -> Config {
    let data = Payload(b"content".as_slice().into());
    let spec = ConfigSpec { annotations: annotations(name), data, template: false };
    Config { id: ConfigId::new(id), meta: Meta::default(), spec }
}

fn file(name: &str) -> FileTarget {
    FileTarget { name: name.to_owned(), uid: "0".to_owned(), gid: "0".to_owned(), mode: 0o444 }
}

fn reading(service: &Service, secrets: &[u128], configs: &[u128]) -> Service {
    respec(service, |spec| {
        let container = &mut spec.task.container;
        container.secrets = secrets
            .iter()
            .map(|id| SecretReference {
                secret_id: SecretId::new(*id),
                secret_name: format!("s{id}"),
                target: file("s"),
            })
            .collect();
        container.configs = configs
            .iter()
            .map(|id| ConfigReference {
                config_id: ConfigId::new(*id),
                config_name: format!("c{id}"),
                target: file("c"),
            })
            .collect();
    })
}

#[test]
fn secrets_and_configs_stay_while_services_read_them() {
    let mut state = state_of(vec![create(secret(1, "s1")), create(config(1, "c1"))]);
    for absent in [reading(&service(9, "x"), &[2], &[]), reading(&service(9, "x"), &[], &[2])] {
        let error = apply(&mut state, vec![create(absent)]).unwrap_err();
        assert!(error.ends_with("not found"), "{error}");
    }
    let web = reading(&service(1, "web"), &[1], &[1]);
    let api = reading(&service(2, "api"), &[1], &[1]);
    apply(&mut state, vec![create(web), create(api)]).unwrap();
    let naming = |state: &State, named| -> Vec<u128> {
        state.services_naming(named).map(|service| service.id.bits()).collect()
    };
    assert_eq!(naming(&state, Named::Config(ConfigId::new(1))), [1, 2]);
    let (secret_id, config_id) = (SecretId::new(1), ConfigId::new(1));
    for (action, error) in [
        (remove::<Secret>(secret_id), "secret 's1' is in use by the following services: web, api"),
        (remove::<Config>(config_id), "config 'c1' is in use by the following services: web, api"),
    ] {
        assert_eq!(apply(&mut state, vec![action]).unwrap_err(), error);
    }
    let web = Service::clone(state.services().by_name("web").unwrap());
    apply(&mut state, vec![remove::<Service>(ServiceId::new(2)), update(reading(&web, &[], &[]))])
        .unwrap();
    assert_eq!(naming(&state, Named::Config(config_id)), [0; 0]);
    assert!(state.configs().by_name("c1").is_some());
    apply(&mut state, vec![remove::<Secret>(secret_id), remove::<Config>(config_id)]).unwrap();
    assert!(state.configs().is_empty() && state.secrets().is_empty());
}

#[test]
fn what_no_user_may_give_no_table_takes() {
    let large = || {
        let mut annotations = annotations("web");
        annotations.labels.insert("x".repeat(defaults::LABELS_BYTES_MAX), "y".to_owned());
        annotations
    };
    let named = |name| respec(&service(1, "web"), |spec| spec.annotations = annotations(name));
    let in_container = respec(&service(1, "web"), |spec| {
        spec.task.container.labels = large().labels;
    });
    let labels = "labels are too large";
    let mut net = network(1, "web", 4096, "10.0.1.0/24");
    net.spec.annotations = large();
    let mut key = secret(1, "web");
    key.spec.annotations = large();
    let mut file = config(1, "web");
    file.spec.annotations = large();
    let mut host = node(1, NodeRole::Worker);
    host.spec.annotations = large();
    let mut swarm = cluster(1);
    swarm.spec.annotations = large();
    let empty = || Payload(b"".as_slice().into());
    let (mut no_key, mut no_file) = (secret(1, "s"), config(1, "c"));
    (no_key.spec.data, no_file.spec.data) = (empty(), empty());
    for (action, expected) in [
        (create(named("")), "name must be provided"),
        (create(respec(&service(1, "web"), |spec| spec.annotations = large())), labels),
        (create(in_container), labels),
        (create(network(1, "-", 4096, "10.0.1.0/24")), "name must be valid"),
        (create(net), labels),
        (create(secret(1, "-")), "invalid name"),
        (create(no_key), "secret data must be"),
        (create(key), labels),
        (create(config(1, "-")), "invalid name"),
        (create(no_file), "config data must be"),
        (create(file), labels),
        (create(host), labels),
        (create(swarm), labels),
    ] {
        let error = apply(&mut State::default(), vec![action.clone()]).unwrap_err();
        assert!(error.starts_with(expected), "{action:?}: {error}");
    }
}

#[test]
fn a_port_belongs_to_who_was_given_it_and_is_free_when_that_goes() {
    let mut state = state_of(vec![create(publishing(&service(1, "web"), 80))]);
    assert_eq!(state.port_owner(Protocol::Tcp, 80), Some(ServiceId::new(1)));
    assert_eq!(state.port_owner(Protocol::Udp, 80), None);
    // A number that is left open is claimed when it is given.
    apply(&mut state, vec![create(publishing(&service(2, "api"), 0))]).unwrap();
    let mut given = Service::clone(state.services().by_name("api").unwrap());
    let mut ports = given.spec.endpoint.ports.clone();
    ports[0].published_port = 30_000;
    given.endpoint = Some(Endpoint { ports, ..Endpoint::default() });
    apply(&mut state, vec![update(given)]).unwrap();
    assert_eq!(state.port_owner(Protocol::Tcp, 30_000), Some(ServiceId::new(2)));
    let error = apply(&mut state, vec![create(publishing(&service(3, "db"), 30_000))]).unwrap_err();
    assert!(error.starts_with("port '30000' is already in use by service 'api'"), "{error}");
    // On nodes' own addresses each node has its own, and several services may ask for one.
    let host = respec(&publishing(&service(3, "db"), 80), |spec| {
        spec.endpoint.ports[0].publish_mode = skep_types::service::PublishMode::Host;
    });
    apply(&mut state, vec![create(host), remove::<Service>(ServiceId::new(2))]).unwrap();
    assert_eq!(state.port_owner(Protocol::Tcp, 30_000), None);
    let users = |state: &State, protocol, port| -> Vec<ServiceId> {
        state.host_port_users(protocol, port).collect()
    };
    assert_eq!(users(&state, Protocol::Tcp, 80), [ServiceId::new(3)]);
    assert_eq!(users(&state, Protocol::Udp, 80), []);
    let db = Service::clone(state.services().by_name("db").unwrap());
    let moved = respec(&db, |spec| spec.endpoint.ports[0].published_port = 81);
    apply(&mut state, vec![update(moved)]).unwrap();
    assert_eq!(users(&state, Protocol::Tcp, 80), []);
    assert_eq!(users(&state, Protocol::Tcp, 81), [ServiceId::new(3)]);
    apply(&mut state, vec![remove::<Service>(ServiceId::new(3))]).unwrap();
    assert_eq!(users(&state, Protocol::Tcp, 81), []);
}

#[test]
fn lists_go_on_behind_any_id() {
    let state = state_of((1..=4).map(|id| create(secret(id, &format!("s{id}")))).collect());
    let after = |id: Option<u128>| -> Vec<u128> {
        state.secrets().after(id.map(SecretId::new)).map(|secret| secret.id.bits()).collect()
    };
    assert_eq!(after(None), [1, 2, 3, 4]);
    assert_eq!(after(Some(2)), [3, 4]);
    assert_eq!(after(Some(4)), [0; 0]);
    assert_eq!((state.secrets().len(), state.secrets().is_empty()), (4, false));
    assert_ne!(state, State::default());
    assert!(Arc::ptr_eq(
        state.secrets().by_name("s2").unwrap(),
        state.secrets().get(SecretId::new(2)).unwrap()
    ));
}
