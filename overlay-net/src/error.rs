//! What can go wrong when a node's networks change.

use std::io;
use std::time::Duration;

use skep_overlay_kernel::KernelError;
use skep_overlay_plan::TaskNetError;
use skep_overlay_plan::network::StaleDelta;
use skep_types::{NetworkId, TaskId};

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error(transparent)]
    Task(#[from] TaskNetError),
    #[error("the managers told nothing of network {network} within {} s", waited.as_secs())]
    NotTold { network: NetworkId, waited: Duration },
    /// The agent asks for everything anew then.
    #[error(transparent)]
    Stale(#[from] StaleDelta),
    #[error("network {0} is still used by task {1}")]
    InUse(NetworkId, TaskId),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("failed to start the resolver of task {task}")]
    Resolver {
        task: TaskId,
        #[source]
        source: io::Error,
    },
}
