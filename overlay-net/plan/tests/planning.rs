//! What is planned, told by the operations.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use skep_overlay_plan::desired::Knowledge;
use skep_overlay_plan::finding::findings;
use skep_overlay_plan::network::{Answers, NetworkDelta, PublishedPort, gateway_of};
use skep_overlay_plan::observed::{Forwarding, Tunnel};
use skep_overlay_plan::rules::host_rules;
use skep_overlay_plan::vips::Vips;
use skep_overlay_plan::*;
use skep_types::service::{PortConfig, Protocol, PublishMode};
use skep_types::session::Session;
use skep_types::{NetworkAttachment, NetworkId, ServiceId, TaskId, Vni};

const INGRESS: NetworkId = NetworkId::new(1);
const FRONT: NetworkId = NetworkId::new(2);
const WEB: ServiceId = ServiceId::new(7);
const MINE: TaskId = TaskId::new(11);
const THEIRS: TaskId = TaskId::new(12);

fn node() -> NodeConfig {
    NodeConfig {
        underlay: "192.168.0.1".parse().unwrap(),
        vxlan_port: 4789,
        underlay_mtu: 1500,
        ipv6: true,
        sctp: true,
        outside_pool: "172.18.0.0/16".parse().unwrap(),
        repeated_sources: vec!["172.17.0.0/16".parse().unwrap()],
    }
}

fn endpoint(address: &str, node: &str, state: EndpointState) -> TaskEndpoint {
    let address = address.parse().unwrap();
    TaskEndpoint {
        service: Some(WEB),
        names: Vec::new(),
        addresses: vec![address],
        mac: task_mac(address),
        node: node.parse().unwrap(),
        state,
    }
}

/// A network with one service, `web`, that has a task on this node and one on another.
fn network(id: NetworkId, vni: u32, third: u8) -> NetworkState {
    let at = |last: u8| format!("10.0.{third}.{last}");
    let ports = vec![
        PublishedPort { protocol: Protocol::Tcp, published: 8080, target: 80, name: String::new() },
        PublishedPort { protocol: Protocol::Udp, published: 5353, target: 53, name: String::new() },
    ];
    NetworkState {
        id,
        name: "net".into(),
        vni: Vni(vni),
        gateways: vec![format!("{}/24", at(1)).parse().unwrap()],
        ingress: id == INGRESS,
        internal: false,
        mtu: None,
        generation: 1,
        nodes: BTreeSet::new(),
        endpoints: BTreeMap::from([
            (MINE, endpoint(&at(3), "192.168.0.1", EndpointState::Serving)),
            (THEIRS, endpoint(&at(4), "192.168.0.2", EndpointState::Serving)),
        ]),
        services: BTreeMap::from([(
            WEB,
            ServiceEntry {
                name: "web".into(),
                aliases: Vec::new(),
                vips: vec![at(2).parse().unwrap()],
                ports: if id == INGRESS { ports } else { Vec::new() },
                session: Session::Any,
            },
        )]),
    }
}

fn attachment(network: NetworkId, address: &str) -> NetworkAttachment {
    NetworkAttachment { network, addresses: vec![address.parse().unwrap()], aliases: Vec::new() }
}

fn with_front() -> Desired {
    let mut desired = Desired::new(node());
    desired.networks.insert(FRONT, network(FRONT, 4098, 1));
    let networks = vec![attachment(FRONT, "10.0.1.3/24")];
    desired
        .add_task(
            TaskNet { task: MINE, networks, ports: Vec::new(), nameservers: Vec::new() },
            None,
        )
        .unwrap();
    desired
}

fn with_ingress() -> Desired {
    let mut desired = Desired::new(node());
    let mut ingress = network(INGRESS, 4096, 0);
    ingress.nodes = BTreeSet::from(["192.168.0.1", "192.168.0.2"].map(|it| it.parse().unwrap()));
    desired.networks.insert(INGRESS, ingress);
    let networks = vec![attachment(INGRESS, "10.0.0.3/24")];
    desired
        .add_task(
            TaskNet { task: MINE, networks, ports: Vec::new(), nameservers: Vec::new() },
            None,
        )
        .unwrap();
    desired
}

fn execute(observed: &mut Observed, operations: &[Operation]) {
    for operation in operations {
        observed.apply(operation);
    }
}

/// Operations in a line each; rules by their digest alone.
fn tell(operations: &[Operation]) -> String {
    let line = |operation: &Operation| match operation {
        Operation::ReplaceHostRules { .. } => "ReplaceHostRules\n".to_owned(),
        Operation::ReplaceTaskRules { task, .. } => format!("ReplaceTaskRules {task}\n"),
        Operation::EditTaskRules { task, edit, .. } => format!("EditTaskRules {task} {edit:?}\n"),
        other => format!("{other:?}\n"),
    };
    operations.iter().map(line).collect()
}

/// Plans, checks the steps, executes them and demands that nothing is left to do.
fn check(desired: &Desired, observed: &mut Observed, expected: Expect) {
    let steps = plan(desired, observed);
    expected.assert_eq(&tell(&steps));
    execute(observed, &steps);
    assert_eq!(tell(&plan(desired, observed)), "", "what was done is not planned again");
}

