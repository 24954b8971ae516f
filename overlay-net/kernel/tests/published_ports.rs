//! Published ports on hosts of a swarm, and clients within it and outside.

#[path = "lab/hosts.rs"]
mod hosts;
mod lab;
#[path = "lab/sctp.rs"]
mod sctp;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use hosts::*;
use lab::*;
use skep_overlay_kernel::{Namespace, conntrack, nft};
use skep_overlay_plan::address::{node_v6, outside_v6};
use skep_overlay_plan::network::PublishedPort;
use skep_overlay_plan::*;
use skep_types::service::{PortConfig, Protocol, PublishMode};
use skep_types::session::Session;

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_answers_on_every_host_and_keeps_the_client() {
    if !can_run("a_published_port_answers_on_every_host_and_keeps_the_client") {
        return;
    }
    // Host 3 runs no task; host 4 is a client outside the swarm.
    let lab = Lab::new(4).await;
    let networks = [ingress(3)];
    let mut hosts: Vec<Host> = (1..=3).map(|number| Host::new(&lab, number, &networks)).collect();
    hosts[0].add(A, &[(INGRESS, "10.0.0.3/24")], Vec::new());
    hosts[1].add(B, &[(INGRESS, "10.0.0.4/24")], Vec::new());
    for host in &hosts {
        host.reconcile().await;
    }
    for (place, name) in [(hosts[0].task(A), "a"), (hosts[1].task(B), "b")] {
        serve(&place, 80, name).await;
        serve_udp(&place, 53, name).await;
    }
    let client = lab.host(4);
    for number in 1..=3 {
        let at = format!("192.168.77.{number}");
        ask_until_all(&client, &format!("{at}:8080"), &["a 192.168.77.4", "b 192.168.77.4"]).await;
        let mut missing = vec!["a 192.168.77.4", "b 192.168.77.4"];
        for _ in 0..64 {
            let said = ask_udp(&udp_client(&client, &format!("{at}:8053")).await).unwrap();
            missing.retain(|it| *it != said);
        }
        assert_eq!(missing, Vec::<&str>::new(), "UDP at {at}");
        // From the host itself, by its address and by the loopback's.
        let own = lab.host(number);
        let seen = [format!("a {at}"), format!("b {at}")];
        let seen = [seen[0].as_str(), seen[1].as_str()];
        ask_until_all(&own, &format!("{at}:8080"), &seen).await;
        ask_until_all(&own, "127.0.0.1:8080", &seen).await;
    }
    // A task asks its own node and another one.
    let a = hosts[0].task(A);
    ask_until_all(&a, "192.168.77.1:8080", &["a", "b"]).await;
    ask_until_all(&a, "192.168.77.3:8080", &["a", "b"]).await;
    // A task that drains keeps its connections through every node, and loses its UDP flows.
    let (mut stream, socket) = loop {
        let (stream, said) = connect(&client, "192.168.77.3:8080").await.unwrap();
        let socket = udp_client(&client, "192.168.77.3:8053").await;
        if said.starts_with('b') && ask_udp(&socket).unwrap().starts_with('b') {
            break (stream, socket);
        }
    };
    for host in &mut hosts {
        host.set_state(INGRESS, B, EndpointState::Draining);
        host.reconcile().await;
    }
    assert!(still_echoes(&mut stream));
    assert_eq!(ask_udp(&socket).unwrap(), "a 192.168.77.4");
    for _ in 0..8 {
        assert_eq!(ask(&client, "192.168.77.2:8080").await.unwrap(), "a 192.168.77.4");
    }
    // Nobody else comes in by the mesh's own way.
    lab.on_host(4, "ip route add 10.0.0.0/24 via 192.168.77.1");
    assert_eq!(ask(&client, "10.0.0.3:80").await.unwrap_err(), ErrorKind::TimedOut);

    for (index, host) in hosts.iter_mut().enumerate() {
        host.tear_down().await;
        assert_eq!(lab.remains(index as u8 + 1), "");
    }
}

