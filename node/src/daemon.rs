//! The daemon's life: configure, open, serve, stop on a signal.

use std::sync::Arc;

use anyhow::Context;
use skep_docker_api::{Events, router};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::backend::DaemonBackend;
use crate::config::Config;
use crate::swarm::{Means, Swarm};

/// Runs until SIGTERM or SIGINT. Containers go on after.
///
/// # Errors
/// The state cannot be opened or the socket not be bound: what and where.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let config = crate::remap::settle(config)?;
    let engine = crate::open_engine(&config).await?;
    let networks = crate::open_networks(&config).await?;
    let events = Events::new();
    let means = Means {
        executor: Arc::clone(&engine) as _,
        events: events.clone(),
        generic_resources: config.generic_resources.clone(),
    };
    let swarm = Swarm::open(&config.data_root, means);
    let swarm = Arc::new(swarm.await.context("failed to take up this node's swarm")?);
    let containers = crate::open_containers(&config, &engine, &networks, events);
    let containers = containers.await?;
    let backend =
        DaemonBackend::new(config.clone(), Arc::clone(&swarm), engine, networks, containers);
    let backend = Arc::new(backend);
    let servers = config.api.bind().await.context("failed to serve the API")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    let stop = CancellationToken::new();
    let router = router(backend);
    let serving = servers.into_iter().map(|server| {
        let stopped = stop.clone().cancelled_owned();
        server.serve(router.clone(), stopped)
    });
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    };
    tokio::join!(futures::future::join_all(serving), told);
    swarm.shutdown().await;
    Ok(())
}
