//! Two and three hosts as namespaces: tasks reach one another and the outside.

#[path = "lab/hosts.rs"]
mod hosts;
mod lab;

use std::io::ErrorKind;
use std::net::IpAddr;

use hosts::*;
use lab::*;
use skep_overlay_kernel::host::Forwarding;
use skep_overlay_kernel::{host, nft, underlay};
use skep_overlay_plan::*;
use skep_types::service::{PortConfig, PublishMode};
use skep_types::{NetworkAttachment, NetworkId, TaskId, Vni};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_on_two_hosts_reach_one_another_and_the_service() {
    if !can_run("tasks_on_two_hosts_reach_one_another_and_the_service") {
        return;
    }
    let lab = Lab::new(2).await;
    let networks = [front()];
    let (mut one, mut two) = (Host::new(&lab, 1, &networks), Host::new(&lab, 2, &networks));
    one.add(A, &[(FRONT, "10.0.1.3/24")], Vec::new());
    two.add(B, &[(FRONT, "10.0.1.4/24")], Vec::new());
    one.reconcile().await;
    two.reconcile().await;
    let (a, b) = (one.task(A), two.task(B));
    for (place, name) in [(&a, "a"), (&b, "b")] {
        serve(place, 80, name).await;
        serve_udp(place, 53, name).await;
    }

    assert_eq!(ask(&a, "10.0.1.4:80").await.unwrap(), "b 10.0.1.3", "the server sees the client");
    assert_eq!(ask(&b, "10.0.1.3:80").await.unwrap(), "a 10.0.1.4");
    // Both ways, and to itself, through the virtual address.
    ask_until_all(&a, "10.0.1.2:80", &["a 10.0.1.3", "b 10.0.1.3"]).await;
    ask_until_all(&b, "10.0.1.2:80", &["a 10.0.1.4", "b 10.0.1.4"]).await;

    // A connection to a task that drains goes on, a new one goes elsewhere; a UDP flow moves.
    let (mut stream, socket) = loop {
        let (stream, said) = connect(&a, "10.0.1.2:80").await.unwrap();
        let socket = udp_client(&a, "10.0.1.2:53").await;
        if said.starts_with('b') && ask_udp(&socket).unwrap().starts_with('b') {
            break (stream, socket);
        }
    };
    one.set_state(FRONT, B, EndpointState::Draining);
    one.reconcile().await;
    assert!(still_echoes(&mut stream));
    assert_eq!(ask_udp(&socket).unwrap(), "a 10.0.1.3");
    for _ in 0..8 {
        assert_eq!(ask(&a, "10.0.1.2:80").await.unwrap(), "a 10.0.1.3");
    }
    // Gone: its connection is not kept either.
    one.desired.networks.get_mut(&FRONT).unwrap().endpoints.remove(&B);
    one.reconcile().await;
    assert!(!still_echoes(&mut stream));
    one.set_state(FRONT, A, EndpointState::Starting);
    one.reconcile().await;
    assert_eq!(ask(&a, "10.0.1.2:80").await.unwrap_err(), ErrorKind::ConnectionRefused);
    // The sender of a datagram that is refused on its way out hears of it from `send` itself.
    let refused = ask_udp(&udp_client(&a, "10.0.1.2:53").await).unwrap_err();
    assert_eq!(refused, ErrorKind::PermissionDenied);

    for (host, number) in [(&mut one, 1), (&mut two, 2)] {
        host.tear_down().await;
        assert_eq!(lab.remains(number), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_nobody_answered_yet_moves_when_its_task_is_withdrawn() {
    if !can_run("a_connection_that_nobody_answered_yet_moves_when_its_task_is_withdrawn") {
        return;
    }
    let lab = Lab::new(2).await;
    let mut networks = [front()];
    networks[0].endpoints.get_mut(&A).unwrap().state = EndpointState::Starting;
    let (mut one, mut two) = (Host::new(&lab, 1, &networks), Host::new(&lab, 2, &networks));
    one.add(A, &[(FRONT, "10.0.1.3/24")], Vec::new());
    two.add(B, &[(FRONT, "10.0.1.4/24")], Vec::new());
    one.reconcile().await;
    two.reconcile().await;
    serve(&one.task(A), 80, "a").await;
    // B is as one that has ended: nothing comes back from it.
    let deaf = "table inet deaf {\n\tchain deaf {\n\
                \t\ttype filter hook input priority 0;\n\
                \t\ttcp dport 80 counter drop\n\
                \t}\n}\n";
    nft::execute(&two.task(B), deaf).await.unwrap();

    let a = one.task(A);
    let asked = tokio::spawn(async move { ask_within(&a, "10.0.1.2:80", DEADLINE).await });
    let b = two.executor.task_path(B);
    let came = || !inside(&b, "nft list table inet deaf").contains("packets 0 ");
    wait_until("the connection is under way to B", came).await;
    one.set_state(FRONT, A, EndpointState::Serving);
    one.set_state(FRONT, B, EndpointState::Draining);
    one.reconcile().await;
    assert_eq!(asked.await.unwrap().unwrap(), "a 10.0.1.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_moves_to_another_host_is_reached_before_it_speaks() {
    if !can_run("an_address_that_moves_to_another_host_is_reached_before_it_speaks") {
        return;
    }
    const NEXT: TaskId = TaskId::new(13);
    let lab = Lab::new(2).await;
    let networks = [front()];
    let (mut one, mut two) = (Host::new(&lab, 1, &networks), Host::new(&lab, 2, &networks));
    one.add(A, &[(FRONT, "10.0.1.3/24")], Vec::new());
    two.add(B, &[(FRONT, "10.0.1.4/24")], Vec::new());
    one.reconcile().await;
    two.reconcile().await;
    let a = one.task(A);
    serve(&two.task(B), 80, "b").await;
    assert_eq!(ask(&a, "10.0.1.4:80").await.unwrap(), "b 10.0.1.3");

    // B ends, and the address is given to a task beside A. IPv6 would make that one speak by itself.
    two.desired.tasks.clear();
    one.executor.execute(&Operation::CreateTask { task: NEXT }).await.unwrap();
    inside(&one.executor.task_path(NEXT), "sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
    one.add(NEXT, &[(FRONT, "10.0.1.4/24")], Vec::new());
    for host in [&mut one, &mut two] {
        let endpoints = &mut host.desired.networks.get_mut(&FRONT).unwrap().endpoints;
        endpoints.remove(&B);
        endpoints.insert(NEXT, endpoint("10.0.1.4", 1));
        host.reconcile().await;
    }
    serve(&one.task(NEXT), 80, "next").await;
    assert_eq!(ask(&a, "10.0.1.4:80").await.unwrap(), "next 10.0.1.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_hosts_that_are_no_members_are_dropped() {
    if !can_run("frames_of_hosts_that_are_no_members_are_dropped") {
        return;
    }
    // Host 2 is a member without our daemon, host 3 is none; both speak VXLAN to host 1.
    let lab = Lab::new(3).await;
    let mut network = ingress(2);
    network.endpoints.remove(&B);
    let mut one = Host::new(&lab, 1, &[network]);
    one.add(A, &[(INGRESS, "10.0.0.3/24")], Vec::new());
    one.reconcile().await;
    let a = one.task(A);
    let heard = a.run(|| std::net::UdpSocket::bind("0.0.0.0:53").unwrap()).await.unwrap();
    heard.set_read_timeout(Some(DEADLINE)).unwrap();
    for number in [3, 2] {
        for command in [
            format!("ip link add vx type vxlan id 4096 dstport 4789 local 192.168.77.{number}"),
            format!("ip addr add 10.0.0.20{number}/24 dev vx"),
            "ip link set vx up".to_owned(),
            "ip neigh add 10.0.0.3 lladdr 02:42:0a:00:00:03 dev vx".to_owned(),
            "bridge fdb add 02:42:0a:00:00:03 dev vx dst 192.168.77.1".to_owned(),
        ] {
            lab.on_host(number, &command);
        }
        let socket = udp_client(&lab.host(number), "10.0.0.3:53").await;
        socket.send(format!("from {number}").as_bytes()).unwrap();
    }
    let mut said = [0; 16];
    let length = heard.recv(&mut said).unwrap();
    assert_eq!(&said[..length], b"from 2", "what host 3 sent before did not come");
    one.tear_down().await;
    assert_eq!(lab.remains(1), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_both_families_carries_both() {
    if !can_run("a_network_of_both_families_carries_both") {
        return;
    }
    let lab = Lab::new(2).await;
    let mut network = front();
    network.gateways.push("fd00:1::1/64".parse().unwrap());
    for (task, address) in [(A, "fd00:1::3"), (B, "fd00:1::4")] {
        let endpoint = network.endpoints.get_mut(&task).unwrap();
        endpoint.addresses.push(address.parse().unwrap());
    }
    network.services.get_mut(&WEB).unwrap().vips.push("fd00:1::2".parse().unwrap());
    let networks = [network];
    let (mut one, mut two) = (Host::new(&lab, 1, &networks), Host::new(&lab, 2, &networks));
    for (host, task, last) in [(&mut one, A, 3), (&mut two, B, 4)] {
        let addresses = vec![
            format!("10.0.1.{last}/24").parse().unwrap(),
            format!("fd00:1::{last}/64").parse().unwrap(),
        ];
        let networks = vec![NetworkAttachment { network: FRONT, addresses, aliases: Vec::new() }];
        host.desired
            .add_task(TaskNet { task, networks, ports: Vec::new(), nameservers: Vec::new() }, None)
            .unwrap();
        host.reconcile().await;
    }
    let (a, b) = (one.task(A), two.task(B));
    for (place, name) in [(&a, "a"), (&b, "b")] {
        serve_at(place, "[::]:80", name).await;
    }
    assert_eq!(ask(&a, "[fd00:1::4]:80").await.unwrap(), "b fd00:1::3");
    assert_eq!(ask(&a, "10.0.1.4:80").await.unwrap(), "b ::ffff:10.0.1.3");
    ask_until_all(&a, "[fd00:1::2]:80", &["a fd00:1::3", "b fd00:1::3"]).await;
    ask_until_all(&a, "10.0.1.2:80", &["a ::ffff:10.0.1.3", "b ::ffff:10.0.1.3"]).await;
    let outside = "[fd53:6b65:7000::ac12:2]:80";
    assert_eq!(ask(&lab.host(1), outside).await.unwrap(), "a fd53:6b65:7000::ac12:1");
    for (host, number) in [(&mut one, 1), (&mut two, 2)] {
        host.tear_down().await;
        assert_eq!(lab.remains(number), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_beyond_what_a_bridge_takes_are_reached_like_any() {
    if !can_run("tasks_beyond_what_a_bridge_takes_are_reached_like_any") {
        return;
    }
    let lab = Lab::new(2).await;
    let mut network = front();
    let late = TaskId::new(13);
    let mut endpoint = network.endpoints[&A].clone();
    endpoint.addresses = vec!["10.0.1.5".parse().unwrap()];
    endpoint.mac = task_mac(endpoint.addresses[0]);
    network.endpoints.insert(late, endpoint);
    let networks = [network];
    let (mut one, mut two) = (Host::new(&lab, 1, &networks), Host::new(&lab, 2, &networks));
    one.add(A, &[(FRONT, "10.0.1.3/24")], Vec::new());
    two.add(B, &[(FRONT, "10.0.1.4/24")], Vec::new());
    one.reconcile().await;
    two.reconcile().await;
    // As many ports as tasks may have on the first bridge, but for the one that A has and the
    // device's.
    let mut batch = String::new();
    for number in 0..499 {
        batch += &format!("link add f{number} type veth peer name g{number}\n");
        batch += &format!("link set f{number} master br0\nlink set g{number} master br0\n");
    }
    let sandbox = lab.run_directory(1).join("networks").join(FRONT.to_string());
    let file = lab.run_directory(1).join("batch");
    std::fs::write(&file, batch).unwrap();
    inside(&sandbox, &format!("ip -batch {}", file.display()));
    std::fs::remove_file(&file).unwrap();

    one.add(late, &[(FRONT, "10.0.1.5/24")], Vec::new());
    one.reconcile().await;
    let further = inside(&sandbox, "ip -br link show master br1");
    assert!(further.lines().any(|port| port.starts_with("t-")), "{further}");
    let (a, b, late) = (one.task(A), two.task(B), one.task(late));
    // Those that only listen are reached without having spoken.
    for (place, name) in [(&a, "a"), (&b, "b"), (&late, "late")] {
        serve(place, 80, name).await;
    }
    assert_eq!(ask(&b, "10.0.1.5:80").await.unwrap(), "late 10.0.1.4");
    assert_eq!(ask(&a, "10.0.1.5:80").await.unwrap(), "late 10.0.1.3");
    assert_eq!(ask(&late, "10.0.1.3:80").await.unwrap(), "a 10.0.1.5");
    assert_eq!(ask(&late, "10.0.1.4:80").await.unwrap(), "b 10.0.1.5");
    assert_eq!(ask(&a, "10.0.1.4:80").await.unwrap(), "b 10.0.1.3");
    for (host, number) in [(&mut one, 1), (&mut two, 2)] {
        host.tear_down().await;
        assert_eq!(lab.remains(number), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_two_subnets_of_a_network_reach_one_another() {
    if !can_run("tasks_of_two_subnets_of_a_network_reach_one_another") {
        return;
    }
    let lab = Lab::new(2).await;
    let mut network = front();
    network.mtu = Some(1400);
    network.gateways.push("10.9.1.1/24".parse().unwrap());
    let b = network.endpoints.get_mut(&B).unwrap();
    b.addresses = vec!["10.9.1.4".parse().unwrap()];
    b.mac = task_mac(b.addresses[0]);
    let networks = [network];
    let (mut one, mut two) = (Host::new(&lab, 1, &networks), Host::new(&lab, 2, &networks));
    one.add(A, &[(FRONT, "10.0.1.3/24")], Vec::new());
    two.add(B, &[(FRONT, "10.9.1.4/24")], Vec::new());
    one.reconcile().await;
    two.reconcile().await;
    let (a, b) = (one.task(A), two.task(B));
    serve(&a, 80, "a").await;
    serve(&b, 80, "b").await;
    assert_eq!(ask(&a, "10.9.1.4:80").await.unwrap(), "b 10.0.1.3");
    assert_eq!(ask(&b, "10.0.1.3:80").await.unwrap(), "a 10.9.1.4");
    ask_until_all(&a, "10.0.1.2:80", &["a", "b"]).await;
    let observed = one.executor.observe().await.unwrap();
    assert_eq!(observed.tasks[&A].interfaces["eth0"].mtu, 1400, "as it was asked for");
    for (host, number) in [(&mut one, 1), (&mut two, 2)] {
        host.tear_down().await;
        assert_eq!(lab.remains(number), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_through_a_virtual_address_is_kept_for_days() {
    if !can_run("an_idle_connection_through_a_virtual_address_is_kept_for_days") {
        return;
    }
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    let lab = Lab::new(1).await;
    let mut network = front();
    network.endpoints.remove(&B);
    let mut one = Host::new(&lab, 1, &[network]);
    one.add(A, &[(FRONT, "10.0.1.3/24")], Vec::new());
    one.reconcile().await;
    let a = one.task(A);
    serve(&a, 80, "a").await;
    let (connected, _) = connect(&a, "10.0.1.2:80").await.unwrap();
    let task = lab.run_directory(1).join("tasks").join(A.to_string());
    let flows = inside(&task, "conntrack -L -p tcp --dst 10.0.1.2 --state ESTABLISHED");
    let flow = flows.lines().next().unwrap();
    let left: u64 = flow.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!(left > 4 * DAY_SECONDS, "{flow}");
    drop(connected);
    one.tear_down().await;
    assert_eq!(lab.remains(1), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_underlay_carries_is_said_by_its_interface_and_its_routes() {
    if !can_run("what_the_underlay_carries_is_said_by_its_interface_and_its_routes") {
        return;
    }
    let lab = Lab::new(2).await;
    let (host, address) = (lab.host(1), Lab::address(1));
    assert_eq!(underlay::mtu(&host, address).await.unwrap(), 1500);
    lab.on_host(1, "ip route add 192.168.78.0/24 dev eth0 mtu 1420");
    assert_eq!(underlay::mtu(&host, address).await.unwrap(), 1420);
    lab.on_host(1, "ip link set eth0 mtu 1400");
    assert_eq!(underlay::mtu(&host, address).await.unwrap(), 1400);
    lab.on_host(1, "ip link set lo mtu 65536");
    lab.on_host(1, "ip link set lo up");
    let loopback = IpAddr::from([127, 0, 0, 1]);
    assert_eq!(
        underlay::mtu(&host, loopback).await.unwrap(),
        65_535,
        "as far as tasks can have it"
    );
    // Nobody's address.
    assert_eq!(underlay::mtu(&host, Lab::address(9)).await.unwrap(), 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_passes_on_goes_on_heeding_its_router() {
    if !can_run("a_host_that_passes_on_goes_on_heeding_its_router") {
        return;
    }
    let lab = Lab::new(1).await;
    let host = lab.host(1);
    let setting = |key: &str| lab.on_host(1, &format!("cat /proc/sys/net/ipv6/conf/{key}"));
    assert_eq!(setting("eth0/accept_ra").trim(), "1");
    let both = Forwarding { v4: true, v6: true };
    host::enable_forwarding(&host, both).await.unwrap();
    assert_eq!(host::forwards(&host).await.unwrap(), both);
    assert_eq!(setting("eth0/accept_ra").trim(), "2", "forwarding or not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_reaches_the_outside_and_its_host_port_answers() {
    if !can_run("a_task_reaches_the_outside_and_its_host_port_answers") {
        return;
    }
    let lab = Lab::new(2).await;
    let mut internal = front();
    internal.id = NetworkId::new(3);
    internal.vni = Vni(4099);
    internal.internal = true;
    let inner = internal.id;
    let mut one = Host::new(&lab, 1, &[front(), internal]);
    let port = PortConfig {
        target_port: 80,
        published_port: 9000,
        publish_mode: PublishMode::Host,
        ..PortConfig::default()
    };
    one.add(A, &[(FRONT, "10.0.1.3/24")], vec![port]);
    one.add(B, &[(inner, "10.0.1.4/24")], Vec::new());
    one.reconcile().await;
    let (a, b, client) = (one.task(A), one.task(B), lab.host(2));
    serve(&a, 80, "a").await;
    serve(&b, 80, "b").await;
    serve(&client, 7000, "outside").await;

    assert_eq!(ask(&a, "192.168.77.2:7000").await.unwrap(), "outside 192.168.77.1");
    assert_eq!(ask(&b, "192.168.77.2:7000").await.unwrap_err(), ErrorKind::NetworkUnreachable);
    assert_eq!(ask(&client, "192.168.77.1:9000").await.unwrap(), "a 192.168.77.2");
    assert_eq!(ask(&lab.host(1), "127.0.0.1:9000").await.unwrap(), "a 172.18.0.1");
    assert_eq!(ask(&a, "192.168.77.1:9000").await.unwrap(), "a 172.18.0.1", "its own port");

    // Twice the same steps leave the same.
    let observed = one.executor.observe().await.unwrap();
    for operation in plan(&one.desired, &Observed::default()) {
        one.executor.execute(&operation).await.unwrap();
    }
    one.reconcile().await;
    assert_eq!(one.executor.observe().await.unwrap().sandboxes, observed.sandboxes);
    assert_eq!(ask(&client, "192.168.77.1:9000").await.unwrap(), "a 192.168.77.2");

    one.tear_down().await;
    assert_eq!(lab.remains(1), "");
}
