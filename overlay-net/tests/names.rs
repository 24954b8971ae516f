//! Questions and answers, without a network.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use expect_test::{Expect, expect};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use skep_overlay_net::dns::answer::{Known, Outcome, Transport, answer};
use skep_overlay_net::dns::names::{Place, View};
use skep_overlay_net::dns::overlay;
use skep_overlay_net::dns::zone::{Change, Told, Zone};
use skep_overlay_net::network::PublishedPort;
use skep_overlay_net::{EndpointState, NetworkState, ServiceEntry, TaskEndpoint, task_mac};
use skep_types::service::Protocol;
use skep_types::session::Session;
use skep_types::{NetworkId, ServiceId, TaskId, Vni};

fn service(name: &str, vip: Option<&str>, aliases: &[&str]) -> ServiceEntry {
    ServiceEntry {
        name: name.into(),
        aliases: aliases.iter().map(ToString::to_string).collect(),
        vips: vip.iter().map(|it| it.parse().unwrap()).collect(),
        ports: Vec::new(),
        session: Session::Any,
    }
}

fn endpoint(service: u128, address: &str, name: &str, state: EndpointState) -> TaskEndpoint {
    let address = address.parse().unwrap();
    TaskEndpoint {
        service: Some(ServiceId::new(service)),
        names: vec![name.into()],
        addresses: vec![address],
        mac: task_mac(address),
        node: "192.168.0.1".parse().unwrap(),
        state,
    }
}

fn network(id: u128, name: &str, third: u8) -> NetworkState {
    let at = |last: u8| format!("10.0.{third}.{last}");
    NetworkState {
        id: NetworkId::new(id),
        name: name.into(),
        vni: Vni(4096),
        gateways: vec![format!("{}/24", at(1)).parse().unwrap()],
        ingress: false,
        internal: false,
        mtu: None,
        generation: 1,
        nodes: BTreeSet::new(),
        endpoints: BTreeMap::from([
            (TaskId::new(1), endpoint(1, &at(11), "web.1.abc", EndpointState::Serving)),
            (TaskId::new(2), endpoint(1, &at(12), "web.2.abd", EndpointState::Serving)),
            (TaskId::new(3), endpoint(1, &at(13), "web.3.abe", EndpointState::Draining)),
            (TaskId::new(4), endpoint(2, &at(21), "db.1.abf", EndpointState::Serving)),
            (TaskId::new(5), endpoint(2, &at(22), "db.2.abg", EndpointState::Serving)),
            (TaskId::new(6), endpoint(3, &at(31), "late.1.abh", EndpointState::Starting)),
        ]),
        services: BTreeMap::from([
            (ServiceId::new(1), service("shop_web", Some(&at(2)), &["web"])),
            (ServiceId::new(2), service("db", None, &[])),
            (ServiceId::new(3), service("late", None, &[])),
        ]),
    }
}

fn front() -> Vec<Arc<NetworkState>> {
    vec![Arc::new(network(1, "front", 1))]
}

/// What a task on these networks is told.
fn ask(
    networks: &[Arc<NetworkState>],
    complete: bool,
    turn: usize,
    question: &[u8],
    transport: Transport,
) -> Outcome {
    let zones: Vec<Zone> = networks.iter().map(|it| indexed(overlay::told(it))).collect();
    let place = Place::default();
    let view = View(zones.iter().map(|zone| (zone, &place)).collect());
    answer(Known { names: &view, complete, turn }, question, transport)
}