/// The ingress network with IPv6 too.
fn ingress_of_both(hosts: u8) -> NetworkState {
    let mut network = ingress(hosts);
    network.gateways.push("fd00::1/64".parse().unwrap());
    for (task, address) in [(A, "fd00::3"), (B, "fd00::4")] {
        let endpoint = network.endpoints.get_mut(&task).unwrap();
        endpoint.addresses.push(address.parse().unwrap());
    }
    network
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_answers_over_ipv6_on_every_host_and_keeps_the_client() {
    if !can_run("a_published_port_answers_over_ipv6_on_every_host_and_keeps_the_client") {
        return;
    }
    // The underlay is IPv4's. Host 3 runs no task; host 4 is a client outside the swarm.
    let lab = Lab::new(4).await;
    for number in 1..=4 {
        lab.on_host(number, &format!("ip addr add fd77::{number}/64 dev eth0 nodad"));
    }
    let networks = [ingress_of_both(3)];
    let mut hosts: Vec<Host> = (1..=3).map(|number| Host::new(&lab, number, &networks)).collect();
    let in_host_mode = PortConfig {
        target_port: 80,
        published_port: 9000,
        publish_mode: PublishMode::Host,
        ..PortConfig::default()
    };
    hosts[0].add_at(A, &[(INGRESS, &["10.0.0.3/24", "fd00::3/64"])], vec![in_host_mode]);
    hosts[1].add_at(B, &[(INGRESS, &["10.0.0.4/24", "fd00::4/64"])], Vec::new());
    for host in &hosts {
        host.reconcile().await;
    }
    for (place, name) in [(hosts[0].task(A), "a"), (hosts[1].task(B), "b")] {
        serve_at(&place, "[::]:80", name).await;
        serve_udp_at(&place, "[::]:53", name).await;
    }
    let client = lab.host(4);
    for number in 1..=3 {
        let at = format!("fd77::{number}");
        ask_until_all(&client, &format!("[{at}]:8080"), &["a fd77::4", "b fd77::4"]).await;
        let mut missing = vec!["a fd77::4", "b fd77::4"];
        for _ in 0..64 {
            let said = ask_udp(&udp_client(&client, &format!("[{at}]:8053")).await).unwrap();
            missing.retain(|it| *it != said);
        }
        assert_eq!(missing, Vec::<&str>::new(), "UDP at {at}");
        // By IPv4 as ever, of servers that listen on both.
        let mapped = ["a ::ffff:192.168.77.4", "b ::ffff:192.168.77.4"];
        ask_until_all(&client, &format!("192.168.77.{number}:8080"), &mapped).await;
        // From the host itself, by its address and by the loopback's, which each node has.
        let own = lab.host(number);
        let seen = [format!("a {at}"), format!("b {at}")];
        ask_until_all(&own, &format!("[{at}]:8080"), &[&seen[0], &seen[1]]).await;
        let node = node_v6(Lab::address(number));
        let seen = [format!("a {node}"), format!("b {node}")];
        ask_until_all(&own, "[::1]:8080", &[&seen[0], &seen[1]]).await;
        assert!(
            ask_udp(&udp_client(&own, "[::1]:8053").await).unwrap().ends_with(&node.to_string())
        );
    }
    // A task asks its own node and another one; the host's own port, from near and far.
    let a = hosts[0].task(A);
    ask_until_all(&a, "[fd77::1]:8080", &["a", "b"]).await;
    ask_until_all(&a, "[fd77::3]:8080", &["a", "b"]).await;
    assert_eq!(ask(&client, "[fd77::1]:9000").await.unwrap(), "a fd77::4");
    let outside = outside_v6("172.18.0.1".parse().unwrap());
    assert_eq!(ask(&lab.host(1), "[::1]:9000").await.unwrap(), format!("a {outside}"));
    serve_at(&client, "[::]:7000", "outside").await;
    assert_eq!(ask(&a, "[fd77::4]:7000").await.unwrap(), "outside fd77::1");
    assert_eq!(ask(&client, "[fd77::2]:9000").await.unwrap_err(), ErrorKind::ConnectionRefused);
    // A task that drains keeps its connections through every node, and loses its UDP flows.
    let (mut stream, socket) = loop {
        let (stream, said) = connect(&client, "[fd77::3]:8080").await.unwrap();
        let socket = udp_client(&client, "[fd77::3]:8053").await;
        if said.starts_with('b') && ask_udp(&socket).unwrap().starts_with('b') {
            break (stream, socket);
        }
    };
    for host in &mut hosts {
        host.set_state(INGRESS, B, EndpointState::Draining);
        host.reconcile().await;
    }
    assert!(still_echoes(&mut stream));
    assert_eq!(ask_udp(&socket).unwrap(), "a fd77::4");
    for _ in 0..8 {
        assert_eq!(ask(&client, "[fd77::2]:8080").await.unwrap(), "a fd77::4");
    }
    // Nobody else comes in by the mesh's own way.
    lab.on_host(4, "ip -6 route add fd00::/64 via fd77::1");
    assert_eq!(ask(&client, "[fd00::3]:80").await.unwrap_err(), ErrorKind::TimedOut);

    for (index, host) in hosts.iter_mut().enumerate() {
        host.tear_down().await;
        assert_eq!(lab.remains(index as u8 + 1), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sctp_port_is_published_where_the_kernel_follows_sctp() {
    if !can_run("an_sctp_port_is_published_where_the_kernel_follows_sctp") {
        return;
    }
    let lab = Lab::new(3).await;
    if !conntrack::follows_sctp(&lab.host(1)).await.unwrap() {
        eprintln!("SKIP an_sctp_port_is_published...: the kernel does not follow SCTP");
        return;
    }
    let mut network = ingress(2);
    let port = PublishedPort {
        protocol: Protocol::Sctp,
        published: 3868,
        target: 38,
        name: String::new(),
    };
    network.services.get_mut(&WEB).unwrap().ports.push(port);
    let networks = [network];
    let (mut one, mut two) = (Host::new(&lab, 1, &networks), Host::new(&lab, 2, &networks));
    one.add(A, &[(INGRESS, "10.0.0.3/24")], Vec::new());
    two.add(B, &[(INGRESS, "10.0.0.4/24")], Vec::new());
    one.reconcile().await;
    two.reconcile().await;
    sctp::serve(&one.task(A), "10.0.0.3:38", b'a').await;
    sctp::serve(&two.task(B), "10.0.0.4:38", b'b').await;
    let client = lab.host(3);
    for number in [1, 2] {
        let mut missing = BTreeSet::from([b'a', b'b']);
        for from in 5000..5064 {
            let said = sctp::ask(&client, from, &format!("192.168.77.{number}"), 3868).await;
            missing.remove(&said.unwrap());
        }
        assert_eq!(missing, BTreeSet::new(), "through host {number}");
    }
    // Where it is not followed nothing is promised.
    one.desired.node.sctp = false;
    one.reconcile().await;
    let silent = sctp::ask(&client, 6000, "192.168.77.1", 3868).await;
    assert_eq!(silent.unwrap_err(), ErrorKind::WouldBlock);
    for host in [&mut one, &mut two] {
        host.tear_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_ipv6_publishes_by_ipv4_alone() {
    if !can_run("a_host_without_ipv6_publishes_by_ipv4_alone") {
        return;
    }
    let lab = Lab::new(2).await;
    let mut network = ingress(2);
    network.endpoints.remove(&B);
    let mut one = Host::new(&lab, 1, &[network]);
    one.desired.node.ipv6 = false;
    one.add(A, &[(INGRESS, "10.0.0.3/24")], Vec::new());
    one.reconcile().await;
    serve(&one.task(A), 80, "a").await;
    let rules = lab.on_host(1, "nft list table inet skep");
    assert!(!rules.contains("ip6"), "{rules}");
    assert_eq!(ask(&lab.host(2), "192.168.77.1:8080").await.unwrap(), "a 192.168.77.2");
    one.tear_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_to_the_same_task_through_every_host() {
    if !can_run("a_client_comes_to_the_same_task_through_every_host") {
        return;
    }
    // Host 4 is many clients outside the swarm.
    let lab = Lab::new(4).await;
    let mut networks = [ingress(3), front()];
    for network in &mut networks {
        network.services.get_mut(&WEB).unwrap().session = Session::ClientAddress;
    }
    let mut hosts: Vec<Host> = (1..=3).map(|number| Host::new(&lab, number, &networks)).collect();
    hosts[0].add(A, &[(INGRESS, "10.0.0.3/24"), (FRONT, "10.0.1.3/24")], Vec::new());
    hosts[1].add(B, &[(INGRESS, "10.0.0.4/24"), (FRONT, "10.0.1.4/24")], Vec::new());
    for host in &hosts {
        host.reconcile().await;
    }
    for (place, name) in [(hosts[0].task(A), "a"), (hosts[1].task(B), "b")] {
        serve(&place, 80, name).await;
    }
    let clients: Vec<String> = (100..116).map(|last| format!("192.168.77.{last}")).collect();
    for client in &clients {
        lab.on_host(4, &format!("ip addr add {client}/24 dev eth0"));
    }
    let outside = lab.host(4);
    let mut first = BTreeMap::new();
    for client in &clients {
        for host in 1..=3 {
            let (from, to) = (format!("{client}:0"), format!("192.168.77.{host}:8080"));
            let said = ask_from(&outside, &from, &to).await.unwrap();
            let before = first.entry(client).or_insert_with(|| said.clone());
            assert_eq!(*before, said, "{client} through host {host}");
            assert!(said.ends_with(client.as_str()), "{said} was {client}");
        }
    }
    let of = |name: &str| first.values().filter(|said| said.starts_with(name)).count();
    assert!(of("a") > 0 && of("b") > 0, "all clients come to one task: {first:?}");
    // A task, too, comes to one through the virtual address.
    let a = hosts[0].task(A);
    let said = ask(&a, "10.0.1.2:80").await.unwrap();
    for _ in 0..8 {
        assert_eq!(ask(&a, "10.0.1.2:80").await.unwrap(), said);
    }
    // Those of a task that serves no more go elsewhere, the others stay.
    for host in &mut hosts {
        host.set_state(INGRESS, B, EndpointState::Draining);
        host.reconcile().await;
    }
    for client in &clients {
        let said = ask_from(&outside, &format!("{client}:0"), "192.168.77.3:8080").await.unwrap();
        assert_eq!(said, format!("a {client}"));
    }
    for host in &mut hosts {
        host.tear_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_published_port_are_counted_through_changes() {
    if !can_run("connections_to_a_published_port_are_counted_through_changes") {
        return;
    }
    let lab = Lab::new(2).await;
    let mut network = ingress(2);
    network.endpoints.remove(&B);
    let mut one = Host::new(&lab, 1, &[network]);
    one.add(A, &[(INGRESS, "10.0.0.3/24")], Vec::new());
    one.reconcile().await;
    serve(&one.task(A), 80, "a").await;
    serve_udp(&one.task(A), 53, "a").await;
    let (client, own) = (lab.host(2), lab.host(1));
    for _ in 0..5 {
        ask(&client, "192.168.77.1:8080").await.unwrap();
    }
    ask(&own, "127.0.0.1:8080").await.unwrap();
    let flow = udp_client(&client, "192.168.77.1:8053").await;
    for _ in 0..3 {
        ask_udp(&flow).unwrap();
    }
    let counted =
        |tcp, udp| BTreeMap::from([((Protocol::Tcp, 8080), tcp), ((Protocol::Udp, 8053), udp)]);
    assert_eq!(one.executor.connections().await.unwrap(), counted(6, 1));
    // Nobody serves, and then somebody does again.
    one.set_state(INGRESS, A, EndpointState::Draining);
    one.reconcile().await;
    ask(&client, "192.168.77.1:8080").await.unwrap_err();
    one.set_state(INGRESS, A, EndpointState::Serving);
    one.reconcile().await;
    assert_eq!(one.executor.connections().await.unwrap(), counted(6, 1));
    ask(&client, "192.168.77.1:8080").await.unwrap();
    assert_eq!(lab.executor(1).connections().await.unwrap(), counted(7, 1), "another daemon");
    // A port that is published no more is forgotten.
    let services = &mut one.desired.networks.get_mut(&INGRESS).unwrap().services;
    services.get_mut(&WEB).unwrap().ports.truncate(1);
    one.reconcile().await;
    let left = one.executor.connections().await.unwrap();
    assert_eq!(left, BTreeMap::from([((Protocol::Tcp, 8080), 7)]));
    one.tear_down().await;
    assert_eq!(one.executor.connections().await.unwrap(), BTreeMap::new());
}

/// What stands on a host beside us: rules by hand, a firewall that follows firewalld's shape, and one
/// by iptables in ufw's.
const OTHERS: &str = "\
table inet firewalld {\n\
\tchain filter_FORWARD {\n\
\t\ttype filter hook forward priority filter + 10; policy accept;\n\
\t\tct state established,related accept\n\
\t\tct status dnat accept\n\
\t\tiifname { \"eth0\", \"sko-*\", \"ski-*\" } accept\n\
\t\treject with icmpx admin-prohibited\n\
\t}\n\
}\n\
table ip filter {\n\
\tchain ufw-before-forward {\n\
\t\tct state established,related counter accept\n\
\t}\n\
\tchain FORWARD {\n\
\t\ttype filter hook forward priority filter; policy accept;\n\
\t\tcounter jump ufw-before-forward\n\
\t}\n\
}\n\
table ip nat {\n\
\tchain PREROUTING {\n\
\t\ttype nat hook prerouting priority dstnat; policy accept;\n\
\t\ttcp dport 7 redirect to :77\n\
\t}\n\
}\n\
table inet mine {\n\
\tset friends {\n\
\t\ttype ipv4_addr\n\
\t\telements = { 192.168.77.9 }\n\
\t}\n\
\tchain input {\n\
\t\ttype filter hook input priority filter; policy accept;\n\
\t\tip saddr @friends counter accept\n\
\t}\n\
}\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_rules_hold_and_those_of_others_are_left_alone() {
    if !can_run("the_operators_rules_hold_and_those_of_others_are_left_alone") {
        return;
    }
    let lab = Lab::new(2).await;
    nft::execute(&lab.host(1), OTHERS).await.unwrap();
    let others = lab.rules_of_others(1);
    let mut network = ingress(2);
    network.endpoints.remove(&B);
    let mut one = Host::new(&lab, 1, &[network]);
    one.add(A, &[(INGRESS, "10.0.0.3/24")], Vec::new());
    one.reconcile().await;
    assert_eq!(lab.rules_of_others(1), format!("{others}{USER_TABLE_AS_MADE}"));
    serve(&one.task(A), 80, "a").await;
    lab.on_host(2, "ip addr add 192.168.77.66/24 dev eth0");
    let client = lab.host(2);
    let (good, bad) = ("192.168.77.2:0", "192.168.77.66:0");
    let at = "192.168.77.1:8080";
    assert_eq!(ask_from(&client, good, at).await.unwrap(), "a 192.168.77.2");
    assert_eq!(ask_from(&client, bad, at).await.unwrap(), "a 192.168.77.66");

    // By the port that the client asked for, not the task's own.
    lab.on_host(
        1,
        "nft add rule inet skep-user forward meta l4proto tcp ct original proto-dst 8080 \
         ip saddr 192.168.77.66 drop",
    );
    let with_the_operators = lab.rules_of_others(1);
    assert!(with_the_operators.contains("ip saddr 192.168.77.66 drop"), "{with_the_operators}");
    let refused = ErrorKind::TimedOut;
    assert_eq!(ask_from(&client, bad, at).await.unwrap_err(), refused);
    assert_eq!(ask_from(&client, good, at).await.unwrap(), "a 192.168.77.2");
    // What the swarm changes changes nothing of it, nor does a daemon that begins anew.
    let add =
        PublishedPort { protocol: Protocol::Tcp, published: 8081, target: 80, name: String::new() };
    let network = one.desired.networks.get_mut(&INGRESS).unwrap();
    network.services.get_mut(&WEB).unwrap().ports.push(add);
    one.reconcile().await;
    for operation in plan(&one.desired, &Observed::default()) {
        one.executor.execute(&operation).await.unwrap();
    }
    assert_eq!(lab.rules_of_others(1), with_the_operators);
    assert_eq!(ask_from(&client, bad, at).await.unwrap_err(), refused);
    assert_eq!(ask_from(&client, bad, "192.168.77.1:8081").await.unwrap(), "a 192.168.77.66");
    // It is the operator's when we are gone, too.
    one.tear_down().await;
    assert_eq!(lab.rules_of_others(1), with_the_operators);
    // One that he has emptied stays so.
    lab.on_host(1, "nft flush table inet skep-user");
    lab.on_host(1, "nft delete chain inet skep-user forward");
    one.desired.networks.insert(INGRESS, ingress(2));
    one.reconcile().await;
    assert_eq!(lab.rules_of_others(1), format!("{others}table inet skep-user {{\n}}\n"));
}

/// More than a connection has under way at once.
const BODY_BYTES: usize = 1 << 20;

/// Takes a body from each client, and gives as much back.
async fn serve_bodies(place: &Namespace, port: u16) {
    let listener = place.run(move || TcpListener::bind(("::", port)).unwrap()).await.unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut body = vec![0; BODY_BYTES];
                let _ = stream.read_exact(&mut body).and_then(|()| stream.write_all(&body));
            });
        }
    });
}

/// A body there and back.
async fn exchange(place: &Namespace, to: String) -> std::io::Result<()> {
    let exchange = move || {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut body = vec![0; BODY_BYTES];
        stream.write_all(&body)?;
        stream.read_exact(&mut body)
    };
    place.run(exchange).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_pass_by_every_host() {
    if !can_run("bodies_of_any_size_pass_by_every_host") {
        return;
    }
    // Host 3 is a client outside the swarm, whose firewall hears of no packet that was too large.
    let lab = Lab::new(3).await;
    for number in 1..=3 {
        lab.on_host(number, &format!("ip addr add fd77::{number}/64 dev eth0 nodad"));
    }
    for table in [
        "ip deaf { chain c { type filter hook input priority 0; icmp type 3 drop; }; }",
        "ip6 deaf { chain c { type filter hook input priority 0; icmpv6 type 2 drop; }; }",
    ] {
        lab.on_host(3, &format!("nft add table {table}"));
    }
    let mut network = ingress_of_both(2);
    network.endpoints.remove(&A);
    let networks = [network];
    let mut hosts: Vec<Host> = (1..=2).map(|number| Host::new(&lab, number, &networks)).collect();
    hosts[1].add_at(B, &[(INGRESS, &["10.0.0.4/24", "fd00::4/64"])], Vec::new());
    for host in &hosts {
        host.reconcile().await;
    }
    serve_bodies(&hosts[1].task(B), 80).await;
    for (client, at) in [(1, "127.0.0.1"), (1, "[::1]"), (2, "127.0.0.1"), (2, "[::1]")] {
        exchange(&lab.host(client), format!("{at}:8080")).await.unwrap();
    }
    for at in ["192.168.77.1", "192.168.77.2", "[fd77::1]", "[fd77::2]"] {
        for client in 1..=3 {
            let exchanged = exchange(&lab.host(client), format!("{at}:8080")).await;
            assert!(exchanged.is_ok(), "host {client} at {at}: {exchanged:?}");
        }
    }
    for (index, host) in hosts.iter_mut().enumerate() {
        host.tear_down().await;
        assert_eq!(lab.remains(index as u8 + 1), "");
    }
}
