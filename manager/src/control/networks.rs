//! Networks.

use std::sync::Arc;

use skep_state::{Change, State};
use skep_types::{Network, NetworkId, NetworkSpec, defaults, validate};

use super::{ControlError, Plan, plan};

pub fn create(state: &State, spec: NetworkSpec, id: NetworkId) -> Result<Plan, ControlError> {
    validate::name(&spec.annotations.name)?;
    validate::labels(&spec.annotations.labels)?;
    if !["", defaults::NETWORK_DRIVER].contains(&spec.driver.as_str()) {
        let driver = &spec.driver;
        return Err(ControlError::invalid(format!(
            "network driver {driver:?} cannot span the swarm: use {}",
            defaults::NETWORK_DRIVER
        )));
    }
    if spec.ingress
        && let Some(other) = state.networks().iter().find(|network| network.spec.ingress)
    {
        return Err(ControlError::precondition(format!(
            "ingress network ({}) is already present",
            other.spec.annotations.name
        )));
    }
    if spec.ingress && spec.attachable {
        return Err(ControlError::invalid("the ingress network cannot be attachable"));
    }
    for config in &spec.ipam {
        let within = config.gateway.is_none_or(|gateway| config.subnet.contains(&gateway));
        if !within {
            return Err(ControlError::invalid(format!(
                "no matching subnet for gateway {}",
                config.gateway.map(|gateway| gateway.to_string()).unwrap_or_default()
            )));
        }
        if config.range.is_some_and(|range| !config.subnet.contains(&range)) {
            return Err(ControlError::invalid(format!(
                "no matching subnet for range {}",
                config.range.map(|range| range.to_string()).unwrap_or_default()
            )));
        }
    }
    let network = Network::new(id, spec);
    Ok(plan(id, Change::Create(Arc::new(network))))
}

pub fn remove(state: &State, id: NetworkId) -> Result<Plan, ControlError> {
    let network = state.networks().get(id).ok_or_else(|| ControlError::not_found("network", id))?;
    let publishes = |service: &skep_types::Service| {
        let mut ports = service.spec.endpoint.ports.iter();
        ports.any(|port| port.publish_mode == skep_types::service::PublishMode::Ingress)
    };
    if network.spec.ingress && state.services().iter().any(|service| publishes(service)) {
        return Err(ControlError::precondition(
            "ingress network cannot be removed because service(s) publish ports on it",
        ));
    }
    Ok(plan(id, Change::<Network>::Remove(id, None)))
}
