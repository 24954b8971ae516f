//! Where to seek what is free: derived from the state, and kept up by its events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use skep_state::{Event, State};
use skep_types::{Network, NetworkId, Service, Task};

use super::addresses;
use super::book::Book;

/// The books of all ranges.
#[derive(Debug, Default)]
pub struct Books {
    addresses: BTreeMap<NetworkId, Book>,
    pub(super) vnis: Book,
    /// Of the subnets that can be cut from the swarm's pools, by place.
    pub(super) subnets: Book,
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

    /// The lowest address of a network that nothing has.
    pub fn address(&mut self, state: &State, network: &Network) -> Option<IpNet> {
        let book = self.addresses.entry(network.id);
        addresses::lowest(book.or_insert_with(|| addresses::book(state, network)), state, network)
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
            Event::Cluster(_) => self.subnets = Book::default(),
            Event::Node(_) | Event::Secret(_) | Event::Config(_) => {}
        }
    }

    fn release_address(&mut self, network: NetworkId, address: IpAddr) {
        if let (Some(book), IpAddr::V4(address)) = (self.addresses.get_mut(&network), address) {
            book.release(u32::from(address));
        }
    }
}
