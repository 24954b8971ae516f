//! Between the API's documents and the swarm's vocabulary, both ways.
//!
//! It is the border: strings become ids, numbers become bounded, words become enums. It looks nothing up but network names, which
//! the caller resolves, and it checks nothing that needs the cluster's state. Invariants: what a document asks for and a spec cannot
//! hold is refused by name, never dropped; a spec turned into a document and back is the same spec; payloads of secrets never leave.

mod cluster;
mod container;
mod endpoint;
mod mount;
mod network;
mod node;
mod payload;
mod policy;
mod privileges;
mod references;
mod service;
mod task;
mod task_spec;

use std::time::Duration;

use skep_types::NetworkId;

use crate::error::ApiError;
use crate::json;

pub use cluster::{cluster_info_to_api, cluster_spec_from_api, swarm_to_api};
pub use network::{network_spec_from_api, network_to_api, swarm_network_to_api};
pub use node::{ManagerView, Reachability, node_spec_from_api, node_to_api};
pub use payload::{
    config_spec_from_api, config_spec_to_api, config_to_api, secret_spec_from_api,
    secret_spec_to_api, secret_to_api,
};
pub use service::{service_spec_from_api, service_spec_to_api, service_to_api};
pub use task::task_to_api;
pub use task_spec::{generic_to_api, task_spec_from_api, task_spec_to_api};

type Answer<T> = Result<T, ApiError>;

/// Finds a network by id or name, with Docker's error where there is none.
pub type ResolveNetwork<'a> = &'a dyn Fn(&str) -> Result<NetworkId, ApiError>;

/// What a spec asks for and this engine does not do.
fn unsupported(what: impl std::fmt::Display) -> ApiError {
    ApiError::invalid(format!("{what} is not supported"))
}

/// A duration in the API's nanoseconds; `what` names it where it is negative.
fn duration(nanos: i64, what: &str) -> Answer<Duration> {
    u64::try_from(nanos)
        .map(Duration::from_nanos)
        .map_err(|_| ApiError::invalid(format!("{what} cannot be negative")))
}

/// The API's nanoseconds; what lies beyond 292 years becomes 292 years.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A moment; the zero of ours is the zero of Go's, which clients read as "never".
fn timestamp(at: skep_types::Timestamp) -> json::Timestamp {
    if at == skep_types::Timestamp::default() {
        return json::Timestamp::default();
    }
    json::Timestamp::from_unix_nanos(i128::from(at.0))
}

fn version(meta: &skep_types::Meta) -> json::ObjectVersion {
    json::ObjectVersion { index: meta.revision.0 }
}
