//! The agent: a node's session with the managers, and the tasks it runs for them.
//!
//! What to do next for a task is decided in `skep_agent_plan`; containers and networks are the
//! [`Executor`]'s. This carries what is decided between the two.

pub mod attachments;
pub mod containers;
pub mod defaults;
mod dial;
mod executor;
mod logs;
mod overlay;
mod reporter;
mod session;
mod task;
mod upkeep;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;

use skep_secrets::identity::NodeCredentials;
use skep_types::NodeRole;
use skep_types::node::NodeDescription;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use dial::{DialError, dial};
pub use executor::{ContainerChange, Executor, ExecutorError, TaskFiles, TaskLogs};
pub use skep_agent_plan::Observed;
pub use skep_proto::convert::NodeTask;

/// What an agent is started with.
pub struct AgentConfig {
    /// The node's own, renewed while the agent runs.
    pub credentials: watch::Receiver<Arc<NodeCredentials>>,
    /// `host:port` of the managers known so far; the first session brings the rest.
    pub managers: Vec<String>,
    /// Where other nodes reach this one.
    pub node_addr: IpAddr,
    /// Looks at the host.
    pub describe: Arc<dyn Fn() -> NodeDescription + Send + Sync>,
    pub executor: Arc<dyn Executor>,
}

/// What the managers said of the node and of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// None before the first session.
    pub role: Option<NodeRole>,
    pub managers: Vec<String>,
    /// The node's place in the managers' group; none while it is not in it.
    pub raft_id: Option<u64>,
    /// Whether a session stands now.
    pub in_session: bool,
    /// Why there is none; empty if nothing is wrong.
    pub error: String,
    /// The node was removed from the swarm: no session will stand again.
    pub removed: bool,
}

/// An agent that runs.
pub struct Agent {
    stop: CancellationToken,
    news: watch::Receiver<News>,
    task: JoinHandle<()>,
}

impl Agent {
    /// Starts the agent; it keeps trying to have a session until it is shut down.
    pub fn start(config: AgentConfig) -> Self {
        let stop = CancellationToken::new();
        let (sender, news) = watch::channel(News {
            role: None,
            managers: config.managers.clone(),
            raft_id: None,
            in_session: false,
            error: String::new(),
            removed: false,
        });
        // At once: containers that are started again look for networks of the swarm.
        if let Some(attachments) = config.executor.attachments() {
            attachments.membership(true);
        }
        let task = tokio::spawn(session::run(config, sender, stop.clone()));
        Self { stop, news, task }
    }

    /// Follows what the managers say.
    pub fn news(&self) -> watch::Receiver<News> {
        self.news.clone()
    }

    /// Ends the session and all that the agent runs; containers go on.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the agent ended badly");
        }
    }
}
