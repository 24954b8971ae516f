//! Tasks as containers of this node's engine: image, root file system, volumes, files, process.
//!
//! A task's container is found by its id alone, so nothing is remembered between two runs of the
//! daemon: what was made before is found again.

mod build;
mod etc;
mod health;
mod host_ports;
mod network;
mod pull;
mod shown;
mod templates;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use sha2::{Digest as _, Sha256};
use skep_agent_plan::{HealthStatus, Observed};
use skep_containers::{Defaults, HealthReport, Shared, Volume, Volumes};
use skep_engine::logs::LogQuery;
use skep_engine::{Container, ContainerConfig, ExitStatus, Runtime, Status};
use skep_images::Store;
use skep_overlay_net::{Finding, NetworkUpdate, PortConnections, Standing, VipConnections};
use skep_proto::convert::NodeTask;
use skep_types::TaskId;
use skep_types::node::NodeDescription;
use skep_types::service::PortConfig;
use skep_types::task::ContainerStatus;
use tokio::sync::watch;

use health::HealthReports;
pub use host_ports::host_ports_of;
pub use network::Networks;
pub use pull::Registries;
pub use shown::endpoint_id;

use crate::attachments::Attachments;
use crate::executor::{ContainerChange, Executor, ExecutorError, TaskFiles, TaskLogs};

/// By which a container's task is known again.
const TASK: &str = "skep.task";
/// The image's name as the task's spec had it.
const IMAGE: &str = "skep.image";

/// Where the parts are.
pub struct Parts {
    pub runtime: Runtime,
    pub images: Store,
    pub volumes: Volumes,
    pub registries: Shared<Registries>,
    /// What a container is where its service says nothing.
    pub defaults: Shared<Defaults>,
    /// Files that stand in a container's /etc.
    pub etc_dir: PathBuf,
    pub networks: Networks,
    /// What the host says of itself.
    pub describe: Arc<dyn Fn() -> NodeDescription + Send + Sync>,
}

/// The engine as the agent uses it.
pub struct Containers {
    parts: Parts,
    /// One for each task that is or was looked at; bounded by the node's tasks.
    changes: Mutex<HashMap<TaskId, watch::Sender<u64>>>,
    health: Arc<HealthReports>,
}

