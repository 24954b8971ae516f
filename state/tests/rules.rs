//! What `apply` itself enforces, rule by rule, with the words a user reads.

mod support;

use skep_state::{Speculation, State, Transaction};
use skep_types::resources::GenericResource;
use skep_types::*;
use support::*;

#[test]
fn an_update_made_from_an_old_revision_is_refused() {
    let mut state = State::default();
    apply(&mut state, vec![create(service(1, "web"))]).unwrap();
    let first = Service::clone(state.services().by_name("web").unwrap());
    assert_eq!(first.meta.revision, Revision(1));
    apply(&mut state, vec![update(publishing(&first, 80))]).unwrap();
    let error = apply(&mut state, vec![update(publishing(&first, 81))]).unwrap_err();
    assert!(error.starts_with("update out of sequence: service"), "{error}");
    assert!(error.ends_with("is at version 2, the change was made from 1"), "{error}");
}

#[test]
fn names_are_unique_and_free_again_after_removal() {
    let mut state = State::default();
    apply(&mut state, vec![create(service(1, "web"))]).unwrap();
    assert_eq!(
        apply(&mut state, vec![create(service(2, "web"))]).unwrap_err(),
        "name conflicts with an existing object: service web already exists"
    );
    apply(&mut state, vec![remove::<Service>(ServiceId::new(1)), create(service(2, "web"))])
        .unwrap();
    assert_eq!(state.services().by_name("web").unwrap().id, ServiceId::new(2));
}

#[test]
fn one_bad_action_undoes_the_good_ones_before_it() {
    let mut state = State::default();
    let actions = vec![create(service(1, "web")), create(service(1, "api"))];
    apply(&mut state, actions).unwrap_err();
    assert!(state.services().is_empty());
}

#[test]
fn a_published_port_belongs_to_one_service() {
    let mut state = State::default();
    apply(&mut state, vec![create(publishing(&service(1, "web"), 80))]).unwrap();
    assert_eq!(
        apply(&mut state, vec![create(publishing(&service(2, "api"), 80))]).unwrap_err(),
        "port '80' is already in use by service 'web' (0000000000000000000000001) as an ingress port"
    );
    let web = Service::clone(state.services().by_name("web").unwrap());
    apply(&mut state, vec![update(publishing(&web, 81))]).unwrap();
    apply(&mut state, vec![create(publishing(&service(2, "api"), 80))]).unwrap();
}

#[test]
fn subnets_and_vxlan_ids_belong_to_one_network() {
    let mut state = State::default();
    apply(&mut state, vec![create(network(1, "front", 4096, "10.0.1.0/24"))]).unwrap();
    for (other, expected) in [
        (
            network(2, "back", 4096, "10.0.2.0/24"),
            "VXLAN id 4096 is already in use by network front",
        ),
        (network(2, "back", 4097, "10.0.0.0/16"), "subnet 10.0.0.0/16 overlaps with network front"),
        (
            network(2, "back", 0, "10.0.2.0/24"),
            "VXLAN id 0 is out of range: expected 1 to 16777215",
        ),
    ] {
        assert_eq!(apply(&mut state, vec![create(other)]).unwrap_err(), expected);
    }
}

#[test]
fn what_a_service_uses_stays() {
    let mut state = State::default();
    let front = network(1, "front", 4096, "10.0.1.0/24");
    let web = attached(&service(1, "web"), front.id);
    let web = respec(&web, |spec| {
        spec.task.container.secrets.push(skep_types::container::SecretReference {
            secret_id: SecretId::new(1),
            secret_name: "db".to_owned(),
            target: skep_types::container::FileTarget {
                name: "db".to_owned(),
                uid: "0".to_owned(),
                gid: "0".to_owned(),
                mode: 0o444,
            },
        });
    });
    assert!(apply(&mut state, vec![create(web.clone())]).unwrap_err().starts_with("network"));
    apply(&mut state, vec![create(front), create(secret(1, "db")), create(web)]).unwrap();
    assert_eq!(
        apply(&mut state, vec![remove::<Network>(NetworkId::new(1))]).unwrap_err(),
        "network 'front' is in use by service web"
    );
    assert_eq!(
        apply(&mut state, vec![remove::<Secret>(SecretId::new(1))]).unwrap_err(),
        "secret 'db' is in use by the following service: web"
    );
}

#[test]
fn tasks_never_move_backwards() {
    let mut state = State::default();
    apply(&mut state, vec![create(service(1, "web")), create(task(1, ServiceId::new(1), 1, 1))])
        .unwrap();
    let mut running = Task::clone(state.tasks().get(TaskId::new(1)).unwrap());
    running.status.state = TaskState::Running;
    apply(&mut state, vec![update(running)]).unwrap();
    let mut back = Task::clone(state.tasks().get(TaskId::new(1)).unwrap());
    back.status.state = TaskState::Ready;
    let error = apply(&mut state, vec![update(back)]).unwrap_err();
    assert!(error.ends_with("cannot go from running back to ready"), "{error}");
}

