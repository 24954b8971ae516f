//! A service's task template: its container, resources, placement, networks and log driver.

use skep_types::resources::{GenericResource, ResourceRequirements};
use skep_types::service::{LogDriver, NetworkAttachmentConfig, Placement};
use skep_types::{NetworkId, Resources, TaskSpec};

use super::{Answer, ResolveNetwork, container, policy, unsupported};
use crate::error::ApiError;
use crate::json;

/// Reads a task template; networks are found by `resolve`.
///
/// Errors: whatever this swarm cannot hold or do, by name; a word that is none of Docker's; a network that `resolve` does not know.
pub fn task_spec_from_api(spec: &json::TaskSpec, resolve: ResolveNetwork<'_>) -> Answer<TaskSpec> {
    match spec.runtime.as_str() {
        "" | "container" => {}
        "plugin" => return Err(unsupported("runtime plugin")),
        _ => return Err(ApiError::invalid("unsupported runtime")),
    }
    let mismatched = || ApiError::invalid("mismatched Runtime and *Spec fields");
    if spec.plugin_spec.is_some() || spec.network_attachment_spec.is_some() {
        return Err(mismatched());
    }
    let container = spec.container_spec.as_ref().ok_or_else(mismatched)?;
    Ok(TaskSpec {
        container: container::from_api(container)?,
        resources: resources_from_api(spec.resources.as_ref())?,
        restart: policy::restart_from_api(spec.restart_policy.as_ref())?,
        placement: placement_from_api(spec.placement.as_ref())?,
        networks: networks_from_api(&spec.networks, resolve)?,
        log_driver: spec
            .log_driver
            .clone()
            .map(|driver| LogDriver { name: driver.name, options: driver.options }),
        force_update: spec.force_update,
    })
}

pub(super) fn networks_from_api(
    networks: &[json::NetworkAttachmentConfig],
    resolve: ResolveNetwork<'_>,
) -> Answer<Vec<NetworkAttachmentConfig>> {
    let mut found: Vec<NetworkAttachmentConfig> = Vec::with_capacity(networks.len());
    for network in networks {
        if !network.driver_opts.is_empty() {
            return Err(unsupported(format!("network {}: DriverOpts", network.target)));
        }
        let target: NetworkId = resolve(&network.target)?;
        // By id and by name it may be the same one.
        if found.iter().any(|other| other.target == target) {
            return Err(ApiError::invalid(format!(
                "network {} is attached more than once",
                network.target
            )));
        }
        found.push(NetworkAttachmentConfig { target, aliases: network.aliases.clone() });
    }
    Ok(found)
}

fn resources_from_api(
    resources: Option<&json::ResourceRequirements>,
) -> Answer<ResourceRequirements> {
    let Some(resources) = resources else { return Ok(ResourceRequirements::default()) };
    if resources.swap_bytes.is_some() {
        return Err(unsupported("memory-swap"));
    }
    if resources.memory_swappiness.is_some() {
        return Err(unsupported("memory-swappiness"));
    }
    let limits = resources.limits.clone().unwrap_or_default();
    let reservations = resources.reservations.clone().unwrap_or_default();
    for (amount, what) in [
        (limits.nano_cpus, "limit-cpu"),
        (limits.memory_bytes, "limit-memory"),
        (limits.pids, "limit-pids"),
        (reservations.nano_cpus, "reserve-cpu"),
        (reservations.memory_bytes, "reserve-memory"),
    ] {
        if amount < 0 {
            return Err(ApiError::invalid(format!("{what} cannot be negative: {amount}")));
        }
    }
    Ok(ResourceRequirements {
        limits: Resources {
            nano_cpus: limits.nano_cpus,
            memory_bytes: limits.memory_bytes,
            pids: limits.pids,
            generic: Vec::new(),
        },
        reservations: Resources {
            nano_cpus: reservations.nano_cpus,
            memory_bytes: reservations.memory_bytes,
            pids: 0,
            generic: reservations.generic.iter().map(generic_from_api).collect::<Answer<_>>()?,
        },
    })
}

