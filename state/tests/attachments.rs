//! Containers that were started by hand on networks of the swarm: who is let in, what each holds, and
//! what stays as long as they do.

mod support;

use skep_state::State;
use skep_state::state::AddressOwner;
use skep_types::*;
use support::*;

fn attachable(id: u128, name: &str, subnet: &str) -> Network {
    let mut made = network(id, name, 4096 + id as u32, subnet);
    made.spec.attachable = true;
    made
}

/// Two nodes, the networks `open` and `other`, which are attachable, and `closed`, which is not.
fn swarm(feature_level: u32) -> State {
    let mut state = State::default();
    let actions = vec![
        create(cluster(feature_level)),
        create(node(1, NodeRole::Manager)),
        create(node(2, NodeRole::Worker)),
        create(attachable(1, "open", "10.0.1.0/24")),
        create(attachable(2, "other", "10.0.2.0/24")),
        create(network(3, "closed", 4200, "10.0.3.0/24")),
    ];
    apply(&mut state, actions).unwrap();
    state
}

fn attachment(id: u128, node: u128, network: u128, address: &str) -> Attachment {
    Attachment {
        id: AttachmentId::new(id),
        meta: Meta::default(),
        node_id: NodeId::new(node),
        network: NetworkId::new(network),
        container_id: "c0ffee".to_owned(),
        names: vec!["web".to_owned()],
        addresses: vec![address.parse().unwrap()],
    }
}

#[test]
fn who_is_let_in() {
    let check = |change: &dyn Fn(&mut Attachment), expected: Result<(), &str>| {
        let mut state = swarm(2);
        let mut made = attachment(1, 2, 1, "10.0.1.2/24");
        change(&mut made);
        let outcome = apply(&mut state, vec![create(made)]);
        assert_eq!(outcome, expected.map_err(str::to_owned));
    };
    check(&|_| {}, Ok(()));
    check(
        &|it| it.addresses.push("fd00::2/64".parse().unwrap()),
        Err("address fd00::2 is in no subnet of network open"),
    );
    check(&|it| it.network = NetworkId::new(3), Err("network closed not manually attachable"));
    check(&|it| it.network = NetworkId::new(9), Err("network 0000000000000000000000009 not found"));
    check(&|it| it.node_id = NodeId::new(9), Err("node 0000000000000000000000009 not found"));
    check(
        &|it| it.addresses = vec!["10.0.2.2/24".parse().unwrap()],
        Err("address 10.0.2.2 is in no subnet of network open"),
    );
    check(
        &|it| it.addresses.clear(),
        Err("attachment of container c0ffee has no address, or two of one family"),
    );
    check(
        &|it| it.addresses.push("10.0.1.3/24".parse().unwrap()),
        Err("attachment of container c0ffee has no address, or two of one family"),
    );
    check(
        &|it| it.container_id = "../etc".to_owned(),
        Err("invalid container id \"../etc\": expected up to 64 digits and letters"),
    );
    check(
        &|it| it.names = vec!["a".repeat(8193)],
        Err("names of a container are too large: expected at most 8192 bytes together, got 8193"),
    );
}

#[test]
fn managers_of_an_older_version_never_see_one() {
    let mut state = swarm(1);
    let refused = apply(&mut state, vec![create(attachment(1, 2, 1, "10.0.1.2/24"))]);
    assert_eq!(
        refused.unwrap_err(),
        "the swarm is of feature level 1, and this needs 2: upgrade all managers"
    );
}

#[test]
fn an_address_and_a_place_are_one_containers() {
    let mut state = swarm(2);
    apply(&mut state, vec![create(attachment(1, 2, 1, "10.0.1.2/24"))]).unwrap();
    let owner = state.address_owner(NetworkId::new(1), "10.0.1.2".parse().unwrap());
    assert_eq!(owner, Some(AddressOwner::Attachment(AttachmentId::new(1))));
    let same = Attachment { container_id: "beef".into(), ..attachment(2, 1, 1, "10.0.1.2/24") };
    assert!(apply(&mut state, vec![create(same)]).unwrap_err().contains("already in use"));
    let twice = apply(&mut state, vec![create(attachment(2, 2, 1, "10.0.1.3/24"))]);
    assert_eq!(twice.unwrap_err(), "container c0ffee is on network open already");
    // The same container on another network, and another node's container of the same id.
    apply(&mut state, vec![create(attachment(3, 2, 2, "10.0.2.2/24"))]).unwrap();
    apply(&mut state, vec![create(attachment(4, 1, 1, "10.0.1.3/24"))]).unwrap();
    let on: Vec<u128> = state.attachments_on_node(NodeId::new(2)).map(|it| it.id.bits()).collect();
    assert_eq!(on, [1, 3]);
    // A task cannot have its address either, until it is gone.
    let claims = |state: &State| state.addresses(NetworkId::new(1)).count();
    assert_eq!(claims(&state), 2);
    apply(&mut state, vec![remove::<Attachment>(AttachmentId::new(1))]).unwrap();
    assert_eq!(claims(&state), 1);
    apply(&mut state, vec![create(attachment(5, 2, 1, "10.0.1.2/24"))]).unwrap();
}

#[test]
fn only_its_names_change() {
    let mut state = swarm(2);
    apply(&mut state, vec![create(attachment(1, 2, 1, "10.0.1.2/24"))]).unwrap();
    let stands = || Attachment::clone(state.attachments().get(AttachmentId::new(1)).unwrap());
    let mut moved = [stands(), stands(), stands(), stands()];
    moved[0].node_id = NodeId::new(1);
    moved[1].network = NetworkId::new(2);
    moved[2].container_id = "beef".to_owned();
    moved[3].addresses = vec!["10.0.1.9/24".parse().unwrap()];
    let renamed = Attachment { names: vec!["db".to_owned()], ..stands() };
    for (changed, what) in moved.into_iter().zip(["node", "network", "container", "addresses"]) {
        let refused = apply(&mut state, vec![update(changed)]).unwrap_err();
        assert_eq!(
            refused,
            format!("attachment {} cannot change its {what}", AttachmentId::new(1))
        );
    }
    apply(&mut state, vec![update(renamed)]).unwrap();
}

#[test]
fn a_network_stays_as_long_as_a_container_is_on_it() {
    let mut state = swarm(2);
    apply(&mut state, vec![create(attachment(1, 2, 1, "10.0.1.2/24"))]).unwrap();
    let refused = apply(&mut state, vec![remove::<Network>(NetworkId::new(1))]).unwrap_err();
    let id = AttachmentId::new(1);
    assert_eq!(refused, format!("network 'open' is in use by task {id} (container web)"));
    apply(&mut state, vec![remove::<Attachment>(id), remove::<Network>(NetworkId::new(1))])
        .unwrap();
}

#[test]
fn a_snapshot_gives_them_back() {
    let mut state = swarm(2);
    apply(&mut state, vec![create(attachment(1, 2, 1, "10.0.1.2/24"))]).unwrap();
    assert_eq!(State::from_objects(state.to_objects()).unwrap(), state);
    let mut doubled = state.to_objects();
    doubled.attachments.push(attachment(2, 1, 1, "10.0.1.2/24"));
    assert!(State::from_objects(doubled).is_err());
}
