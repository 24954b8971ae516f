//! What a name stands for: for whoever answers questions, and on the networks of one task. Pure.
//!
//! **Invariant:** nothing outside the given networks is ever told.

use std::net::IpAddr;
use std::sync::Arc;

use skep_overlay_plan::{EndpointState, NetworkState, ServiceEntry};
use skep_types::ServiceId;

/// The prefix that asks for a service's tasks rather than its virtual address, as in Docker.
const TASKS: &str = "tasks.";

/// What one asker may know. Networks of other kinds than the swarm's answer through this too.
pub trait Names: Send + Sync {
    /// The addresses of a name, without its last dot and in any case; None if it is not known here
    /// and somebody else is to be asked.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>>;
    /// The name of an address.
    fn name_of(&self, address: IpAddr) -> Option<String>;
    /// Whether an address is of these networks, so that nobody else is to be asked about it.
    fn is_inside(&self, address: IpAddr) -> bool;
}

/// The swarm's networks of one task as what it may know.
pub struct OnOverlays<'a>(pub &'a View);

impl Names for OnOverlays<'_> {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        addresses(self.0, name)
    }

    fn name_of(&self, address: IpAddr) -> Option<String> {
        name_of(self.0, address)
    }

    fn is_inside(&self, address: IpAddr) -> bool {
        is_inside(self.0, address)
    }
}

/// The networks that a task may ask about, in the order of its interfaces.
pub type View = [Arc<NetworkState>];

/// The addresses of a name; None if no network knows it. A service without a task that serves is
/// known and has none.
pub fn addresses(view: &View, name: &str) -> Option<Vec<IpAddr>> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    named(view).find_map(|network| on_network(network, &name)).or_else(|| {
        // `web.front`: a name on the network that is named last.
        let (name, network_name) = name.rsplit_once('.')?;
        let mut qualified = named(view).filter(|it| it.name.eq_ignore_ascii_case(network_name));
        qualified.find_map(|network| on_network(network, name))
    })
}

/// The name of an address, with its network's; None if it is nobody's on these networks.
pub fn name_of(view: &View, address: IpAddr) -> Option<String> {
    named(view).find_map(|network| {
        let task = network
            .endpoints
            .values()
            .find(|endpoint| endpoint.addresses.contains(&address))
            .and_then(|endpoint| endpoint.names.first());
        let service = || {
            let of_vip = network.services.values().find(|it| it.vips.contains(&address));
            of_vip.map(|service| &service.name)
        };
        task.or_else(service).map(|name| format!("{name}.{}", network.name))
    })
}

/// Whether an address is one of these networks', so that nobody else is to be asked about it.
pub fn is_inside(view: &View, address: IpAddr) -> bool {
    view.iter().any(|it| it.gateways.iter().any(|subnet| subnet.contains(&address)))
}

/// The ingress network has no names, as in Docker.
fn named(view: &View) -> impl Iterator<Item = &NetworkState> {
    view.iter().map(AsRef::as_ref).filter(|network| !network.ingress)
}

fn on_network(network: &NetworkState, name: &str) -> Option<Vec<IpAddr>> {
    let mut known = false;
    let mut addresses = Vec::new();
    let tasks_of = name.strip_prefix(TASKS);
    for (id, service) in &network.services {
        if is_called(service, name) {
            known = true;
            match service.vips.as_slice() {
                [] => addresses.extend(serving(network, *id)),
                vips => addresses.extend(vips),
            }
        } else if tasks_of.is_some_and(|tasks_of| is_called(service, tasks_of)) {
            known = true;
            addresses.extend(serving(network, *id));
        }
    }
    for endpoint in network.endpoints.values() {
        if endpoint.names.iter().any(|it| it.eq_ignore_ascii_case(name)) {
            known = true;
            addresses.extend(&endpoint.addresses);
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    known.then_some(addresses)
}

fn is_called(service: &ServiceEntry, name: &str) -> bool {
    service.name.eq_ignore_ascii_case(name)
        || service.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
}

fn serving(network: &NetworkState, service: ServiceId) -> Vec<IpAddr> {
    network.addresses(service, EndpointState::Serving)
}
