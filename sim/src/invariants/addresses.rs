//! No address, VIP, gateway, subnet or VXLAN id is held twice. The book is the invariant's own, kept
//! by what objects say.

use std::collections::BTreeMap;
use std::net::IpAddr;

use skep_state::{Delta, Event};
use skep_types::{Network, NetworkId, Service, Task};

use super::{Invariant, Seen, Verdict};

type Claim = (NetworkId, IpAddr);

#[derive(Default)]
pub struct Addresses {
    holders: BTreeMap<Claim, String>,
}

impl Addresses {
    fn change(&mut self, holder: &str, before: Vec<Claim>, after: Vec<Claim>) -> Verdict {
        for claim in before.iter().filter(|claim| !after.contains(claim)) {
            self.holders.remove(claim);
        }
        for claim in after {
            match self.holders.get(&claim) {
                Some(other) if other != holder => {
                    return Err(format!("{holder} has {claim:?}, which {other} holds"));
                }
                Some(_) => {}
                None => drop(self.holders.insert(claim, holder.to_owned())),
            }
        }
        Ok(())
    }
}

impl Invariant for Addresses {
    fn name(&self) -> &'static str {
        "addresses"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            match event {
                Event::Task(Delta { before, after }) => {
                    let Some(task) = after.as_ref().or(before.as_ref()) else { continue };
                    let of = |task: &Option<_>| task.as_deref().map(of_task).unwrap_or_default();
                    self.change(&format!("task {}", task.id), of(before), of(after))?;
                }
                Event::Service(Delta { before, after }) => {
                    let Some(service) = after.as_ref().or(before.as_ref()) else { continue };
                    let of = |it: &Option<_>| it.as_deref().map(of_service).unwrap_or_default();
                    self.change(&format!("service {}", service.id), of(before), of(after))?;
                }
                Event::Network(Delta { before, after }) => {
                    let Some(network) = after.as_ref().or(before.as_ref()) else { continue };
                    let of = |it: &Option<_>| it.as_deref().map(of_network).unwrap_or_default();
                    self.change(&format!("network {}", network.id), of(before), of(after))?;
                    if let Some(network) = after {
                        own_numbers(seen, network)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Until its container has ended, a task holds its addresses.
fn of_task(task: &Task) -> Vec<Claim> {
    if task.status.state.is_terminal() {
        return Vec::new();
    }
    let held = task.networks.iter();
    held.flat_map(|at| at.addresses.iter().map(|address| (at.network, address.addr()))).collect()
}

fn of_service(service: &Service) -> Vec<Claim> {
    let endpoint = service.endpoint.iter();
    endpoint.flat_map(|it| &it.virtual_ips).map(|vip| (vip.network, vip.address)).collect()
}

fn of_network(network: &Network) -> Vec<Claim> {
    network.ipam.iter().filter_map(|it| Some((network.id, it.gateway?))).collect()
}

fn own_numbers(seen: &Seen<'_>, network: &Network) -> Verdict {
    for other in seen.after.networks().iter().filter(|other| other.id != network.id) {
        let overlaps = network.ipam.iter().any(|mine| {
            let taken = |it: &skep_types::network::IpamConfig| {
                it.subnet.contains(&mine.subnet) || mine.subnet.contains(&it.subnet)
            };
            other.ipam.iter().any(taken)
        });
        if overlaps || (network.vni.is_some() && network.vni == other.vni) {
            return Err(format!("networks {network:?} and {other:?} share a number"));
        }
    }
    Ok(())
}
