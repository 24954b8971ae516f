//! How large the swarm is, and how it is made.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skep_bench_swarm::Swarm;
use skep_state::{Action, Change};
use skep_types::network::IpamConfig;
use skep_types::service::{Endpoint, NetworkAttachmentConfig, VirtualIp};
use skep_types::task::{ContainerStatus, Slot};
use skep_types::*;

use crate::Arguments;

/// Replicas of a service that stands still: with their service one transaction. Each such service
/// has a network of its own.
const STILL: usize = 1000;
/// Nodes that a service's tasks are spread over, as where an operator parts a swarm by racks: each
/// node is told of the networks of its own services, and of no others.
const RACK: usize = 100;
/// Services that are updated in turn, and replicas of each. Their tasks are made anew on any nodes.
pub const MOVING: usize = 100;
pub const REPLICAS: usize = 200;
/// What the names of services that are updated begin with.
const MOVES: &str = "moving";

pub struct Shape {
    pub nodes: usize,
    /// Nodes that come over TLS.
    pub tls: usize,
    pub tasks: usize,
    /// How long lists are measured at rest, and while tasks change.
    pub quiet: Duration,
    pub seconds: Duration,
}

impl Shape {
    pub fn of(arguments: &Arguments) -> Result<Self> {
        let shape = Self {
            nodes: arguments.nodes.unwrap_or(10_000),
            tls: arguments.tls,
            tasks: arguments.tasks.unwrap_or(1_000_000),
            quiet: Duration::from_secs(20),
            seconds: Duration::from_secs(arguments.seconds),
        };
        let moving = MOVING * REPLICAS;
        ensure!(shape.tasks > moving, "there are more than {moving} tasks");
        ensure!(shape.nodes > 0, "there is a node");
        Ok(shape)
    }

    /// Writes networks, services and their tasks, which run already, into the state.
    pub async fn furnish(&self, swarm: &Swarm, nodes: &[NodeId]) -> Result<()> {
        let leader = swarm.leader().await?;
        let still = (self.tasks - MOVING * REPLICAS).div_ceil(STILL);
        let mut left = self.tasks - MOVING * REPLICAS;
        for number in 0..still {
            let replicas = left.min(STILL);
            left -= replicas;
            let rack = (number * RACK) % nodes.len();
            let rack = &nodes[rack..nodes.len().min(rack + RACK)];
            furnish(leader, service(number, &format!("service{number}"), replicas, rack)?).await?;
        }
        for number in 0..MOVING {
            let name = format!("{MOVES}{number}");
            let at = (number * REPLICAS) % nodes.len();
            let nodes = &nodes[at..nodes.len().min(at + REPLICAS)];
            furnish(leader, service(still + number, &name, REPLICAS, nodes)?).await?;
        }
        Ok(())
    }
}

async fn furnish(leader: &skep_bench_swarm::Host, actions: Vec<Action>) -> Result<()> {
    let taken = leader.manager.furnish(actions).await;
    taken.map(drop).map_err(|error| anyhow::anyhow!("{}", error.message))
}

fn network_id(number: usize) -> NetworkId {
    NetworkId::new(1 + number as u128)
}

fn network(number: usize) -> Result<Action> {
    let network = Network {
        id: network_id(number),
        meta: Meta::default(),
        spec: NetworkSpec {
            annotations: Annotations { name: format!("net{number}"), ..Annotations::default() },
            driver: "overlay".to_owned(),
            ..NetworkSpec::default()
        },
        vni: Some(Vni(u32::try_from(8192 + number).context("too many networks")?)),
        ipam: vec![IpamConfig {
            subnet: format!("{}.{}.0.0/16", 11 + number / 256, number % 256).parse()?,
            range: None,
            gateway: Some(format!("{}.{}.0.1", 11 + number / 256, number % 256).parse()?),
        }],
    };
    Ok(Change::Create(Arc::new(network)).into())
}

/// Whether a service is one of those that are updated in turn.
pub fn moves(service: &Service) -> bool {
    service.spec.annotations.name.starts_with(MOVES)
}

/// A network, a service on it, and the service's tasks on `nodes`.
fn service(number: usize, name: &str, replicas: usize, nodes: &[NodeId]) -> Result<Vec<Action>> {
    let id = ServiceId::new(rand::random());
    // Of a network's addresses the first are the network's and the service's own.
    let address = |host: usize| -> Result<std::net::IpAddr> {
        let [.., high, low] = u32::try_from(host)?.to_be_bytes();
        Ok(format!("{}.{}.{high}.{low}", 11 + number / 256, number % 256).parse()?)
    };
    let target = network_id(number);
    let mut task = TaskSpec::default();
    task.container.image = "registry.example.com/team/application:1.2.3".to_owned();
    task.container.env = vec!["MODE=production".to_owned(), "LOG=info".to_owned()];
    task.networks = vec![NetworkAttachmentConfig { target, aliases: Vec::new() }];
    let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
    let vip = VirtualIp { network: target, address: address(2)?, prefix_length: 16 };
    let update = UpdateConfig { parallelism: 0, ..UpdateConfig::default() };
    let mode = ServiceMode::Replicated { replicas: replicas as u64 };
    let spec = ServiceSpec { task, update, ..ServiceSpec::new(annotations, mode) };
    let made = Service {
        endpoint: Some(Endpoint { virtual_ips: vec![vip], ..Endpoint::default() }),
        ..Service::new(id, Arc::new(spec))
    };
    let mut actions = vec![network(number)?, Change::Create(Arc::new(made)).into()];
    for slot in 0..replicas {
        let id_of_task = TaskId::new(rand::random());
        let attachment = NetworkAttachment {
            network: target,
            addresses: vec![ipnet::IpNet::new(address(256 + slot)?, 16)?],
            aliases: Vec::new(),
        };
        let task = Task {
            id: id_of_task,
            meta: Meta::default(),
            service_id: id,
            slot: Slot::Replica(1 + slot as u64),
            spec_version: Revision(1),
            node_id: Some(nodes[slot % nodes.len()]),
            status: running(id_of_task),
            desired_state: DesiredState::Running,
            networks: vec![attachment],
            job_iteration: None,
            generic: Vec::new(),
        };
        actions.push(Change::Create(Arc::new(task)).into());
    }
    Ok(actions)
}

/// As an agent reports it.
fn running(task: TaskId) -> skep_types::TaskStatus {
    let container_id = format!("{:0>64}", task.to_string());
    skep_types::TaskStatus {
        state: TaskState::Running,
        timestamp: Timestamp(1_700_000_000_000_000_000),
        message: "started".to_owned(),
        container: Some(ContainerStatus { container_id, pid: 4242, exit_code: 0 }),
        running_since: Some(Timestamp(1_700_000_000_000_000_000)),
        ..skep_types::TaskStatus::default()
    }
}
