//! The process that answers names, driven as the daemon drives it: it outlives its daemons, is made
//! anew when it dies, and serves each asker whatever the others do.

#[path = "../kernel/tests/lab/mod.rs"]
mod lab;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use lab::{Lab, can_run};
use skep_overlay_net::dns::client::{Asker, Forward, Group};
use skep_overlay_net::dns::names::Place;
use skep_overlay_net::dns::zone::{Change, Head, Id, Member, Service, Told};
use skep_overlay_net::*;

const FRONT: &str = "swarm/front";
const SERVICE: Id = 7;

/// A host with a process for names, and askers in namespaces of their own.
struct Names {
    lab: Lab,
    askers: BTreeMap<&'static str, Namespace>,
}

impl Names {
    async fn new(askers: &[&'static str]) -> Self {
        let mut names = Self { lab: Lab::new(1).await, askers: BTreeMap::new() };
        std::fs::create_dir_all(names.run()).unwrap();
        for asker in askers {
            let path = names.run().join("tasks").join(asker);
            names.askers.insert(asker, Namespace::create(&path).await.unwrap());
            lab::inside(&path, "ip link set lo up");
        }
        names
    }

    fn run(&self) -> PathBuf {
        self.lab.run_directory(1)
    }

    fn daemon(&self) -> NameServer {
        self.daemon_of(Path::new(env!("CARGO_BIN_EXE_skep-names")))
    }

    fn daemon_of(&self, program: &Path) -> NameServer {
        NameServer::new(NameServerConfig {
            run: self.run(),
            program: program.into(),
            args: vec![self.run().display().to_string()],
            leaves: vec![self.run().join("leaf")],
            host: self.lab.host(1),
        })
    }

    async fn open(&self, daemon: &NameServer, name: &'static str) -> u16 {
        self.open_to(daemon, name, Forward::Nowhere).await
    }

    /// With the host's servers, by what its file says.
    async fn open_to_host(&self, daemon: &NameServer, name: &'static str, file: &str) -> u16 {
        let path = self.run().join("resolv.conf");
        std::fs::write(&path, file).unwrap();
        self.open_to(daemon, name, Forward::Host(path)).await
    }

    async fn open_to(&self, daemon: &NameServer, name: &'static str, forward: Forward) -> u16 {
        let asker = Asker {
            group: Group::Swarm,
            name: name.into(),
            seed: name.bytes().map(u128::from).sum(),
            places: vec![Place { zone: FRONT.into(), links: Vec::new() }],
            forward,
        };
        daemon.open(asker, &self.askers[name]).await.unwrap()
    }

    /// Its process's id; None when it has ended.
    fn process(&self) -> Option<i32> {
        // One that was killed stays in the table until it is reaped, without arguments.
        lab::processes(&self.run()).into_iter().next()
    }

    async fn ended(&self) {
        lab::wait_until("the process has ended", || self.process().is_none()).await;
    }

    async fn client(&self, name: &str, port: u16) -> UdpSocket {
        lab::udp_client(&self.askers[name], &format!("127.0.0.11:{port}")).await
    }

    /// What `web` is said to be.
    async fn web(&self, name: &str, port: u16) -> Option<Vec<String>> {
        let client = self.client(name, port).await;
        client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        ask(&client, "web.")
    }
}

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn ask(client: &UdpSocket, name: &str) -> Option<Vec<String>> {
    client.send(&question(name)).ok()?;
    let mut bytes = [0; 2048];
    let length = client.recv(&mut bytes).ok()?;
    let message = Message::from_vec(&bytes[..length]).unwrap();
    let mut answers: Vec<String> = message.answers.iter().map(|it| it.data.to_string()).collect();
    answers.sort();
    Some(answers)
}

fn member(number: Id) -> Member {
    let [.., high, low] = (number as u16).to_be_bytes();
    Member {
        names: vec![format!("web.{number}")],
        addresses: vec![[10, 0, high, low].into()],
        service: Some(SERVICE),
        serving: true,
    }
}

fn told(members: u16) -> Told {
    let service = Service { name: "web".into(), ..Service::default() };
    Told {
        head: Head { name: "front".into(), ..Head::default() },
        members: (1..=Id::from(members)).map(|it| (it, member(it))).collect(),
        services: BTreeMap::from([(SERVICE, service)]),
    }
}

fn removal(gone: &[Id]) -> Change {
    Change { members_gone: gone.iter().copied().collect(), ..Change::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_nobody_asks_goes_with_all_it_had_and_comes_again() {
    if !can_run("a_process_that_nobody_asks_goes_with_all_it_had_and_comes_again") {
        return;
    }
    let names = Names::new(&["a", "b"]).await;
    let daemon = names.daemon();
    daemon.set_zone(FRONT, told(2)).await;
    for asker in ["a", "b"] {
        let port = names.open(&daemon, asker).await;
        let first = names.process().unwrap();
        std::fs::create_dir_all(names.run().join("leaf")).unwrap();
        assert_eq!(names.web(asker, port).await.unwrap(), ["10.0.0.1", "10.0.0.2"], "told again");
        assert_eq!(names.process(), Some(first));
        daemon.close(Group::Swarm, asker).await;
        names.ended().await;
        for left in ["names.sock", "names.log", "leaf"] {
            let left = names.run().join(left);
            lab::wait_until("what it had is gone", || !left.exists()).await;
        }
    }
    // One who comes in between keeps it.
    names.open(&daemon, "a").await;
    let first = names.process().unwrap();
    daemon.close(Group::Swarm, "a").await;
    let port = names.open(&daemon, "b").await;
    assert_eq!(names.web("b", port).await.unwrap(), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(names.process(), Some(first));
    daemon.close(Group::Swarm, "b").await;
    names.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gave_up_to_hear_is_not_taken_for_anothers() {
    if !can_run("what_one_gave_up_to_hear_is_not_taken_for_anothers") {
        return;
    }
    let names = Names::new(&["a", "b"]).await;
    let daemon = names.daemon();
    daemon.set_zone(FRONT, told(2)).await;
    // From given up before it is asked to answered in time.
    let mut heard = 0;
    for polls in 0.. {
        let mut opening = Box::pin(names.open(&daemon, "a"));
        for _ in 0..polls {
            if futures::poll!(&mut opening).is_ready() {
                heard += 1;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(opening);
        let b = names.open(&daemon, "b").await;
        assert_eq!(names.web("b", b).await.unwrap(), ["10.0.0.1", "10.0.0.2"], "{polls} polls");
        if heard == 5 {
            break;
        }
        for asker in ["a", "b"] {
            daemon.close(Group::Swarm, asker).await;
        }
    }
    let a = names.open(&daemon, "a").await;
    assert_eq!(names.web("a", a).await.unwrap(), ["10.0.0.1", "10.0.0.2"]);
    for asker in ["a", "b"] {
        daemon.close(Group::Swarm, asker).await;
    }
    names.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_outlive_the_daemon_and_what_nobody_wants_any_more_goes() {
    if !can_run("names_outlive_the_daemon_and_what_nobody_wants_any_more_goes") {
        return;
    }
    let names = Names::new(&["a", "b"]).await;
    let one = names.daemon();
    one.set_zone(FRONT, told(2)).await;
    assert_eq!(names.process(), None, "there is none before somebody asks");
    let (a, b) = (names.open(&one, "a").await, names.open(&one, "b").await);
    let process = names.process();
    assert_eq!(names.web("a", a).await.unwrap(), ["10.0.0.1", "10.0.0.2"]);
    one.change_zone(FRONT, removal(&[2])).await;
    assert_eq!(names.web("b", b).await.unwrap(), ["10.0.0.1"]);

    drop(one);
    assert_eq!(names.web("a", a).await.unwrap(), ["10.0.0.1"], "without a daemon");

    let two = names.daemon();
    assert_eq!(names.open(&two, "a").await, a, "it is where it was");
    assert_eq!(names.process(), process);
    assert_eq!(names.web("a", a).await.unwrap(), ["10.0.0.1"], "nothing was told anew yet");
    assert_eq!(names.web("b", b).await.unwrap(), ["10.0.0.1"], "it may be wanted yet");
    two.set_zone(FRONT, told(3)).await;
    two.change_zone(FRONT, removal(&[1])).await;
    assert_eq!(names.web("a", a).await.unwrap(), ["10.0.0.2", "10.0.0.3"]);
    two.settle(Group::Host).await;
    assert!(names.web("b", b).await.is_some(), "it is the other group's to say");
    two.settle(Group::Swarm).await;
    assert_eq!(names.web("b", b).await, None, "nobody has wanted it");
    two.close(Group::Swarm, "a").await;
    assert_eq!(names.web("a", a).await, None);
    assert_eq!(names.process(), process, "a daemon is there");
    drop(two);
    names.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_comes_back_at_the_same_ports_with_all_that_was_told() {
    if !can_run("a_process_that_is_killed_comes_back_at_the_same_ports_with_all_that_was_told") {
        return;
    }
    let names = Names::new(&["a", "b"]).await;
    let daemon = names.daemon();
    // More than one part of a conversation.
    daemon.set_zone(FRONT, told(1000)).await;
    let (a, b) = (names.open(&daemon, "a").await, names.open(&daemon, "b").await);
    for round in 0..3 {
        let process = names.process().unwrap();
        lab::inside(&names.run().join("tasks/a"), &format!("kill -9 {process}"));
        if round == 1 {
            // Whoever says something first finds that it has gone.
            daemon.change_zone(FRONT, removal(&[1000])).await;
            assert_eq!(names.open(&daemon, "a").await, a);
        }
        let last = if round == 0 { "10.0.3.232" } else { "10.0.3.231" };
        for (asker, port) in [("a", a), ("b", b)] {
            let deadline = Instant::now() + lab::DEADLINE;
            while names.web(asker, port).await.is_none() {
                assert!(Instant::now() < deadline, "{asker} is without names");
            }
            let client = names.client(asker, port).await;
            let (last_name, gone) = (if round == 0 { 1000 } else { 999 }, round > 0);
            assert_eq!(ask(&client, &format!("web.{last_name}.")).unwrap(), [last]);
            let of_1000 = ask(&client, "web.1000.").unwrap();
            assert_eq!(of_1000.is_empty(), gone, "{of_1000:?}");
        }
        assert_ne!(names.process(), Some(process));
    }
    daemon.close(Group::Swarm, "a").await;
    daemon.close(Group::Swarm, "b").await;
    drop(daemon);
    names.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_build_goes_on_with_the_sockets_and_what_was_told() {
    if !can_run("another_build_goes_on_with_the_sockets_and_what_was_told") {
        return;
    }
    let names = Names::new(&["a"]).await;
    let program = Path::new(env!("CARGO_BIN_EXE_skep-names"));
    let older = names.run().join("older");
    // By another process: a copy that this one has open for writing may live on in a fork.
    let copied = Command::new("cp").arg(program).arg(&older).status().unwrap();
    assert!(copied.success());
    let one = names.daemon_of(&older);
    one.set_zone(FRONT, told(600)).await;
    one.change_zone(FRONT, Change { members_gone: (3..=600).collect(), ..Change::default() }).await;
    let port = names.open(&one, "a").await;
    let process = names.process().unwrap();
    let runs = || std::fs::read_link(format!("/proc/{process}/exe")).unwrap();
    assert_eq!(runs(), older);
    drop(one);

    // Asked all the time, by a client that does not ask twice.
    let client = names.client("a", port).await;
    client.set_read_timeout(Some(lab::DEADLINE)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let asking = std::thread::spawn(move || {
        let mut answers = 0;
        while !stopped.load(Ordering::Relaxed) {
            assert_eq!(ask(&client, "web.").unwrap(), ["10.0.0.1", "10.0.0.2"]);
            answers += 1;
        }
        answers
    });
    let two = names.daemon();
    two.settle(Group::Host).await;
    assert_eq!((names.process(), runs()), (Some(process), program.into()), "it is the same one");
    assert_eq!(names.web("a", port).await.unwrap(), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(names.open(&two, "a").await, port);
    stop.store(true, Ordering::Relaxed);
    assert!(asking.join().unwrap() > 0);
    two.close(Group::Swarm, "a").await;
    drop(two);
    names.ended().await;
}

/// Sends what is no question, and questions, as fast as it can.
fn flood(client: UdpSocket, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    client.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let question = question("tasks.web.");
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let bytes = if sent % 3 == 0 { &question[..7] } else { &question[..] };
            sent += u64::from(client.send(bytes).is_ok());
            // Answers are taken, so that none waits.
            let _ = client.recv(&mut [0; 64]);
        }
        sent
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_asker_is_bounded_and_keeps_no_other_from_its_answers() {
    if !can_run("a_flood_of_one_asker_is_bounded_and_keeps_no_other_from_its_answers") {
        return;
    }
    let names = Names::new(&["a", "b"]).await;
    let daemon = names.daemon();
    daemon.set_zone(FRONT, told(50)).await;
    let (a, b) = (names.open(&daemon, "a").await, names.open(&daemon, "b").await);
    let stop = Arc::new(AtomicBool::new(false));
    let floods = [names.client("a", a).await, names.client("a", a).await]
        .map(|client| flood(client, stop.clone()));
    let client = names.client("b", b).await;
    client.set_read_timeout(Some(lab::DEADLINE)).unwrap();
    for _ in 0..500 {
        assert_eq!(ask(&client, "web.3.").unwrap(), ["10.0.0.3"], "the other asks once");
    }
    // The daemon is heard too.
    let change = Change {
        members: BTreeMap::from([(3, Member { serving: false, ..member(3) })]),
        ..Change::default()
    };
    daemon.change_zone(FRONT, change).await;
    assert_eq!(ask(&client, "web.3.").unwrap(), [""; 0]);
    stop.store(true, Ordering::Relaxed);
    for flood in floods {
        assert!(flood.join().unwrap() > 1000);
    }
    // A question that came while its own socket was full is lost, as any datagram may be.
    let client = names.client("a", a).await;
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    lab::wait_until("it is answered itself", || {
        ask(&client, "web.4.").is_some_and(|it| it == ["10.0.0.4"])
    })
    .await;
    daemon.close(Group::Swarm, "a").await;
    daemon.close(Group::Swarm, "b").await;
    drop(daemon);
    names.ended().await;
}

/// Another name server, on an address of the host's loopback: what it was asked, in order.
#[derive(Clone, Default)]
struct Upstream(Arc<Mutex<Vec<(Query, &'static str)>>>);

type Say = fn(&Message) -> Vec<Message>;

impl Upstream {
    async fn serve(names: &Names, at: &'static str, by_udp: Say, by_tcp: Say) -> Self {
        let upstream = Self::default();
        let bind =
            move || (UdpSocket::bind((at, 53)).unwrap(), TcpListener::bind((at, 53)).unwrap());
        let (udp, tcp) = names.lab.host(1).run(bind).await.unwrap();
        let asked = upstream.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((length, client)) = udp.recv_from(&mut bytes) {
                let query = Message::from_vec(&bytes[..length]).unwrap();
                asked.0.lock().unwrap().push((query.queries[0].clone(), "udp"));
                for answer in by_udp(&query) {
                    udp.send_to(&answer.to_vec().unwrap(), client).unwrap();
                }
            }
        });
        let asked = upstream.clone();
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let query = Message::from_vec(&read(&mut stream)).unwrap();
                asked.0.lock().unwrap().push((query.queries[0].clone(), "tcp"));
                for answer in by_tcp(&query) {
                    write(&mut stream, &answer.to_vec().unwrap());
                }
            }
        });
        upstream
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn write(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
    stream.write_all(bytes).unwrap();
}

/// An answer of so many addresses.
fn say(query: &Message, addresses: u8, ttl: u32) -> Message {
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.add_queries(query.queries.iter().cloned());
    for last in 1..=addresses {
        let data = RData::A(A([192, 0, 2, last].into()));
        answer.add_answer(Record::from_rdata(query.queries[0].name().clone(), ttl, data));
    }
    answer
}

fn silent(_: &Message) -> Vec<Message> {
    Vec::new()
}

/// Answers what holds a minute, after two that are none: of another question, and of another number.
fn after_forged_ones(query: &Message) -> Vec<Message> {
    let mut question = query.clone();
    question.queries[0].set_name(Name::from_ascii("elsewhere.test.").unwrap());
    let mut number = say(query, 3, 60);
    number.metadata.id ^= 1;
    // Meanwhile others ask the same.
    std::thread::sleep(Duration::from_millis(200));
    vec![say(&question, 2, 60), number, say(query, 1, 60)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_answer_is_asked_once_and_kept_while_it_holds() {
    if !can_run("what_others_answer_is_asked_once_and_kept_while_it_holds") {
        return;
    }
    let names = Names::new(&["a", "b"]).await;
    let daemon = names.daemon();
    let upstream = Upstream::serve(&names, "127.0.0.2", after_forged_ones, silent).await;
    daemon.set_zone(FRONT, told(0)).await;
    let a = names.open_to_host(&daemon, "a", "nameserver 127.0.0.2\n").await;
    let b = names.open_to_host(&daemon, "b", "nameserver 127.0.0.2\n").await;
    // At once, of two askers and in letters of each size.
    let clients = [names.client("a", a).await, names.client("b", b).await];
    for (client, name) in clients.iter().zip(["one.test.", "ONE.test."]) {
        client.set_read_timeout(Some(lab::DEADLINE)).unwrap();
        client.send(&question(name)).unwrap();
        client.send(&question(name)).unwrap();
    }
    for (client, name) in clients.iter().zip(["one.test.", "ONE.test."]) {
        for _ in 0..2 {
            let mut bytes = [0; 2048];
            let length = client.recv(&mut bytes).unwrap();
            let answer = Message::from_vec(&bytes[..length]).unwrap();
            assert_eq!(answer.queries[0].name().to_ascii(), name, "as it was asked");
            assert_eq!(answer.answers.len(), 1, "not what was forged");
        }
    }
    assert_eq!(ask(&clients[0], "one.test.").unwrap(), ["192.0.2.1"]);
    assert_eq!(upstream.asked(), 1);
    ask(&clients[0], "two.test.").unwrap();
    assert_eq!(upstream.asked(), 2);
    // What cannot be a name's answer any more is asked anew: the servers are others.
    let other = Upstream::serve(&names, "127.0.0.3", |query| vec![say(query, 2, 0)], silent).await;
    let b = names.open_to_host(&daemon, "b", "nameserver 127.0.0.3\n").await;
    let client = names.client("b", b).await;
    lab::wait_until("the file is read again", || {
        ask(&client, "one.test.").is_some_and(|it| it.len() == 2)
    })
    .await;
    let before = other.asked();
    ask(&client, "one.test.").unwrap();
    assert_eq!(other.asked(), before + 1, "an answer without time to live is not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_followed_by_the_next_and_tcp_brings_what_is_long() {
    if !can_run("a_server_that_says_nothing_is_followed_by_the_next_and_tcp_brings_what_is_long") {
        return;
    }
    let names = Names::new(&["a"]).await;
    let daemon = names.daemon();
    daemon.set_zone(FRONT, told(0)).await;
    let first = Upstream::serve(&names, "127.0.0.2", silent, silent).await;
    let truncated: Say = |query| {
        let mut answer = say(query, 0, 0);
        answer.metadata.truncation = true;
        vec![answer]
    };
    let second =
        Upstream::serve(&names, "127.0.0.3", truncated, |query| vec![say(query, 200, 60)]).await;
    // Nobody listens at the last one.
    let file =
        "options timeout:1\nnameserver 127.0.0.4\nnameserver 127.0.0.2\nnameserver 127.0.0.3\n";
    let port = names.open_to_host(&daemon, "a", file).await;
    let client = names.client("a", port).await;
    client.set_read_timeout(Some(lab::DEADLINE)).unwrap();
    client.send(&question("long.test.")).unwrap();
    let mut bytes = [0; 2048];
    let length = client.recv(&mut bytes).unwrap();
    assert!(Message::from_vec(&bytes[..length]).unwrap().metadata.truncation);
    assert_eq!((first.asked(), second.asked()), (1, 1));
    let connect = move || TcpStream::connect(("127.0.0.11", port)).unwrap();
    let mut stream = names.askers["a"].run(connect).await.unwrap();
    for _ in 0..2 {
        write(&mut stream, &question("long.test."));
        let answer = Message::from_vec(&read(&mut stream)).unwrap();
        assert_eq!((answer.metadata.id, answer.answers.len()), (7, 200));
    }
    let asked = second.0.lock().unwrap().iter().map(|(_, by)| *by).collect::<Vec<_>>();
    assert_eq!(asked, ["udp", "udp", "tcp"], "the long one is kept, the truncated one is not");
    // By UDP it is too long, and nobody is asked for that.
    client.send(&question("long.test.")).unwrap();
    let length = client.recv(&mut bytes).unwrap();
    let answer = Message::from_vec(&bytes[..length]).unwrap();
    assert!(answer.metadata.truncation && length <= 512, "{length}");
    assert_eq!(second.asked(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_wait_have_a_bound_and_keep_no_other_asker_from_its_own() {
    if !can_run("questions_that_wait_have_a_bound_and_keep_no_other_asker_from_its_own") {
        return;
    }
    let names = Names::new(&["a", "b"]).await;
    let daemon = names.daemon();
    daemon.set_zone(FRONT, told(1)).await;
    let only_b: Say = |query| match query.queries[0].name().to_ascii().as_str() {
        "b.test." => vec![say(query, 1, 60)],
        _ => Vec::new(),
    };
    let upstream = Upstream::serve(&names, "127.0.0.2", only_b, silent).await;
    let a = names.open_to_host(&daemon, "a", "nameserver 127.0.0.2\n").await;
    let b = names.open_to_host(&daemon, "b", "nameserver 127.0.0.2\n").await;
    let client = names.client("a", a).await;
    client.set_read_timeout(Some(lab::DEADLINE)).unwrap();
    // As many as may wait, in portions that its socket holds; the next one is told at once.
    let mut bytes = [0; 512];
    for number in 0..256 {
        client.send(&question(&format!("a{number}.test."))).unwrap();
        lab::wait_until("it is asked", || upstream.0.lock().unwrap().len() > number).await;
    }
    client.send(&question("more.test.")).unwrap();
    let answer = loop {
        let length = client.recv(&mut bytes).unwrap();
        let answer = Message::from_vec(&bytes[..length]).unwrap();
        // On a busy machine the first ones may have waited long enough by now.
        if answer.queries[0].name().to_ascii() == "more.test." {
            break answer;
        }
    };
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(ask(&client, "web.").unwrap(), ["10.0.0.1"], "names of its networks are here");
    assert_eq!(ask(&names.client("b", b).await, "b.test.").unwrap(), ["192.0.2.1"]);
}
