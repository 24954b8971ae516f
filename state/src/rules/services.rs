//! Services: published ports and virtual addresses belong to one service, what a service names
//! exists, and the specs that its tasks were made from are kept.

use std::sync::Arc;

use skep_types::service::{PortConfig, PublishMode};
use skep_types::{Revision, Service, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::{AddressOwner, State};

/// Checks and indexes; gives the delta with the stored object, whose spec version is written here.
pub fn check(state: &mut State, mut delta: Delta<Service>) -> Result<Delta<Service>, Reason> {
    if let Some(after) = &delta.after {
        names_exist(state, after)?;
        let stored = versioned(delta.before.as_deref(), after);
        if stored != **after {
            delta.after = Some(state.services.overwrite(stored));
        }
    }
    index(state, delta.before.as_deref(), delta.after.as_deref())?;
    if let Some(service) = delta.after.as_deref().or(delta.before.as_deref()) {
        retain_specs(state, service);
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
            stored.previous_spec = Some(Arc::clone(&before.spec));
            stored.previous_spec_version = Some(before.spec_version);
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

/// Moves a service's claims on ports and addresses from `before` to `after`.
pub fn index(
    state: &mut State,
    before: Option<&Service>,
    after: Option<&Service>,
) -> Result<(), Reason> {
    if let Some(before) = before {
        for port in claimed_ports(before) {
            state.ports.remove(&(port.protocol, port.published_port));
        }
        for vip in before.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips) {
            state.addresses.remove(&(vip.network, vip.address));
        }
    }
    let Some(after) = after else { return Ok(()) };
    for port in claimed_ports(after) {
        let claim = (port.protocol, port.published_port);
        match state.ports.get(&claim) {
            Some(owner) => {
                let owner = state.services.get(*owner).map_or_else(
                    || owner.to_string(),
                    |service| service.spec.annotations.name.clone(),
                );
                return Err(Reason::PortTaken { port: port.published_port, owner });
            }
            None => state.ports.insert(claim, after.id),
        };
    }
    for vip in after.endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips) {
        claim_address(state, (vip.network, vip.address), AddressOwner::Service(after.id))?;
    }
    Ok(())
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

/// Notes whose an address is, unless it is somebody else's.
pub fn claim_address(
    state: &mut State,
    claim: (skep_types::NetworkId, std::net::IpAddr),
    owner: AddressOwner,
) -> Result<(), Reason> {
    if state.addresses.get(&claim).is_some_and(|holder| *holder != owner) {
        return Err(Reason::AddressTaken { network: claim.0.to_string(), address: claim.1 });
    }
    state.addresses.insert(claim, owner);
    Ok(())
}

/// Keeps the current spec, the previous one, and those that tasks were made from; drops the rest.
pub fn retain_specs(state: &mut State, service: &Service) {
    let id = service.id;
    let standing = state.services.get(id).cloned();
    if let Some(standing) = &standing {
        state.specs.insert((id, standing.spec_version), Arc::clone(&standing.spec));
        if let (Some(spec), Some(version)) =
            (&standing.previous_spec, standing.previous_spec_version)
        {
            state.specs.insert((id, version), Arc::clone(spec));
        }
    }
    let kept = |version: Revision| {
        standing.as_ref().is_some_and(|service| {
            service.spec_version == version || service.previous_spec_version == Some(version)
        }) || state.tasks_of_service(id).any(|task| task.spec_version == version)
    };
    let dropped: Vec<Revision> = state
        .specs
        .range((id, Revision(0))..=(id, Revision(u64::MAX)))
        .map(|((_, version), _)| *version)
        .filter(|version| !kept(*version))
        .collect();
    for version in dropped {
        state.specs.remove(&(id, version));
    }
}
