//! `/swarm`: making, joining, leaving, showing and changing the swarm.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::Ipv4Net;
use skep_docker_api::ApiError;
use skep_docker_api::convert::{cluster_spec_from_api, swarm_to_api};
use skep_docker_api::json::{
    RaftConfig, RotateTokens, Swarm, SwarmInitRequest, SwarmJoinRequest, SwarmSpec, TlsInfo,
    UnlockKeyResponse,
};
use skep_manager::control::{Request, Rotation};
use skep_secrets::join_token::JoinToken;
use skep_secrets::root_ca;
use skep_types::{Availability, Cluster, ClusterSpec, Revision, defaults};

use super::{Answer, DaemonBackend, error};
use crate::swarm::{InitOptions, JoinOptions};

/// What Docker shows of its Raft. Ours has other timers, which no API names: ticks are Docker's
/// defaults, so that clients which send back what they read change nothing.
pub fn raft_config() -> RaftConfig {
    RaftConfig {
        snapshot_interval: skep_raft::defaults::SNAPSHOT_ENTRIES,
        keep_old_snapshots: Some(0),
        log_entries_for_slow_followers: skep_raft::defaults::SNAPSHOT_KEEP,
        election_tick: 10,
        heartbeat_tick: 1,
    }
}

/// The swarm's trust root with its issuer.
pub fn tls_info(root_pem: &str) -> TlsInfo {
    let (subject, key) = root_ca::issuer(root_pem).unwrap_or_default();
    TlsInfo {
        trust_root: root_pem.to_owned(),
        cert_issuer_subject: STANDARD.encode(subject),
        cert_issuer_public_key: STANDARD.encode(key),
    }
}

fn availability(text: &str) -> Answer<Availability> {
    match text {
        "" | "active" => Ok(Availability::Active),
        "pause" => Ok(Availability::Pause),
        "drain" => Ok(Availability::Drain),
        other => Err(ApiError::invalid(format!("invalid Availability: {other:?}"))),
    }
}

fn pools(given: &[String], length: u32) -> Answer<(Vec<Ipv4Net>, u8)> {
    let mut pools: Vec<Ipv4Net> = Vec::new();
    for text in given {
        let pool: Ipv4Net = text
            .parse()
            .map_err(|_| ApiError::invalid(format!("invalid default address pool: {text}")))?;
        if let Some(other) = pools.iter().find(|it| it.contains(&pool) || pool.contains(*it)) {
            return Err(ApiError::invalid(format!(
                "default address pool {pool} overlaps with {other}"
            )));
        }
        pools.push(pool);
    }
    let length = if length == 0 { u32::from(defaults::SUBNET_LENGTH) } else { length };
    let fits = |pool: &Ipv4Net| u32::from(pool.prefix_len()) <= length;
    if length > 29 || !pools.iter().all(fits) {
        return Err(ApiError::invalid(format!(
            "invalid default address pool mask length {length}"
        )));
    }
    Ok((pools, u8::try_from(length).unwrap_or(defaults::SUBNET_LENGTH)))
}

impl DaemonBackend {
    /// What this node says its address is: what it is told to, or the daemon's own word.
    fn advertised(&self, asked: String) -> String {
        match asked.as_str() {
            "" => self.live.settings().advertise_addr.clone(),
            _ => asked,
        }
    }

    pub(super) async fn init(&self, request: SwarmInitRequest) -> Answer<String> {
        if request.force_new_cluster {
            return Err(ApiError::new(
                skep_docker_api::Kind::NotImplemented,
                "--force-new-cluster is not supported yet",
            ));
        }
        let mut spec =
            cluster_spec_from_api(&request.spec, &ClusterSpec::default(), &raft_config())?;
        spec.autolock |= request.auto_lock_managers;
        skep_manager::control::check_cluster(&spec).map_err(error::control)?;
        let (address_pools, subnet_length) =
            pools(&request.default_addr_pool, request.subnet_size)?;
        let options = InitOptions {
            listen_addr: request.listen_addr,
            advertise_addr: self.advertised(request.advertise_addr),
            data_path_addr: request.data_path_addr,
            data_path_port: data_path_port(request.data_path_port)?,
            availability: availability(&request.availability)?,
            spec,
            address_pools,
            subnet_length,
        };
        self.swarm.init(options).await.map_err(error::swarm)
    }

    pub(super) async fn join(&self, request: SwarmJoinRequest) -> Answer<()> {
        let options = JoinOptions {
            listen_addr: request.listen_addr,
            advertise_addr: self.advertised(request.advertise_addr),
            data_path_addr: request.data_path_addr,
            availability: availability(&request.availability)?,
            token: request.join_token,
            remotes: request.remote_addrs,
        };
        self.swarm.join(options).await.map_err(error::swarm)
    }

    pub(super) async fn inspect_swarm(&self) -> Answer<Swarm> {
        let view = self.fresh().await?;
        let cluster = cluster(&view)?;
        let tls = tls_info(&String::from_utf8_lossy(&cluster.root_ca.certificate));
        Ok(swarm_to_api(cluster, &tls, &raft_config()))
    }

    /// Empty: managers cannot be locked yet.
    pub(super) async fn unlock_key(&self) -> Answer<UnlockKeyResponse> {
        self.manager().await?;
        Ok(UnlockKeyResponse::default())
    }

    /// A manager that answers is not locked.
    pub(super) async fn unlock_swarm(&self) -> Answer<()> {
        self.manager().await?;
        Err(ApiError::conflict("swarm is not locked"))
    }

    pub(super) async fn update_swarm(
        &self,
        version: u64,
        spec: SwarmSpec,
        rotate: RotateTokens,
    ) -> Answer<()> {
        let manager = self.manager().await?;
        let view = self.fresh().await?;
        let cluster = cluster(&view)?;
        if rotate.manager_unlock_key {
            return Err(ApiError::invalid("the swarm's managers are not locked"));
        }
        let root = root_ca::digest(&cluster.root_ca.certificate);
        let fresh = |wanted: bool| wanted.then(|| JoinToken::generate(root));
        let request = Request::UpdateCluster {
            revision: Revision(version),
            spec: cluster_spec_from_api(&spec, &cluster.spec, &raft_config())?,
            rotate: Rotation { worker: fresh(rotate.worker), manager: fresh(rotate.manager) },
        };
        manager.execute(request).await.map(drop).map_err(error::control)
    }
}

fn data_path_port(port: u32) -> Answer<u16> {
    match port {
        0 => Ok(defaults::DATA_PATH_PORT),
        // Docker's bounds.
        1024..=49151 => Ok(port as u16),
        _ => Err(ApiError::invalid(format!(
            "data path port number {port} is not valid: expected 1024 to 49151"
        ))),
    }
}

fn cluster(view: &skep_state::State) -> Answer<&Cluster> {
    view.cluster().map(|it| &**it).ok_or_else(|| ApiError::system("the swarm is not made yet"))
}
