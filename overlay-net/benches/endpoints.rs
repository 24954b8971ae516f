//! What it costs a node to follow a network, and a task to begin a connection on it.
//!
//!     cargo bench -p skep-overlay-net --bench endpoints
//!
//! A node with a hundred tasks on one network hears of a thousand endpoints on another node, of one
//! service or of a hundred, and then of one more, again and again: until its kernel is as it was told,
//! and what all processors spent on it, `nft` included. Then a task opens connections to two virtual
//! addresses by turns, one with two tasks behind it and one with a thousand.

#[path = "../kernel/tests/lab/mod.rs"]
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use lab::{Lab, can_run};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use skep_idmap::Owner;
use skep_overlay_net::network::{Answers, NetworkDelta};
use skep_overlay_net::*;
use skep_types::session::Session;
use skep_types::{NetworkAttachment, NetworkId, ServiceId, TaskId, Vni};

const NETWORK: NetworkId = NetworkId::new(2);
/// Of the node.
const TASKS: u128 = 100;
/// On the other node.
const ENDPOINTS: u128 = 1_000;
/// How often one more endpoint is told of.
const ROUNDS: u128 = 21;
const CONNECTIONS: usize = 5_000;
const PORT: u16 = 80;

/// Tasks of the node are numbered from 0, those of the other from here on.
const FIRST_REMOTE: u128 = 10_000;

/// Below 10.1.0.0/16 on the node, below 10.2.0.0/16 on the other.
fn address(task: u128) -> Ipv4Addr {
    let (second, index) = match task.checked_sub(FIRST_REMOTE) {
        Some(index) => (2, index),
        None => (1, task),
    };
    Ipv4Addr::new(10, second, (index / 250) as u8, (index % 250 + 2) as u8)
}

fn vip(service: u128) -> Ipv4Addr {
    Ipv4Addr::new(10, 3, (service / 250) as u8, (service % 250 + 2) as u8)
}

fn endpoint(task: u128, service: Option<u128>) -> (TaskId, TaskEndpoint) {
    let (own, host) = (IpAddr::from(address(task)), if task < FIRST_REMOTE { 1 } else { 2 });
    // All of the other node's are one task there, which has all their addresses.
    let of_mac = if host == 1 { own } else { address(FIRST_REMOTE).into() };
    let endpoint = TaskEndpoint {
        service: service.map(ServiceId::new),
        names: vec![format!("task.{task}")],
        addresses: vec![own],
        mac: task_mac(of_mac),
        node: Lab::address(host),
        state: EndpointState::Serving,
    };
    (TaskId::new(task), endpoint)
}

fn service(number: u128) -> (ServiceId, ServiceEntry) {
    let entry = ServiceEntry {
        name: format!("service{number}"),
        aliases: Vec::new(),
        vips: vec![vip(number).into()],
        ports: Vec::new(),
        session: Session::Any,
    };
    (ServiceId::new(number), entry)
}

/// Of the node's own tasks.
fn network() -> NetworkState {
    NetworkState {
        id: NETWORK,
        name: "front".into(),
        vni: Vni(4098),
        gateways: vec!["10.0.0.1/8".parse().expect("an address")],
        ingress: false,
        internal: false,
        mtu: None,
        generation: 1,
        nodes: BTreeSet::new(),
        endpoints: (0..TASKS).map(|task| endpoint(task, None)).collect(),
        services: BTreeMap::new(),
    }
}

fn net(task: u128) -> TaskNet {
    let attachment = NetworkAttachment {
        network: NETWORK,
        addresses: vec![format!("{}/8", address(task)).parse().expect("an address")],
        aliases: Vec::new(),
    };
    let (networks, ports, nameservers) = (vec![attachment], Vec::new(), Vec::new());
    TaskNet { task: TaskId::new(task), networks, ports, nameservers }
}

fn manager(lab: &Lab, number: u8) -> NetworkManager {
    let run = lab.run_directory(number);
    std::fs::create_dir_all(&run).expect("a directory");
    NetworkManager::new(ManagerConfig {
        node: lab.node(number),
        host: lab.host(number),
        run: run.clone(),
        owner: Owner::Host,
        resolv_conf: None,
        names: NameServer::new(NameServerConfig {
            run: run.clone(),
            program: env!("CARGO_BIN_EXE_skep-names").into(),
            args: vec![run.display().to_string()],
            leaves: Vec::new(),
            host: lab.host(number),
        }),
    })
}

/// What this process and those it waited for spent.
fn spent() -> Duration {
    let of = |who| {
        let usage = getrusage(who).expect("the kernel counts");
        (usage.user_time() + usage.system_time()).num_microseconds() as u64
    };
    Duration::from_micros(of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN))
}

/// A node that hears what changes, in the order of generations.
struct Node {
    manager: NetworkManager,
    generation: u64,
}

