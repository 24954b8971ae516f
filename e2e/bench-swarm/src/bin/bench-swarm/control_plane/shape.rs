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

/// Replicas of a service that stands still: with their service one transaction.
const STILL: usize = 1000;
/// Services that share a network.
const ON_NETWORK: usize = 10;
/// Services that are updated in turn, and replicas of each.
pub const MOVING: usize = 100;
pub const REPLICAS: usize = 200;

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
        let mut next = 0;
        let mut place = || {
            next += 1;
            nodes[next % nodes.len()]
        };
        for number in 0..still.div_ceil(ON_NETWORK) {
            swarm.furnish([network(number)?]).await?;
        }
        for number in 0..still {
            let replicas = left.min(STILL);
            left -= replicas;
            let actions = service(number, replicas, Some(number / ON_NETWORK), &mut place)?;
            furnish(leader, actions).await?;
        }
        for number in 0..MOVING {
            furnish(leader, service(still + number, REPLICAS, None, &mut place)?).await?;
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
    service.spec.task.networks.is_empty()
}

fn service(
    number: usize,
    replicas: usize,
    network: Option<usize>,
    place: &mut impl FnMut() -> NodeId,
) -> Result<Vec<Action>> {
    let id = ServiceId::new(rand::random());
    // Of a network's addresses the first are the network's and its services' own.
    let address = |host: usize| -> Result<std::net::IpAddr> {
        let network = network.unwrap_or_default();
        let [.., high, low] = u32::try_from(host)?.to_be_bytes();
        Ok(format!("{}.{}.{high}.{low}", 11 + network / 256, network % 256).parse()?)
    };
    let at = network
        .map(|number| NetworkAttachmentConfig { target: network_id(number), aliases: Vec::new() });
    let mut task = TaskSpec::default();
    task.container.image = "registry.example.com/team/application:1.2.3".to_owned();
    task.container.env = vec!["MODE=production".to_owned(), "LOG=info".to_owned()];
    task.networks = at.into_iter().collect();
    let annotations = Annotations { name: format!("service{number}"), ..Annotations::default() };
    let own = number % ON_NETWORK;
    let endpoint = match network {
        Some(number) => Some(Endpoint {
            virtual_ips: vec![VirtualIp {
                network: network_id(number),
                address: address(2 + own)?,
                prefix_length: 16,
            }],
            ..Endpoint::default()
        }),
        None => None,
    };
    let update = UpdateConfig { parallelism: 0, ..UpdateConfig::default() };
    let made = Service {
        endpoint,
        ..Service::new(
            id,
            Arc::new(ServiceSpec {
                task,
                update,
                ..ServiceSpec::new(
                    annotations,
                    ServiceMode::Replicated { replicas: replicas as u64 },
                )
            }),
        )
    };
    let mut actions: Vec<Action> = vec![Change::Create(Arc::new(made)).into()];
    for slot in 0..replicas {
        let id_of_task = TaskId::new(rand::random());
        let attachment = match network {
            Some(number) => Some(NetworkAttachment {
                network: network_id(number),
                addresses: vec![ipnet::IpNet::new(address(256 + own * STILL + slot)?, 16)?],
                aliases: Vec::new(),
            }),
            None => None,
        };
        let task = Task {
            id: id_of_task,
            meta: Meta::default(),
            service_id: id,
            slot: Slot::Replica(1 + slot as u64),
            spec_version: Revision(1),
            node_id: Some(place()),
            status: running(id_of_task),
            desired_state: DesiredState::Running,
            networks: attachment.into_iter().collect(),
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