fn refused(error: impl std::fmt::Display) -> ExecutorError {
    ExecutorError::Refused(error.to_string())
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ExecutorError {
    ExecutorError::Failed(skep_types::error_chain(&*error.into()))
}

/// The id of a task's container: 64 digits, as tools expect, always the same for a task.
pub fn container_id(task: TaskId) -> String {
    let digest = Sha256::digest(task.to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The task of a container, if it is one's.
pub fn task_of(container: &Container) -> Option<TaskId> {
    container.config().annotations.get(TASK)?.parse().ok()
}

/// The image's name that a container was made with; None for what was made without one.
pub fn image_of(container: &ContainerConfig) -> Option<&str> {
    container.annotations.get(IMAGE).map(String::as_str)
}

impl Containers {
    /// Takes up what runs already.
    ///
    /// # Errors
    /// The engine's state cannot be read.
    pub async fn open(parts: Parts) -> Result<Arc<Self>, ExecutorError> {
        let containers =
            Arc::new(Self { parts, changes: Mutex::default(), health: Arc::default() });
        for container in containers.parts.runtime.list().await.map_err(failed)? {
            if let Some(task) = task_of(&container)
                && container.state().await.is_ok_and(|state| state.status == Status::Running)
            {
                containers.watch(task, container);
            }
        }
        Ok(containers)
    }

    pub fn runtime(&self) -> &Runtime {
        &self.parts.runtime
    }

    /// How many connections began to the ports that this node answers; none while it is in no swarm.
    ///
    /// # Errors
    /// The kernel's rules cannot be read.
    pub async fn connections(&self) -> Result<Vec<PortConnections>, ExecutorError> {
        match self.parts.networks.manager().await {
            Ok(manager) => manager.connections().await.map_err(failed),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// How many connections the tasks of this node began to each service by its virtual addresses; none
    /// while it is in no swarm.
    ///
    /// # Errors
    /// The kernel's rules cannot be read.
    pub async fn vip_connections(&self) -> Result<Vec<VipConnections>, ExecutorError> {
        match self.parts.networks.manager().await {
            Ok(manager) => manager.vip_connections().await.map_err(failed),
            Err(_) => Ok(Vec::new()),
        }
    }

    pub fn images(&self) -> &Store {
        &self.parts.images
    }

    pub fn networks(&self) -> &Networks {
        &self.parts.networks
    }

    /// The containers that were started by hand and are on networks of the swarm.
    pub fn attached(&self) -> &Arc<Attachments> {
        &self.parts.networks.attachments
    }

    pub fn volumes(&self) -> &Volumes {
        &self.parts.volumes
    }

    /// How registries are reached now.
    pub fn registries(&self) -> Arc<Registries> {
        self.parts.registries.get()
    }

    fn sender(&self, task: TaskId) -> watch::Sender<u64> {
        let mut changes = self.changes.lock().expect("no holder panics");
        changes.entry(task).or_insert_with(|| watch::Sender::new(0)).clone()
    }

    /// What is known of the health of a task's container; None where there is no check.
    pub fn health(&self, task: TaskId) -> Option<Arc<HealthReport>> {
        self.health.get(task)
    }

    /// Says so when the container ends, and when its health changes. An unhealthy one is ended:
    /// what stands in its place is the managers' to say. Ends with the container.
    fn watch(&self, task: TaskId, container: Container) {
        let sender = self.sender(task);
        let reports = Arc::clone(&self.health);
        tokio::spawn(async move {
            let changed = || sender.send_modify(|count| *count += 1);
            let guard = async {
                let tell = |report: &HealthReport, is_new: bool| {
                    reports.set(task, report);
                    let status = report.health.status;
                    if is_new {
                        tracing::info!(%task, health = status.name(), "the health of a container changed");
                        changed();
                    }
                    status != HealthStatus::Unhealthy
                };
                if let Some(check) = health::check_of(container.config())
                    && skep_containers::ask(&container, &check, tell).await
                        == HealthStatus::Unhealthy
                {
                    let grace = build::stop_grace(&container);
                    if let Err(error) = container.stop(None, grace).await {
                        tracing::warn!(%task, %error, "failed to end an unhealthy container");
                    }
                }
                std::future::pending::<()>().await
            };
            let ended = tokio::select! {
                ended = container.wait() => ended,
                () = guard => unreachable!("it waits for ever"),
            };
            match ended {
                Ok(ExitStatus { code, .. }) => tracing::debug!(%task, code, "container ended"),
                Err(error) => tracing::warn!(%task, %error, "lost sight of a container"),
            }
            changed();
        });
    }

    fn is_unhealthy(&self, task: TaskId) -> bool {
        let report = self.health.get(task);
        report.is_some_and(|it| it.health.status == HealthStatus::Unhealthy)
    }

    async fn find(&self, task: TaskId) -> Option<Container> {
        self.parts.runtime.get(&container_id(task)).await.ok()
    }
}

#[async_trait]
impl Executor for Containers {
    async fn observe(&self, task: TaskId) -> Observed {
        let Some(container) = self.find(task).await else { return Observed::Absent };
        match container.state().await {
            Ok(state) => match state.status {
                Status::Created => Observed::Created,
                Status::Running | Status::Paused => {
                    let health = self.health.get(task).map(|it| it.health.status);
                    let healthy = health.is_none_or(|it| it == HealthStatus::Healthy);
                    // Not asked yet, because it has only just been started.
                    let asked = health.is_some() || health::check_of(container.config()).is_none();
                    Observed::Running { healthy: healthy && asked }
                }
                Status::Exited => {
                    let code =
                        state.exit.map_or(skep_engine::defaults::EXIT_CODE_UNKNOWN, |it| it.code);
                    // It may end well when it is told to, and has failed all the same.
                    let failed = code == 0 && self.is_unhealthy(task);
                    Observed::Exited { code: if failed { 1 } else { code } }
                }
            },
            Err(error) => {
                tracing::warn!(%task, %error, "failed to look at a container");
                Observed::Absent
            }
        }
    }

    fn changes(&self, task: TaskId) -> ContainerChange {
        self.sender(task).subscribe()
    }

    async fn fetch(&self, task: &NodeTask) -> Result<(), ExecutorError> {
        pull::ready(&self.parts.images, &self.registries(), task).await.map(drop)
    }

    async fn create(&self, task: &NodeTask, files: &TaskFiles) -> Result<(), ExecutorError> {
        let id = container_id(task.id);
        let image = pull::ready(&self.parts.images, &self.registries(), task).await?;
        // What an interrupted attempt left.
        self.parts.images.remove_rootfs(&id).await.map_err(failed)?;
        let made = build::create(&self.parts, task, files, &image, &id).await;
        if made.is_err() {
            let removed = self.parts.images.remove_rootfs(&id).await;
            let detached = self.parts.networks.detach(task.id).await;
            let cleaned = removed.map_err(failed).and(detached);
            if let Err(error) = cleaned.and(etc::remove(&self.parts.etc_dir, &id)) {
                tracing::warn!(task = %task.id, %error, "failed to clean up after a container");
            }
        }
        made
    }

    async fn start(&self, task: &NodeTask) -> Result<(), ExecutorError> {
        let container = self.find(task.id).await;
        let container = container.ok_or_else(|| refused("No such container"))?;
        container.start().await.map_err(refused)?;
        self.watch(task.id, container);
        Ok(())
    }

    async fn stop(&self, task: &NodeTask, grace: Duration) -> Result<(), ExecutorError> {
        match self.find(task.id).await {
            Some(container) => container.stop(None, grace).await.map(drop).map_err(failed),
            None => Ok(()),
        }
    }

    async fn remove(&self, task: TaskId) -> Result<(), ExecutorError> {
        let id = container_id(task);
        let mut anonymous = Vec::new();
        if let Some(container) = self.find(task).await {
            if container.state().await.map_err(failed)?.status == Status::Running {
                let grace = build::stop_grace(&container);
                container.stop(None, grace).await.map_err(failed)?;
            }
            anonymous = build::anonymous_volumes(&container);
            container.delete().await.map_err(failed)?;
        }
        self.parts.networks.detach(task).await?;
        self.parts.images.remove_rootfs(&id).await.map_err(failed)?;
        etc::remove(&self.parts.etc_dir, &id)?;
        self.health.forget(task);
        for volume in anonymous {
            self.parts.volumes.remove(&volume).await.map_err(failed)?;
        }
        let mut changes = self.changes.lock().expect("no holder panics");
        // Its loop still holds a receiver and is told; the map shall not grow with every task.
        if let Some(sender) = changes.remove(&task) {
            sender.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    async fn ended(&self, task: TaskId) -> Result<(), ExecutorError> {
        self.parts.networks.detach(task).await
    }

    fn complaint(&self, task: TaskId) -> Option<String> {
        self.is_unhealthy(task).then(|| "unhealthy container".to_owned())
    }

    async fn status(&self, task: TaskId) -> Option<ContainerStatus> {
        let container = self.find(task).await?;
        let state = container.state().await.ok()?;
        Some(ContainerStatus {
            container_id: container.id().to_owned(),
            pid: state.pid.unwrap_or_default(),
            exit_code: state.exit.map_or(0, |exit| exit.code),
        })
    }

    async fn host_ports(&self, task: TaskId) -> Vec<PortConfig> {
        let container = self.find(task).await;
        container.map(|it| host_ports_of(it.config())).unwrap_or_default()
    }

    async fn begin_networks(&self, underlay: IpAddr, vxlan_port: u16) -> Result<(), ExecutorError> {
        self.parts.networks.begin(underlay, vxlan_port).await
    }

    async fn restore_networks(&self, tasks: &[Arc<NodeTask>]) -> Result<(), ExecutorError> {
        let mut running = Vec::new();
        for task in tasks {
            if matches!(self.observe(task.id).await, Observed::Created | Observed::Running { .. }) {
                let host_ports = self.host_ports(task.id).await;
                running.push(Standing { net: network::task_net(task)?, host_ports, lent: None });
            }
        }
        for joined in self.parts.networks.attachments.joined() {
            let (net, lent) = joined.net();
            running.push(Standing { net, host_ports: Vec::new(), lent: Some(lent) });
        }
        self.parts.networks.manager().await?.restore(running).await.map_err(failed)
    }

    async fn update_network(&self, update: NetworkUpdate) -> Result<(), ExecutorError> {
        self.parts.networks.update(update).await
    }

    async fn settle_networks(&self) -> Result<(), ExecutorError> {
        self.parts.networks.manager().await?.settle().await.map_err(failed)
    }

    fn attachments(&self) -> Option<Arc<Attachments>> {
        Some(Arc::clone(&self.parts.networks.attachments))
    }

    async fn end_networks(&self) -> Result<(), ExecutorError> {
        self.parts.networks.end().await
    }

    async fn mend_networks(&self) -> Result<Vec<Finding>, ExecutorError> {
        self.parts.networks.mend().await
    }

    async fn logs(&self, task: TaskId, query: LogQuery) -> Result<Option<TaskLogs>, ExecutorError> {
        let Some(container) = self.find(task).await else { return Ok(None) };
        let entries = container.logs(query).await.map_err(failed)?;
        Ok(Some(entries.map(|entry| entry.map_err(failed)).boxed()))
    }

    async fn tasks(&self) -> Vec<TaskId> {
        match self.parts.runtime.list().await {
            Ok(containers) => containers.iter().filter_map(task_of).collect(),
            Err(error) => {
                tracing::warn!(%error, "failed to list containers");
                Vec::new()
            }
        }
    }
}
