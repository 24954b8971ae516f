//! Services: published ports and virtual addresses belong to one service, what a service names
//! exists, and the specs that its tasks were made from are kept.

use std::net::IpAddr;
use std::sync::Arc;

use skep_types::service::{PortConfig, Protocol, PublishMode};
use skep_types::{NetworkId, Revision, Service, ServiceId, ServiceSpec, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::{AddressOwner, KeptSpec, Named, State};

/// Checks, and gives the delta with the object as it is to be stored: its spec version is written
/// here.
pub fn check(state: &State, mut delta: Delta<Service>) -> Result<Delta<Service>, Reason> {
    if let Some(after) = &delta.after {
        names_exist(state, after)?;
        let stored = versioned(delta.before.as_deref(), after);
        claims_are_free(state, &stored)?;
        if stored != **after {
            delta.after = Some(Arc::new(stored));
        }
    }
    Ok(delta)
}

/// The spec version is `apply`'s to write: the revision at which the spec changed.
fn versioned(before: Option<&Service>, after: &Service) -> Service {
    let mut stored = after.clone();
    match before {
        Some(before) if before.spec == after.spec => {
            stored.spec_version = before.spec_version;
            stored.previous_spec.clone_from(&before.previous_spec);
            stored.previous_spec_version = before.previous_spec_version;
        }
        Some(before) => {
            stored.spec_version = stored.meta.revision;
            // Who takes the previous spec away goes back to it for good.
            let goes_back = before.previous_spec.is_some() && after.previous_spec.is_none();
            let previous = (!goes_back).then_some(before);
            stored.previous_spec = previous.map(|service| Arc::clone(&service.spec));
            stored.previous_spec_version = previous.map(|service| service.spec_version);
        }
        None => {
            stored.spec_version = stored.meta.revision;
            stored.previous_spec = None;
            stored.previous_spec_version = None;
        }
    }
    stored
}

fn names_exist(state: &State, service: &Service) -> Result<(), Reason> {
    let spec = &service.spec;
    validate::name(&spec.annotations.name)?;
    validate::labels(&spec.annotations.labels)?;
    validate::labels(&spec.task.container.labels)?;
    for network in &spec.task.networks {
        state.networks.expect(network.target)?;
    }
    for secret in &spec.task.container.secrets {
        state.secrets.expect(secret.secret_id)?;
    }
    for config in &spec.task.container.configs {
        state.configs.expect(config.config_id)?;
    }
    Ok(())
}

pub fn claims_are_free(state: &State, service: &Service) -> Result<(), Reason> {
    for port in claimed_ports(service) {
        let claim = (port.protocol, port.published_port);
        if let Some(id) = state.ports.get(&claim).filter(|owner| **owner != service.id) {
            let owner = state.services.get(*id);
            let owner = owner.map(|it| it.spec.annotations.name.clone()).unwrap_or_default();
            let (port, id) = (port.published_port, id.to_string());
            return Err(Reason::PortTaken { port, owner, id });
        }
    }
    for vip in virtual_ips(service) {
        address_is_free(state, vip, AddressOwner::Service(service.id))?;
    }
    Ok(())
}

/// Moves what a service claims and names from `before` to `after`.
pub fn index(state: &mut State, before: Option<&Service>, after: Option<&Service>) {
    if let Some(before) = before {
        for port in claimed_ports(before) {
            state.ports.remove(&(port.protocol, port.published_port));
        }
        for (protocol, port) in host_ports(&before.spec) {
            state.host_ports.remove(&(protocol, port, before.id));
        }
        for vip in virtual_ips(before) {
            state.addresses.remove(&vip);
        }
        for named in named(&before.spec) {
            state.named_by.remove(&(named, before.id));
        }
    }
    if let Some(after) = after {
        for port in claimed_ports(after) {
            state.ports.insert((port.protocol, port.published_port), after.id);
        }
        for (protocol, port) in host_ports(&after.spec) {
            state.host_ports.insert((protocol, port, after.id));
        }
        for vip in virtual_ips(after) {
            state.addresses.insert(vip, AddressOwner::Service(after.id));
        }
        for named in named(&after.spec) {
            state.named_by.insert((named, after.id));
        }
    }
}

fn virtual_ips(service: &Service) -> impl Iterator<Item = (NetworkId, IpAddr)> + '_ {
    let endpoint = service.endpoint.iter();
    endpoint.flat_map(|endpoint| &endpoint.virtual_ips).map(|vip| (vip.network, vip.address))
}

fn named(spec: &ServiceSpec) -> impl Iterator<Item = Named> + '_ {
    let container = &spec.task.container;
    let networks = spec.task.networks.iter().map(|at| Named::Network(at.target));
    let secrets = container.secrets.iter().map(|it| Named::Secret(it.secret_id));
    let configs = container.configs.iter().map(|it| Named::Config(it.config_id));
    networks.chain(secrets).chain(configs)
}

/// Ports that a service holds on every node: those in its spec with a number, and those allocated.
fn claimed_ports(service: &Service) -> Vec<&PortConfig> {
    let allocated = service.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    let mut ports: Vec<&PortConfig> = allocated
        .chain(&service.spec.endpoint.ports)
        .filter(|port| port.publish_mode == PublishMode::Ingress && port.published_port != 0)
        .collect();
    ports.sort_by_key(|port| (port.protocol, port.published_port));
    ports.dedup_by_key(|port| (port.protocol, port.published_port));
    ports
}

/// Ports that the tasks of a service have on the nodes they run on.
fn host_ports(spec: &ServiceSpec) -> impl Iterator<Item = (Protocol, u16)> + '_ {
    let in_host_mode = |port: &&PortConfig| port.publish_mode == PublishMode::Host;
    let ports = spec.endpoint.ports.iter().filter(in_host_mode);
    ports.map(|port| (port.protocol, port.published_port)).filter(|(_, number)| *number != 0)
}

/// Whether nobody else has an address.
pub fn address_is_free(
    state: &State,
    claim: (NetworkId, IpAddr),
    claimer: AddressOwner,
) -> Result<(), Reason> {
    if state.addresses.get(&claim).is_some_and(|holder| *holder != claimer) {
        return Err(Reason::AddressTaken { network: claim.0.to_string(), address: claim.1 });
    }
    Ok(())
}

/// Keeps the current spec, the previous one, and those that tasks were made from; drops the rest.
pub fn retain_specs(state: &mut State, id: ServiceId) {
    if let Some(standing) = state.services.get(id) {
        let previous = standing.previous_spec_version.zip(standing.previous_spec.as_ref());
        let current = (standing.spec_version, &standing.spec);
        for (version, spec) in std::iter::once(current).chain(previous) {
            match state.specs.get_mut(&(id, version)) {
                Some(kept) => kept.spec = Arc::clone(spec),
                None => {
                    let kept = KeptSpec { spec: Arc::clone(spec), tasks: 0 };
                    state.specs.insert((id, version), kept);
                }
            }
        }
    }
    let dropped: Vec<Revision> = state
        .specs
        .range((id, Revision(0))..=(id, Revision(u64::MAX)))
        .filter(|((_, version), kept)| kept.tasks == 0 && !is_standing(state, id, *version))
        .map(|((_, version), _)| *version)
        .collect();
    for version in dropped {
        state.specs.remove(&(id, version));
    }
}

/// Whether a service has this spec now or would go back to it.
pub fn is_standing(state: &State, service: ServiceId, version: Revision) -> bool {
    state.services.get(service).is_some_and(|service| {
        service.spec_version == version || service.previous_spec_version == Some(version)
    })
}
