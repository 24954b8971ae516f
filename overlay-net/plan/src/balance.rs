//! What is balanced over tasks: the virtual addresses of a network and the published ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use skep_types::service::Protocol;
use skep_types::session::Session;
use skep_types::{Family, ServiceId};

use crate::network::{EndpointState, NetworkState, ServiceEntry};

/// Where connections are made to before they are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Vip(IpAddr),
    /// A port that this node answers, on its addresses of both families.
    Port(Protocol, u16),
}

/// A target with the tasks behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balanced {
    pub target: Target,
    /// The tasks' own port, where the target is a port.
    pub target_port: Option<u16>,
    /// New connections go to one of these; of its own family, where the target is a port.
    pub serving: Vec<IpAddr>,
    /// Connections that stand may go on.
    pub draining: Vec<IpAddr>,
    pub session: Session,
}

impl Balanced {
    /// Where new connections of a family go.
    pub fn serving_of(&self, family: Family) -> Vec<IpAddr> {
        of_family(family, &self.serving)
    }
}

/// The virtual addresses of a network's services.
pub fn vips(network: &NetworkState) -> Vec<Balanced> {
    let mut behind: BTreeMap<ServiceId, [Vec<IpAddr>; 2]> = BTreeMap::new();
    for endpoint in network.endpoints.values() {
        let Some(service) = endpoint.service else { continue };
        let index = match endpoint.state {
            EndpointState::Starting => continue,
            EndpointState::Serving => 0,
            EndpointState::Draining => 1,
        };
        behind.entry(service).or_default()[index].extend(&endpoint.addresses);
    }
    let nobody = Default::default();
    let of_service = |(id, service): (&ServiceId, &ServiceEntry)| -> Vec<Balanced> {
        let [serving, draining] = behind.get(id).unwrap_or(&nobody);
        let of_vip = |vip: &IpAddr| Balanced {
            target: Target::Vip(*vip),
            target_port: None,
            serving: of_family(Family::of(*vip), serving),
            draining: of_family(Family::of(*vip), draining),
            session: service.session,
        };
        service.vips.iter().map(of_vip).collect()
    };
    let mut vips: Vec<Balanced> = network.services.iter().flat_map(of_service).collect();
    vips.sort_by_key(|vip| vip.target);
    vips
}

/// The published ports of the services on the ingress network.
pub fn published(ingress: &NetworkState) -> Vec<Balanced> {
    let mut ports: Vec<Balanced> = Vec::new();
    for (id, service) in &ingress.services {
        for port in service.ports.iter().filter(|port| port.published != 0) {
            ports.push(Balanced {
                target: Target::Port(port.protocol, port.published),
                target_port: Some(port.target),
                serving: ingress.addresses(*id, EndpointState::Serving),
                draining: ingress.addresses(*id, EndpointState::Draining),
                session: service.session,
            });
        }
    }
    ports.sort_by_key(|port| port.target);
    ports
}

/// Whether a flow that was right by `before` may be wrong now: somebody behind a target that is there
/// still has gone, or is not to have new flows.
pub fn leaves_flows_behind(before: &[Balanced], now: &[Balanced]) -> bool {
    let now: BTreeMap<Target, &Balanced> = now.iter().map(|it| (it.target, it)).collect();
    before.iter().any(|had| {
        let Some(has) = now.get(&had.target) else { return false };
        if (&had.serving, &had.draining) == (&has.serving, &has.draining) {
            return false;
        }
        let serving: BTreeSet<&IpAddr> = has.serving.iter().collect();
        let gone = |it: &IpAddr| !serving.contains(it) && !has.draining.contains(it);
        had.serving.iter().any(|it| !serving.contains(it)) || had.draining.iter().any(gone)
    })
}

fn of_family(family: Family, addresses: &[IpAddr]) -> Vec<IpAddr> {
    addresses.iter().copied().filter(|address| Family::of(*address) == family).collect()
}
