//! Managers of several hosts, as agents would drive them.

#[path = "../kernel/tests/lab/mod.rs"]
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use lab::{Lab, ask, ask_until_all, can_run, connect, serve, still_echoes};
use skep_idmap::Owner;
use skep_overlay_net::network::{Answers, NetworkDelta};
use skep_overlay_net::*;
use skep_types::service::{PortConfig, Protocol, PublishMode};
use skep_types::session::Session;
use skep_types::{NetworkAttachment, NetworkId, ServiceId, TaskId, Vni};

const FRONT: NetworkId = NetworkId::new(2);
const INNER: NetworkId = NetworkId::new(3);
const WEB: ServiceId = ServiceId::new(7);
const A_TASK: TaskId = TaskId::new(11);
const B_TASK: TaskId = TaskId::new(12);
const RESOLVER: &str = "127.0.0.11:53";

fn endpoint(address: &str, host: u8, name: &str) -> TaskEndpoint {
    let address = address.parse().unwrap();
    TaskEndpoint {
        service: Some(WEB),
        names: vec![name.into()],
        addresses: vec![address],
        mac: task_mac(address),
        node: Lab::address(host),
        state: EndpointState::Serving,
    }
}

fn front() -> NetworkState {
    NetworkState {
        id: FRONT,
        name: "front".into(),
        vni: Vni(4098),
        gateways: vec!["10.0.1.1/24".parse().unwrap()],
        ingress: false,
        internal: false,
        mtu: None,
        generation: 1,
        nodes: BTreeSet::new(),
        endpoints: BTreeMap::from([
            (A_TASK, endpoint("10.0.1.3", 1, "web.1.a")),
            (B_TASK, endpoint("10.0.1.4", 2, "web.2.b")),
        ]),
        services: BTreeMap::from([(
            WEB,
            ServiceEntry {
                name: "web".into(),
                aliases: vec!["www".into()],
                vips: vec![IpAddr::from([10, 0, 1, 2])],
                ports: Vec::new(),
                session: Session::Any,
            },
        )]),
    }
}

fn inner() -> NetworkState {
    NetworkState {
        id: INNER,
        name: "inner".into(),
        vni: Vni(4099),
        gateways: vec!["10.0.2.1/24".parse().unwrap()],
        internal: true,
        endpoints: BTreeMap::new(),
        services: BTreeMap::new(),
        ..front()
    }
}

fn net(task: TaskId, network: NetworkId, address: &str) -> TaskNet {
    let attachment = NetworkAttachment {
        network,
        addresses: vec![address.parse().unwrap()],
        aliases: Vec::new(),
    };
    TaskNet { task, networks: vec![attachment], ports: Vec::new(), nameservers: Vec::new() }
}

/// The process that answers on a host; it ends with the last manager that it serves somebody for.
fn names(lab: &Lab, number: u8) -> NameServer {
    NameServer::new(NameServerConfig {
        run: lab.run_directory(number),
        program: env!("CARGO_BIN_EXE_skep-names").into(),
        args: vec![lab.run_directory(number).display().to_string()],
        leaves: Vec::new(),
        host: lab.host(number),
    })
}

/// A host's manager, whose own resolver is at host 3's address.
fn manager(lab: &Lab, number: u8) -> Arc<NetworkManager> {
    let resolv_conf = lab.run_directory(number).join("resolv.conf");
    std::fs::create_dir_all(lab.run_directory(number)).unwrap();
    std::fs::write(&resolv_conf, format!("nameserver {}\n", Lab::address(3))).unwrap();
    Arc::new(NetworkManager::new(ManagerConfig {
        node: lab.node(number),
        host: lab.host(number),
        run: lab.run_directory(number),
        owner: Owner::Host,
        resolv_conf: Some(resolv_conf),
        names: names(lab, number),
    }))
}