fn indexed(told: Told) -> Zone {
    let mut zone = Zone::default();
    zone.take_in(told.since(&Told::default()));
    zone
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn tell(view: &[Arc<NetworkState>], name: &str, kind: RecordType) -> String {
    match ask(view, true, 0, &question(name, kind), Transport::Udp) {
        Outcome::Answer(bytes) => {
            let message = Message::from_vec(&bytes).unwrap();
            assert_eq!((message.metadata.id, message.metadata.recursion_available), (7, true));
            let data: Vec<String> = message
                .answers
                .iter()
                .map(|record| {
                    assert!(record.ttl <= 5, "an answer is kept five seconds at most");
                    record.data.to_string()
                })
                .collect();
            format!("{} {}", message.metadata.response_code, data.join(" ")).trim_end().to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn check(view: &[Arc<NetworkState>], questions: &[(&str, RecordType)], expected: Expect) {
    let line =
        |(name, kind): &(&str, RecordType)| format!("{name} {kind}: {}\n", tell(view, name, *kind));
    expected.assert_eq(&questions.iter().map(line).collect::<String>());
}

#[test]
fn names_of_services_and_tasks() {
    use RecordType::{A, AAAA, MX};
    check(
        &front(),
        &[
            ("shop_web.", A),
            ("SHOP_WEB.", A),
            ("web.", A),
            ("web.", AAAA),
            ("web.", MX),
            ("tasks.web.", A),
            ("db.", A),
            ("tasks.db.", A),
            ("late.", A),
            ("late.1.abh.", A),
            ("web.3.abe.", A),
            ("web.front.", A),
            ("tasks.web.front.", A),
            ("web.back.", A),
            ("example.org.", A),
            ("unknown.", A),
        ],
        expect![[r#"
            shop_web. A: No Error 10.0.1.2
            SHOP_WEB. A: No Error 10.0.1.2
            web. A: No Error 10.0.1.2
            web. AAAA: No Error
            web. MX: No Error
            tasks.web. A: No Error 10.0.1.11 10.0.1.12
            db. A: No Error 10.0.1.21 10.0.1.22
            tasks.db. A: No Error 10.0.1.21 10.0.1.22
            late. A: No Error
            late.1.abh. A: No Error
            web.3.abe. A: No Error
            web.front. A: No Error 10.0.1.2
            tasks.web.front. A: No Error 10.0.1.11 10.0.1.12
            web.back. A: Forward
            example.org. A: Forward
            unknown. A: Forward
        "#]],
    );
}

#[test]
fn ports_of_services_have_names() {
    use RecordType::{A, SRV};
    let mut front = network(1, "front", 1);
    let port = |name: &str, protocol, target| PublishedPort {
        name: name.into(),
        protocol,
        target,
        published: 0,
    };
    let ports = vec![port("http", Protocol::Tcp, 80), port("", Protocol::Udp, 53)];
    for service in [1, 3] {
        front.services.get_mut(&ServiceId::new(service)).unwrap().ports = ports.clone();
    }
    let view = [Arc::new(front)];
    check(
        &view,
        &[
            ("_http._tcp.web.", SRV),
            ("_HTTP._TCP.Web.Front.", SRV),
            ("_80._tcp.shop_web.", SRV),
            ("_53._udp.web.", SRV),
            ("_http._udp.web.", SRV),
            ("_https._tcp.web.", SRV),
            ("_http._tcp.web.", A),
            ("_http._tcp.late.", SRV),
            ("_http._tcp.db.", SRV),
            ("_http._tcp.web.back.", SRV),
            ("_ldap._tcp.example.org.", SRV),
            ("_http._tcp.", SRV),
        ],
        expect![[r#"
            _http._tcp.web. SRV: No Error 0 0 80 web.1.abc. 0 0 80 web.2.abd.
            _HTTP._TCP.Web.Front. SRV: No Error 0 0 80 web.1.abc. 0 0 80 web.2.abd.
            _80._tcp.shop_web. SRV: No Error 0 0 80 web.1.abc. 0 0 80 web.2.abd.
            _53._udp.web. SRV: No Error 0 0 53 web.1.abc. 0 0 53 web.2.abd.
            _http._udp.web. SRV: Non-Existent Domain
            _https._tcp.web. SRV: Non-Existent Domain
            _http._tcp.web. A: No Error
            _http._tcp.late. SRV: No Error
            _http._tcp.db. SRV: Non-Existent Domain
            _http._tcp.web.back. SRV: Forward
            _ldap._tcp.example.org. SRV: Forward
            _http._tcp. SRV: Forward
        "#]],
    );
    // With the addresses that the names stand for.
    let question = question("_http._tcp.web.", SRV);
    let Outcome::Answer(bytes) = ask(&view, true, 0, &question, Transport::Udp) else {
        panic!("it is known");
    };
    let more = Message::from_vec(&bytes).unwrap().additionals;
    let more: Vec<String> = more.iter().map(|it| format!("{} {}", it.name, it.data)).collect();
    assert_eq!(more, ["web.1.abc. 10.0.1.11", "web.2.abd. 10.0.1.12"]);
}

#[test]
fn no_service_has_too_many_tasks_for_an_answer() {
    let mut network = network(1, "front", 1);
    for task in 100..10_100_u128 {
        let address = format!("10.1.{}.{}", task / 250, task % 250);
        let mut endpoint = endpoint(2, &address, &format!("db.{task}"), EndpointState::Serving);
        endpoint.addresses.push(format!("fd00::{task:x}").parse().unwrap());
        network.endpoints.insert(TaskId::new(task), endpoint);
    }
    let port =
        PublishedPort { name: "sql".into(), protocol: Protocol::Tcp, target: 5432, published: 0 };
    network.services.get_mut(&ServiceId::new(2)).unwrap().ports = vec![port];
    let view = [Arc::new(network)];
    for (name, kind, least) in [
        ("db.", RecordType::A, 3000),
        ("tasks.db.", RecordType::AAAA, 1500),
        ("db.", RecordType::ANY, 2000),
        ("_sql._tcp.db.", RecordType::SRV, 400),
    ] {
        let question = question(name, kind);
        let ask = |transport| match ask(&view, true, 77, &question, transport) {
            Outcome::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{other:?}"),
        };
        let (udp, tcp) = (ask(Transport::Udp), ask(Transport::Tcp));
        assert!(udp.metadata.truncation && udp.answers.is_empty(), "{name} {kind}");
        assert!(!tcp.metadata.truncation, "{name} {kind}");
        assert!(tcp.answers.len() >= least, "{name} {kind} has {}", tcp.answers.len());
    }
}

#[test]
fn addresses_have_names() {
    check(
        &front(),
        &[
            ("11.1.0.10.in-addr.arpa.", RecordType::PTR),
            ("2.1.0.10.in-addr.arpa.", RecordType::PTR),
            ("13.1.0.10.in-addr.arpa.", RecordType::PTR),
            ("99.1.0.10.in-addr.arpa.", RecordType::PTR),
            ("8.8.8.8.in-addr.arpa.", RecordType::PTR),
            ("1.0.10.in-addr.arpa.", RecordType::PTR),
        ],
        expect![[r#"
            11.1.0.10.in-addr.arpa. PTR: No Error web.1.abc.front.
            2.1.0.10.in-addr.arpa. PTR: No Error shop_web.front.
            13.1.0.10.in-addr.arpa. PTR: Non-Existent Domain
            99.1.0.10.in-addr.arpa. PTR: Non-Existent Domain
            8.8.8.8.in-addr.arpa. PTR: Forward
            1.0.10.in-addr.arpa. PTR: Forward
        "#]],
    );
}

#[test]
fn a_task_knows_its_own_networks_alone_and_the_first_one_answers() {
    let mut ingress = network(3, "ingress", 9);
    ingress.ingress = true;
    let mut back = network(2, "back", 2);
    back.services.insert(ServiceId::new(9), service("only", Some("10.0.2.99"), &[]));
    let view = [Arc::new(ingress), Arc::new(back), front().remove(0)];
    let questions = [
        ("web.", RecordType::A),
        ("only.", RecordType::A),
        ("web.front.", RecordType::A),
        ("web.ingress.", RecordType::A),
    ];
    check(
        &view,
        &questions,
        expect![[r#"
        web. A: No Error 10.0.2.2
        only. A: No Error 10.0.2.99
        web.front. A: No Error 10.0.1.2
        web.ingress. A: Forward
    "#]],
    );
    check(
        &front(),
        &questions,
        expect![[r#"
        web. A: No Error 10.0.1.2
        only. A: Forward
        web.front. A: No Error 10.0.1.2
        web.ingress. A: Forward
    "#]],
    );
}

#[test]
fn addresses_take_turns() {
    let first = |turn| {
        let question = question("db.", RecordType::A);
        let Outcome::Answer(bytes) = ask(&front(), true, turn, &question, Transport::Udp) else {
            panic!("db is known");
        };
        Message::from_vec(&bytes).unwrap().answers[0].data.to_string()
    };
    assert_eq!([first(0), first(1), first(2)], ["10.0.1.21", "10.0.1.22", "10.0.1.21"]);
}

#[test]
fn a_name_of_one_label_is_not_asked_for_elsewhere_before_all_networks_are_known() {
    let tell = |name| match ask(&[], false, 0, &question(name, RecordType::A), Transport::Udp) {
        Outcome::Answer(bytes) => {
            Message::from_vec(&bytes).unwrap().metadata.response_code.to_string()
        }
        other => format!("{other:?}"),
    };
    assert_eq!(tell("web."), "Server Failure");
    assert_eq!(tell("example.org."), "Forward");
}

#[test]
fn an_answer_too_large_for_udp_sends_the_client_to_tcp() {
    let mut network = network(1, "front", 1);
    for last in 100..200 {
        let address = format!("10.0.1.{last}");
        let endpoint = endpoint(2, &address, "x", EndpointState::Serving);
        network.endpoints.insert(TaskId::new(last), endpoint);
    }
    let view = [Arc::new(network)];
    let question = question("db.", RecordType::A);
    let ask = |transport| match ask(&view, true, 0, &question, transport) {
        Outcome::Answer(bytes) => (Message::from_vec(&bytes).unwrap(), bytes.len()),
        other => panic!("{other:?}"),
    };
    let (udp, bytes) = ask(Transport::Udp);
    assert!(udp.metadata.truncation && udp.answers.is_empty() && bytes <= 512);
    let (tcp, _) = ask(Transport::Tcp);
    assert!(!tcp.metadata.truncation);
    assert_eq!(tcp.answers.len(), 102);
}

#[test]
fn what_is_no_question_is_refused() {
    let ask = |bytes: &[u8]| ask(&[], true, 0, bytes, Transport::Udp);
    assert_eq!(ask(&[]), Outcome::Drop);
    let Outcome::Answer(bytes) = ask(&[1, 2, 3]) else { panic!("it has an id") };
    let refused = Message::from_vec(&bytes).unwrap();
    assert_eq!(refused.metadata.id, 0x0102);
    assert_eq!(refused.metadata.response_code.to_string(), "Form Error");
    let mut response = question("web.", RecordType::A);
    response[2] |= 0x80;
    assert_eq!(ask(&response), Outcome::Drop, "an answer is no question");
}

/// A container on one bridge calls another by what it alone calls it.
#[test]
fn links_are_the_askers_own() {
    let zone = indexed(overlay::told(&network(1, "front", 1)));
    let tell = |links: &[(&str, &str)], name: &str| {
        let links = links.iter().map(|(alias, name)| (alias.to_string(), name.to_string()));
        let place = Place { zone: String::new(), links: links.collect() };
        let view = View(vec![(&zone, &place)]);
        let known = Known { names: &view, complete: true, turn: 0 };
        match answer(known, &question(name, RecordType::A), Transport::Udp) {
            Outcome::Answer(bytes) => Message::from_vec(&bytes).unwrap().answers.len(),
            _ => usize::MAX,
        }
    };
    assert_eq!(tell(&[("Store", "DB")], "store."), 2);
    assert_eq!(tell(&[], "store."), usize::MAX);
}

type Step = (u8, u8, Option<(u8, bool)>, Option<bool>);

/// A change as one of the leader's may be: a task that comes, changes or goes, and a service.
fn change((task, service, endpoint, entry): Step) -> Change {
    use skep_overlay_net::network::Answers;
    let mut answers = Answers::default();
    let (task, id) = (TaskId::new(task.into()), ServiceId::new(service.into()));
    match endpoint {
        Some((last, serving)) => {
            let state = if serving { EndpointState::Serving } else { EndpointState::Draining };
            let name = format!("web.{}", last % 4);
            let address = format!("10.0.1.{last}");
            answers.endpoints.insert(task, self::endpoint(service.into(), &address, &name, state));
        }
        None => drop(answers.endpoints_removed.insert(task)),
    }
    match entry {
        Some(vip) => {
            let vip = vip.then_some("10.0.1.2");
            answers.services.insert(id, self::service(&format!("s{}", service % 3), vip, &["web"]));
        }
        None => drop(answers.services_removed.insert(id)),
    }
    overlay::change(&[answers])
}

proptest::proptest! {
    /// The index says what one that is made anew says, whatever changed, together or one by one.
    #[test]
    fn an_index_that_follows_changes_is_one_that_is_made_anew(
        steps in proptest::collection::vec(proptest::prelude::any::<Step>(), 0..40),
        together: bool,
    ) {
        let steps = steps.into_iter().map(|(task, service, endpoint, entry)| {
            change((task % 6, service % 4, endpoint, entry))
        });
        let mut zone = Zone::default();
        let mut told = Told::default();
        if together {
            let mut all = Change::default();
            steps.for_each(|step| all.then(step));
            told.take_in(all.clone());
            zone.take_in(all);
        } else {
            for step in steps {
                told.take_in(step.clone());
                zone.take_in(step);
            }
        }
        proptest::prop_assert_eq!(zone.told(), &told);
        let anew = indexed(told);
        let place = Place::default();
        let [followed, anew] = [&zone, &anew].map(|zone| {
            let view = View(vec![(zone, &place)]);
            let known = Known { names: &view, complete: true, turn: 0 };
            let names = ["web", "tasks.web", "s0", "s1", "tasks.s2", "web.0", "web.3"];
            let forward = names.map(|name| (format!("{name}."), RecordType::A));
            let back = (0..=255).map(|last| {
                (format!("{last}.1.0.10.in-addr.arpa."), RecordType::PTR)
            });
            let all = forward.into_iter().chain(back);
            all.map(|(name, kind)| answer(known, &question(&name, kind), Transport::Udp))
                .collect::<Vec<_>>()
        });
        proptest::prop_assert_eq!(followed, anew);
    }

    #[test]
    fn no_question_is_too_strange(
        mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
        like in 0..8_usize,
        kind in proptest::prelude::any::<u16>(),
        flip in proptest::prelude::any::<(proptest::sample::Index, u8)>(),
    ) {
        let names = ["tasks.db.", "web.", "late.", "_80._tcp.web.", "13.1.0.10.in-addr.arpa."];
        if let Some(name) = names.get(like) {
            // As a question is, but for its end, its kind, and one byte.
            let mut question = question(name, RecordType::from(kind % 40));
            let at = flip.0.index(question.len());
            question[at] ^= flip.1 & 1;
            let tail = bytes.len().min(8);
            question.extend_from_slice(&bytes[..tail]);
            bytes = question;
        }
        for (transport, most) in [(Transport::Udp, 1232), (Transport::Tcp, 65_535)] {
            if let Outcome::Answer(answer) = ask(&front(), true, usize::MAX, &bytes, transport) {
                proptest::prop_assert!(answer.len() <= most);
                proptest::prop_assert_eq!(&answer[..2], &bytes[..2], "it carries the question's id");
                let message = Message::from_vec(&answer);
                proptest::prop_assert!(message.is_ok_and(|it| it.answers.iter().all(|record| {
                    !["10.0.1.13", "10.0.1.31"].contains(&record.data.to_string().as_str())
                })), "nobody is told of who does not serve");
            }
        }
    }
}