impl Node {
    async fn hear(&mut self, answers: Answers) -> (Duration, Duration) {
        let (applies_to, generation) = (self.generation, self.generation + 1);
        self.generation = generation;
        let delta = NetworkDelta { id: NETWORK, applies_to, generation, answers: vec![answers] };
        let (begin, before) = (Instant::now(), spent());
        self.manager.update_network(NetworkUpdate::Delta(delta)).await.expect("it is told");
        (begin.elapsed(), spent() - before)
    }
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

fn milliseconds(name: &str, (took, spent): (Duration, Duration)) {
    let of = |it: Duration| it.as_secs_f64() * 1e3;
    println!("{name:56} {:>10.2} {:>10.2}", of(took), of(spent));
}

async fn node(lab: &Lab) -> Node {
    let manager = manager(lab, 1);
    manager.update_network(NetworkUpdate::Full(network())).await.expect("it is told");
    for task in 0..TASKS {
        manager.attach_task(net(task)).await.expect("it is attached");
    }
    Node { manager, generation: 1 }
}

/// A thousand endpoints, and then one more.
async fn follow(services: u128) {
    let lab = Lab::new(2).await;
    let mut node = node(&lab).await;
    let of = |task: u128| Some(1 + task % services);
    let all = FIRST_REMOTE..FIRST_REMOTE + ENDPOINTS;
    let first = Answers {
        endpoints: all.clone().map(|task| endpoint(task, of(task))).collect(),
        services: (1..=services).map(service).collect(),
        ..Answers::default()
    };
    let words = match services {
        1 => "of one service".to_owned(),
        _ => format!("of {services} services"),
    };
    milliseconds(&format!("1,000 endpoints {words}"), node.hear(first).await);
    let (mut took, mut cost) = (Vec::new(), Vec::new());
    for task in all.end..all.end + ROUNDS {
        let more = BTreeMap::from([endpoint(task, of(task))]);
        let one = node.hear(Answers { endpoints: more, ..Answers::default() }).await;
        took.push(one.0);
        cost.push(one.1);
    }
    milliseconds(&format!("one more {words}"), (median(took), median(cost)));
    node.manager.end().await.expect("it is taken down");
}

/// Microseconds of each connection to each address, by turns.
fn connect(to: &[SocketAddr]) -> Vec<Vec<Duration>> {
    let mut took = vec![Vec::with_capacity(CONNECTIONS); to.len()];
    for _ in 0..CONNECTIONS {
        for (to, took) in to.iter().zip(&mut took) {
            let begin = Instant::now();
            let stream = TcpStream::connect(to).expect("somebody serves");
            took.push(begin.elapsed());
            // Reset: a port that waits after an orderly end could not be used again in time.
            nix::sys::socket::setsockopt(
                &stream,
                nix::sys::socket::sockopt::Linger,
                &libc::linger { l_onoff: 1, l_linger: 0 },
            )
            .expect("a socket");
        }
    }
    took
}

async fn choose() {
    let lab = Lab::new(2).await;
    let (mut one, two) = (node(&lab).await, manager(&lab, 2));
    let few = FIRST_REMOTE..FIRST_REMOTE + 2;
    let many = FIRST_REMOTE + 2..FIRST_REMOTE + 2 + ENDPOINTS;
    let endpoints = few.map(|task| endpoint(task, Some(1)));
    let endpoints: BTreeMap<_, _> =
        endpoints.chain(many.clone().map(|task| endpoint(task, Some(2)))).collect();
    let services = BTreeMap::from([service(1), service(2)]);
    let answers = Answers { endpoints: endpoints.clone(), services, ..Answers::default() };
    one.hear(answers.clone()).await;
    let mut state = network();
    state.take_in(answers);
    two.update_network(NetworkUpdate::Full(state)).await.expect("it is told");
    let attached = two.attach_task(net(FIRST_REMOTE)).await.expect("it is attached");
    let server = Namespace::open(&attached.namespace).expect("it stands");
    let script: String = (FIRST_REMOTE + 1..many.end)
        .map(|task| format!("address add {}/8 dev eth0\n", address(task)))
        .collect();
    let listener = server.run(move || {
        let mut batch = std::process::Command::new("ip")
            .args(["-batch", "-"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("ip runs");
        std::io::Write::write_all(&mut batch.stdin.take().expect("a pipe"), script.as_bytes())
            .expect("ip reads");
        assert!(batch.wait().expect("ip ends").success());
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("the port is free")
    });
    let listener = listener.await.expect("a thread");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let client = one.manager.attach_task(net(0)).await.expect("it stands").namespace;
    let client = Namespace::open(&client).expect("it stands");
    let to = [1, 2].map(|number| SocketAddr::from((vip(number), PORT)));
    let took = client.run(move || connect(&to)).await.expect("a thread");
    for (name, took) in ["2 tasks", "1,000 tasks"].into_iter().zip(took) {
        let name = format!("a connection to a virtual address of {name}");
        println!("{name:56} {:>10.1} us", median(took).as_secs_f64() * 1e6);
    }
    one.manager.end().await.expect("it is taken down");
    two.end().await.expect("it is taken down");
}

#[tokio::main]
async fn main() {
    if !can_run("endpoints") {
        std::process::exit(1);
    }
    println!("{:56} {:>10} {:>10}", "", "ms", "of CPU, ms");
    for services in [1, 100] {
        follow(services).await;
    }
    choose().await;
}
