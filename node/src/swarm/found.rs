//! Making a swarm: its root, its tokens, its first node, its ingress network.

use std::sync::Arc;

use ipnet::Ipv4Net;
use skep_manager::{Bootstrap, Manager, ManagerConfig};
use skep_secrets::identity::NodeCredentials;
use skep_secrets::join_token::JoinToken;
use skep_secrets::root_ca::{NodeSubject, RootCa};
use skep_secrets::sealing::Keyring;
use skep_secrets::{Role, csr};
use skep_state::{Action, Change};
use skep_types::cluster::RootCa as ClusterRoot;
use skep_types::node::ManagerStatus;
use skep_types::{
    Cluster, ClusterId, JoinTokens, Meta, Network, NetworkId, Node, NodeId, NodeRole, NodeSpec,
    Payload, defaults,
};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::active::{Active, Parts};
use super::record::{Record, SwarmDir};
use super::tell::Follow;
use super::{InitOptions, Means, SwarmError};

/// The Raft id of a swarm's first manager.
const FIRST_RAFT_ID: u64 = 1;

pub async fn found(
    dir: SwarmDir,
    mut record: Record,
    listener: TcpListener,
    options: InitOptions,
    means: Means,
) -> Result<Arc<Active>, SwarmError> {
    let broken = |error: &dyn std::error::Error| SwarmError::Identity(error.to_string());
    let now = OffsetDateTime::now_utc();
    let root = RootCa::generate(now).map_err(|error| broken(&error))?;
    let (cluster_id, node_id) = (ClusterId::new(rand::random()), NodeId::new(rand::random()));
    let (cluster_name, node_name) = (cluster_id.to_string(), node_id.to_string());
    let subject =
        NodeSubject { node_id: &node_name, role: Role::Manager, cluster_id: &cluster_name };
    let request = csr::generate().map_err(|error| broken(&error))?;
    let life =
        time::Duration::try_from(options.spec.cert_expiry).map_err(|error| broken(&error))?;
    let certificate = root
        .sign(request.csr_pem.as_bytes(), subject, now, life)
        .map_err(|error| broken(&error))?;
    let credentials = NodeCredentials {
        cert_pem: certificate.clone(),
        key_pem: request.key_pem,
        root_pem: root.cert_pem().to_owned(),
    };
    credentials.save(&dir.credentials())?;
    Keyring::generate().save(&dir.keyring())?;
    let objects = objects(&root, cluster_id, node_id, certificate, &record, &options);
    let credentials = watch::Sender::new(Arc::new(credentials));
    let manager = Manager::start(
        ManagerConfig {
            dir: dir.raft(),
            keyring: Keyring::load(&dir.keyring())?,
            node_id,
            cluster_id,
            raft_id: FIRST_RAFT_ID,
            listener,
            credentials: credentials.subscribe(),
            metrics: means.metrics.clone(),
        },
        Some(Bootstrap { advertise_addr: record.advertise_addr, objects }),
    );
    let manager = Arc::new(manager.await?);
    record.raft_id = Some(FIRST_RAFT_ID);
    record.managers = vec![record.advertise_addr.to_string()];
    if let Err(error) = dir.save(&record) {
        manager.shutdown().await;
        return Err(error.into());
    }
    let (manager, follow) = (Some(manager), Follow::FromHere);
    Active::start(Parts { dir, record, credentials, manager, follow, means })
}

fn objects(
    root: &RootCa,
    cluster_id: ClusterId,
    node_id: NodeId,
    certificate: String,
    record: &Record,
    options: &InitOptions,
) -> Vec<Action> {
    let token = || JoinToken::generate(root.digest()).render().to_string();
    let pool: Ipv4Net = defaults::ADDRESS_POOL.parse().expect("a constant network");
    let pools = &options.address_pools;
    let cluster = Cluster {
        id: cluster_id,
        meta: Meta::default(),
        spec: options.spec.clone(),
        root_ca: ClusterRoot {
            certificate: root.cert_pem().as_bytes().to_vec(),
            key: Payload(root.key_pem().as_bytes().into()),
            join_tokens: JoinTokens { worker: token(), manager: token() },
        },
        feature_level: skep_manager::FEATURE_LEVEL,
        data_path_port: options.data_path_port,
        address_pools: if pools.is_empty() { vec![pool] } else { pools.clone() },
        subnet_length: options.subnet_length,
    };
    let node = Node {
        manager: Some(ManagerStatus {
            raft_id: FIRST_RAFT_ID,
            addr: record.advertise_addr.to_string(),
        }),
        certificate: certificate.into_bytes(),
        ..Node::new(
            node_id,
            NodeSpec {
                role: NodeRole::Manager,
                availability: options.availability,
                ..NodeSpec::default()
            },
        )
    };
    let ingress = Network::ingress(NetworkId::new(rand::random()));
    vec![
        Change::Create(Arc::new(cluster)).into(),
        Change::Create(Arc::new(node)).into(),
        Change::Create(Arc::new(ingress)).into(),
    ]
}
