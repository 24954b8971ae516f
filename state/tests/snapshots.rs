//! A snapshot is taken as `apply` made it, or refused.

mod support;

use std::sync::Arc;

use skep_state::State;
use skep_state::state::Objects;
use skep_types::service::{Endpoint, VirtualIp};
use skep_types::*;
use support::*;

/// What a snapshot is changed by, and how its refusal begins.
type Case = (&'static str, fn(&mut Objects));

fn objects() -> Objects {
    let web = Service { spec_version: Revision(1), ..publishing(&service(1, "web"), 80) };
    let mut first = task(1, web.id, 1, 1);
    first.networks = vec![NetworkAttachment {
        network: NetworkId::new(1),
        addresses: vec!["10.0.1.5/24".parse().unwrap()],
        aliases: vec![],
    }];
    Objects {
        epoch: 9,
        nodes: vec![node(1, NodeRole::Manager)],
        specs: vec![(web.id, Revision(1), Arc::clone(&web.spec))],
        services: vec![web],
        tasks: vec![first],
        networks: vec![network(1, "front", 4096, "10.0.1.0/24")],
        secrets: vec![secret(1, "key")],
        ..Objects::default()
    }
}

#[test]
fn one_that_apply_made_is_taken_with_its_leadership() {
    let state = State::from_objects(objects()).unwrap();
    assert_eq!(state.epoch(), 9);
    assert_eq!(state.managers().count(), 1);
    assert_eq!(State::from_objects(state.to_objects()), Ok(state));
}

#[test]
fn one_that_apply_could_not_have_made_is_refused() {
    let changes: [Case; 10] = [
        ("node id", |it| it.nodes.push(it.nodes[0].clone())),
        ("service id", |it| it.services.push(it.services[0].clone())),
        ("network id", |it| it.networks.push(it.networks[0].clone())),
        ("secret id", |it| it.secrets.push(it.secrets[0].clone())),
        ("task id", |it| it.tasks.push(it.tasks[0].clone())),
        ("name conflicts", |it| it.services.push(service(2, "web"))),
        ("port '80'", |it| it.services.push(publishing(&service(2, "api"), 80))),
        ("address 10.0.1.5", |it| {
            it.tasks.push(Task { id: TaskId::new(2), ..it.tasks[0].clone() });
        }),
        ("address 10.0.1.5", |it| {
            let vip = VirtualIp {
                network: NetworkId::new(1),
                address: "10.0.1.5".parse().unwrap(),
                prefix_length: 24,
            };
            let endpoint = Endpoint { virtual_ips: vec![vip], ..Endpoint::default() };
            it.services.push(Service { endpoint: Some(endpoint), ..service(2, "api") });
        }),
        ("service", |it| it.specs.clear()),
    ];
    for (expected, change) in changes {
        let mut objects = objects();
        change(&mut objects);
        let error = State::from_objects(objects).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
}
