//! The daemon's life: configure, open, serve, stop on a signal.

use std::sync::Arc;

use anyhow::Context;
use skep_docker_api::{Events, Server, router};
use tokio::signal::unix::{SignalKind, signal};

use crate::backend::DaemonBackend;
use crate::config::Config;
use crate::swarm::{Means, Swarm};

/// Runs until SIGTERM or SIGINT. Containers go on after.
///
/// # Errors
/// The state cannot be opened or the socket not be bound: what and where.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let engine = crate::open_engine(&config).await?;
    let networks = crate::open_networks(&config).await?;
    let events = Events::new();
    let means = Means { executor: Arc::clone(&engine) as _, events: events.clone() };
    let swarm = Swarm::open(&config.data_root, means);
    let swarm = Arc::new(swarm.await.context("failed to take up this node's swarm")?);
    let containers = crate::open_containers(&config, &engine, &networks, events);
    let containers = containers.await?;
    let backend =
        DaemonBackend::new(config.clone(), Arc::clone(&swarm), engine, networks, containers);
    let backend = Arc::new(backend);
    let gid = socket_group();
    let server = Server::bind(&config.socket, gid).await;
    let server = server.with_context(|| format!("failed to serve {}", config.socket.display()))?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    tracing::info!(socket = %config.socket.display(), "API listens");
    server
        .serve(router(backend), async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
        })
        .await;
    swarm.shutdown().await;
    Ok(())
}

/// Who may use the socket beside root: the group `skep`, or Docker's where there is none.
fn socket_group() -> Option<u32> {
    ["skep", "docker"].into_iter().find_map(|name| {
        nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    })
}
