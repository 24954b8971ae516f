//! Published ports and virtual addresses.

use std::collections::BTreeSet;

use skep_types::service::{Endpoint, EndpointMode, PortConfig, Protocol, PublishMode, VirtualIp};
use skep_types::{Family, NetworkId, Service, ServiceId, defaults};

use super::family;
use super::{Books, is_allocated};
use crate::plan::Plan;
use crate::reconcilers::publishes;

/// Gives services what they lack, and tells for which there was nothing left.
pub fn allocate(
    plan: &mut Plan<'_>,
    books: &mut Books,
    ids: BTreeSet<ServiceId>,
) -> Vec<ServiceId> {
    let mut starved = Vec::new();
    for id in ids {
        let Some(service) = plan.view().services().get(id).cloned() else { continue };
        let Some(endpoint) = endpoint(plan, books, &service) else {
            starved.push(id);
            continue;
        };
        if service.endpoint.as_ref() != Some(&endpoint) {
            let mut changed = Service::clone(&service);
            changed.endpoint = Some(endpoint);
            if !plan.update(changed) {
                starved.push(id);
            }
        }
    }
    starved
}

/// What the service shall have: what it has, as far as the spec still wants it, and what it lacks.
/// None while a network is not ready or a pool is empty.
fn endpoint(plan: &Plan<'_>, books: &mut Books, service: &Service) -> Option<Endpoint> {
    let spec = &service.spec.endpoint;
    let held = service.endpoint.clone().unwrap_or_default();
    let ports = ports(plan, &spec.ports, &held.ports)?;
    let mut virtual_ips = Vec::new();
    for network in networks(books, service) {
        let network = plan.view().networks().get(network).filter(|it| is_allocated(it))?;
        for family in family::given(network) {
            let mut of_network = held.virtual_ips.iter().filter(|vip| vip.network == network.id);
            if let Some(vip) = of_network.find(|vip| Family::of(vip.address) == family) {
                virtual_ips.push(*vip);
                continue;
            }
            let address = books.address(plan.view(), network, family)?;
            virtual_ips.push(VirtualIp {
                network: network.id,
                address: address.addr(),
                prefix_length: address.prefix_len(),
            });
        }
    }
    Some(Endpoint { mode: spec.mode, ports, virtual_ips })
}

/// Networks on which the service has a virtual address: its own in VIP mode, and the ingress
/// network where it publishes ports there.
fn networks(books: &Books, service: &Service) -> BTreeSet<NetworkId> {
    let spec = &service.spec;
    let mut networks = BTreeSet::new();
    if spec.endpoint.mode == EndpointMode::Vip {
        networks.extend(spec.task.networks.iter().map(|at| at.target));
        if publishes(service) {
            networks.extend(books.ingress());
        }
    }
    networks
}

fn ports(plan: &Plan<'_>, wanted: &[PortConfig], held: &[PortConfig]) -> Option<Vec<PortConfig>> {
    let mut chosen: BTreeSet<(Protocol, u16)> = BTreeSet::new();
    wanted
        .iter()
        .map(|port| {
            if port.publish_mode == PublishMode::Host || port.published_port != 0 {
                return Some(port.clone());
            }
            let kept = held.iter().find(|held| {
                (held.protocol, held.target_port, held.publish_mode)
                    == (port.protocol, port.target_port, port.publish_mode)
                    && !chosen.contains(&(held.protocol, held.published_port))
            });
            let number = match kept {
                Some(held) => held.published_port,
                None => defaults::DYNAMIC_PORTS.clone().find(|number| {
                    plan.view().port_owner(port.protocol, *number).is_none()
                        && plan.view().host_port_users(port.protocol, *number).next().is_none()
                        && !chosen.contains(&(port.protocol, *number))
                })?,
            };
            chosen.insert((port.protocol, number));
            Some(PortConfig { published_port: number, ..port.clone() })
        })
        .collect()
}
