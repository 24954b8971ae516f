//! The swarm's networks in the words of zones. Pure.

use std::collections::BTreeMap;

use skep_overlay_plan::network::{Answers, PublishedPort};
use skep_overlay_plan::{EndpointState, NetworkState, ServiceEntry, TaskEndpoint};
use skep_types::NetworkId;

use super::zone::{Change, Head, Id, Member, Port, Service, Told};

/// A network as a zone is called.
pub fn zone(network: NetworkId) -> String {
    format!("{}{network}", super::client::Group::Swarm.prefix())
}

pub fn told(network: &NetworkState) -> Told {
    Told {
        head: Head {
            name: network.name.clone(),
            subnets: network.gateways.clone(),
            nameless: network.ingress,
        },
        members: network.endpoints.iter().map(|(id, it)| (id.bits(), member(it))).collect(),
        services: network.services.iter().map(|(id, it)| (id.bits(), service(it))).collect(),
    }
}

/// What a delta changes.
pub fn change(answers: &[Answers]) -> Change {
    let mut change = Change::default();
    for answers in answers {
        let members: BTreeMap<Id, Member> =
            answers.endpoints.iter().map(|(id, it)| (id.bits(), member(it))).collect();
        change.then(Change {
            head: None,
            members,
            members_gone: answers.endpoints_removed.iter().map(|id| id.bits()).collect(),
            services: answers.services.iter().map(|(id, it)| (id.bits(), service(it))).collect(),
            services_gone: answers.services_removed.iter().map(|id| id.bits()).collect(),
        });
    }
    change
}

fn member(endpoint: &TaskEndpoint) -> Member {
    Member {
        names: endpoint.names.clone(),
        addresses: endpoint.addresses.clone(),
        service: endpoint.service.map(|it| it.bits()),
        serving: endpoint.state == EndpointState::Serving,
    }
}

fn service(entry: &ServiceEntry) -> Service {
    Service {
        name: entry.name.clone(),
        aliases: entry.aliases.clone(),
        vips: entry.vips.clone(),
        ports: entry.ports.iter().map(port).collect(),
    }
}

fn port(port: &PublishedPort) -> Port {
    Port { name: port.name.clone(), protocol: port.protocol, number: port.target }
}