#[test]
fn a_first_task_builds_its_network_and_the_last_takes_all_away() {
    let mut desired = with_front();
    let mut observed = Observed::default();
    check(
        &desired,
        &mut observed,
        expect![[r#"
            EnableForwarding(Forwarding { v4: true, v6: false })
            CreateSandbox { network: NetworkId(0000000000000000000000002), tunnel: Tunnel { vni: Vni(4098), local: 192.168.0.1, udp_port: 4789, mtu: 1450 }, gateways: {10.0.1.1/24}, mac: 02:53:c0:a8:00:01 }
            SetForwarding { network: NetworkId(0000000000000000000000002), mac: 02:42:0a:00:01:04, node: 192.168.0.2 }
            SetNeighbour { network: NetworkId(0000000000000000000000002), address: 10.0.1.4, mac: 02:42:0a:00:01:04 }
            CreateTask { task: TaskId(000000000000000000000000b) }
            Connect { task: TaskId(000000000000000000000000b), network: NetworkId(0000000000000000000000002), name: "eth0", interface: Interface { mac: 02:42:0a:00:01:03, addresses: {10.0.1.3/24}, routes: {}, mtu: 1450 } }
            ConnectOutside { task: TaskId(000000000000000000000000b), name: "eth1", outside: Outside { address: 172.18.0.2, v6: false }, gateway: 172.18.0.1, mtu: 1500 }
            ReplaceTaskRules 000000000000000000000000b
            PruneFlows { place: Task(TaskId(000000000000000000000000b)), balanced: [Balanced { target: Vip(10.0.1.2), target_port: None, serving: [10.0.1.3, 10.0.1.4], draining: [], session: Any }] }
            CreateUserTable
            ReplaceHostRules
        "#]],
    );
    desired.tasks.clear();
    desired.networks.clear();
    check(
        &desired,
        &mut observed,
        expect![[r#"
        RemoveTask { task: TaskId(000000000000000000000000b) }
        RemoveHostRules
        RemoveSandbox { network: NetworkId(0000000000000000000000002) }
    "#]],
    );
    assert_eq!(
        observed,
        Observed { forwarding: Forwarding { v4: true, v6: false }, ..Observed::default() }
    );
}

#[test]
fn what_does_not_stand_is_told_in_words() {
    let mut desired = with_front();
    let front = desired.networks.get_mut(&FRONT).unwrap();
    for number in 10..14 {
        let endpoint = endpoint(&format!("10.0.1.{number}"), "192.168.0.2", EndpointState::Serving);
        front.endpoints.insert(TaskId::new(number), endpoint);
    }
    let steps = plan(&desired, &Observed::default());
    let said: Vec<String> = findings(&desired, &steps).into_iter().map(|it| it.what).collect();
    expect![[r#"
        this host: packets are not forwarded between interfaces
        network net: its bridge or VXLAN device is missing or another
        network net: frames for tasks on other nodes have no way or a wrong one (02:42:0a:00:01:0a to 192.168.0.2, 02:42:0a:00:01:0b to 192.168.0.2, 02:42:0a:00:01:0c to 192.168.0.2 and 1 more)
        network net: who has an address is not known or told wrongly (10.0.1.10, 10.0.1.11, 10.0.1.12 and 1 more)
        task 000000000000000000000000b: its network namespace is missing
        task 000000000000000000000000b: an interface is missing or not as it is to be (eth0)
        task 000000000000000000000000b: its way to the host is missing (eth1)
        task 000000000000000000000000b: its rules for services and names are missing or others
        this host: the table for the operator's rules is missing
        this host: the rules for published ports are missing or others
    "#]]
    .assert_eq(&(said.join("\n") + "\n"));
    assert_eq!(findings(&desired, &[]), []);
}

#[test]
fn the_ingress_network_stands_without_tasks_and_is_joined_to_the_host() {
    let mut desired = with_ingress();
    desired.tasks.clear();
    check(
        &desired,
        &mut Observed::default(),
        expect![[r#"
            EnableForwarding(Forwarding { v4: true, v6: false })
            CreateSandbox { network: NetworkId(0000000000000000000000001), tunnel: Tunnel { vni: Vni(4096), local: 192.168.0.1, udp_port: 4789, mtu: 1450 }, gateways: {10.0.0.1/24}, mac: 02:53:c0:a8:00:01 }
            SetForwarding { network: NetworkId(0000000000000000000000001), mac: 02:42:0a:00:00:04, node: 192.168.0.2 }
            SetForwarding { network: NetworkId(0000000000000000000000001), mac: 02:53:c0:a8:00:02, node: 192.168.0.2 }
            SetNeighbour { network: NetworkId(0000000000000000000000001), address: 10.0.0.4, mac: 02:42:0a:00:00:04 }
            JoinToHost { network: NetworkId(0000000000000000000000001), subnet: 10.0.0.0/24, gateway: 10.0.0.1, subnet_v6: None, host: 192.168.0.1, lacks_host: false, mtu: 1450 }
            CreateUserTable
            ReplaceHostRules
            PruneFlows { place: Host, balanced: [Balanced { target: Port(Tcp, 8080), target_port: Some(80), serving: [10.0.0.3, 10.0.0.4], draining: [], session: Any }, Balanced { target: Port(Udp, 5353), target_port: Some(53), serving: [10.0.0.3, 10.0.0.4], draining: [], session: Any }] }
        "#]],
    );
}

#[test]
fn a_task_on_the_ingress_network_replies_by_the_node_that_asked() {
    let steps = plan(&with_ingress(), &Observed::default());
    let told: Vec<_> =
        steps.into_iter().filter(|step| matches!(step, Operation::RouteReplies { .. })).collect();
    expect![[r#"
        RouteReplies { task: TaskId(000000000000000000000000b), name: "eth0", address: 10.0.0.3, gateway: 10.0.0.1, early: {(Udp, 53)} }
    "#]].assert_eq(&tell(&told));
}

#[test]
fn an_endpoint_that_moves_changes_one_entry_and_one_that_goes_is_forgotten_last() {
    let mut desired = with_front();
    let mut observed = Observed::default();
    let steps = plan(&desired, &observed);
    execute(&mut observed, &steps);
    let moved = endpoint("10.0.1.4", "192.168.0.3", EndpointState::Serving);
    desired.networks.get_mut(&FRONT).unwrap().endpoints.insert(THEIRS, moved);
    check(
        &desired,
        &mut observed,
        expect![[r#"
        SetForwarding { network: NetworkId(0000000000000000000000002), mac: 02:42:0a:00:01:04, node: 192.168.0.3 }
    "#]],
    );
    desired.networks.get_mut(&FRONT).unwrap().endpoints.remove(&THEIRS);
    check(
        &desired,
        &mut observed,
        expect![[r#"
            EditTaskRules 000000000000000000000000b Edit { vips: [VipEdit { vip: 10.0.1.2, from: Some(Slots(Random(2))), to: Some(Slots(Random(1))) }], slots: [SlotEdit { vip: 10.0.1.2, slot: 1, from: Some(10.0.1.4), to: None }], from: Digest(14507046970808585740), to: Digest(17265074594058453430) }
            PruneFlows { place: Task(TaskId(000000000000000000000000b)), balanced: [Balanced { target: Vip(10.0.1.2), target_port: None, serving: [10.0.1.3], draining: [], session: Any }] }
            RemoveNeighbour { network: NetworkId(0000000000000000000000002), address: 10.0.1.4 }
            RemoveForwarding { network: NetworkId(0000000000000000000000002), mac: 02:42:0a:00:01:04 }
        "#]],
    );
}

#[test]
fn a_new_underlay_address_renews_the_tunnel_with_all_its_entries() {
    let mut desired = with_front();
    let mut observed = Observed::default();
    let steps = plan(&desired, &observed);
    execute(&mut observed, &steps);
    desired.node.underlay = "192.168.0.9".parse().unwrap();
    let network = desired.networks.get_mut(&FRONT).unwrap();
    network.endpoints.get_mut(&MINE).unwrap().node = desired.node.underlay;
    let steps = plan(&desired, &observed);
    assert!(matches!(
        &steps[0],
        Operation::CreateSandbox { tunnel: Tunnel { local, .. }, .. } if *local == desired.node.underlay
    ));
    assert!(steps.iter().any(|step| matches!(step, Operation::SetForwarding { .. })));
}

#[test]
fn a_vxlan_id_that_is_taken_over_is_freed_first() {
    let desired = with_front();
    let mut observed = Observed::default();
    let tunnel = desired.node.tunnel(&network(INGRESS, 4098, 1));
    let old = ObservedSandbox { tunnel: Some(tunnel), ..ObservedSandbox::default() };
    observed.sandboxes.insert(NetworkId::new(99), old);
    let steps = plan(&desired, &observed);
    assert_eq!(steps[0], Operation::RemoveSandbox { network: NetworkId::new(99) });
}

#[test]
fn what_is_not_known_yet_is_left_as_it_stands() {
    let mut desired = with_front();
    let mut observed = Observed::default();
    let steps = plan(&desired, &observed);
    execute(&mut observed, &steps);
    desired.networks.clear();
    desired.knowledge = Knowledge::Partial;
    check(&desired, &mut observed, expect![[""]]);
    desired.tasks.clear();
    check(
        &desired,
        &mut observed,
        expect![[r#"
        RemoveTask { task: TaskId(000000000000000000000000b) }
    "#]],
    );
}

#[test]
fn wishes_that_cannot_be_met_change_nothing() {
    let mut desired = with_front();
    let before = desired.clone();
    let mut refuse = |networks, expected: &str| {
        let net = TaskNet { task: THEIRS, networks, ports: Vec::new(), nameservers: Vec::new() };
        assert_eq!(desired.add_task(net, None).unwrap_err().to_string(), expected);
        assert_eq!(desired, before);
    };
    refuse(
        vec![attachment(INGRESS, "10.0.0.9/24")],
        "network 0000000000000000000000001 is not known on this node",
    );
    refuse(
        vec![attachment(FRONT, "10.0.1.9/24"), attachment(FRONT, "10.0.1.8/24")],
        "task 000000000000000000000000c is attached to network 0000000000000000000000002 twice",
    );
    refuse(
        vec![NetworkAttachment { network: FRONT, addresses: Vec::new(), aliases: Vec::new() }],
        "task 000000000000000000000000c has no address on network 0000000000000000000000002",
    );
}

#[test]
fn outside_addresses_are_unique_kept_and_bounded() {
    let mut desired = with_front();
    desired.node.outside_pool = "172.18.0.0/29".parse().unwrap();
    let task = |number: u128| TaskNet {
        task: TaskId::new(number),
        networks: vec![attachment(FRONT, "10.0.1.9/24")],
        ports: Vec::new(),
        nameservers: Vec::new(),
    };
    for number in 20..24 {
        desired.add_task(task(number), None).unwrap();
    }
    let outside: BTreeSet<_> = desired.tasks.values().filter_map(|task| task.outside).collect();
    assert_eq!(outside.len(), 5, "six hosts of which one is the gateway");
    assert_eq!(
        desired.add_task(task(24), None).unwrap_err().to_string(),
        "no address towards the host is free in 172.18.0.0/29"
    );
    let before = desired.tasks[&TaskId::new(21)].clone();
    desired.add_task(task(21), None).unwrap();
    assert_eq!(desired.tasks[&TaskId::new(21)], before);
}

#[test]
fn an_internal_network_alone_gives_no_way_to_the_outside() {
    let mut desired = with_front();
    desired.networks.get_mut(&FRONT).unwrap().internal = true;
    desired.tasks.clear();
    let mut net = TaskNet {
        task: MINE,
        networks: vec![attachment(FRONT, "10.0.1.3/24")],
        ports: Vec::new(),
        nameservers: Vec::new(),
    };
    desired.add_task(net.clone(), None).unwrap();
    assert_eq!(desired.tasks[&MINE].outside, None);
    net.ports = vec![PortConfig {
        target_port: 80,
        published_port: 9000,
        publish_mode: PublishMode::Host,
        ..PortConfig::default()
    }];
    desired.add_task(net, None).unwrap();
    assert_eq!(desired.tasks[&MINE].outside, Some("172.18.0.2".parse().unwrap()));
    assert!(
        host_rules(&desired).text().contains(
            "meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 172.18.0.2 . 80 }"
        )
    );
}

fn in_host_mode(protocol: Protocol, target_port: u16, published_port: u16) -> PortConfig {
    let publish_mode = PublishMode::Host;
    PortConfig { protocol, target_port, published_port, publish_mode, ..PortConfig::default() }
}

fn with_ports(task: u128, ports: &[PortConfig]) -> TaskNet {
    TaskNet {
        task: TaskId::new(task),
        networks: Vec::new(),
        ports: ports.to_vec(),
        nameservers: Vec::new(),
    }
}

/// Takes the first free number for each port that has none, as if nothing else were on the host.
fn number(
    desired: &mut Desired,
    mut net: TaskNet,
    had: &[PortConfig],
    local: &LocalPorts,
) -> TaskNet {
    for port in net.keep(had) {
        desired.choose(port, net.task).unwrap();
    }
    for index in net.unnumbered().collect::<Vec<_>>() {
        let protocol = net.ports[index].protocol;
        let number = desired.free_numbers(&net, protocol, local, None)[0];
        desired.choose((protocol, number), net.task).unwrap();
        net.ports[index].published_port = number;
    }
    net
}

#[test]
fn what_the_kernel_says_of_its_ports() {
    let check = |range: &str, reserved: &str, expected: &str| {
        let local = LocalPorts::parse(range, reserved);
        assert_eq!(format!("{:?} {:?}", local.range, local.reserved), expected);
    };
    check("32768\t60999\n", "\n", "32768..=60999 []");
    check("1024 65535", "1080,8000-8010\n", "1024..=65535 [1080..=1080, 8000..=8010]");
    check("9 8", "x,7", "32768..=60999 [7..=7]");
    check("0 8", "", "32768..=60999 []");
    check("", "", "32768..=60999 []");
}

#[test]
fn a_number_is_one_that_nobody_has() {
    use Protocol::{Tcp, Udp};
    let mut desired = with_ingress();
    let ingress = desired.networks.get_mut(&INGRESS).unwrap();
    ingress.services.get_mut(&WEB).unwrap().ports =
        vec![PublishedPort { protocol: Tcp, published: 40_001, target: 80, name: String::new() }];
    desired.add_task(with_ports(20, &[in_host_mode(Tcp, 80, 40_002)]), None).unwrap();
    let local = LocalPorts { range: 40_000..=40_007, reserved: vec![40_005..=40_006] };
    let wishes =
        [in_host_mode(Tcp, 80, 0), in_host_mode(Udp, 53, 0), in_host_mode(Tcp, 81, 40_003)];
    let free = |desired: &Desired, protocol, after| {
        desired.free_numbers(&with_ports(21, &wishes), protocol, &local, after)
    };
    assert_eq!(free(&desired, Tcp, None), [40_000, 40_004, 40_007]);
    assert_eq!(free(&desired, Udp, None), [40_000, 40_001, 40_002, 40_003, 40_004, 40_007]);
    // They go on behind the last one, and come round.
    assert_eq!(free(&desired, Tcp, Some(40_000)), [40_004, 40_007, 40_000]);
    assert_eq!(free(&desired, Tcp, Some(40_007)), [40_000, 40_004, 40_007]);
    assert_eq!(free(&desired, Tcp, Some(7)), [40_000, 40_004, 40_007]);
    let all = LocalPorts { range: 65_534..=65_535, reserved: Vec::new() };
    let net = with_ports(21, &wishes);
    assert_eq!(desired.free_numbers(&net, Tcp, &all, Some(65_535)), [65_534, 65_535]);

    let net = number(&mut desired, with_ports(21, &wishes), &[], &local);
    let numbers: Vec<u16> = net.ports.iter().map(|it| it.published_port).collect();
    assert_eq!(numbers, [40_000, 40_000, 40_003]);
    desired.add_task(net, None).unwrap();
    assert_eq!(free(&desired, Tcp, None), [40_004, 40_007]);
    let rules = host_rules(&desired).text().to_owned();
    for (chain, target) in [("port_tcp_40000", 80), ("port_udp_40000", 53), ("port_tcp_40003", 81)]
    {
        let port = rules.split(&format!("chain {chain} {{")).nth(1).unwrap();
        let body = port.split('}').next().unwrap();
        assert!(body.contains(&format!(" . {target} ")), "{chain}: {body}");
    }
}

#[test]
fn a_chosen_number_stays_its_tasks_until_it_goes() {
    use Protocol::Tcp;
    let mut desired = Desired::new(node());
    let local = LocalPorts { range: 40_000..=40_002, reserved: Vec::new() };
    let two = [in_host_mode(Tcp, 80, 0), in_host_mode(Tcp, 80, 0)];
    let first = number(&mut desired, with_ports(20, &two), &[], &local);
    desired.add_task(first.clone(), None).unwrap();
    // Attached again, and after the daemon was started again, each has what it had.
    let again = number(&mut desired, with_ports(20, &two), &first.ports, &local);
    assert_eq!(again, first);
    let mut anew = Desired::new(node());
    assert_eq!(number(&mut anew, with_ports(20, &two), &first.ports, &local), first);

    let error = desired.add_task(with_ports(21, &[in_host_mode(Tcp, 80, 0)]), None).unwrap_err();
    assert!(matches!(error, TaskNetError::Unnumbered(..)), "{error}");
    let numbered = with_ports(21, &[in_host_mode(Tcp, 90, 40_001)]);
    let error = desired.add_task(numbered.clone(), None).unwrap_err().to_string();
    assert!(
        error.starts_with("Bind for 0.0.0.0:40001 failed: port is already allocated: ")
            && error.contains(&TaskId::new(20).to_string()),
        "{error}"
    );
    assert!(desired.choose((Tcp, 40_000), TaskId::new(21)).is_err());

    // What a task that was not added chose, and what a task that goes had, is free again.
    desired.choose((Tcp, 40_002), TaskId::new(22)).unwrap();
    desired.give_back();
    let chosen: Vec<u16> = desired.chosen.keys().map(|(_, number)| *number).collect();
    assert_eq!(chosen, [40_000, 40_001]);
    desired.tasks.remove(&TaskId::new(20));
    desired.give_back();
    assert_eq!(desired.chosen, BTreeMap::new());
    desired.add_task(numbered, None).unwrap();
}

#[test]
fn a_chosen_port_that_the_swarm_publishes_later_is_told() {
    let mut desired = with_ingress();
    let port = (Protocol::Tcp, 8080);
    desired.choose(port, MINE).unwrap();
    assert_eq!(desired.shadowed(), BTreeSet::from([(port, MINE)]));
    desired.networks.get_mut(&INGRESS).unwrap().services.clear();
    assert_eq!(desired.shadowed(), BTreeSet::new());
}

fn task_rules(
    node: &NodeConfig,
    task: &DesiredTask,
    networks: &BTreeMap<NetworkId, NetworkState>,
) -> Ruleset {
    TaskRules::of(node, task, networks, |network| Vips::of(network, None)).ruleset()
}

#[test]
fn rules_of_a_task() {
    let mut desired = with_front();
    let task = desired.tasks.get_mut(&MINE).unwrap();
    task.resolver = Some(40001);
    let task = task.clone();
    expect![[r#"
        table netdev skep { }
        delete table netdev skep
        table inet skep { }
        delete table inet skep
        table inet skep {
        	counter vip_10_0_1_2 {
        		packets 0 bytes 0
        	}
        	chain v_cd99e1999284889c { }
        	map backends_ip {
        		typeof ip daddr . numgen random mod 65536 : ip daddr
        		elements = { 10.0.1.2 . 0 : 10.0.1.3, 10.0.1.2 . 1 : 10.0.1.4 }
        	}
        	map vips_ip {
        		typeof ip daddr : verdict
        		elements = { 10.0.1.2 : goto vip_10_0_1_2 }
        	}
        	map idle_ip {
        		typeof ip daddr : verdict
        	}
        	chain idle {
        		meta l4proto tcp reject with tcp reset
        		reject with icmpx port-unreachable
        	}
        	chain refusing {
        		type filter hook output priority 0; policy accept;
        		ip daddr vmap @idle_ip
        	}
        	chain vip_10_0_1_2 {
        		counter name vip_10_0_1_2
        		dnat ip to ip daddr . numgen random mod 2 map @backends_ip
        	}
        	chain connecting {
        		type nat hook output priority -100; policy accept;
        		ip daddr 127.0.0.11 udp dport 53 dnat ip to 127.0.0.11:40001
        		ip daddr 127.0.0.11 tcp dport 53 dnat ip to 127.0.0.11:40001
        		ip daddr vmap @vips_ip
        	}
        }
    "#]]
    .assert_eq(task_rules(&desired.node, &task, &desired.networks).text());
    for endpoint in desired.networks.get_mut(&FRONT).unwrap().endpoints.values_mut() {
        endpoint.state = EndpointState::Draining;
    }
    expect![[r#"
        table netdev skep { }
        delete table netdev skep
        table inet skep { }
        delete table inet skep
        table inet skep {
        	counter vip_10_0_1_2 {
        		packets 0 bytes 0
        	}
        	chain v_e4908291d8e3fb11 { }
        	map backends_ip {
        		typeof ip daddr . numgen random mod 65536 : ip daddr
        	}
        	map vips_ip {
        		typeof ip daddr : verdict
        	}
        	map idle_ip {
        		typeof ip daddr : verdict
        		elements = { 10.0.1.2 : goto idle }
        	}
        	chain idle {
        		meta l4proto tcp reject with tcp reset
        		reject with icmpx port-unreachable
        	}
        	chain refusing {
        		type filter hook output priority 0; policy accept;
        		ip daddr vmap @idle_ip
        	}
        	chain connecting {
        		type nat hook output priority -100; policy accept;
        		ip daddr 127.0.0.11 udp dport 53 dnat ip to 127.0.0.11:40001
        		ip daddr 127.0.0.11 tcp dport 53 dnat ip to 127.0.0.11:40001
        		ip daddr vmap @vips_ip
        	}
        }
    "#]]
    .assert_eq(task_rules(&desired.node, &task, &desired.networks).text());
}

#[test]
fn rules_of_a_task_on_the_ingress_network() {
    let desired = with_ingress();
    let task = &desired.tasks[&MINE];
    expect![[r#"
        table netdev skep { }
        delete table netdev skep
        table netdev skep {
        	chain node_c0a80001 {
        		@ll,0,48 set 0x0253c0a80001
        	}
        	chain node_c0a80002 {
        		@ll,0,48 set 0x0253c0a80002
        	}
        	chain leaving {
        		type filter hook egress device "eth0" priority 0; policy accept;
        		meta mark vmap { 0xc0a80001 : goto node_c0a80001, 0xc0a80002 : goto node_c0a80002 }
        	}
        }
        table inet skep { }
        delete table inet skep
        table inet skep {
        	chain v_4afecae61571f498 { }
        	chain connecting {
        		type nat hook output priority -100; policy accept;
        	}
        	chain arriving {
        		type filter hook prerouting priority -150; policy accept;
        		iifname "eth0" ct direction original ct mark set ether saddr map { 02:53:c0:a8:00:01 : 0xc0a80001, 02:53:c0:a8:00:02 : 0xc0a80002 }
        	}
        	chain replying {
        		type route hook output priority -150; policy accept;
        		ct direction reply ct mark != 0 meta mark set ct mark
        	}
        }
    "#]].assert_eq(task_rules(&desired.node, task, &desired.networks).text());
}

#[test]
fn rules_of_the_host() {
    expect![[r#"
        table netdev skep { }
        delete table netdev skep
        table inet skep { }
        delete table inet skep
        table inet skep {
        	counter port_tcp_8080 {
        		packets 0 bytes 0
        	}
        	counter port_udp_5353 {
        		packets 0 bytes 0
        	}
        	chain v_7e9052d2354f4d51 { }
        	chain port_tcp_8080 {
        		counter name port_tcp_8080
        		meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.0.0.3 . 80, 1 : 10.0.0.4 . 80 }
        	}
        	chain port_udp_5353 {
        		counter name port_udp_5353
        		meta l4proto udp dnat ip to numgen random mod 2 map { 0 : 10.0.0.3 . 53, 1 : 10.0.0.4 . 53 }
        	}
        	chain published {
        		ip6 daddr fe80::/10 return
        		meta l4proto . th dport vmap { tcp . 8080 : goto port_tcp_8080, udp . 5353 : goto port_udp_5353 }
        	}
        	chain guarding {
        		type filter hook prerouting priority -300; policy accept;
        		iifname "sko-*" ip daddr 127.0.0.0/8 drop
        		iifname "ski-*" ip daddr 127.0.0.0/8 drop
        	}
        	chain fitting_in {
        		type filter hook prerouting priority -150; policy accept;
        		iifname "ski-*" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1410
        		iifname "ski-*" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1390
        	}
        	chain fitting_out {
        		type filter hook postrouting priority -150; policy accept;
        		oifname "ski-*" meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set 1410
        		oifname "ski-*" meta nfproto ipv6 tcp flags & (syn | rst) == syn tcp option maxseg size set 1390
        	}
        	chain arriving {
        		type nat hook prerouting priority -100; policy accept;
        		fib daddr type local jump published
        	}
        	chain connecting {
        		type nat hook output priority -100; policy accept;
        		fib daddr type local jump published
        	}
        	chain leaving {
        		type nat hook postrouting priority 100; policy accept;
        		ct status dnat oifname "ski-*" ip saddr { 127.0.0.0/8, 172.18.0.0/16, 172.17.0.0/16 } snat ip to 192.168.0.1
        		ct status dnat oifname "sko-*" ip saddr { 127.0.0.0/8, 172.18.0.0/16, 172.17.0.0/16 } masquerade
        		ip saddr 172.18.0.0/16 oifname != { "sko-*", "ski-*" } masquerade
        		ct status dnat oifname "ski-*" ip6 saddr { ::1, fd53:6b65:7000::/96 } snat ip6 to fd53:6b65:7001::c0a8:1
        		ct status dnat oifname "sko-*" ip6 saddr { ::1, fd53:6b65:7000::/96 } masquerade
        		ip6 saddr fd53:6b65:7000::/96 oifname != { "sko-*", "ski-*" } masquerade
        	}
        	chain passing {
        		type filter hook forward priority 0; policy accept;
        		ct direction original iifname "ski-*" drop
        		ct direction original ct status & dnat == 0 oifname "ski-*" drop
        		ct direction original ct status & dnat == 0 oifname "sko-*" drop
        	}
        	chain entering {
        		type filter hook input priority 0; policy accept;
        		ct direction original iifname "ski-*" drop
        		udp dport 4789 @th,96,24 { 0x001000 } ip saddr != { 192.168.0.1, 192.168.0.2 } drop
        	}
        }
    "#]].assert_eq(host_rules(&with_ingress()).text());
}

#[test]
fn a_delta_applies_on_top_of_its_generation_alone() {
    let mut state = network(FRONT, 4098, 1);
    let delta = NetworkDelta {
        id: FRONT,
        applies_to: 1,
        generation: 2,
        answers: vec![Answers {
            endpoints_removed: BTreeSet::from([THEIRS]),
            ..Answers::default()
        }],
    };
    state.apply(delta.clone()).unwrap();
    assert_eq!((state.generation, state.endpoints.len()), (2, 1));
    let before = state.clone();
    assert_eq!(
        state.apply(delta).unwrap_err().to_string(),
        "stale delta of network 0000000000000000000000002: expected one for generation 2, got one for generation 1"
    );
    assert_eq!(state, before);
}

#[test]
fn words_that_came_together_are_one_word() {
    let delta = |applies_to, generation, answers| {
        NetworkUpdate::Delta(NetworkDelta {
            id: FRONT,
            applies_to,
            generation,
            answers: vec![answers],
        })
    };
    let away = |task| Answers { endpoints_removed: BTreeSet::from([task]), ..Answers::default() };
    let back = |state: &NetworkState, task| Answers {
        endpoints: BTreeMap::from([(task, state.endpoints[&task].clone())]),
        ..Answers::default()
    };
    let state = network(FRONT, 4098, 1);
    let full = || NetworkUpdate::Full(state.clone());
    let words =
        [delta(1, 2, away(THEIRS)), delta(2, 3, away(MINE)), delta(3, 5, back(&state, THEIRS))];

    let mut expected = network(FRONT, 4098, 1);
    expected.endpoints.retain(|task, _| *task == THEIRS);
    expected.generation = 5;
    let folded = words.clone().into_iter().try_fold(full(), NetworkUpdate::then);
    assert_eq!(folded, Ok(NetworkUpdate::Full(expected.clone())));
    let [first, rest @ ..] = words.clone();
    let folded = rest.into_iter().try_fold(first, NetworkUpdate::then);
    let Ok(NetworkUpdate::Delta(folded)) = folded else { panic!("{folded:?}") };
    let mut known = state.clone();
    known.apply(folded).unwrap();
    assert_eq!(known, expected);

    let [one, two, three] = words;
    let missing = one.clone().then(three.clone()).unwrap_err().to_string();
    assert!(
        missing.ends_with("expected one for generation 2, got one for generation 3"),
        "{missing}"
    );
    let gone = NetworkUpdate::Gone(FRONT).then(two).unwrap_err().to_string();
    assert!(gone.ends_with("expected one for none, got one for generation 2"), "{gone}");
    assert_eq!(three.clone().then(NetworkUpdate::Gone(FRONT)), Ok(NetworkUpdate::Gone(FRONT)));
    assert_eq!(NetworkUpdate::Gone(FRONT).then(full()), Ok(full()));
}

#[test]
fn a_gateway_is_the_first_address_unless_it_is_named() {
    let gateway = |subnet: &str| gateway_of(subnet.parse().unwrap()).to_string();
    assert_eq!(gateway("10.0.1.0/24"), "10.0.1.1/24");
    assert_eq!(gateway("10.0.1.254/24"), "10.0.1.254/24");
    assert_eq!(gateway("fd00:1::/64"), "fd00:1::1/64");
}

#[test]
fn a_session_by_client_address_hashes_it_into_a_fixed_number_of_shares() {
    let mut desired = with_ingress();
    desired.networks.insert(FRONT, network(FRONT, 4098, 1));
    for id in [INGRESS, FRONT] {
        let network = desired.networks.get_mut(&id).unwrap();
        network.services.get_mut(&WEB).unwrap().session = Session::ClientAddress;
    }
    let choices = |rules: &Ruleset, of: &str| -> Vec<String> {
        let lines = rules.text().lines().filter(|line| line.contains("dnat") && line.contains(of));
        lines.map(|line| line.trim().to_owned()).collect()
    };
    let begin =
        "meta l4proto tcp dnat ip to jhash ip saddr mod 1024 seed 0x736b6570 map { 0 : 10.0.0.";
    let before = choices(&host_rules(&desired), "l4proto tcp").remove(0);
    assert!(before.starts_with(begin), "{before}");
    assert_eq!(before.matches(" : 10.0.0.").count(), 1024);
    assert!(before.contains(" : 10.0.0.3 . 80") && before.contains(" : 10.0.0.4 . 80"));
    // Another node says the same, for the same clients are to come to the same tasks.
    let mut other = desired.clone();
    other.tasks.clear();
    other.node.underlay = "192.168.0.2".parse().unwrap();
    assert_eq!(choices(&host_rules(&other), "l4proto tcp"), [before]);
    // One task is every client's.
    let endpoints = &mut desired.networks.get_mut(&INGRESS).unwrap().endpoints;
    endpoints.get_mut(&THEIRS).unwrap().state = EndpointState::Draining;
    assert_eq!(
        choices(&host_rules(&desired), "l4proto tcp"),
        ["meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.0.0.3 . 80 }"]
    );
}

#[test]
fn a_choice_among_a_thousand_is_one_look_up() {
    let mut desired = with_ingress();
    let network = desired.networks.get_mut(&INGRESS).unwrap();
    for number in 0..1000u32 {
        let address = format!("10.0.{}.{}", 1 + number / 250, 1 + number % 250);
        let task = TaskId::new(100 + u128::from(number));
        network.endpoints.insert(task, endpoint(&address, "192.168.0.2", EndpointState::Serving));
    }
    let rules = host_rules(&desired);
    let text = rules.text();
    // Each port has one chain with one rule, reached by one look-up, whatever is behind it; no key
    // of a map is a range, which the kernel would keep as a tree.
    assert_eq!(text.matches("numgen random mod 1002 map {").count(), 2);
    assert_eq!(text.lines().filter(|line| line.contains("th dport vmap {")).count(), 1);
    let map = text.lines().find(|line| line.contains("tcp dnat")).unwrap();
    assert_eq!(map.matches(" . 80").count(), 1002);
    assert!(!map.split_once("map {").unwrap().1.contains('-'), "a range in {map}");
}

/// The ingress network with IPv6 too, and a task on it with a port of the host.
fn with_ingress_of_both() -> Desired {
    let mut desired = with_ingress();
    let network = desired.networks.get_mut(&INGRESS).unwrap();
    network.gateways.push("fd00::1/64".parse().unwrap());
    for (task, address) in [(MINE, "fd00::3"), (THEIRS, "fd00::4")] {
        let endpoint = network.endpoints.get_mut(&task).unwrap();
        endpoint.addresses.push(address.parse().unwrap());
    }
    let mut at = attachment(INGRESS, "10.0.0.3/24");
    at.addresses.push("fd00::3/64".parse().unwrap());
    let ports = vec![in_host_mode(Protocol::Tcp, 80, 9000)];
    let net = TaskNet { task: MINE, networks: vec![at], ports, nameservers: Vec::new() };
    desired.add_task(net, None).unwrap();
    desired
}

#[test]
fn ports_are_published_in_both_families_where_the_host_has_both() {
    let mut desired = with_ingress_of_both();
    let told = |desired: &Desired| {
        let rules = host_rules(desired).text().to_owned();
        let of = |line: &&str| line.contains("ip6") || line.contains("dnat");
        rules.lines().filter(of).map(|line| format!("{}\n", line.trim())).collect::<String>()
    };
    expect![[r#"
        meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.0.0.3 . 80, 1 : 10.0.0.4 . 80 }
        meta l4proto tcp dnat ip6 to numgen random mod 2 map { 0 : fd00::3 . 80, 1 : fd00::4 . 80 }
        meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 172.18.0.2 . 80 }
        meta l4proto tcp dnat ip6 to numgen random mod 1 map { 0 : fd53:6b65:7000::ac12:2 . 80 }
        meta l4proto udp dnat ip to numgen random mod 2 map { 0 : 10.0.0.3 . 53, 1 : 10.0.0.4 . 53 }
        meta l4proto udp dnat ip6 to numgen random mod 2 map { 0 : fd00::3 . 53, 1 : fd00::4 . 53 }
        ip6 daddr fe80::/10 return
        ct status dnat oifname "ski-*" ip saddr { 127.0.0.0/8, 172.18.0.0/16, 172.17.0.0/16 } snat ip to 192.168.0.1
        ct status dnat oifname "sko-*" ip saddr { 127.0.0.0/8, 172.18.0.0/16, 172.17.0.0/16 } masquerade
        ct status dnat oifname "ski-*" ip6 saddr { ::1, fd53:6b65:7000::/96 } snat ip6 to fd53:6b65:7001::c0a8:1
        ct status dnat oifname "sko-*" ip6 saddr { ::1, fd53:6b65:7000::/96 } masquerade
        ip6 saddr fd53:6b65:7000::/96 oifname != { "sko-*", "ski-*" } masquerade
        ct direction original ct status & dnat == 0 oifname "ski-*" drop
        ct direction original ct status & dnat == 0 oifname "sko-*" drop
    "#]]
    .assert_eq(&told(&desired));
    let steps = plan(&desired, &Observed::default());
    let replies: Vec<_> =
        steps.into_iter().filter(|step| matches!(step, Operation::RouteReplies { .. })).collect();
    expect![[r#"
        RouteReplies { task: TaskId(000000000000000000000000b), name: "eth0", address: 10.0.0.3, gateway: 10.0.0.1, early: {(Udp, 53)} }
        RouteReplies { task: TaskId(000000000000000000000000b), name: "eth0", address: fd00::3, gateway: fd00::1, early: {(Udp, 53)} }
    "#]]
    .assert_eq(&tell(&replies));
    // Over an underlay of IPv6 a node calls itself by its address there.
    desired.node.underlay = "fd77::1".parse().unwrap();
    assert!(told(&desired).contains(" snat ip6 to fd77::1\n"));
    // A host without IPv6 is told nothing of addresses of that kind either.
    let mut desired = with_ingress();
    desired.node.ipv6 = false;
    assert!(!host_rules(&desired).text().contains("ip6"));
}

#[test]
fn a_port_of_sctp_is_refused_by_name_where_the_kernel_does_not_follow_it() {
    let mut desired = with_ingress();
    let port = PublishedPort {
        protocol: Protocol::Sctp,
        published: 3868,
        target: 38,
        name: String::new(),
    };
    let services = &mut desired.networks.get_mut(&INGRESS).unwrap().services;
    services.get_mut(&WEB).unwrap().ports.push(port);
    let answered = |desired: &Desired| host_rules(desired).text().contains("sctp . 3868");
    assert!(answered(&desired));
    assert!(desired.unanswered().is_empty());
    let steps = plan(&desired, &Observed::default());
    let early = |step: &Operation| match step {
        Operation::RouteReplies { early, .. } => Some(early.clone()),
        _ => None,
    };
    let both = BTreeSet::from([(Protocol::Udp, 53), (Protocol::Sctp, 38)]);
    assert_eq!(steps.iter().find_map(early), Some(both));

    desired.node.sctp = false;
    assert!(!answered(&desired));
    assert_eq!(desired.unanswered(), BTreeSet::from([(Protocol::Sctp, 3868)]));
    let net = with_ports(21, &[in_host_mode(Protocol::Sctp, 38, 9000)]);
    assert_eq!(
        desired.add_task(net, None).unwrap_err().to_string(),
        "port 38/sctp cannot be published on this node: its kernel does not follow connections of \
         SCTP (CONFIG_NF_CT_PROTO_SCTP)"
    );
}

#[test]
fn a_container_in_a_lent_namespace_has_its_interfaces_by_name() {
    use skep_overlay_plan::Lent;
    let mut desired = Desired::new(node());
    desired.networks.insert(FRONT, network(FRONT, 4098, 1));
    let net =
        |networks| TaskNet { task: MINE, networks, ports: Vec::new(), nameservers: Vec::new() };
    let on_front = || vec![attachment(FRONT, "10.0.1.3/24")];
    let lent = |interfaces: &[&str], outside: Option<&str>| Lent {
        namespace: "/run/there".into(),
        interfaces: interfaces.iter().map(ToString::to_string).collect(),
        outside: outside.map(str::to_owned),
    };
    assert!(desired.add_container(net(on_front()), lent(&[], None), None).is_err());
    let mut observed = Observed::default();
    let names = |steps: &[Operation]| -> Vec<String> {
        let name = |step: &Operation| match step {
            Operation::BorrowTask { namespace, .. } => {
                Some(format!("borrow {}", namespace.display()))
            }
            Operation::Connect { name, .. } => Some(format!("connect {name}")),
            Operation::ConnectOutside { name, .. } => Some(format!("outside {name}")),
            Operation::Disconnect { name, .. } => Some(format!("disconnect {name}")),
            _ => None,
        };
        steps.iter().filter_map(name).collect()
    };
    for (networks, lent, expected) in [
        (
            on_front(),
            lent(&["eth1"], Some("eth2")),
            &["borrow /run/there", "connect eth1", "outside eth2"][..],
        ),
        (on_front(), lent(&["eth1"], None), &["disconnect eth2"]),
        (on_front(), lent(&["eth1"], Some("eth3")), &["outside eth3"]),
        (vec![], lent(&[], None), &["disconnect eth1", "disconnect eth3"]),
    ] {
        desired.add_container(net(networks), lent, None).unwrap();
        let steps = plan(&desired, &observed);
        assert_eq!(names(&steps), expected);
        execute(&mut observed, &steps);
        assert_eq!(tell(&plan(&desired, &observed)), "");
    }
}
