use skep_state::Transaction;
use skep_types::network::IpamConfig;
use skep_types::*;

use super::*;

const HERE: NodeId = NodeId::new(1);

/// Two nodes, an attachable network `open`, and `closed`.
fn swarm(feature_level: u32) -> State {
    let mut actions: Vec<Action> = vec![
        Change::Create(Arc::new(Cluster {
            id: ClusterId::new(1),
            meta: Meta::default(),
            spec: ClusterSpec::default(),
            root_ca: skep_types::cluster::RootCa {
                certificate: vec![],
                key: Payload::default(),
                join_tokens: JoinTokens::default(),
            },
            feature_level,
            data_path_port: defaults::DATA_PATH_PORT,
            address_pools: vec![],
            subnet_length: defaults::SUBNET_LENGTH,
        }))
        .into(),
    ];
    for id in [1, 2] {
        let node = Node::new(NodeId::new(id), NodeSpec::default());
        actions.push(Change::Create(Arc::new(node)).into());
    }
    for (id, name, attachable) in [(1, "open", true), (2, "closed", false)] {
        let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
        let spec = NetworkSpec { annotations, attachable, ..NetworkSpec::default() };
        let subnet = format!("10.0.{id}.0/29").parse().unwrap();
        let network = Network {
            vni: Some(Vni(4096 + id as u32)),
            ipam: vec![IpamConfig { subnet, range: None, gateway: None }],
            ..Network::new(NetworkId::new(id), spec)
        };
        actions.push(Change::Create(Arc::new(network)).into());
    }
    let mut state = State::default();
    apply(&mut state, actions);
    state
}

fn apply(state: &mut State, actions: Vec<Action>) {
    state.apply(&Transaction { epoch: 1, now: Timestamp(1), actions }).unwrap();
}

fn wish(target: &str, container: &str) -> Wish {
    Wish {
        target: target.to_owned(),
        container_id: container.to_owned(),
        names: vec!["web".to_owned()],
        addresses: vec![],
    }
}

/// Its id and its address, or the refusal with its code.
fn ask(state: &mut State, wish: &Wish, fresh: u128) -> Result<(u128, String), String> {
    match attach(state, HERE, wish, AttachmentId::new(fresh)) {
        Ok((id, actions)) => {
            apply(state, actions);
            let made = state.attachments().get(id).unwrap();
            Ok((id.bits(), made.addresses[0].to_string()))
        }
        Err(refusal) => {
            let status = Status::from(refusal);
            Err(format!("{:?}: {}", status.code(), status.message()))
        }
    }
}

#[test]
fn refusals_are_in_the_words_of_swarmkit() {
    let mut state = swarm(feature::NEWEST);
    let closed = NetworkId::new(2).to_string();
    for (wish, expected) in [
        (wish("nope", "c1"), "NotFound: network nope not found".to_owned()),
        (
            wish("closed", "c1"),
            "PermissionDenied: network closed not manually attachable".to_owned(),
        ),
        (
            wish(&closed, "c1"),
            format!("PermissionDenied: network {closed} not manually attachable"),
        ),
    ] {
        assert_eq!(ask(&mut state, &wish, 1).unwrap_err(), expected);
    }
    let early = ask(&mut swarm(1), &wish("open", "c1"), 1).unwrap_err();
    assert!(early.starts_with("FailedPrecondition: "), "{early}");
    let unknown = attach(&state, NodeId::new(9), &wish("open", "c1"), AttachmentId::new(1));
    assert_eq!(unknown.unwrap_err(), Refusal::NoNode(NodeId::new(9)));
}

#[test]
fn to_ask_twice_is_to_ask_once() {
    let mut state = swarm(feature::NEWEST);
    assert_eq!(ask(&mut state, &wish("open", "c1"), 1), Ok((1, "10.0.1.1/29".to_owned())));
    let by_id = wish(&NetworkId::new(1).to_string(), "c1");
    assert_eq!(ask(&mut state, &by_id, 2), Ok((1, "10.0.1.1/29".to_owned())));
    let renamed = Wish { names: vec!["db".to_owned()], ..wish("open", "c1") };
    assert_eq!(ask(&mut state, &renamed, 3), Ok((1, "10.0.1.1/29".to_owned())));
    assert_eq!(state.attachments().get(AttachmentId::new(1)).unwrap().names, ["db"]);
    // With another address it is another attachment.
    let other = Wish { addresses: vec!["10.0.1.5".parse().unwrap()], ..wish("open", "c1") };
    assert_eq!(ask(&mut state, &other, 4), Ok((4, "10.0.1.5/29".to_owned())));
    assert_eq!(ask(&mut state, &other, 5), Ok((4, "10.0.1.5/29".to_owned())));
    assert_eq!(state.attachments().len(), 1);
}

#[test]
fn a_full_network_says_so_and_serves_again_when_one_has_left() {
    let mut state = swarm(feature::NEWEST);
    for id in 1..=6 {
        ask(&mut state, &wish("open", &format!("c{id}")), id).unwrap();
    }
    let full = ask(&mut state, &wish("open", "c7"), 7);
    assert_eq!(full.unwrap_err(), "ResourceExhausted: network open has no free address left");
    let foreign = detach(&state, NodeId::new(2), &AttachmentId::new(3).to_string());
    assert_eq!(foreign.unwrap_err(), Refusal::Foreign(AttachmentId::new(3)));
    let gone = detach(&state, HERE, &AttachmentId::new(3).to_string()).unwrap();
    apply(&mut state, gone);
    assert_eq!(ask(&mut state, &wish("open", "c7"), 8), Ok((8, "10.0.1.3/29".to_owned())));
    assert!(matches!(detach(&state, HERE, "x"), Err(Refusal::NoAttachment(_))));
}
