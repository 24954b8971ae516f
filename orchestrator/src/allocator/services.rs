//! Published ports and virtual addresses.

use std::collections::BTreeSet;

use skep_types::service::{Endpoint, EndpointMode, PortConfig, Protocol, PublishMode, VirtualIp};
use skep_types::{NetworkId, Service, defaults};

use super::addresses::Pool;
use super::{ingress, is_allocated};
use crate::plan::Plan;

pub fn allocate(plan: &mut Plan<'_>, pool: &mut Pool) {
    let services: Vec<_> = plan.view().services().iter().cloned().collect();
    for service in services {
        let Some(endpoint) = endpoint(plan, pool, &service) else { continue };
        if service.endpoint.as_ref() != Some(&endpoint) {
            let mut changed = Service::clone(&service);
            changed.endpoint = Some(endpoint);
            plan.update(changed);
        }
    }
}

/// What the service shall have: what it has, as far as the spec still wants it, and what it lacks.
/// None while a network is not ready or a pool is empty.
fn endpoint(plan: &Plan<'_>, pool: &mut Pool, service: &Service) -> Option<Endpoint> {
    let spec = &service.spec.endpoint;
    let held = service.endpoint.clone().unwrap_or_default();
    let ports = ports(plan, &spec.ports, &held.ports)?;
    let mut virtual_ips = Vec::new();
    for network in networks(plan, service) {
        if let Some(vip) = held.virtual_ips.iter().find(|vip| vip.network == network) {
            virtual_ips.push(*vip);
            continue;
        }
        let network = plan.view().networks().get(network).filter(|it| is_allocated(it))?;
        let address = pool.next(plan.view(), network)?;
        virtual_ips.push(VirtualIp {
            network: network.id,
            address: address.addr(),
            prefix_length: address.prefix_len(),
        });
    }
    Some(Endpoint { mode: spec.mode, ports, virtual_ips })
}

/// Networks on which the service has a virtual address: its own in VIP mode, and the ingress
/// network where it publishes ports there.
fn networks(plan: &Plan<'_>, service: &Service) -> BTreeSet<NetworkId> {
    let spec = &service.spec;
    let mut networks = BTreeSet::new();
    if spec.endpoint.mode == EndpointMode::Vip {
        networks.extend(spec.task.networks.iter().map(|at| at.target));
        if spec.endpoint.ports.iter().any(|port| port.publish_mode == PublishMode::Ingress) {
            networks.extend(ingress(plan));
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
                        && !chosen.contains(&(port.protocol, *number))
                })?,
            };
            chosen.insert((port.protocol, number));
            Some(PortConfig { published_port: number, ..port.clone() })
        })
        .collect()
}