#[test]
fn a_live_address_belongs_to_one_task_and_is_free_when_it_ends() {
    let mut state = State::default();
    let front = network(1, "front", 4096, "10.0.1.0/24");
    let place = NetworkAttachment {
        network: front.id,
        addresses: vec!["10.0.1.5/24".parse().unwrap()],
        aliases: vec![],
    };
    let with_address = |id, slot| {
        let mut task = task(id, ServiceId::new(1), 1, slot);
        task.networks = vec![place.clone()];
        task
    };
    apply(&mut state, vec![create(front), create(service(1, "web")), create(with_address(1, 1))])
        .unwrap();
    let error = apply(&mut state, vec![create(with_address(2, 2))]).unwrap_err();
    assert!(error.starts_with("address 10.0.1.5 is already in use on network"), "{error}");
    let mut ended = Task::clone(state.tasks().get(TaskId::new(1)).unwrap());
    ended.status.state = TaskState::Failed;
    apply(&mut state, vec![update(ended), create(with_address(2, 2))]).unwrap();
}

#[test]
fn a_named_generic_resource_belongs_to_one_task_of_its_node() {
    let mut state = State::default();
    let with = |id, node, names: &[&str]| {
        let mut task = task(id, ServiceId::new(1), 1, id as u64);
        task.node_id = Some(NodeId::new(node));
        let gpu = |name: &&str| GenericResource::Named {
            kind: "gpu".to_owned(),
            value: (*name).to_owned(),
        };
        task.generic = names.iter().map(gpu).collect();
        task.generic.push(GenericResource::Discrete { kind: "ssd".to_owned(), value: 1 });
        task
    };
    apply(&mut state, vec![create(service(1, "web")), create(with(1, 7, &["A", "B"]))]).unwrap();
    let error = apply(&mut state, vec![create(with(2, 7, &["C", "B"]))]).unwrap_err();
    let owner = TaskId::new(1);
    assert_eq!(error, format!("generic resource gpu=B is already in use by task {owner}"));
    // Another node's has the same name, and counts are not named.
    apply(&mut state, vec![create(with(2, 8, &["B"])), create(with(3, 7, &["C"]))]).unwrap();
    let mut changed = Task::clone(state.tasks().get(TaskId::new(3)).unwrap());
    changed.generic.clear();
    let error = apply(&mut state, vec![update(changed)]).unwrap_err();
    assert!(error.ends_with("cannot change its generic resources"), "{error}");
    // On its way out it holds them still; when it has ended, not.
    let mut ending = Task::clone(state.tasks().get(owner).unwrap());
    ending.desired_state = DesiredState::Shutdown;
    apply(&mut state, vec![update(ending)]).unwrap();
    apply(&mut state, vec![create(with(4, 7, &["B"]))]).unwrap_err();
    let mut ended = Task::clone(state.tasks().get(owner).unwrap());
    ended.status.state = TaskState::Shutdown;
    apply(&mut state, vec![update(ended), create(with(4, 7, &["B"]))]).unwrap();
}

#[test]
fn a_slot_has_room_for_a_task_and_its_successor() {
    let mut state = State::default();
    let service_id = ServiceId::new(1);
    apply(&mut state, vec![create(service(1, "web"))]).unwrap();
    apply(&mut state, vec![create(task(1, service_id, 1, 1)), create(task(2, service_id, 1, 1))])
        .unwrap();
    let error = apply(&mut state, vec![create(task(3, service_id, 1, 1))]).unwrap_err();
    assert!(error.contains("has 2 live tasks already"), "{error}");
}

#[test]
fn specs_are_kept_while_a_task_was_made_from_them() {
    let mut state = State::default();
    let id = ServiceId::new(1);
    apply(&mut state, vec![create(service(1, "web")), create(task(1, id, 1, 1))]).unwrap();
    for port in 80..84 {
        let web = Service::clone(state.services().get(id).unwrap());
        apply(&mut state, vec![update(publishing(&web, port))]).unwrap();
    }
    let versions = |state: &State| state.specs().map(|(_, v, _)| v.0).collect::<Vec<_>>();
    assert_eq!(versions(&state), [1, 4, 5], "a task's, the previous and the current one");
    let web = state.services().get(id).unwrap();
    assert_eq!((web.spec_version, web.previous_spec_version), (Revision(5), Some(Revision(4))));
    apply(&mut state, vec![remove::<Service>(id)]).unwrap();
    assert_eq!(versions(&state), [1]);
    apply(&mut state, vec![remove::<Task>(TaskId::new(1))]).unwrap();
    assert!(versions(&state).is_empty());
}

