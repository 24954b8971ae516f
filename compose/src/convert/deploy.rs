//! How a service is run: mode, resources, restarts, placement, updates, ports.

use std::time::Duration;

use skep_types::resources::{GenericResource, ResourceRequirements};
use skep_types::service::{
    EndpointMode, EndpointSpec, Placement, PortConfig, Protocol, PublishMode,
};
use skep_types::{
    FailureAction, Resources, RestartCondition, RestartPolicy, ServiceMode, UpdateConfig,
    UpdateOrder, defaults,
};

use super::container::duration;
use crate::error::Problem;
use crate::node::Node;
use crate::units;

/// A count in the one form; those are never below zero.
fn count(node: &Node, key: &str) -> Option<u64> {
    node.get(key).and_then(Node::as_int).and_then(|count| u64::try_from(count).ok())
}

fn time(node: &Node, key: &str) -> Result<Option<Duration>, Problem> {
    node.get(key).map(duration).transpose()
}

fn field<'a>(node: &'a Node, key: &str) -> &'a Node {
    node.get(key).unwrap_or(node)
}

pub(super) fn mode(deploy: &Node) -> Result<ServiceMode, Problem> {
    let replicas = count(deploy, "replicas");
    let at = field(deploy, "replicas").at;
    let many = |mode| match replicas {
        None => Ok(mode),
        Some(_) => {
            Err(at.problem("replicas can only be used with replicated or replicated-job mode"))
        }
    };
    match deploy.text_of("mode") {
        "" | "replicated" => Ok(ServiceMode::Replicated { replicas: replicas.unwrap_or(1) }),
        "global" => many(ServiceMode::Global),
        "global-job" => many(ServiceMode::GlobalJob),
        "replicated-job" => {
            let replicas = replicas.unwrap_or(1);
            Ok(ServiceMode::ReplicatedJob { max_concurrent: replicas, total_completions: replicas })
        }
        other => Err(field(deploy, "mode").at.problem(format!("unknown mode: {other}"))),
    }
}

pub(super) fn resources(deploy: &Node) -> Result<ResourceRequirements, Problem> {
    let part = |name| deploy.get("resources").and_then(|resources| resources.get(name));
    Ok(ResourceRequirements {
        limits: part("limits").map(amounts).transpose()?.unwrap_or_default(),
        reservations: part("reservations").map(amounts).transpose()?.unwrap_or_default(),
    })
}

fn amounts(node: &Node) -> Result<Resources, Problem> {
    let nano_cpus = match node.get("cpus") {
        None => 0,
        Some(cpus) => units::nano_cpus(cpus.as_str().unwrap_or_default())
            .map_err(|message| cpus.at.problem(message))?,
    };
    // Bytes in the one form are digits, as Docker prints them.
    let memory_bytes = match node.get("memory") {
        None => 0,
        Some(memory) => units::size(memory.as_str().unwrap_or_default())
            .map_err(|message| memory.at.problem(message))?,
    };
    let pids = node.get("pids").and_then(Node::as_int).unwrap_or(0);
    let mut generic = Vec::new();
    for resource in node.get("generic_resources").map(Node::items).unwrap_or_default() {
        let Some(spec) = resource.get("discrete_resource_spec") else { continue };
        let kind = spec.text_of("kind").to_owned();
        let value = spec.get("value").and_then(Node::as_int).unwrap_or(0);
        let value = i64::try_from(value).ok().filter(|value| *value >= 0);
        match value {
            Some(value) if !kind.is_empty() => {
                generic.push(GenericResource::Discrete { kind, value });
            }
            _ => {
                return Err(spec
                    .at
                    .problem("invalid generic resource: kind and value are required"));
            }
        }
    }
    let pids = i64::try_from(pids).unwrap_or(i64::MAX);
    Ok(Resources { nano_cpus, memory_bytes, pids, generic })
}

pub(super) fn placement(deploy: &Node) -> Placement {
    let Some(node) = deploy.get("placement") else { return Placement::default() };
    let preferences = node.get("preferences").map(Node::items).unwrap_or_default();
    Placement {
        constraints: node.texts_of("constraints"),
        spread: preferences.iter().map(|node| node.text_of("spread").to_owned()).collect(),
        max_replicas_per_node: count(node, "max_replicas_per_node").unwrap_or(0),
        platforms: Vec::new(),
    }
}

