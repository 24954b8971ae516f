//! Simulated nodes, all in session with the leader; a session that breaks is begun anew with
//! whoever leads then, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls_pki_types::ServerName;
use skep_proto::transport::{Connector, PeerInfo, channel};
use skep_secrets::Role;
use skep_secrets::tls::{MANAGER_NAME, client_config};
use skep_types::{NodeId, error_chain};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::node::{SimNode, Wire, WireError};
use crate::swarm::{Swarm, runtime};

/// How long all of a crowd may take until they are in session.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(5);
/// Nodes that dial at the same time: more only wait for each other's handshakes.
const DIALS_MAX: usize = 64;
/// Before a broken session is begun anew: as an agent's first wait.
const BACKOFF: Duration = Duration::from_millis(100);

/// How a node's calls come to the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over TCP and mutual TLS, each node on a connection of its own.
    Tls,
    /// Straight to the services behind the gate.
    InProcess,
}

/// What the nodes of a crowd have seen and said.
#[derive(Debug, Default)]
pub struct Counts {
    /// Tasks in messages of assignments; one that came again counts again.
    pub assigned: AtomicU64,
    /// Messages of assignments.
    pub messages: AtomicU64,
    /// Statuses that the leader has acknowledged.
    pub reported: AtomicU64,
    /// Calls that carried them.
    pub reports: AtomicU64,
    /// Messages of who answers on networks, and their content's size.
    pub network_messages: AtomicU64,
    pub network_bytes: AtomicU64,
    pub in_session: AtomicU64,
    /// Sessions that broke.
    pub lost: AtomicU64,
}

/// Nodes that live until they are dropped.
pub struct Crowd {
    counts: Arc<Counts>,
    nodes: JoinSet<()>,
    runtime: Option<Runtime>,
}

/// With what a node calls.
enum Means {
    Tls(Arc<rustls::ClientConfig>),
    InProcess(PeerInfo),
}

impl Means {
    fn of(swarm: &Swarm, node: NodeId, way: Way) -> Result<Self> {
        let credentials = swarm.credentials(node, Role::Worker)?;
        Ok(match way {
            Way::Tls => Self::Tls(client_config(&credentials, &credentials.root_pem)?),
            Way::InProcess => Self::InProcess(swarm.peer(&credentials)?),
        })
    }

    async fn wire(&self, swarm: &Swarm) -> Result<Wire> {
        let leader = swarm.leader().await?;
        Ok(match self {
            Self::Tls(config) => {
                let name = ServerName::try_from(MANAGER_NAME).expect("a constant DNS name");
                let connector = Connector::new((**config).clone(), name);
                let channel = channel(&leader.addr.to_string(), connector).await?;
                Wire::new(channel.map_err(|error| WireError(error_chain(&error))))
            }
            Self::InProcess(peer) => {
                Wire::new(leader.manager.door(peer.clone()).map_err(|never| match never {}))
            }
        })
    }
}

impl Crowd {
    /// Has these workers of the state call, and waits until each is told its assignments.
    ///
    /// # Errors
    /// They are not all in session in time.
    pub async fn connect(swarm: &Arc<Swarm>, nodes: &[NodeId], way: Way) -> Result<Self> {
        let (runtime, counts) = (runtime("nodes")?, Arc::new(Counts::default()));
        let dials = Arc::new(Semaphore::new(DIALS_MAX));
        let mut living = JoinSet::new();
        for (place, id) in nodes.iter().enumerate() {
            let means = Means::of(swarm, *id, way)?;
            let node = SimNode::new(*id, place);
            let life = live(node, means, Arc::clone(swarm), Arc::clone(&counts), dials.clone());
            living.spawn_on(life, runtime.handle());
        }
        let crowd = Self { counts, nodes: living, runtime: Some(runtime) };
        let (deadline, all) = (Instant::now() + PATIENCE, nodes.len() as u64);
        loop {
            let there = crowd.counts.in_session.load(Ordering::Relaxed);
            if there == all {
                return Ok(crowd);
            }
            ensure!(Instant::now() < deadline, "{there} of {all} nodes are in session");
            tokio::time::sleep(LOOK).await;
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Ends every node without a word, as a power cut would.
    pub async fn leave(mut self) {
        self.nodes.shutdown().await;
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would wait, which no task may.
            runtime.shutdown_background();
        }
    }
}

async fn live(
    node: SimNode,
    means: Means,
    swarm: Arc<Swarm>,
    counts: Arc<Counts>,
    dials: Arc<Semaphore>,
) {
    loop {
        let permit = dials.acquire().await.expect("never closed");
        let ended = match means.wire(&swarm).await.context("failed to reach the leader") {
            Err(error) => format!("{error:#}"),
            Ok(wire) => {
                let mut stood = false;
                let session = node.session(wire, &counts, || {
                    stood = true;
                    counts.in_session.fetch_add(1, Ordering::Relaxed);
                    drop(permit);
                });
                let status = session.await;
                if stood {
                    counts.in_session.fetch_sub(1, Ordering::Relaxed);
                    counts.lost.fetch_add(1, Ordering::Relaxed);
                }
                status.to_string()
            }
        };
        tracing::debug!(node = %node.id, ended, "a simulated node's session ended");
        tokio::time::sleep(BACKOFF).await;
    }
}
