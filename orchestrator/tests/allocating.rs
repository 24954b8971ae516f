//! Numbers that are given: which ones, in what order, and what stays when a spec changes.

mod support;

use std::sync::Arc;

use skep_state::Change;
use skep_types::network::IpamConfig;
use skep_types::service::{
    EndpointMode, NetworkAttachmentConfig, PortConfig, Protocol, PublishMode,
};
use skep_types::*;

use support::{Swarm, WEB, replicas};

fn ipam(subnet: &str, range: Option<&str>, gateway: Option<&str>) -> IpamConfig {
    IpamConfig {
        subnet: subnet.parse().unwrap(),
        range: range.map(|it| it.parse().unwrap()),
        gateway: gateway.map(|it| it.parse().unwrap()),
    }
}

fn network(id: u128, ipam: Vec<IpamConfig>) -> Network {
    let annotations = Annotations { name: format!("net{id}"), ..Annotations::default() };
    let spec = NetworkSpec { annotations, ipam, ..NetworkSpec::default() };
    Network::new(NetworkId::new(id), spec)
}

fn of_swarm(swarm: &Swarm, id: u128) -> Network {
    Network::clone(swarm.state.networks().get(NetworkId::new(id)).unwrap())
}

fn on(ids: &[u128]) -> Vec<NetworkAttachmentConfig> {
    let at = |id: &u128| NetworkAttachmentConfig { target: NetworkId::new(*id), aliases: vec![] };
    ids.iter().map(at).collect()
}

/// Addresses of the tasks on their first network, as they were given.
fn addresses(swarm: &Swarm) -> Vec<String> {
    let first = |task: &Arc<Task>| Some(task.networks.first()?.addresses[0].to_string());
    swarm.all().iter().filter_map(first).collect()
}

#[test]
fn addresses_are_given_from_the_range_and_no_further() {
    for (config, expected) in [
        // Neither the network's own address, nor its broadcast, nor the gateway's; the first is the
        // service's.
        (ipam("10.9.0.0/29", None, None), &["10.9.0.3/29", "10.9.0.4/29", "10.9.0.5/29"][..]),
        (
            ipam("10.9.0.0/24", Some("10.9.0.8/30"), None),
            &["10.9.0.9/24", "10.9.0.10/24", "10.9.0.11/24"],
        ),
        (ipam("10.9.0.0/24", Some("10.9.0.0/30"), Some("10.9.0.2")), &["10.9.0.3/24"]),
        (ipam("10.9.0.0/24", Some("10.9.0.252/30"), None), &["10.9.0.253/24", "10.9.0.254/24"]),
    ] {
        let mut swarm = Swarm::new(1);
        swarm.act(Change::Create(Arc::new(network(7, vec![config.clone()]))));
        swarm.service(replicas(3), |spec| spec.task.networks = on(&[7]));
        swarm.pass();
        assert_eq!(addresses(&swarm), expected, "{config:?}");
    }
}

#[test]
fn what_a_user_names_is_given_before_what_is_free() {
    let mut swarm = Swarm::new(1);
    let named = ipam("10.0.0.0/24", None, Some("10.0.0.77"));
    swarm.act(Change::Create(Arc::new(network(1, vec![]))));
    swarm.act(Change::Create(Arc::new(network(2, vec![named.clone()]))));
    swarm.pass();
    assert_eq!(of_swarm(&swarm, 2).ipam, [named]);
    let free = ipam("10.0.1.0/24", None, Some("10.0.1.1"));
    assert_eq!(of_swarm(&swarm, 1).ipam, [free]);
    assert_eq!([1, 2].map(|id| of_swarm(&swarm, id).vni), [Some(Vni(4097)), Some(Vni(4096))]);
}

#[test]
fn pools_are_used_up_in_their_order() {
    let mut swarm = Swarm::new(1);
    swarm.found(&[]);
    let mut cluster = Cluster::clone(swarm.state.cluster().unwrap());
    cluster.address_pools = vec!["10.50.0.0/27".parse().unwrap(), "10.60.0.0/28".parse().unwrap()];
    cluster.subnet_length = 28;
    swarm.act(Change::Update(Arc::new(cluster)));
    for id in 1..=4 {
        swarm.act(Change::Create(Arc::new(network(id, vec![]))));
    }
    swarm.pass();
    let subnets = [1, 2, 3, 4].map(|id| {
        let ipam = of_swarm(&swarm, id).ipam;
        ipam.first().map(|it| it.subnet.to_string())
    });
    let expected = [Some("10.50.0.0/28"), Some("10.50.0.16/28"), Some("10.60.0.0/28"), None];
    assert_eq!(subnets, expected.map(|it| it.map(str::to_owned)));
    assert_eq!(of_swarm(&swarm, 4).vni, Some(Vni(4099)), "of what there is it has its part");
    swarm.service(replicas(1), |spec| spec.task.networks = on(&[4]));
    swarm.pass();
    let why = swarm.all()[0].status.error.clone();
    assert_eq!(why, "network net4 has no subnet: the address pools are full");
}