#[test]
fn a_task_of_an_unknown_spec_is_refused() {
    let mut state = State::default();
    apply(&mut state, vec![create(service(1, "web"))]).unwrap();
    let error = apply(&mut state, vec![create(task(1, ServiceId::new(1), 2, 1))]).unwrap_err();
    assert!(error.ends_with("has no spec of version 2"), "{error}");
}

#[test]
fn the_last_manager_cannot_be_lost() {
    let mut state = State::default();
    apply(&mut state, vec![create(node(1, NodeRole::Manager)), create(node(2, NodeRole::Worker))])
        .unwrap();
    let mut demoted = Node::clone(state.nodes().get(NodeId::new(1)).unwrap());
    demoted.spec.role = NodeRole::Worker;
    let expected = "attempting to demote the last manager of the swarm";
    assert_eq!(apply(&mut state, vec![update(demoted)]).unwrap_err(), expected);
    assert_eq!(apply(&mut state, vec![remove::<Node>(NodeId::new(1))]).unwrap_err(), expected);
}

#[test]
fn a_transaction_of_an_earlier_leadership_is_refused() {
    let mut state = State::default();
    let of = |epoch| Transaction { epoch, now: Timestamp(1), actions: vec![] };
    state.apply(&of(5)).unwrap();
    let error = state.apply(&of(4)).unwrap_err().to_string();
    assert_eq!(error, "leadership changed: transaction of epoch 4, current is 5");
}

#[test]
fn the_speculative_view_sees_what_is_in_flight() {
    let mut speculation = Speculation::new(3, State::default(), 2);
    let of = |actions| Transaction { epoch: 0, now: Timestamp(1), actions };
    let mut first = of(vec![create(service(1, "web"))]);
    let ticket = speculation.propose(&mut first).unwrap();
    assert_eq!(first.epoch, 3);
    speculation.propose(&mut of(vec![create(service(2, "web"))])).unwrap_err();
    let second = speculation.propose(&mut of(vec![create(service(2, "api"))])).unwrap();
    let error = speculation.propose(&mut of(vec![])).unwrap_err().to_string();
    assert_eq!(error, "too many transactions in flight: at most 2");
    assert!(!speculation.applied(second), "entries are applied in order");
    assert!(speculation.applied(ticket));
    assert_eq!((speculation.view().services().len(), speculation.in_flight()), (2, 1));
}

#[test]
fn of_a_plan_what_still_holds_is_taken_and_is_no_news() {
    let mut state = State::default();
    apply(&mut state, vec![create(service(1, "web")), create(secret(1, "key"))]).unwrap();
    let web = Service::clone(state.services().by_name("web").unwrap());
    let mut leader = Speculation::new(2, state, 8);
    assert_eq!(leader.take_news(), None, "who follows begins with the view");
    let transaction = |actions| Transaction { epoch: 0, now: Timestamp(1), actions };
    leader.propose(&mut transaction(vec![update(publishing(&web, 80))])).unwrap();
    assert_eq!(leader.take_news().map(|news| news.len()), Some(1));
    let outrun = update(publishing(&web, 81));
    let mut plan = transaction(vec![outrun.clone(), create(service(2, "api"))]);
    let (ticket, refused) = leader.propose_plan(&mut plan).unwrap();
    assert!(ticket.is_some());
    assert_eq!(refused, std::slice::from_ref(&outrun));
    assert_eq!((plan.epoch, plan.actions.len()), (2, 1));
    assert!(leader.view().services().by_name("api").is_some());
    assert_eq!(leader.take_news(), Some(vec![]));
    let (ticket, refused) = leader.propose_plan(&mut transaction(vec![outrun])).unwrap();
    assert_eq!((ticket, refused.len(), leader.in_flight()), (None, 1, 2));
}

#[test]
fn who_follows_the_view_hears_of_every_change_or_begins_anew() {
    let mut leader = Speculation::new(2, State::default(), 8);
    assert_eq!(leader.take_news(), None);
    let propose = |leader: &mut Speculation, ids: std::ops::Range<u128>| {
        let nodes = ids.map(|id| create(node(id, NodeRole::Worker)));
        let mut transaction = Transaction { epoch: 0, now: Timestamp(1), actions: nodes.collect() };
        leader.propose(&mut transaction).unwrap();
    };
    // As many as are kept, in two transactions; and then one more.
    let kept = 1 << 17;
    propose(&mut leader, 0..kept - 1);
    propose(&mut leader, kept - 1..kept);
    assert_eq!(leader.take_news().map(|news| news.len() as u128), Some(kept));
    propose(&mut leader, kept..2 * kept);
    propose(&mut leader, 2 * kept..2 * kept + 1);
    assert_eq!(leader.take_news(), None);
    propose(&mut leader, 2 * kept + 1..2 * kept + 2);
    assert_eq!(leader.take_news().map(|news| news.len()), Some(1));
}
