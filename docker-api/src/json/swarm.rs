//! `/swarm`: the cluster, its spec, and the requests that make, join and change it.

use super::shape::{null_default, omitempty, shape};
use super::{Map, Timestamp};

shape! {
    /// An object's revision; an update must name the one it read.
    ObjectVersion { "Index" index: u64 => "omitempty" }

    Orchestration { "TaskHistoryRetentionLimit" task_history_retention_limit: Option<i64> => "omitempty" }

    RaftConfig {
        "SnapshotInterval" snapshot_interval: u64 => "omitempty",
        "KeepOldSnapshots" keep_old_snapshots: Option<u64> => "omitempty",
        "LogEntriesForSlowFollowers" log_entries_for_slow_followers: u64 => "omitempty",
        "ElectionTick" election_tick: i64,
        "HeartbeatTick" heartbeat_tick: i64,
    }

    /// Nanoseconds between an agent's heartbeats.
    DispatcherConfig { "HeartbeatPeriod" heartbeat_period_ns: i64 => "omitempty" }

    ExternalCa {
        "Protocol" protocol: String,
        "URL" url: String,
        "Options" options: Map => "omitempty",
        "CACert" ca_cert: String,
    }

    CaConfig {
        "NodeCertExpiry" node_cert_expiry_ns: i64 => "omitempty",
        "ExternalCAs" external_cas: Vec<ExternalCa> => "omitempty",
        "SigningCACert" signing_ca_cert: String => "omitempty",
        [redacted] "SigningCAKey" signing_ca_key: String => "omitempty",
        "ForceRotate" force_rotate: u64 => "omitempty",
    }

    EncryptionConfig { "AutoLockManagers" auto_lock_managers: bool }

    /// Options of volume and log drivers may hold passwords and tokens.
    Driver { "Name" name: String => "omitempty", [redacted] "Options" options: Map => "omitempty" }

    TaskDefaults { "LogDriver" log_driver: Option<Driver> => "omitempty" }

    SwarmSpec {
        "Name" name: String => "omitempty",
        "Labels" labels: Map,
        "Orchestration" orchestration: Orchestration,
        "Raft" raft: RaftConfig,
        "Dispatcher" dispatcher: DispatcherConfig,
        "CAConfig" ca_config: CaConfig,
        "TaskDefaults" task_defaults: TaskDefaults,
        "EncryptionConfig" encryption_config: EncryptionConfig,
    }

    /// A trust root as nodes and clusters show it; issuer fields are base64.
    TlsInfo {
        "TrustRoot" trust_root: String => "omitempty",
        "CertIssuerSubject" cert_issuer_subject: String => "omitempty",
        "CertIssuerPublicKey" cert_issuer_public_key: String => "omitempty",
    }

    /// The cluster without its join tokens, as `/info` has it.
    SwarmClusterInfo {
        "ID" id: String,
        "Version" version: ObjectVersion,
        "CreatedAt" created_at: Timestamp,
        "UpdatedAt" updated_at: Timestamp,
        "Spec" spec: SwarmSpec,
        "TLSInfo" tls_info: TlsInfo,
        "RootRotationInProgress" root_rotation_in_progress: bool,
        "DefaultAddrPool" default_addr_pool: Vec<String>,
        "SubnetSize" subnet_size: u32,
        "DataPathPort" data_path_port: u32,
    }

    JoinTokens { [redacted] "Worker" worker: String, [redacted] "Manager" manager: String }

    /// `POST /swarm/unlock`.
    SwarmUnlockRequest { [redacted] "UnlockKey" unlock_key: String }

    /// `GET /swarm/unlockkey`; empty where managers are not locked.
    UnlockKeyResponse { [redacted] "UnlockKey" unlock_key: String }

    /// `GET /swarm`.
    Swarm {
        "ID" id: String,
        "Version" version: ObjectVersion,
        "CreatedAt" created_at: Timestamp,
        "UpdatedAt" updated_at: Timestamp,
        "Spec" spec: SwarmSpec,
        "TLSInfo" tls_info: TlsInfo,
        "RootRotationInProgress" root_rotation_in_progress: bool,
        "DefaultAddrPool" default_addr_pool: Vec<String>,
        "SubnetSize" subnet_size: u32,
        "DataPathPort" data_path_port: u32,
        "JoinTokens" join_tokens: JoinTokens,
    }

    /// `POST /swarm/init`; the answer is the node's id as a JSON string.
    SwarmInitRequest {
        "ListenAddr" listen_addr: String,
        "AdvertiseAddr" advertise_addr: String,
        "DataPathAddr" data_path_addr: String,
        "DataPathPort" data_path_port: u32,
        "ForceNewCluster" force_new_cluster: bool,
        "Spec" spec: SwarmSpec,
        "AutoLockManagers" auto_lock_managers: bool,
        "Availability" availability: String,
        "DefaultAddrPool" default_addr_pool: Vec<String>,
        "SubnetSize" subnet_size: u32,
    }

    /// `POST /swarm/join`.
    SwarmJoinRequest {
        "ListenAddr" listen_addr: String,
        "AdvertiseAddr" advertise_addr: String,
        "DataPathAddr" data_path_addr: String,
        "RemoteAddrs" remote_addrs: Vec<String>,
        [redacted] "JoinToken" join_token: String,
        "Availability" availability: String,
    }
}

/// What `POST /swarm/update` also rotates; each is a query parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RotateTokens {
    pub worker: bool,
    pub manager: bool,
    pub manager_unlock_key: bool,
}
