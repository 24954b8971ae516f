//! Numbers that are given: which ones, in what order, and what stays when a spec changes.

mod support;

use std::collections::BTreeSet;
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
fn a_network_of_both_families_gives_of_both() {
    let mut swarm = Swarm::new(1);
    swarm.found(&[]);
    let both = |id, ipam| {
        let mut network = network(id, ipam);
        network.spec.ipv6 = true;
        network
    };
    let named = ipam("fd00:7::/64", Some("fd00:7::8/125"), None);
    swarm.act(Change::Create(Arc::new(both(7, vec![named]))));
    swarm.act(Change::Create(Arc::new(both(8, vec![]))));
    swarm.act(Change::Create(Arc::new(both(9, vec![]))));
    swarm.service(replicas(1), |spec| spec.task.networks = on(&[7, 8]));
    swarm.pass();
    swarm.pass();
    // A /48 of the swarm's own, from its id, of which each network has a /64.
    let id = swarm.state.cluster().unwrap().id.bits();
    let prefix = format!("fd{:02x}:{:x}:{:x}", id >> 32 & 0xff, id >> 16 & 0xffff, id & 0xffff);
    let subnets = |id| of_swarm(&swarm, id).ipam.iter().map(|it| it.subnet).collect::<Vec<_>>();
    let of_swarm = |place: u8| format!("{prefix}:{place}::/64").parse::<ipnet::IpNet>().unwrap();
    assert_eq!(subnets(8), ["10.0.1.0/24".parse().unwrap(), of_swarm(0)]);
    assert_eq!(subnets(9), ["10.0.2.0/24".parse().unwrap(), of_swarm(1)]);

    let service = swarm.state.services().get(WEB).unwrap();
    let vips = &service.endpoint.as_ref().unwrap().virtual_ips;
    let vips: Vec<String> = vips.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(vips[..2], ["10.0.0.2", "fd00:7::8"]);
    let tasks = swarm.all();
    let places: Vec<_> = tasks[0].networks.iter().map(|at| at.addresses.clone()).collect();
    let texts = places[0].iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts, ["10.0.0.3/24", "fd00:7::9/64"], "IPv4 first");
    assert!(of_swarm(0).contains(&places[1][1].addr()));
}

#[test]
fn a_task_waits_for_an_address_of_every_family() {
    let mut swarm = Swarm::new(1);
    // Of these the gateway has one and the service another.
    let few = ipam("fd00:7::/64", Some("fd00:7::/126"), None);
    let mut narrow = network(7, vec![few]);
    narrow.spec.ipv6 = true;
    swarm.act(Change::Create(Arc::new(narrow)));
    swarm.service(replicas(2), |spec| spec.task.networks = on(&[7]));
    swarm.pass();
    let why: BTreeSet<String> = swarm.all().iter().map(|it| it.status.error.clone()).collect();
    let lacking = "network net7 has no free address left".to_owned();
    assert_eq!(why, BTreeSet::from([String::new(), lacking]));
    assert_eq!(addresses(&swarm), ["10.0.0.3/24"], "nobody has half of what it needs");
}

