//! The objects that users make, drawn at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_state::{Action, Change};
use skep_types::container::{ConfigReference, ContainerSpec, FileTarget, SecretReference};
use skep_types::node::NodeDescription;
use skep_types::resources::{GenericResource, ResourceRequirements};
use skep_types::service::{
    EndpointMode, EndpointSpec, JobStatus, NetworkAttachmentConfig, Placement, PortConfig,
    PublishMode,
};
use skep_types::*;

use crate::managers::clock_error;
use crate::rng::Rng;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
pub const GIB: i64 = 1 << 30;
pub const ZONES: [&str; 3] = ["east", "west", "north"];

pub fn named(name: impl Into<String>) -> Annotations {
    Annotations { name: name.into(), ..Annotations::default() }
}

pub fn cluster() -> Action {
    let cluster = Cluster {
        id: ClusterId::new(1),
        meta: Meta::default(),
        spec: ClusterSpec::default(),
        root_ca: cluster::RootCa {
            certificate: Vec::new(),
            key: Payload::default(),
            join_tokens: cluster::JoinTokens::default(),
        },
        feature_level: 0,
        data_path_port: defaults::DATA_PATH_PORT,
        address_pools: Vec::new(),
        subnet_length: defaults::SUBNET_LENGTH,
    };
    Change::Create(Arc::new(cluster)).into()
}

/// A node with its agent, which looks for the managers soon.
pub fn node(world: &mut World, is_manager: bool) -> Action {
    let id = NodeId::new(world.rng.bits());
    world.names += 1;
    let mut annotations = Annotations::default();
    let zone = ZONES[world.rng.below(3) as usize].to_owned();
    annotations.labels.insert("zone".to_owned(), zone);
    let role = if is_manager { NodeRole::Manager } else { NodeRole::Worker };
    let declares = generic(&mut world.rng);
    let resources = Resources {
        nano_cpus: 1_000_000_000 * (2 + world.rng.below(3) as i64),
        memory_bytes: GIB * (4 + world.rng.below(5) as i64),
        generic: declares.clone(),
        ..Resources::default()
    };
    let architecture = if world.rng.once_in(4) { "aarch64" } else { "x86_64" };
    let description = NodeDescription {
        hostname: format!("host{}", world.names),
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        plugins: vec![("Network".to_owned(), defaults::NETWORK_DRIVER.to_owned())],
        resources,
        ..NodeDescription::default()
    };
    let node = Node {
        description: Some(description),
        ..Node::new(id, NodeSpec { annotations, role, ..NodeSpec::default() })
    };
    let clock = clock_error(&mut world.rng, world.faults.clocks);
    world.agents.insert(id, crate::agents::Agent::new(clock, declares));
    let wait = Duration::from_millis(100 + world.rng.below(3_000));
    world.connect(id, wait);
    Change::Create(Arc::new(node)).into()
}

pub fn network(world: &mut World, ingress: bool) -> Action {
    world.names += 1;
    let name = if ingress { "ingress".to_owned() } else { format!("net{}", world.names) };
    let network = Network::new(
        NetworkId::new(world.rng.bits()),
        NetworkSpec { annotations: named(name), ingress, ..NetworkSpec::default() },
    );
    Change::Create(Arc::new(network)).into()
}

/// What an operator declares on a node: names, a number, or nothing.
pub fn generic(rng: &mut Rng) -> Vec<GenericResource> {
    let gpu = "gpu".to_owned();
    let mut units: Vec<GenericResource> = match rng.below(4) {
        0 => (0..=rng.below(3))
            .map(|number| GenericResource::Named { kind: gpu.clone(), value: format!("G{number}") })
            .collect(),
        1 => vec![GenericResource::Discrete { kind: gpu, value: 1 + rng.below(3) as i64 }],
        _ => Vec::new(),
    };
    if rng.once_in(2) {
        let value = 1 + rng.below(3) as i64;
        units.push(GenericResource::Discrete { kind: "ssd".to_owned(), value });
    }
    units
}

pub fn service(id: ServiceId, spec: ServiceSpec, now: Timestamp) -> Service {
    let first = JobStatus { iteration: 0, last_execution: now };
    let job = spec.mode.is_job().then_some(first);
    Service { job, ..Service::new(id, Arc::new(spec)) }
}

pub fn mode(rng: &mut Rng, nodes: u64) -> ServiceMode {
    match rng.below(10) {
        0 | 1 => ServiceMode::Global,
        2 => ServiceMode::GlobalJob,
        3 | 4 => completions(rng),
        _ => ServiceMode::Replicated { replicas: replicas(rng, nodes) },
    }
}

pub fn completions(rng: &mut Rng) -> ServiceMode {
    ServiceMode::ReplicatedJob { max_concurrent: 1 + rng.below(4), total_completions: rng.below(9) }
}

/// More in larger swarms, and none now and then.
pub fn replicas(rng: &mut Rng, nodes: u64) -> u64 {
    let end = if rng.once_in(3) { nodes + 4 } else { 6 };
    rng.below(end)
}

/// Jobs have none.
pub fn update_config(rng: &mut Rng, mode: ServiceMode) -> UpdateConfig {
    if mode.is_job() {
        return UpdateConfig::default();
    }
    UpdateConfig {
        parallelism: [0, 1, 1, 2, 5][rng.below(5) as usize],
        delay: SECOND * rng.below(3) as u32,
        failure_action: match rng.below(3) {
            0 => FailureAction::Pause,
            1 => FailureAction::Continue,
            _ => FailureAction::Rollback,
        },
        monitor: SECOND * rng.below(6) as u32,
        max_failure_ratio: [0.0, 0.3][rng.below(2) as usize],
        order: [UpdateOrder::StopFirst, UpdateOrder::StartFirst][rng.below(2) as usize],
    }
}

