//! What containers on users' networks call one another, in the words of zones. Pure.

use std::collections::BTreeMap;

use ipnet::IpNet;
use skep_overlay_net::dns::client::Group;
use skep_overlay_net::dns::names::Place;
use skep_overlay_net::dns::overlay;
use skep_overlay_net::dns::zone::{Head, Id, Member, Told};

use crate::endpoint::{Endpoint, Record};
use crate::network::HostNetwork;
use crate::swarm::SwarmEndpoint;

/// Digits of an id that are enough to tell containers apart: what zones call them has 128 bits.
const ID_DIGITS: usize = 32;

/// A network as a zone is called.
pub fn zone(network: &str) -> String {
    format!("{}{network}", Group::Host.prefix())
}

/// A network with who is on it.
pub fn told<'a>(
    network: &HostNetwork,
    on: impl Iterator<Item = (&'a Record, &'a Endpoint)>,
) -> Told {
    let head = Head {
        name: network.name.clone(),
        subnets: network.subnets.iter().map(|it| it.subnet).collect(),
        nameless: false,
    };
    let member = |(record, endpoint): (&Record, &Endpoint)| {
        let member = Member {
            names: endpoint.names.clone(),
            addresses: endpoint.addresses.iter().map(IpNet::addr).collect(),
            service: None,
            serving: true,
        };
        (id(&record.request.container), member)
    };
    Told { head, members: on.map(member).collect(), services: BTreeMap::new() }
}

/// Ids are hexadecimal and random.
fn id(container: &str) -> Id {
    let digits = container.get(..ID_DIGITS).unwrap_or(container);
    Id::from_str_radix(digits, 16).unwrap_or_default()
}

/// Where a container may ask.
pub fn place(endpoint: &Endpoint) -> Place {
    let texts = endpoint.wished.links.as_deref().unwrap_or_default();
    Place { zone: zone(&endpoint.network), links: texts.iter().map(|it| link(it)).collect() }
}

/// The same on a network of the swarm.
pub fn place_on_swarm(endpoint: &SwarmEndpoint) -> Option<Place> {
    Some(Place { zone: overlay::zone(endpoint.network()?), links: Default::default() })
}

/// `CONTAINER:ALIAS`, or a name that is both.
fn link(text: &str) -> (String, String) {
    match text.split_once(':') {
        Some((name, alias)) => (alias.to_owned(), name.to_owned()),
        None => (text.to_owned(), text.to_owned()),
    }
}