#[test]
fn a_second_subnet_gives_when_the_first_is_full() {
    let mut swarm = Swarm::new(1);
    let two = vec![ipam("10.9.0.0/29", None, None), ipam("10.9.1.0/29", None, None)];
    swarm.act(Change::Create(Arc::new(network(7, two))));
    swarm.service(replicas(6), |spec| spec.task.networks = on(&[7]));
    swarm.pass();
    let mut given = addresses(&swarm);
    given.sort();
    let first = ["10.9.0.3/29", "10.9.0.4/29", "10.9.0.5/29", "10.9.0.6/29"];
    assert_eq!(given, [&first[..], &["10.9.1.2/29", "10.9.1.3/29"]].concat());
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

fn attachable(id: u128, ipam: Vec<IpamConfig>) -> Network {
    let mut network = network(id, ipam);
    network.spec.attachable = true;
    network
}

/// A container that asks for nothing else is on a network.
fn attach(swarm: &mut Swarm, id: u128, node: u128, wished: &[&str]) -> Result<String, String> {
    use skep_orchestrator::allocator::attachment_addresses;
    let network = of_swarm(swarm, 7);
    let wished: Vec<std::net::IpAddr> = wished.iter().map(|it| it.parse().unwrap()).collect();
    let addresses = attachment_addresses(&swarm.state, &network, &wished);
    let addresses = addresses.map_err(|error| error.to_string())?;
    let told = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    swarm.act(Change::Create(Arc::new(Attachment {
        id: AttachmentId::new(id),
        meta: Meta::default(),
        node_id: NodeId::new(node),
        network: network.id,
        container_id: format!("c{id}"),
        names: vec![],
        addresses,
    })));
    Ok(told)
}

fn detach(swarm: &mut Swarm, id: u128) {
    swarm.act(Change::<Attachment>::Remove(AttachmentId::new(id), None));
}

#[test]
fn a_container_gets_what_it_asks_for_and_else_the_lowest() {
    let mut swarm = Swarm::new(1);
    swarm.found(&[]);
    let mut both =
        attachable(7, vec![ipam("10.9.0.0/24", None, None), ipam("fd00:9::/64", None, None)]);
    both.spec.ipv6 = true;
    swarm.act(Change::Create(Arc::new(both)));
    let early = attach(&mut swarm, 1, 1, &[]);
    assert_eq!(early.unwrap_err(), "network net7 has no subnet: the address pools are full");
    swarm.pass();
    let swarm = &mut swarm;
    let mut check = |id, wished: &[&str], expected: Result<&str, &str>| {
        let got = attach(swarm, id, 1, wished);
        assert_eq!(got.as_ref().map(String::as_str).map_err(String::as_str), expected);
    };
    check(1, &[], Ok("10.9.0.2/24 fd00:9::2/64"));
    check(2, &["10.9.0.50"], Ok("10.9.0.50/24 fd00:9::3/64"));
    check(3, &["fd00:9::50", "10.9.0.51"], Ok("10.9.0.51/24 fd00:9::50/64"));
    check(4, &["10.9.0.50"], Err("address 10.9.0.50 is already in use on network net7"));
    check(4, &["10.9.0.1"], Err("address 10.9.0.1 is already in use on network net7"));
    let outside = "no configured subnet or ip-range contain the IP address 10.8.0.1";
    check(4, &["10.8.0.1"], Err(outside));
    check(
        4,
        &["10.9.0.255"],
        Err("no configured subnet or ip-range contain the IP address 10.9.0.255"),
    );
    check(
        4,
        &["10.9.0.60", "10.9.0.61"],
        Err("more than one address of a family is asked for on network net7"),
    );
}

#[test]
fn tasks_and_containers_share_a_pool_and_what_one_gives_back_another_gets() {
    let mut swarm = Swarm::new(1);
    swarm.found(&[]);
    swarm.act(Change::Create(Arc::new(attachable(7, vec![ipam("10.9.0.0/29", None, None)]))));
    swarm.pass();
    for id in 1..=5 {
        attach(&mut swarm, id, 1, &[]).unwrap();
    }
    assert_eq!(attach(&mut swarm, 6, 1, &[]).unwrap_err(), "network net7 has no free address left");
    swarm.service(replicas(1), |spec| {
        spec.task.networks = on(&[7]);
        spec.endpoint.mode = EndpointMode::DnsRoundRobin;
    });
    swarm.pass();
    assert!(addresses(&swarm).is_empty());
    detach(&mut swarm, 3);
    swarm.pass();
    assert_eq!(addresses(&swarm), ["10.9.0.4/29"]);
}

#[test]
fn what_was_attached_on_a_node_goes_with_it() {
    let mut swarm = Swarm::new(2);
    swarm.found(&[]);
    swarm.act(Change::Create(Arc::new(attachable(7, vec![ipam("10.9.0.0/24", None, None)]))));
    swarm.pass();
    attach(&mut swarm, 1, 1, &[]).unwrap();
    attach(&mut swarm, 2, 2, &[]).unwrap();
    swarm.lose(2);
    swarm.pass();
    assert_eq!(swarm.state.attachments().len(), 2, "it may come back");
    swarm.act(Change::<Node>::Remove(NodeId::new(2), None));
    swarm.pass();
    let left: Vec<u128> = swarm.state.attachments().iter().map(|it| it.id.bits()).collect();
    assert_eq!(left, [1]);
    swarm.lose(1);
    swarm.wait(defaults::NODE_DOWN_PERIOD);
    swarm.pass();
    assert!(swarm.state.attachments().is_empty());
}