fn port(target_port: u16, published_port: u16, protocol: Protocol) -> PortConfig {
    PortConfig { target_port, published_port, protocol, ..PortConfig::default() }
}

fn published(swarm: &Swarm, service: ServiceId) -> Vec<u16> {
    let service = swarm.state.services().get(service).unwrap();
    let endpoint = service.endpoint.as_ref().unwrap();
    endpoint.ports.iter().map(|port| port.published_port).collect()
}

#[test]
fn a_port_without_a_number_is_given_one_and_keeps_it() {
    use Protocol::{Tcp, Udp};
    let mut swarm = Swarm::new(1);
    swarm.network(1, "ingress", true);
    let host = PortConfig { publish_mode: PublishMode::Host, ..port(70, 0, Tcp) };
    swarm.service(replicas(1), |spec| {
        spec.endpoint.ports =
            vec![port(80, 0, Tcp), port(81, 30_001, Tcp), port(80, 0, Udp), host.clone()];
    });
    swarm.pass();
    // What protocols have in common is no conflict; on nodes' own addresses each node chooses.
    assert_eq!(published(&swarm, WEB), [30_000, 30_001, 30_000, 0]);
    swarm.respec(|spec| {
        spec.endpoint.ports = vec![port(90, 0, Tcp), port(80, 0, Tcp), port(91, 0, Tcp), host];
    });
    swarm.pass();
    // What it had itself is free when it has something else.
    assert_eq!(published(&swarm, WEB), [30_002, 30_000, 30_003, 0]);
    // Two of one target have a number each, and both keep theirs.
    swarm.respec(|spec| spec.endpoint.ports = vec![port(80, 0, Tcp), port(80, 0, Tcp)]);
    swarm.pass();
    assert_eq!(published(&swarm, WEB), [30_000, 30_001]);
    swarm.respec(|spec| spec.annotations.labels = [("a".to_owned(), "b".to_owned())].into());
    swarm.pass();
    assert_eq!(published(&swarm, WEB), [30_000, 30_001]);
}

#[test]
fn an_address_for_the_service_is_only_where_it_has_one() {
    let mut swarm = Swarm::new(1);
    swarm.network(1, "ingress", true);
    swarm.network(2, "front", false);
    swarm.service(replicas(1), |spec| {
        spec.task.networks = on(&[2]);
        spec.endpoint.mode = EndpointMode::DnsRoundRobin;
    });
    let networks = |swarm: &Swarm| -> Vec<u128> {
        let service = swarm.state.services().get(WEB).unwrap();
        let vips = &service.endpoint.as_ref().unwrap().virtual_ips;
        vips.iter().map(|vip| vip.network.bits()).collect()
    };
    swarm.pass();
    assert_eq!(networks(&swarm), [0; 0]);
    swarm.respec(|spec| spec.endpoint.mode = EndpointMode::Vip);
    swarm.pass();
    assert_eq!(networks(&swarm), [2], "it publishes nothing");
    swarm.respec(|spec| {
        let host = PortConfig { publish_mode: PublishMode::Host, ..port(80, 80, Protocol::Tcp) };
        spec.endpoint.ports = vec![host];
    });
    swarm.pass();
    assert_eq!(networks(&swarm), [2], "nor by the nodes' own addresses");
    swarm.respec(|spec| spec.endpoint.ports = vec![port(80, 80, Protocol::Tcp)]);
    swarm.pass();
    assert_eq!(networks(&swarm), [1, 2]);
    let places = |swarm: &Swarm| -> Vec<u128> {
        let newest = swarm.wanted().into_iter().max_by_key(|task| task.spec_version).unwrap();
        newest.networks.iter().map(|at| at.network.bits()).collect()
    };
    assert_eq!(places(&swarm), [2, 1]);
}

#[test]
fn a_new_task_says_when_and_how_it_was_made() {
    let mut swarm = Swarm::new(1);
    swarm.wait(std::time::Duration::from_secs(3));
    // Without the ingress network it goes no further.
    swarm.service(replicas(1), |spec| {
        spec.endpoint.ports = vec![port(80, 80, Protocol::Tcp)];
    });
    swarm.pass();
    let task = &swarm.all()[0];
    assert_eq!((task.status.state, task.status.message.as_str()), (TaskState::New, "created"));
    assert_eq!(task.status.timestamp, swarm.now);
    assert_eq!(task.status.error, "the swarm has no ingress network");
}

#[test]
fn without_pools_of_its_own_a_swarm_has_dockers() {
    let mut swarm = Swarm::new(1);
    swarm.found(&[]);
    swarm.act(Change::Create(Arc::new(network(1, vec![]))));
    swarm.pass();
    assert_eq!(of_swarm(&swarm, 1).ipam, [ipam("10.0.0.0/24", None, Some("10.0.0.1"))]);
}