async fn attach(manager: &NetworkManager, net: TaskNet) -> Namespace {
    Namespace::open(&manager.attach_task(net).await.unwrap().namespace).unwrap()
}

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn told(bytes: &[u8]) -> Result<Vec<String>, ResponseCode> {
    let message = Message::from_vec(bytes).unwrap();
    match message.metadata.response_code {
        ResponseCode::NoError => Ok(message.answers.iter().map(|it| it.data.to_string()).collect()),
        code => Err(code),
    }
}

/// Asks the task's resolver by UDP, as a container does.
async fn resolve(place: &Namespace, name: &str) -> Result<Vec<String>, ResponseCode> {
    resolve_at(place, RESOLVER, name).await
}

async fn resolve_at(place: &Namespace, at: &str, name: &str) -> Result<Vec<String>, ResponseCode> {
    let socket = lab::udp_client(place, at).await;
    socket.send(&question(name)).unwrap();
    let mut bytes = [0; 2048];
    let length = socket.recv(&mut bytes).unwrap();
    told(&bytes[..length])
}

async fn resolve_tcp(place: &Namespace, name: &str) -> Result<Vec<String>, ResponseCode> {
    let mut stream = place.run(|| TcpStream::connect(RESOLVER).unwrap()).await.unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let question = question(name);
    stream.write_all(&(question.len() as u16).to_be_bytes()).unwrap();
    stream.write_all(&question).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).unwrap();
    told(&bytes)
}