pub fn restart(rng: &mut Rng) -> RestartPolicy {
    RestartPolicy {
        condition: match rng.below(6) {
            0 => RestartCondition::None,
            1 => RestartCondition::OnFailure,
            _ => RestartCondition::Any,
        },
        delay: SECOND * [0, 1, 5][rng.below(3) as usize],
        max_attempts: [0, 0, 3][rng.below(3) as usize],
        window: SECOND * [0, 30][rng.below(2) as usize],
    }
}

pub fn placement(rng: &mut Rng, mode: ServiceMode) -> Placement {
    let mut placement = Placement::default();
    if rng.once_in(3) {
        let zone = ZONES[rng.below(3) as usize];
        placement.constraints.push(match rng.below(5) {
            0 => format!("node.labels.zone == {zone}"),
            1 => format!("node.labels.zone != {zone}"),
            2 => "node.role == worker".to_owned(),
            3 => "node.platform.arch == x86_64".to_owned(),
            _ => format!("node.hostname != host{}", 1 + rng.below(9)),
        });
    }
    if rng.once_in(4) {
        placement.spread.push("node.labels.zone".to_owned());
    }
    if rng.once_in(6) && !matches!(mode, ServiceMode::Global | ServiceMode::GlobalJob) {
        placement.max_replicas_per_node = 1 + rng.below(2);
    }
    if rng.once_in(8) {
        placement.platforms.push(("linux".to_owned(), "arm64".to_owned()));
    }
    placement
}

pub fn resources(rng: &mut Rng) -> ResourceRequirements {
    let mut reservations = match rng.below(3) {
        0 => Resources {
            nano_cpus: 250_000_000 * rng.below(6) as i64,
            memory_bytes: GIB / 2 * rng.below(5) as i64,
            ..Resources::default()
        },
        _ => Resources::default(),
    };
    if rng.once_in(5) {
        let kind = ["gpu", "ssd"][rng.below(2) as usize].to_owned();
        let value = 1 + rng.below(2) as i64;
        reservations.generic.push(GenericResource::Discrete { kind, value });
    }
    ResourceRequirements { reservations, ..ResourceRequirements::default() }
}

pub fn endpoint(rng: &mut Rng) -> EndpointSpec {
    let mut endpoint = EndpointSpec::default();
    if rng.once_in(5) {
        endpoint.mode = EndpointMode::DnsRoundRobin;
    } else if rng.once_in(2) {
        let published_port = if rng.once_in(2) { 0 } else { 8000 + rng.below(6) as u16 };
        endpoint.ports.push(PortConfig {
            target_port: 80,
            published_port,
            ..PortConfig::default()
        });
    }
    if rng.once_in(6) {
        endpoint.ports.push(PortConfig {
            target_port: 90,
            published_port: [9000, 9001, 9002, 0][rng.below(4) as usize],
            publish_mode: PublishMode::Host,
            ..PortConfig::default()
        });
    }
    endpoint
}

pub fn container(rng: &mut Rng, view: &skep_state::State) -> ContainerSpec {
    let file = |name: &str| FileTarget {
        name: name.to_owned(),
        uid: "0".to_owned(),
        gid: "0".to_owned(),
        mode: 0o444,
    };
    let mut spec =
        ContainerSpec { image: format!("image:{}", rng.below(4)), ..ContainerSpec::default() };
    let secret = view.secrets().iter().nth(rng.below(4) as usize);
    spec.secrets.extend(secret.map(|secret| SecretReference {
        secret_id: secret.id,
        secret_name: secret.spec.annotations.name.clone(),
        target: file("secret"),
    }));
    let config = view.configs().iter().nth(rng.below(4) as usize);
    spec.configs.extend(config.map(|config| ConfigReference {
        config_id: config.id,
        config_name: config.spec.annotations.name.clone(),
        target: file("config"),
    }));
    spec
}

pub fn networks(rng: &mut Rng, view: &skep_state::State) -> Vec<NetworkAttachmentConfig> {
    let others = view.networks().iter().filter(|network| !network.spec.ingress);
    let chosen = others.filter(|_| rng.once_in(2));
    chosen.map(|it| NetworkAttachmentConfig { target: it.id, aliases: Vec::new() }).collect()
}

/// Labels that the swarm heeds: what a service waits for, which may never be made, how long a task
/// that left the balancers goes on, and how long one whose node is down keeps its place.
pub fn labels(rng: &mut Rng, names: u64) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if rng.once_in(4) {
        let conditions = ["service_started", "service_healthy", "service_completed_successfully"];
        let entry = |rng: &mut Rng| {
            let number = 1 + rng.below(names + 2);
            format!("service{number}:{}", conditions[rng.below(3) as usize])
        };
        let count = 1 + rng.below(2);
        let entries: Vec<String> = (0..count).map(|_| entry(rng)).collect();
        labels.insert(dependency::LABEL.to_owned(), entries.join(","));
    }
    if rng.once_in(5) {
        labels.insert(drain::LABEL.to_owned(), format!("{}s", 1 + rng.below(4)));
    }
    if rng.once_in(5) {
        let grace = [0, 3, 30][rng.below(3) as usize];
        labels.insert(down_grace::LABEL.to_owned(), format!("{grace}s"));
    }
    labels
}
