//! The swarm itself: one object with what holds for all of it.

use std::time::Duration;

use ipnet::Ipv4Net;

use crate::secret::Payload;
use crate::{Annotations, ClusterId, Meta, defaults};

/// What an operator asks of the whole swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// The name is always `default`, as in Docker.
    pub annotations: Annotations,
    pub task_history_limit: u32,
    pub heartbeat_period: Duration,
    pub cert_expiry: Duration,
    /// Managers need an unlock key after a restart.
    pub autolock: bool,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            annotations: Annotations { name: "default".to_owned(), ..Annotations::default() },
            task_history_limit: defaults::TASK_HISTORY_LIMIT,
            heartbeat_period: defaults::HEARTBEAT_PERIOD,
            cert_expiry: defaults::CERT_EXPIRY,
            autolock: false,
        }
    }
}

/// The tokens that let a host join; they are credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JoinTokens {
    pub worker: String,
    pub manager: String,
}

impl std::fmt::Debug for JoinTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinTokens(..)")
    }
}

/// The swarm's authority over identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootCa {
    /// PEM.
    pub certificate: Vec<u8>,
    /// PEM; sealed with everything else on disk.
    pub key: Payload,
    pub join_tokens: JoinTokens,
}

/// The swarm as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub id: ClusterId,
    pub meta: Meta,
    pub spec: ClusterSpec,
    pub root_ca: RootCa,
    /// What `apply` may do; raised when every manager knows it.
    pub feature_level: u32,
    /// The UDP port of VXLAN.
    pub data_path_port: u16,
    /// Where subnets are cut from, and how long each one's prefix is.
    pub address_pools: Vec<Ipv4Net>,
    pub subnet_length: u8,
}
