//! The swarm itself: its settings, its authority over identities, its pools of addresses.

use skep_types::cluster::RootCa;
use skep_types::{Cluster, ClusterId, ClusterSpec, JoinTokens, defaults};

use super::error::ConvertError;
use super::field::{A_PORT, CompactId, duration, duration_or, list, messages, narrow, part};
use super::payload::{bytes, payload};
use crate::{state, swarmkit};

impl From<&ClusterSpec> for swarmkit::ClusterSpec {
    fn from(spec: &ClusterSpec) -> Self {
        Self {
            annotations: Some((&spec.annotations).into()),
            acceptance_policy: None,
            orchestration: Some(swarmkit::OrchestrationConfig {
                task_history_retention_limit: i64::from(spec.task_history_limit),
            }),
            raft: None,
            dispatcher: Some(swarmkit::DispatcherConfig {
                heartbeat_period: Some(duration(spec.heartbeat_period)),
            }),
            ca_config: Some(swarmkit::CaConfig {
                node_cert_expiry: Some(duration(spec.cert_expiry)),
                ..swarmkit::CaConfig::default()
            }),
            task_defaults: None,
            encryption_config: Some(swarmkit::EncryptionConfig {
                auto_lock_managers: spec.autolock,
            }),
        }
    }
}

impl TryFrom<swarmkit::ClusterSpec> for ClusterSpec {
    type Error = ConvertError;

    /// Raft's timers are not the cluster's to choose here, and acceptance policies are history.
    fn try_from(message: swarmkit::ClusterSpec) -> Result<Self, ConvertError> {
        let dispatcher = message.dispatcher.unwrap_or_default();
        let ca = message.ca_config.unwrap_or_default();
        let limit = message
            .orchestration
            .map_or(i64::from(defaults::TASK_HISTORY_LIMIT), |it| it.task_history_retention_limit);
        Ok(Self {
            annotations: part(message.annotations, "annotations")?,
            task_history_limit: narrow(
                limit,
                "a number of tasks",
                "orchestration.task_history_retention_limit",
            )?,
            heartbeat_period: duration_or(
                dispatcher.heartbeat_period,
                defaults::HEARTBEAT_PERIOD,
                "dispatcher.heartbeat_period",
            )?,
            cert_expiry: duration_or(
                ca.node_cert_expiry,
                defaults::CERT_EXPIRY,
                "ca_config.node_cert_expiry",
            )?,
            autolock: message.encryption_config.unwrap_or_default().auto_lock_managers,
        })
    }
}

impl From<&JoinTokens> for swarmkit::JoinTokens {
    fn from(tokens: &JoinTokens) -> Self {
        Self { worker: tokens.worker.clone(), manager: tokens.manager.clone() }
    }
}

impl TryFrom<swarmkit::JoinTokens> for JoinTokens {
    type Error = ConvertError;

    fn try_from(message: swarmkit::JoinTokens) -> Result<Self, ConvertError> {
        Ok(Self { worker: message.worker, manager: message.manager })
    }
}

impl From<&RootCa> for state::RootCa {
    fn from(root: &RootCa) -> Self {
        Self {
            certificate: root.certificate.clone(),
            key: bytes(&root.key),
            join_tokens: Some((&root.join_tokens).into()),
        }
    }
}

impl TryFrom<state::RootCa> for RootCa {
    type Error = ConvertError;

    fn try_from(message: state::RootCa) -> Result<Self, ConvertError> {
        Ok(Self {
            certificate: message.certificate,
            key: payload(message.key),
            join_tokens: part(message.join_tokens, "join_tokens")?,
        })
    }
}

impl From<&Cluster> for state::Cluster {
    fn from(cluster: &Cluster) -> Self {
        Self {
            id: cluster.id.to_bytes(),
            meta: Some((&cluster.meta).into()),
            spec: Some((&cluster.spec).into()),
            root_ca: Some((&cluster.root_ca).into()),
            feature_level: cluster.feature_level,
            data_path_port: u32::from(cluster.data_path_port),
            address_pools: messages(&cluster.address_pools),
            subnet_length: u32::from(cluster.subnet_length),
        }
    }
}

impl TryFrom<state::Cluster> for Cluster {
    type Error = ConvertError;

    fn try_from(message: state::Cluster) -> Result<Self, ConvertError> {
        Ok(Self {
            id: ClusterId::from_bytes(&message.id, "id")?,
            meta: part(message.meta, "meta")?,
            spec: part(message.spec, "spec")?,
            root_ca: part(message.root_ca, "root_ca")?,
            feature_level: message.feature_level,
            data_path_port: narrow(message.data_path_port, A_PORT, "data_path_port")?,
            address_pools: list(message.address_pools, "address_pools")?,
            subnet_length: narrow(message.subnet_length, "a prefix length", "subnet_length")?,
        })
    }
}