/// `deploy.restart_policy`, or else `restart` of the service.
pub(super) fn restart(service: &Node, deploy: &Node) -> Result<RestartPolicy, Problem> {
    let default = RestartPolicy::default();
    let Some(policy) = deploy.get("restart_policy") else {
        return match service.get("restart") {
            None => Ok(default),
            Some(restart) => short_restart(restart),
        };
    };
    let condition = match policy.text_of("condition") {
        "" | "any" => RestartCondition::Any,
        "on-failure" => RestartCondition::OnFailure,
        "none" => RestartCondition::None,
        other => {
            let at = field(policy, "condition").at;
            return Err(at.problem(format!("invalid RestartCondition: {other:?}")));
        }
    };
    Ok(RestartPolicy {
        condition,
        delay: time(policy, "delay")?.unwrap_or(default.delay),
        max_attempts: count(policy, "max_attempts").unwrap_or(0),
        window: time(policy, "window")?.unwrap_or(default.window),
    })
}

/// `no`, `always`, `unless-stopped`, `on-failure[:ATTEMPTS]`; `no` is the swarm's default, as in
/// Docker's stacks.
fn short_restart(node: &Node) -> Result<RestartPolicy, Problem> {
    let text = node.as_str().unwrap_or_default();
    let (name, attempts) = text.split_once(':').unwrap_or((text, "0"));
    let attempts: i64 = attempts.parse().map_err(|_| {
        node.at.problem("invalid restart policy format: maximum retry count must be an integer")
    })?;
    let max_attempts = u64::try_from(attempts).map_err(|_| {
        node.at.problem("invalid restart policy: maximum retry count cannot be negative")
    })?;
    let condition = match name {
        "" | "no" => return Ok(RestartPolicy::default()),
        "always" | "unless-stopped" => RestartCondition::Any,
        "on-failure" => RestartCondition::OnFailure,
        other => {
            return Err(node.at.problem(format!(
                "invalid restart policy: unknown policy '{other}' (must be one of 'no', 'always', \
                 'on-failure', or 'unless-stopped')"
            )));
        }
    };
    Ok(RestartPolicy { condition, max_attempts, ..RestartPolicy::default() })
}

pub(super) fn update(config: Option<&Node>) -> Result<UpdateConfig, Problem> {
    let Some(node) = config else { return Ok(UpdateConfig::default()) };
    let failure_action = match node.text_of("failure_action") {
        "" | "pause" => FailureAction::Pause,
        "continue" => FailureAction::Continue,
        "rollback" => FailureAction::Rollback,
        other => {
            let at = field(node, "failure_action").at;
            return Err(at.problem(format!("unrecognized update failure action {other}")));
        }
    };
    let ratio = node.get("max_failure_ratio").and_then(Node::as_number).unwrap_or(0.0);
    if !(0.0..=1.0).contains(&ratio) {
        let at = field(node, "max_failure_ratio").at;
        return Err(at.problem("max_failure_ratio cannot be less than 0 or bigger than 1"));
    }
    Ok(UpdateConfig {
        parallelism: count(node, "parallelism").unwrap_or(defaults::UPDATE_PARALLELISM),
        delay: time(node, "delay")?.unwrap_or_default(),
        failure_action,
        monitor: time(node, "monitor")?.unwrap_or(defaults::UPDATE_MONITOR),
        max_failure_ratio: ratio as f32,
        order: match node.text_of("order") {
            "start-first" => UpdateOrder::StartFirst,
            _ => UpdateOrder::StopFirst,
        },
    })
}

pub(super) fn endpoint(service: &Node, deploy: &Node) -> Result<EndpointSpec, Problem> {
    let mode = match deploy.text_of("endpoint_mode").to_ascii_lowercase().as_str() {
        "" | "vip" => EndpointMode::Vip,
        "dnsrr" => EndpointMode::DnsRoundRobin,
        other => {
            let at = field(deploy, "endpoint_mode").at;
            return Err(at.problem(format!("unknown endpoint mode: {other}")));
        }
    };
    let ports = service.get("ports").map(Node::items).unwrap_or_default();
    let mut ports = ports.iter().map(port).collect::<Result<Vec<_>, _>>()?;
    ports.sort_by_key(|port| (port.published_port, port.target_port, port.protocol));
    Ok(EndpointSpec { mode, ports })
}

fn port(node: &Node) -> Result<PortConfig, Problem> {
    // Numbers in the one form fit; a target of zero was left out.
    let number = |key| count(node, key).and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    let target_port = number("target");
    if target_port == 0 {
        return Err(node.at.problem("invalid port: a target is required"));
    }
    Ok(PortConfig {
        name: node.text_of("name").to_owned(),
        protocol: match node.text_of("protocol") {
            "" => Protocol::default(),
            word => Protocol::of_word(word).ok_or_else(|| {
                let at = field(node, "protocol").at;
                at.problem(format!("invalid protocol value '{word}'"))
            })?,
        },
        target_port,
        published_port: number("published"),
        publish_mode: match node.text_of("mode") {
            "" | "ingress" => PublishMode::Ingress,
            "host" => PublishMode::Host,
            other => {
                return Err(field(node, "mode").at.problem(format!(
                    "invalid publish mode value ({other}): must be either 'ingress' or 'host'"
                )));
            }
        },
    })
}
