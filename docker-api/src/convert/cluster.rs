//! The swarm itself: its spec merged from a document, and the documents that show it.

use skep_types::{Cluster, ClusterSpec};

use super::{Answer, duration, nanos, timestamp, unsupported, version};
use crate::error::ApiError;
use crate::json;

/// Reads a swarm's spec over the `current` one: as in Docker, what the document leaves out stays as it is, but for autolock.
///
/// `raft` is how this swarm's consensus is set, which no document changes: clients send back what they read.
/// Errors: settings of Raft, external or own authorities, forced rotation of the root, a default log driver.
pub fn cluster_spec_from_api(
    spec: &json::SwarmSpec,
    current: &ClusterSpec,
    raft: &json::RaftConfig,
) -> Answer<ClusterSpec> {
    check_raft(&spec.raft, raft)?;
    let ca = &spec.ca_config;
    if !ca.external_cas.is_empty() {
        return Err(unsupported("an external CA"));
    }
    if !ca.signing_ca_cert.is_empty() || !ca.signing_ca_key.is_empty() {
        return Err(unsupported("signing with a CA of one's own"));
    }
    if ca.force_rotate != 0 {
        return Err(unsupported("rotation of the root CA"));
    }
    if spec.task_defaults.log_driver.is_some() {
        return Err(unsupported("a default log driver"));
    }
    let mut merged = current.clone();
    if !spec.name.is_empty() && spec.name != current.annotations.name {
        return Err(ApiError::invalid(format!(
            "invalid swarm name {:?}: expected {:?}",
            spec.name, current.annotations.name
        )));
    }
    if !spec.labels.is_empty() {
        merged.annotations.labels = spec.labels.clone();
    }
    if let Some(limit) = spec.orchestration.task_history_retention_limit {
        merged.task_history_limit = u32::try_from(limit).map_err(|_| {
            ApiError::invalid(format!(
                "invalid task history limit {limit}: expected 0 to {}",
                u32::MAX
            ))
        })?;
    }
    if spec.dispatcher.heartbeat_period_ns != 0 {
        merged.heartbeat_period =
            duration(spec.dispatcher.heartbeat_period_ns, "heartbeat period")?;
    }
    if ca.node_cert_expiry_ns != 0 {
        merged.cert_expiry = duration(ca.node_cert_expiry_ns, "certificate expiry")?;
    }
    merged.autolock = spec.encryption_config.auto_lock_managers;
    Ok(merged)
}

/// Unset or as it is passes.
fn check_raft(asked: &json::RaftConfig, is: &json::RaftConfig) -> Answer<()> {
    let number = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    for (what, asked, is) in [
        ("SnapshotInterval", asked.snapshot_interval, is.snapshot_interval),
        (
            "KeepOldSnapshots",
            asked.keep_old_snapshots.unwrap_or(0),
            is.keep_old_snapshots.unwrap_or(0),
        ),
        (
            "LogEntriesForSlowFollowers",
            asked.log_entries_for_slow_followers,
            is.log_entries_for_slow_followers,
        ),
        ("ElectionTick", number(asked.election_tick), number(is.election_tick)),
        ("HeartbeatTick", number(asked.heartbeat_tick), number(is.heartbeat_tick)),
    ] {
        if asked != 0 && asked != is {
            return Err(unsupported(format!(
                "changing Raft's {what} (asked for {asked}, it is {is})"
            )));
        }
    }
    Ok(())
}

fn spec_to_api(spec: &ClusterSpec, raft: &json::RaftConfig) -> json::SwarmSpec {
    json::SwarmSpec {
        name: spec.annotations.name.clone(),
        labels: spec.annotations.labels.clone(),
        orchestration: json::Orchestration {
            task_history_retention_limit: Some(spec.task_history_limit.into()),
        },
        raft: raft.clone(),
        dispatcher: json::DispatcherConfig { heartbeat_period_ns: nanos(spec.heartbeat_period) },
        ca_config: json::CaConfig {
            node_cert_expiry_ns: nanos(spec.cert_expiry),
            ..Default::default()
        },
        task_defaults: json::TaskDefaults::default(),
        encryption_config: json::EncryptionConfig { auto_lock_managers: spec.autolock },
    }
}

/// Writes the swarm with its join tokens, as `GET /swarm` does; `tls` is its trust root with the issuer's name and key.
pub fn swarm_to_api(
    cluster: &Cluster,
    tls: &json::TlsInfo,
    raft: &json::RaftConfig,
) -> json::Swarm {
    let info = cluster_info_to_api(cluster, tls, raft);
    let tokens = &cluster.root_ca.join_tokens;
    json::Swarm {
        id: info.id,
        version: info.version,
        created_at: info.created_at,
        updated_at: info.updated_at,
        spec: info.spec,
        tls_info: info.tls_info,
        root_rotation_in_progress: info.root_rotation_in_progress,
        default_addr_pool: info.default_addr_pool,
        subnet_size: info.subnet_size,
        data_path_port: info.data_path_port,
        join_tokens: json::JoinTokens {
            worker: tokens.worker.clone(),
            manager: tokens.manager.clone(),
        },
    }
}

/// Writes the swarm without its join tokens, as `/info` does.
pub fn cluster_info_to_api(
    cluster: &Cluster,
    tls: &json::TlsInfo,
    raft: &json::RaftConfig,
) -> json::SwarmClusterInfo {
    json::SwarmClusterInfo {
        id: cluster.id.to_string(),
        version: version(&cluster.meta),
        created_at: timestamp(cluster.meta.created_at),
        updated_at: timestamp(cluster.meta.updated_at),
        spec: spec_to_api(&cluster.spec, raft),
        tls_info: tls.clone(),
        // Roots are not rotated yet, so none ever is under way.
        root_rotation_in_progress: false,
        default_addr_pool: cluster.address_pools.iter().map(ToString::to_string).collect(),
        subnet_size: cluster.subnet_length.into(),
        data_path_port: cluster.data_path_port.into(),
    }
}
