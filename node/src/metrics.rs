//! The daemon's figures for Prometheus: `GET /metrics` on an address of its own.
//!
//! What is counted as it happens stands in registries; what can be read from how things stand is
//! read when it is asked for, so that it costs nothing otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use skep_agent::containers::Containers;
use skep_docker_api::{Server, ServerError};
use skep_engine::Status;
use skep_manager::metrics::{ManagerMetrics, Standing};
use skep_state::pools::AddressPool;
use skep_types::{NodeState, TaskState};

use crate::swarm::Swarm;

/// The text format of OpenMetrics, which Prometheus asks for.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Ports whose connections are told, those of the lowest protocols and numbers: a swarm that publishes
/// more would have Prometheus keep a series of each on every node.
const PORTS_MAX: usize = 1000;

/// Services whose virtual addresses are told of, for the same reason.
const VIPS_MAX: usize = 1000;

/// Pools that are told of, the swarm's before the networks'.
const POOLS_MAX: usize = 1000;

type Labels = [(&'static str, String); 1];

/// All that the daemon tells of itself.
pub struct Metrics {
    counted: Registry,
    swarm: Arc<Swarm>,
    engine: Arc<Containers>,
}

impl Metrics {
    pub fn new(manager: &ManagerMetrics, swarm: Arc<Swarm>, engine: Arc<Containers>) -> Self {
        let mut counted = Registry::with_prefix("skep");
        manager.register(&mut counted);
        Self { counted, swarm, engine }
    }

    /// # Errors
    /// None that a text in memory could give.
    pub async fn render(&self) -> Result<String, fmt::Error> {
        let mut now = Registry::with_prefix("skep");
        let build: Family<Labels, Gauge> = Family::default();
        build.get_or_create(&[("version", crate::VERSION.to_owned())]).set(1);
        now.register("build", "The daemon's version", build);
        self.containers(&mut now).await;
        self.connections(&mut now).await;
        self.vip_connections(&mut now).await;
        let manager = self.swarm.manager().await;
        gauge(&mut now, "manager", "Whether this node is a manager", u64::from(manager.is_some()));
        if let Some(manager) = manager {
            swarm(&mut now, &manager.standing());
        }
        let mut text = String::new();
        encode_registry(&mut text, &now)?;
        encode_registry(&mut text, &self.counted)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    /// New connections to published ports, as the kernel's rules count them on this node.
    async fn connections(&self, registry: &mut Registry) {
        let connections = self.engine.connections().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "connections to published ports are not told");
            Vec::new()
        });
        let family: Family<[(&'static str, String); 3], Counter> = Family::default();
        for port in connections.into_iter().take(PORTS_MAX) {
            let labels = [
                ("protocol", port.protocol.word().to_owned()),
                ("port", port.number.to_string()),
                ("service", port.service),
            ];
            family.get_or_create(&labels).inc_by(port.connections);
        }
        let help = "Connections that began at this node to each port it answers";
        registry.register("published_connections", help, family);
    }

    /// New connections of this node's tasks to virtual addresses, as the kernel's rules count them.
    async fn vip_connections(&self, registry: &mut Registry) {
        let mut connections = self.engine.vip_connections().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "connections to virtual addresses are not told");
            Vec::new()
        });
        connections.sort_by(|a, b| (&a.network, &a.service).cmp(&(&b.network, &b.service)));
        let family: Family<[(&'static str, String); 2], Counter> = Family::default();
        for vip in connections.into_iter().take(VIPS_MAX) {
            let labels = [("network", vip.network), ("service", vip.service)];
            family.get_or_create(&labels).inc_by(vip.connections);
        }
        let help =
            "Connections that this node's tasks began to each service by its virtual address";
        registry.register("vip_connections", help, family);
    }

    async fn containers(&self, registry: &mut Registry) {
        let states = [Status::Created, Status::Running, Status::Paused, Status::Exited];
        let mut counts: BTreeMap<&str, u64> = states.map(|it| (word(it), 0)).into();
        // One that goes meanwhile is none any more.
        for container in self.engine.runtime().list().await.unwrap_or_default() {
            if let Ok(state) = container.state().await {
                *counts.entry(word(state.status)).or_default() += 1;
            }
        }
        gauges(registry, "engine_containers", "Containers on this node by state", "state", counts);
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Exited => "exited",
    }
}

/// What a manager knows of the swarm and of its own group.
fn swarm(registry: &mut Registry, standing: &Standing) {
    gauge(registry, "raft_term", "The managers' term", standing.term);
    let help = "Index of the newest entry of the managers' log here";
    gauge(registry, "raft_last_log_index", help, standing.last_log_index);
    let help = "Index of the newest entry that was applied here";
    gauge(registry, "raft_applied_index", help, standing.applied_index);
    gauge(registry, "raft_leader", "Whether this manager leads", u64::from(standing.leads));
    let help = "Whether this manager knows of a leader";
    gauge(registry, "raft_has_leader", help, u64::from(standing.has_leader));
    gauge(registry, "raft_members", "Managers in the group", standing.members as u64);
    let help = "Nodes in session with this manager; only the leader has any";
    gauge(registry, "dispatcher_sessions_open", help, standing.sessions as u64);

    let view = &standing.view;
    let mut tasks: BTreeMap<&str, u64> = TaskState::ALL.map(|it| (it.name(), 0)).into();
    for task in view.tasks().iter() {
        *tasks.entry(task.status.state.name()).or_default() += 1;
    }
    gauges(registry, "tasks", "Tasks of the swarm by state", "state", tasks);
    let mut nodes: BTreeMap<&str, u64> =
        ["unknown", "ready", "down", "disconnected"].map(|it| (it, 0)).into();
    for node in view.nodes().iter() {
        let state = match node.status.state {
            NodeState::Unknown => "unknown",
            NodeState::Ready => "ready",
            NodeState::Down => "down",
            NodeState::Disconnected => "disconnected",
        };
        *nodes.entry(state).or_default() += 1;
    }
    gauges(registry, "nodes", "Nodes of the swarm by state", "state", nodes);
    let count = |len: usize| len as u64;
    gauge(registry, "services", "Services of the swarm", count(view.services().len()));
    gauge(registry, "networks", "Networks of the swarm", count(view.networks().len()));
    gauge(registry, "secrets", "Secrets of the swarm", count(view.secrets().len()));
    gauge(registry, "configs", "Configs of the swarm", count(view.configs().len()));
    pools(registry, view.address_pools());
}

/// How much of each pool of subnets and addresses is used.
fn pools(registry: &mut Registry, all: Vec<AddressPool>) {
    let (used, size): (Family<[_; 2], Gauge>, Family<[_; 2], Gauge>) = Default::default();
    for pool in all.into_iter().take(POOLS_MAX) {
        let labels =
            [("network", pool.network.unwrap_or_default()), ("subnet", pool.subnet.to_string())];
        let number = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        used.get_or_create(&labels).set(number(pool.used));
        size.get_or_create(&labels).set(number(pool.size));
    }
    let help = "Addresses of a network that have an owner; without a network: subnets in use";
    registry.register("pool_used", help, used);
    registry.register("pool_size", "Addresses or subnets that a pool has", size);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn gauges(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    counts: BTreeMap<&str, u64>,
) {
    let family: Family<Labels, Gauge> = Family::default();
    for (word, count) in counts {
        let gauge = family.get_or_create(&[(label, word.to_owned())]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register(name, help, family);
}

async fn answer(Shared(metrics): Shared<Arc<Metrics>>) -> Response {
    match metrics.render().await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Where the figures are served; whoever reaches the address may read them, as in Docker.
///
/// # Errors
/// The address cannot be listened on.
pub async fn bind(address: SocketAddr) -> Result<Server, ServerError> {
    Server::bind_tcp(address, None).await
}

pub fn router(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(answer)).with_state(Arc::new(metrics))
}