/// A name server outside the swarm that answers everything with 192.0.2.1.
async fn serve_names(place: &Namespace) {
    let socket = place.run(|| UdpSocket::bind("0.0.0.0:53").unwrap()).await.unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut bytes) {
            let query = Message::from_vec(&bytes[..length]).unwrap();
            let mut answer = Message::response(query.metadata.id, OpCode::Query);
            answer.add_queries(query.queries.iter().cloned());
            let data = RData::A(A("192.0.2.1".parse().unwrap()));
            answer.add_answer(Record::from_rdata(query.queries[0].name().clone(), 60, data));
            socket.send_to(&answer.to_vec().unwrap(), client).unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_find_one_another_by_name_and_a_restart_cuts_nothing() {
    if !can_run("tasks_find_one_another_by_name_and_a_restart_cuts_nothing") {
        return;
    }
    let lab = Lab::new(3).await;
    serve_names(&lab.host(3)).await;
    let (one, two) = (manager(&lab, 1), manager(&lab, 2));
    // A task may come before the word of its network.
    let early = tokio::spawn({
        let one = one.clone();
        async move { attach(&one, net(A_TASK, FRONT, "10.0.1.3/24")).await }
    });
    tokio::task::yield_now().await;
    for manager in [&one, &two] {
        manager.update_network(NetworkUpdate::Full(front())).await.unwrap();
    }
    let a = early.await.unwrap();
    let b = attach(&two, net(B_TASK, FRONT, "10.0.1.4/24")).await;
    serve(&a, 80, "a").await;
    serve(&b, 80, "b").await;

    assert_eq!(resolve(&a, "web.").await.unwrap(), ["10.0.1.2"]);
    assert_eq!(resolve(&b, "www.front.").await.unwrap(), ["10.0.1.2"]);
    let mut tasks = resolve(&a, "tasks.web.").await.unwrap();
    tasks.sort();
    assert_eq!(tasks, ["10.0.1.3", "10.0.1.4"]);
    assert_eq!(resolve_tcp(&a, "web.2.b.").await.unwrap(), ["10.0.1.4"]);
    assert_eq!(resolve(&a, "example.org.").await.unwrap(), ["192.0.2.1"], "the host's resolver");
    ask_until_all(&a, "10.0.1.2:80", &["a", "b"]).await;

    // The daemon ends and starts again while a connection stands.
    let (mut stream, said) = connect(&a, "10.0.1.4:80").await.unwrap();
    assert_eq!(said, "b 10.0.1.3");
    drop(one);
    assert!(still_echoes(&mut stream), "tasks go on without the daemon");
    assert_eq!(resolve(&a, "web.").await.unwrap(), ["10.0.1.2"], "and so do names");
    assert_eq!(resolve(&a, "example.org.").await.unwrap(), ["192.0.2.1"]);
    let rules_before = lab::inside(&path(&lab, A_TASK), "nft -s list ruleset");
    let one = manager(&lab, 1);
    let standing =
        Standing { net: net(A_TASK, FRONT, "10.0.1.3/24"), host_ports: Vec::new(), lent: None };
    one.restore(vec![standing]).await.unwrap();
    assert!(still_echoes(&mut stream));
    assert_eq!(resolve(&a, "web.").await.unwrap(), ["10.0.1.2"], "as was told before");
    assert_eq!(resolve(&a, "example.org.").await.unwrap(), ["192.0.2.1"]);
    ask_until_all(&a, "10.0.1.2:80", &["a", "b"]).await;
    one.update_network(NetworkUpdate::Full(front())).await.unwrap();
    one.settle().await.unwrap();
    assert!(still_echoes(&mut stream));
    assert_eq!(resolve(&a, "web.").await.unwrap(), ["10.0.1.2"]);
    assert_eq!(lab::inside(&path(&lab, A_TASK), "nft -s list ruleset"), rules_before, "untouched");
    one.repair().await.unwrap();
    assert!(still_echoes(&mut stream));

    // One more generation: the other task goes.
    let delta = NetworkDelta {
        id: FRONT,
        applies_to: 1,
        generation: 2,
        answers: vec![Answers {
            endpoints_removed: BTreeSet::from([B_TASK]),
            ..Answers::default()
        }],
    };
    one.update_network(NetworkUpdate::Delta(delta.clone())).await.unwrap();
    let stale = one.update_network(NetworkUpdate::Delta(delta)).await.unwrap_err();
    assert!(matches!(stale, NetworkError::Stale(_)), "{stale}");
    assert_eq!(resolve(&a, "tasks.web.").await.unwrap(), ["10.0.1.3"]);
    for _ in 0..4 {
        assert_eq!(ask(&a, "10.0.1.2:80").await.unwrap(), "a 10.0.1.3");
    }

    let in_use = one.update_network(NetworkUpdate::Gone(FRONT)).await.unwrap_err();
    assert!(matches!(in_use, NetworkError::InUse(FRONT, A_TASK)), "{in_use}");
    // A task that has a name server itself.
    serve_names(&a).await;
    assert_eq!(resolve_at(&a, "10.0.1.3:53", "web.").await.unwrap(), ["192.0.2.1"]);
    assert_eq!(resolve(&a, "web.").await.unwrap(), ["10.0.1.2"]);

    for (manager, task, number) in [(&one, A_TASK, 1), (&two, B_TASK, 2)] {
        manager.detach_task(task).await.unwrap();
        manager.detach_task(task).await.unwrap();
        manager.update_network(NetworkUpdate::Gone(FRONT)).await.unwrap();
        assert_eq!(lab.remains(number), "");
    }
}

fn path(lab: &Lab, task: TaskId) -> std::path::PathBuf {
    lab.run_directory(1).join("tasks").join(task.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_cannot_be_attached_leaves_nothing() {
    if !can_run("a_task_that_cannot_be_attached_leaves_nothing") {
        return;
    }
    let lab = Lab::new(1).await;
    // Somebody else holds the network's VXLAN id.
    lab.on_host(1, "ip link add other type vxlan id 4098 dstport 4789 local 192.168.77.1");
    let one = manager(&lab, 1);
    one.update_network(NetworkUpdate::Full(front())).await.unwrap();
    let error = one.attach_task(net(A_TASK, FRONT, "10.0.1.3/24")).await.unwrap_err();
    assert!(error.to_string().starts_with("failed to add link vxlan0"), "{error}");
    lab.on_host(1, "ip link del other");
    assert_eq!(lab.remains(1), "");
    // Nothing of the failure is remembered.
    let a = attach(&one, net(A_TASK, FRONT, "10.0.1.3/24")).await;
    let again = attach(&one, net(A_TASK, FRONT, "10.0.1.3/24")).await;
    assert_eq!(resolve(&a, "web.").await, resolve(&again, "web.").await);
    one.detach_task(A_TASK).await.unwrap();
    one.update_network(NetworkUpdate::Gone(FRONT)).await.unwrap();
    assert_eq!(lab.remains(1), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_task_reaches_nobody_outside_by_name() {
    if !can_run("an_internal_task_reaches_nobody_outside_by_name") {
        return;
    }
    let lab = Lab::new(3).await;
    serve_names(&lab.host(3)).await;
    let one = manager(&lab, 1);
    one.update_network(NetworkUpdate::Full(inner())).await.unwrap();
    let a = attach(&one, net(A_TASK, INNER, "10.0.2.3/24")).await;
    assert_eq!(resolve(&a, "example.org.").await.unwrap_err(), ResponseCode::ServFail);
    // A name server of its choice is asked from where the task is.
    let mut chosen = net(B_TASK, INNER, "10.0.2.4/24");
    chosen.nameservers = vec!["10.0.2.3".parse().unwrap()];
    serve_names(&a).await;
    let b = attach(&one, chosen).await;
    assert_eq!(resolve(&b, "example.org.").await.unwrap(), ["192.0.2.1"]);
    one.detach_task(B_TASK).await.unwrap();
    one.detach_task(A_TASK).await.unwrap();
    one.update_network(NetworkUpdate::Gone(INNER)).await.unwrap();
    assert_eq!(lab.remains(1), "");
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// A task without networks that wishes any host port for each of its ports 80.
fn open_ports(task: TaskId, protocols: &[Protocol]) -> TaskNet {
    let port = |protocol: &Protocol| PortConfig {
        protocol: *protocol,
        target_port: 80,
        publish_mode: PublishMode::Host,
        ..PortConfig::default()
    };
    let ports = protocols.iter().map(port).collect();
    TaskNet { task, networks: Vec::new(), ports, nameservers: Vec::new() }
}

fn numbers(ports: &[PortConfig]) -> Vec<(Protocol, u16)> {
    ports.iter().map(|port| (port.protocol, port.published_port)).collect()
}

async fn is_free(place: &Namespace, (protocol, number): (Protocol, u16)) -> bool {
    let bind = move || match protocol {
        Protocol::Tcp => TcpListener::bind(("0.0.0.0", number)).is_ok(),
        _ => UdpSocket::bind(("0.0.0.0", number)).is_ok(),
    };
    place.run(bind).await.unwrap()
}

/// A process that another test is about to start has a copy of every socket for a moment.
async fn wait_free(place: &Namespace, port: (Protocol, u16)) {
    let deadline = Instant::now() + lab::DEADLINE;
    while !is_free(place, port).await {
        assert!(Instant::now() < deadline, "{port:?} was not given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_ports_without_a_number_are_given_one_and_keep_it() {
    use Protocol::{Tcp, Udp};
    if !can_run("host_ports_without_a_number_are_given_one_and_keep_it") {
        return;
    }
    let lab = Lab::new(2).await;
    let (host, client) = (lab.host(1), lab.host(2));
    lab.on_host(1, "sysctl -q -w net.ipv4.ip_local_port_range=40000\t40003");
    lab.on_host(1, "sysctl -q -w net.ipv4.ip_local_reserved_ports=40001");
    // A process of the host has the first one.
    let theirs = host.run(|| TcpListener::bind("0.0.0.0:40000").unwrap()).await.unwrap();
    let one = manager(&lab, 1);
    let a = one.attach_task(open_ports(A_TASK, &PROTOCOLS)).await.unwrap();
    let b = one.attach_task(open_ports(B_TASK, &[Tcp])).await.unwrap();
    assert_eq!(numbers(&a.host_ports), [(Tcp, 40_002), (Udp, 40_003)]);
    assert_eq!(numbers(&b.host_ports), [(Tcp, 40_003)]);
    for (given, name) in [(&a, "a"), (&b, "b")] {
        let place = Namespace::open(&given.namespace).unwrap();
        serve(&place, 80, name).await;
        lab::serve_udp(&place, 80, name).await;
    }
    let all = [&a.host_ports[..], &b.host_ports[..]].concat();
    for port in numbers(&all) {
        assert!(!is_free(&host, port).await, "{port:?} is held");
    }
    assert_eq!(ask(&client, "192.168.77.1:40002").await.unwrap(), "a 192.168.77.2");
    assert_eq!(ask(&client, "192.168.77.1:40003").await.unwrap(), "b 192.168.77.2");
    let udp = lab::udp_client(&client, "192.168.77.1:40003").await;
    assert_eq!(lab::ask_udp(&udp).unwrap(), "a 192.168.77.2");

    // Attached again, each has what it had; there is none left for a third.
    assert_eq!(one.attach_task(open_ports(A_TASK, &PROTOCOLS)).await.unwrap(), a);
    let c_task = TaskId::new(13);
    let error = one.attach_task(open_ports(c_task, &[Tcp])).await.unwrap_err().to_string();
    let why =
        "all ports are allocated: none from 40000 to 40003 is free for the service's port 80/tcp";
    assert!(error.starts_with(why), "{error}");
    let numbered =
        PortConfig { published_port: 40_003, ..open_ports(c_task, &[Tcp]).ports[0].clone() };
    let net = TaskNet { ports: vec![numbered], ..open_ports(c_task, &[]) };
    let error = one.attach_task(net).await.unwrap_err().to_string();
    assert!(
        error.starts_with("Bind for 0.0.0.0:40003 failed: port is already allocated"),
        "{error}"
    );

    // The daemon ends and starts again while a connection stands.
    let (mut stream, _) = connect(&client, "192.168.77.1:40002").await.unwrap();
    drop(one);
    wait_free(&host, (Tcp, 40_002)).await;
    assert!(still_echoes(&mut stream));
    let one = manager(&lab, 1);
    let standing = |net: TaskNet, given: &Attached| Standing {
        net,
        host_ports: given.host_ports.clone(),
        lent: None,
    };
    let tasks = vec![
        standing(open_ports(B_TASK, &[Tcp]), &b),
        standing(open_ports(A_TASK, &PROTOCOLS), &a),
    ];
    one.restore(tasks.clone()).await.unwrap();
    // Each new session does so.
    one.restore(tasks).await.unwrap();
    one.settle().await.unwrap();
    assert!(still_echoes(&mut stream));
    assert_eq!(ask(&client, "192.168.77.1:40003").await.unwrap(), "b 192.168.77.2");
    assert_eq!(one.attach_task(open_ports(A_TASK, &PROTOCOLS)).await.unwrap(), a);
    assert!(!is_free(&host, (Tcp, 40_002)).await);

    // What is given back another task may have.
    one.detach_task(A_TASK).await.unwrap();
    for port in numbers(&a.host_ports) {
        wait_free(&host, port).await;
    }
    drop(theirs);
    wait_free(&host, (Tcp, 40_000)).await;
    let c = one.attach_task(open_ports(c_task, &[Tcp, Tcp])).await.unwrap();
    assert_eq!(numbers(&c.host_ports), [(Tcp, 40_000), (Tcp, 40_002)]);
    for task in [B_TASK, c_task] {
        one.detach_task(task).await.unwrap();
    }
    assert_eq!(lab.remains(1), "");
}

/// A container's namespace that somebody else made, with an interface of theirs.
async fn foreign(lab: &Lab) -> (Namespace, std::path::PathBuf) {
    let path = lab.run_directory(1).join("foreign");
    let place = Namespace::create(&path).await.unwrap();
    for command in [
        "ip link set lo up",
        "ip link add eth0 type veth peer name far0",
        "ip addr add 172.20.0.2/16 dev eth0",
        "ip link set eth0 up",
        "ip link set far0 up",
    ] {
        lab::inside(&path, command);
    }
    (place, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_in_a_lent_namespace_comes_and_goes_beside_what_is_anothers() {
    if !can_run("a_container_in_a_lent_namespace_comes_and_goes_beside_what_is_anothers") {
        return;
    }
    let lab = Lab::new(2).await;
    let (one, two) = (manager(&lab, 1), manager(&lab, 2));
    for manager in [&one, &two] {
        manager.update_network(NetworkUpdate::Full(front())).await.unwrap();
    }
    let b = attach(&two, net(B_TASK, FRONT, "10.0.1.4/24")).await;
    serve(&b, 80, "b").await;
    let (place, path) = foreign(&lab).await;
    let lent = |interfaces: &[&str], outside: Option<&str>| Lent {
        namespace: path.clone(),
        interfaces: interfaces.iter().map(ToString::to_string).collect(),
        outside: outside.map(str::to_owned),
    };
    let links = || {
        let text = lab::inside(&path, "ip -o -br link");
        let names = text.lines().filter_map(|line| line.split(['@', ' ']).next());
        names.filter(|it| !matches!(*it, "lo" | "far0")).collect::<Vec<_>>().join(" ")
    };
    let at = net(A_TASK, FRONT, "10.0.1.3/24");
    one.attach_container(at.clone(), lent(&["eth1"], Some("eth2"))).await.unwrap();
    assert_eq!(links(), "eth0 eth1 eth2");
    // By the virtual address; both names lead to the one that serves.
    serve(&place, 80, "a").await;
    ask_until_all(&place, "10.0.1.2:80", &["a", "b"]).await;
    assert_eq!(ask(&b, "10.0.1.3:80").await.unwrap(), "a 10.0.1.4");
    let (mut stream, _) = connect(&place, "10.0.1.4:80").await.unwrap();

    // Another way out takes the place of the host's; nothing else is touched.
    one.attach_container(at.clone(), lent(&["eth1"], None)).await.unwrap();
    assert_eq!(links(), "eth0 eth1");
    assert!(still_echoes(&mut stream));
    drop(one);
    let one = manager(&lab, 1);
    let standing =
        Standing { net: at.clone(), host_ports: vec![], lent: Some(lent(&["eth1"], None)) };
    one.restore(vec![standing]).await.unwrap();
    one.update_network(NetworkUpdate::Full(front())).await.unwrap();
    one.settle().await.unwrap();
    one.repair().await.unwrap();
    assert!(still_echoes(&mut stream), "a restart cuts nothing");
    assert_eq!(links(), "eth0 eth1");

    // Off the network, and on it again.
    let none = TaskNet { networks: vec![], ..at.clone() };
    one.attach_container(none, lent(&[], None)).await.unwrap();
    assert_eq!(links(), "eth0");
    one.attach_container(at, lent(&["eth7"], None)).await.unwrap();
    assert_eq!(links(), "eth0 eth7");
    one.detach_task(A_TASK).await.unwrap();
    assert_eq!(links(), "eth0");
    assert_eq!(lab::inside(&path, "nft list ruleset").trim(), "");
    one.update_network(NetworkUpdate::Gone(FRONT)).await.unwrap();
    assert!(!lab.run_directory(1).join("lent").join(A_TASK.to_string()).exists());
    Namespace::remove(&path).unwrap();
    assert_eq!(lab.remains(1), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_there_is_not_borrowed() {
    if !can_run("a_namespace_that_is_not_there_is_not_borrowed") {
        return;
    }
    let lab = Lab::new(1).await;
    let one = manager(&lab, 1);
    one.update_network(NetworkUpdate::Full(front())).await.unwrap();
    let lent = Lent {
        namespace: lab.run_directory(1).join("nowhere"),
        interfaces: vec!["eth0".to_owned()],
        outside: None,
    };
    let at = net(A_TASK, FRONT, "10.0.1.3/24");
    let error = one.attach_container(at.clone(), lent.clone()).await.unwrap_err();
    assert!(error.to_string().starts_with("failed to name namespace"), "{error}");
    let unnamed = Lent { interfaces: vec![], ..lent };
    let error = one.attach_container(at, unnamed).await.unwrap_err();
    assert!(error.to_string().contains("another number of interfaces"), "{error}");
    one.update_network(NetworkUpdate::Gone(FRONT)).await.unwrap();
    assert_eq!(lab.remains(1), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_services_are_counted_through_changes_and_ends() {
    if !can_run("connections_to_services_are_counted_through_changes_and_ends") {
        return;
    }
    let lab = Lab::new(1).await;
    let one = manager(&lab, 1);
    let mut network = front();
    network.endpoints.insert(B_TASK, endpoint("10.0.1.4", 1, "web.2.b"));
    one.update_network(NetworkUpdate::Full(network)).await.unwrap();
    let a = attach(&one, net(A_TASK, FRONT, "10.0.1.3/24")).await;
    let b = attach(&one, net(B_TASK, FRONT, "10.0.1.4/24")).await;
    serve(&a, 80, "a").await;
    serve(&b, 80, "b").await;
    let counted = async || {
        let told = one.vip_connections().await.unwrap();
        let [web] = &told[..] else { panic!("{told:?}") };
        assert_eq!((web.network.as_str(), web.service.as_str()), ("front", "web"));
        web.connections
    };
    assert_eq!(counted().await, 0);
    for (client, times) in [(&a, 3), (&b, 4)] {
        for _ in 0..times {
            ask(client, "10.0.1.2:80").await.unwrap();
        }
        // A task's own address is none of a service's.
        ask(client, "10.0.1.3:80").await.unwrap();
    }
    assert_eq!(counted().await, 7);
    let mut generation = 1;
    let mut hear = async |answers: Answers| {
        let (applies_to, answers) = (generation, vec![answers]);
        generation += 1;
        let delta = NetworkDelta { id: FRONT, applies_to, generation, answers };
        one.update_network(NetworkUpdate::Delta(delta)).await.unwrap();
    };
    // Nobody serves, and somebody again: what was counted stays.
    let mut starting = endpoint("10.0.1.4", 1, "web.2.b");
    starting.state = EndpointState::Starting;
    let endpoints = BTreeMap::from([(B_TASK, starting)]);
    hear(Answers { endpoints, endpoints_removed: BTreeSet::from([A_TASK]), ..Answers::default() })
        .await;
    ask(&a, "10.0.1.2:80").await.unwrap_err();
    assert_eq!(counted().await, 7, "what is refused is no connection");
    let endpoints = BTreeMap::from([(B_TASK, endpoint("10.0.1.4", 1, "web.2.b"))]);
    hear(Answers { endpoints, ..Answers::default() }).await;
    ask(&a, "10.0.1.2:80").await.unwrap();
    assert_eq!(counted().await, 8);
    // A task that ends has asked all the same.
    one.detach_task(A_TASK).await.unwrap();
    assert_eq!(counted().await, 8);
    ask(&b, "10.0.1.2:80").await.unwrap();
    assert_eq!(counted().await, 9);
    hear(Answers { services_removed: BTreeSet::from([WEB]), ..Answers::default() }).await;
    assert_eq!(one.vip_connections().await.unwrap(), []);
    one.end().await.unwrap();
    assert_eq!(lab.remains(1), "");
}
