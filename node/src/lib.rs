//! The daemon: configuration, the node's part in a swarm, the API socket, signals.

mod attaching;
pub mod backend;
pub mod config;
pub mod config_file;
pub mod daemon;
pub mod host;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod pidfile;
pub mod reload;
pub mod remap;
pub mod swarm;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use skep_agent::containers::{Containers, Networks, Parts};
use skep_bridge::{HostNetworks, HostNetworksConfig};
use skep_containers::Volumes;
use skep_docker_api::Events;
use skep_engine::{Runtime, RuntimeConfig};
use skep_idmap::{IdMaps, Owner};
use skep_images::{Store, StoreOptions};
use skep_overlay_kernel::Namespace;
use skep_overlay_net::NameServer;

/// Opens this node's engine: images, volumes, containers that run already.
async fn open_engine(
    config: &config::Config,
    live: &reload::Live,
    names: &NameServer,
) -> anyhow::Result<Arc<Containers>> {
    let root = &config.data_root;
    let ids = config.id_maps.clone().unwrap_or_default();
    let images =
        open_images(&root.join("images"), &ids).await.context("failed to open the image store")?;
    let mut runtime = RuntimeConfig::new(
        root.join("containers"),
        config.exec_root.join("containers"),
        config.cgroup_parent.clone(),
    );
    runtime.id_maps.clone_from(&config.id_maps);
    let runtime = Runtime::open(runtime).await.context("failed to open the container runtime")?;
    let owner = config.id_maps.clone().map_or(Owner::Host, Owner::New);
    let volumes = Volumes::new(root.join("volumes")).with_owner(ids.root());
    volumes.recover().await.context("failed to recover the volumes")?;
    let parts = Parts {
        runtime,
        images,
        volumes,
        registries: live.registries.clone(),
        defaults: live.containers.clone(),
        etc_dir: root.join("etc"),
        networks: Networks::new(config.exec_root.join("net"), names.clone()).with_owner(owner),
        describe: describe(live),
    };
    Ok(Containers::open(parts).await?)
}

/// Who looks at the host when a swarm asks.
fn describe(live: &reload::Live) -> swarm::Describe {
    let live = live.clone();
    Arc::new(move || host::describe(&live.settings()))
}

/// Opens this host's networks; the kernel is changed when somebody is to be on one.
async fn open_networks(
    config: &config::Config,
    names: &NameServer,
) -> anyhow::Result<Arc<HostNetworks>> {
    let networks = HostNetworksConfig {
        state_dir: config.data_root.join("bridge"),
        run_dir: config.exec_root.join("bridge"),
        host: Namespace::current()?,
        resolv_conf: None,
        options: config.networks.clone(),
        names: names.clone(),
    };
    let networks = HostNetworks::open(networks).await;
    Ok(Arc::new(networks.context("failed to open the host's networks")?))
}

/// Takes up the containers that were made by hand: those that run are watched on, those that are to
/// run again are started.
async fn open_containers(
    config: &config::Config,
    engine: &Containers,
    networks: &Arc<HostNetworks>,
    events: Events,
    live: &reload::Live,
) -> anyhow::Result<Arc<skep_containers::Containers>> {
    let parts = skep_containers::Parts {
        runtime: engine.runtime().clone(),
        images: engine.images().clone(),
        volumes: engine.volumes().clone(),
        networks: Arc::clone(networks),
        events,
        defaults: live.containers.clone(),
        dir: config.data_root.join("by-hand"),
    };
    let containers = skep_containers::Containers::open(parts).await;
    containers.context("failed to take up the containers of this host")
}

/// A daemon that was killed a moment ago may not be wholly gone: its lock is waited for.
async fn open_images(path: &std::path::Path, ids: &IdMaps) -> Result<Store, skep_images::Error> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let options = StoreOptions { ids: ids.clone(), ..StoreOptions::default() };
        match Store::open_with(path, options).await {
            Err(skep_images::Error::Locked(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(PATIENCE / 100).await;
            }
            opened => return opened,
        }
    }
}