fn placement_from_api(placement: Option<&json::Placement>) -> Answer<Placement> {
    let Some(placement) = placement else { return Ok(Placement::default()) };
    let spread = placement.preferences.iter().map(|preference| match &preference.spread {
        Some(spread) => Ok(spread.descriptor.clone()),
        None => Err(ApiError::invalid("invalid placement preference: only spread is known")),
    });
    Ok(Placement {
        constraints: placement.constraints.clone(),
        spread: spread.collect::<Answer<_>>()?,
        max_replicas_per_node: placement.max_replicas,
        platforms: placement
            .platforms
            .iter()
            .map(|platform| (platform.os.clone(), platform.architecture.clone()))
            .collect(),
    })
}

/// Writes a task template, every default spelled out.
pub fn task_spec_to_api(spec: &TaskSpec) -> json::TaskSpec {
    let (limits, reservations) = (&spec.resources.limits, &spec.resources.reservations);
    let placement = &spec.placement;
    json::TaskSpec {
        container_spec: Some(container::to_api(&spec.container)),
        resources: Some(json::ResourceRequirements {
            limits: Some(json::Limit {
                nano_cpus: limits.nano_cpus,
                memory_bytes: limits.memory_bytes,
                pids: limits.pids,
            }),
            reservations: Some(resources_to_api(reservations)),
            ..Default::default()
        }),
        restart_policy: Some(policy::restart_to_api(&spec.restart)),
        placement: Some(json::Placement {
            constraints: placement.constraints.clone(),
            preferences: placement
                .spread
                .iter()
                .map(|descriptor| json::PlacementPreference {
                    spread: Some(json::SpreadOver { descriptor: descriptor.clone() }),
                })
                .collect(),
            max_replicas: placement.max_replicas_per_node,
            platforms: placement
                .platforms
                .iter()
                .map(|(os, architecture)| json::PlacementPlatform {
                    architecture: architecture.clone(),
                    os: os.clone(),
                })
                .collect(),
        }),
        networks: spec
            .networks
            .iter()
            .map(|network| json::NetworkAttachmentConfig {
                target: network.target.to_string(),
                aliases: network.aliases.clone(),
                ..Default::default()
            })
            .collect(),
        log_driver: spec
            .log_driver
            .clone()
            .map(|driver| json::Driver { name: driver.name, options: driver.options }),
        force_update: spec.force_update,
        runtime: "container".to_owned(),
        ..Default::default()
    }
}

pub(super) fn resources_to_api(resources: &Resources) -> json::Resources {
    json::Resources {
        nano_cpus: resources.nano_cpus,
        memory_bytes: resources.memory_bytes,
        generic: generic_to_api(&resources.generic),
    }
}

fn generic_from_api(resource: &json::GenericResource) -> Answer<GenericResource> {
    match (&resource.named, &resource.discrete) {
        (Some(named), None) => {
            Ok(GenericResource::Named { kind: named.kind.clone(), value: named.value.clone() })
        }
        (None, Some(count)) => {
            Ok(GenericResource::Discrete { kind: count.kind.clone(), value: count.value })
        }
        _ => Err(ApiError::invalid("a generic resource must be either named or discrete")),
    }
}

/// Writes generic resources.
pub fn generic_to_api(generic: &[GenericResource]) -> Vec<json::GenericResource> {
    let one = |generic: &GenericResource| match generic {
        GenericResource::Named { kind, value } => json::GenericResource {
            named: Some(json::NamedGenericResource { kind: kind.clone(), value: value.clone() }),
            ..Default::default()
        },
        GenericResource::Discrete { kind, value } => json::GenericResource {
            discrete: Some(json::DiscreteGenericResource { kind: kind.clone(), value: *value }),
            ..Default::default()
        },
    };
    generic.iter().map(one).collect()
}
