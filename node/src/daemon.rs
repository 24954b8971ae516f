//! The daemon's life: configure, open, serve, stop on a signal.

use std::sync::Arc;

use anyhow::Context;
use skep_docker_api::{Events, router};
use skep_manager::metrics::ManagerMetrics;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::attaching::Attaching;
use crate::backend::{BackendParts, DaemonBackend};
use crate::config::Config;
use crate::logging::Refilter;
use crate::metrics::{self, Metrics};
use crate::pidfile::PidFile;
use crate::reload::{Live, Reload};
use crate::swarm::{Means, Swarm};

/// Runs until SIGTERM or SIGINT. Containers go on after. At SIGHUP what may change while it
/// runs is read again.
///
/// # Errors
/// The state cannot be opened or the socket not be bound: what and where.
pub async fn run(config: Config, refilter: Refilter) -> anyhow::Result<()> {
    let config = crate::remap::settle(config)?;
    let pidfile = config.pidfile.as_deref().map(PidFile::write).transpose();
    let _pidfile = pidfile.context("pid file found, ensure skep is not running")?;
    let live = Live::new(config.settings.clone());
    let names = crate::names::server(&config)?;
    let engine = crate::open_engine(&config, &live, &names).await?;
    let networks = crate::open_networks(&config, &names).await?;
    // Before a session: what it finds of containers that nobody here has is given back.
    networks.follow_swarm(Arc::new(Attaching(Arc::clone(&engine)))).await;
    let events = Events::new();
    let counted = ManagerMetrics::default();
    let means = Means {
        executor: Arc::clone(&engine) as _,
        events: events.clone(),
        describe: crate::describe(&live),
        metrics: counted.clone(),
    };
    let swarm = Swarm::open(&config.data_root, means);
    let swarm = Arc::new(swarm.await.context("failed to take up this node's swarm")?);
    let containers = crate::open_containers(&config, &engine, &networks, events.clone(), &live);
    let containers = containers.await?;
    let figures = Metrics::new(&counted, Arc::clone(&swarm), Arc::clone(&engine));
    let parts = BackendParts {
        config: config.clone(),
        live: live.clone(),
        swarm: Arc::clone(&swarm),
        engine,
        networks,
        containers,
    };
    let backend = DaemonBackend::new(parts);
    let backend = Arc::new(backend);
    let cleaner = Arc::clone(&backend);
    let servers = config.api.bind().await.context("failed to serve the API")?;
    let measuring = match config.metrics_addr {
        Some(address) => {
            let server = metrics::bind(address).await.context("failed to serve metrics")?;
            tracing::info!(%address, "serving metrics");
            Some(server)
        }
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("failed to wait for SIGHUP")?;
    let engine_id = crate::backend::engine_id(&config.data_root);
    let engine_id = engine_id.context("failed to read the engine's id")?;
    let reload = Reload { live, refilter, events, engine_id };
    let stop = CancellationToken::new();
    let router = router(backend);
    let serving = servers.into_iter().map(|server| {
        let stopped = stop.clone().cancelled_owned();
        server.serve(router.clone(), stopped)
    });
    let cleaned = cleaner.clean_images(stop.clone());
    let measured = async {
        if let Some(server) = measuring {
            server.serve(metrics::router(figures), stop.clone().cancelled_owned()).await;
        }
    };
    let told = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload.run(&config),
            }
        }
        tracing::info!("stopping");
        stop.cancel();
    };
    tokio::join!(futures::future::join_all(serving), measured, cleaned, told);
    swarm.shutdown().await;
    Ok(())
}
