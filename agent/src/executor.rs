//! The wall to containers and networks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use skep_agent_plan::Observed;
use skep_engine::logs::{LogEntry, LogQuery};
use skep_overlay_net::{Finding, NetworkUpdate};
use skep_proto::convert::NodeTask;
use skep_types::service::PortConfig;
use skep_types::task::ContainerStatus;
use skep_types::{Config, ConfigId, Secret, SecretId, TaskId};
use tokio::sync::watch;

use crate::attachments::Attachments;

/// The payloads that a task reads as files.
#[derive(Debug, Clone, Default)]
pub struct TaskFiles {
    pub secrets: BTreeMap<SecretId, Secret>,
    pub configs: BTreeMap<ConfigId, Config>,
}

/// Why a step was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutorError {
    /// The task itself cannot be done: no image, a missing mount, a bad command. Another attempt
    /// here would end the same way.
    #[error("{0}")]
    Refused(String),
    /// The host could not do it now.
    #[error("{0}")]
    Failed(String),
    /// What the leader says does not fit what is known here: it is to tell all of it again.
    #[error("{0}")]
    Unfit(String),
}

/// Bumped whenever something about a task's container may have changed.
pub type ContainerChange = watch::Receiver<u64>;

/// A task's output, in the order in which it was written; the first error ends it.
pub type TaskLogs = BoxStream<'static, Result<LogEntry, ExecutorError>>;

/// Runs the containers of tasks. Each call is safe to make again.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// What there is of a task's container now.
    async fn observe(&self, task: TaskId) -> Observed;
    /// Follows a task's container.
    fn changes(&self, task: TaskId) -> ContainerChange;
    /// Has the task's image ready on this node. It may be given up at any moment.
    async fn fetch(&self, task: &NodeTask) -> Result<(), ExecutorError>;
    /// Makes mounts and network, creates the container. What is begun is to be ended: given up
    /// half-way, it would leave what nobody knows of.
    async fn create(&self, task: &NodeTask, files: &TaskFiles) -> Result<(), ExecutorError>;
    async fn start(&self, task: &NodeTask) -> Result<(), ExecutorError>;
    /// Asks the container to end, and ends it after the grace.
    async fn stop(&self, task: &NodeTask, grace: Duration) -> Result<(), ExecutorError>;
    /// The container has ended for good: what only a running one needs is given up.
    async fn ended(&self, task: TaskId) -> Result<(), ExecutorError>;
    /// Removes everything that was made for the task.
    async fn remove(&self, task: TaskId) -> Result<(), ExecutorError>;
    /// Why a task's container was ended from here, if it was.
    fn complaint(&self, _task: TaskId) -> Option<String> {
        None
    }
    /// Container id, pid and exit code, once there is a container.
    async fn status(&self, task: TaskId) -> Option<ContainerStatus>;
    /// The ports of this host that lead to a task, with the numbers that were chosen here.
    async fn host_ports(&self, task: TaskId) -> Vec<PortConfig>;
    /// What a task wrote; none if it has no container. Dropping it ends the reading.
    async fn logs(&self, task: TaskId, query: LogQuery) -> Result<Option<TaskLogs>, ExecutorError>;
    /// Tasks that have something here, from before a restart too.
    async fn tasks(&self) -> Vec<TaskId>;

    /// A session begins: networks are made for this underlay address and VXLAN port.
    async fn begin_networks(&self, underlay: IpAddr, vxlan_port: u16) -> Result<(), ExecutorError>;
    /// The tasks that are assigned, before any network is told of: those that run already keep
    /// what they have.
    async fn restore_networks(&self, tasks: &[Arc<NodeTask>]) -> Result<(), ExecutorError>;
    /// The leader tells of a network.
    async fn update_network(&self, update: NetworkUpdate) -> Result<(), ExecutorError>;
    /// The leader has told of all networks.
    async fn settle_networks(&self) -> Result<(), ExecutorError>;
    /// The node leaves the swarm, and its tasks are gone: so are all its networks.
    async fn end_networks(&self) -> Result<(), ExecutorError>;
    /// Compares what stands of this node's networks with what the leader said, and mends what
    /// differs. Tells what it found.
    async fn mend_networks(&self) -> Result<Vec<Finding>, ExecutorError>;

    /// The containers beside the tasks, if there are any to be on networks.
    fn attachments(&self) -> Option<Arc<Attachments>> {
        None
    }
}
