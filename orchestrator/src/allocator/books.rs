//! Where to seek what is free: derived from the state, and kept up by its events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use skep_state::{Event, State};
use skep_types::{Family, Network, NetworkId, Service, Task};

use super::addresses;
use super::book::Book;
use super::family;

/// The books of all ranges.
#[derive(Debug, Default)]
pub struct Books {
    /// Of each subnet of a network.
    addresses: BTreeMap<NetworkId, BTreeMap<IpNet, Book>>,
    pub(super) vnis: Book,
    /// Of the subnets that can be cut from the swarm's pools, by place.
    pub(super) subnets: Book,
    /// Of those of IPv6.
    pub(super) subnets_v6: Book,
    ingress: BTreeSet<NetworkId>,
}

impl Books {
    pub fn of(state: &State) -> Self {
        let ingress = state.networks().iter().filter(|network| network.spec.ingress);
        Self { ingress: ingress.map(|network| network.id).collect(), ..Self::default() }
    }

    /// The network that published ports arrive by.
    pub fn ingress(&self) -> Option<NetworkId> {
        self.ingress.first().copied()
    }

    /// The lowest address of a network that nothing has, of each family that the network has: IPv4
    /// first. None where one of them has no free address.
    pub fn addresses(&mut self, state: &State, network: &Network) -> Option<Vec<IpNet>> {
        let mut found = Vec::new();
        for family in family::given(network) {
            found.push(self.address(state, network, family)?);
        }
        Some(found)
    }

    /// The lowest address of one family that nothing has: of the first of its subnets with one.
    pub fn address(&mut self, state: &State, network: &Network, family: Family) -> Option<IpNet> {
        let mut subnets =
            network.ipam.iter().filter(|config| Family::of(config.subnet.addr()) == family);
        subnets.find_map(|config| {
            let book = self.addresses.entry(network.id).or_default().entry(config.subnet);
            let book = book.or_insert_with(|| addresses::book(state, network.id, config));
            addresses::lowest(book, state, network, config)
        })
    }

    /// A task that was to have these addresses does not stand.
    pub fn release(&mut self, task: &Task) {
        for at in &task.networks {
            for address in &at.addresses {
                self.release_address(at.network, address.addr());
            }
        }
    }

    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Task(delta) => {
                let Some(before) = &delta.before else { return };
                let holds = |task: &Task| !task.status.state.is_terminal();
                let held = delta.after.as_ref().filter(|task| holds(task));
                if held.is_none_or(|after| after.networks != before.networks) {
                    self.release(before);
                }
            }
            Event::Service(delta) => {
                let vips = |service: &Service| {
                    service.endpoint.as_ref().map(|it| it.virtual_ips.clone()).unwrap_or_default()
                };
                let held = delta.after.as_deref().map(vips).unwrap_or_default();
                for vip in delta.before.as_deref().map(vips).unwrap_or_default() {
                    if !held.contains(&vip) {
                        self.release_address(vip.network, vip.address);
                    }
                }
            }
            Event::Network(delta) => {
                let Some(network) = delta.after.as_ref().or(delta.before.as_ref()) else { return };
                let ipam =
                    |it: &Option<std::sync::Arc<Network>>| it.as_ref().map(|it| it.ipam.clone());
                if ipam(&delta.before) != ipam(&delta.after) {
                    self.addresses.remove(&network.id);
                    if delta.before.is_some() {
                        self.subnets = Book::default();
                        self.subnets_v6 = Book::default();
                    }
                }
                if let Some(vni) = delta.before.as_ref().and_then(|before| before.vni)
                    && delta.after.as_ref().and_then(|after| after.vni) != Some(vni)
                {
                    self.vnis.release(vni.0);
                }
                if delta.after.as_ref().is_some_and(|after| after.spec.ingress) {
                    self.ingress.insert(network.id);
                } else {
                    self.ingress.remove(&network.id);
                }
            }
            Event::Cluster(_) => {
                self.subnets = Book::default();
                self.subnets_v6 = Book::default();
            }
            Event::Attachment(delta) => {
                if let (Some(gone), None) = (&delta.before, &delta.after) {
                    for address in &gone.addresses {
                        self.release_address(gone.network, address.addr());
                    }
                }
            }
            Event::Node(_) | Event::Secret(_) | Event::Config(_) => {}
        }
    }

    fn release_address(&mut self, network: NetworkId, address: IpAddr) {
        for (subnet, book) in self.addresses.get_mut(&network).into_iter().flatten() {
            if let Some(number) = addresses::offset(*subnet, address) {
                book.release(number);
            }
        }
    }
}
