//! `/version`, `/info` and the swarm's part of a ping.

use skep_docker_api::ApiError;
use skep_docker_api::convert::cluster_info_to_api;
use skep_docker_api::defaults::{API_VERSION, API_VERSION_MIN};
use skep_docker_api::json::{
    ComponentVersion, ContainerListOptions, Info, Peer, Platform, SwarmInfo, Version,
};
use skep_types::NodeRole;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::swarm::{raft_config, tls_info};
use super::{Answer, DaemonBackend, engine_info, host_info};
use crate::{VERSION, host};

/// Go's word for what this was built for.
fn architecture() -> String {
    std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64")
}

impl DaemonBackend {
    pub(super) fn show_version(&self) -> Version {
        let component = ComponentVersion {
            name: "Engine".to_owned(),
            version: VERSION.to_owned(),
            details: [
                ("ApiVersion", API_VERSION.to_owned()),
                ("MinAPIVersion", API_VERSION_MIN.to_owned()),
                ("Os", "linux".to_owned()),
                ("Arch", architecture()),
                ("KernelVersion", host::kernel()),
                ("Experimental", self.live.settings().experimental.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
        };
        Version {
            platform: Platform { name: "skep".to_owned() },
            components: vec![component],
            version: VERSION.to_owned(),
            api_version: API_VERSION.to_owned(),
            min_api_version: API_VERSION_MIN.to_owned(),
            os: "linux".to_owned(),
            arch: architecture(),
            kernel_version: host::kernel(),
            experimental: self.live.settings().experimental,
            ..Default::default()
        }
    }

    /// `inactive`, `active/manager`, … as the `Swarm` header has it.
    pub(super) async fn swarm_header(&self) -> String {
        match self.swarm.active().await {
            None => "inactive".to_owned(),
            Some(active) => match active.manager() {
                Some(_) => "active/manager".to_owned(),
                None => "active/worker".to_owned(),
            },
        }
    }

    pub(super) async fn show_info(&self) -> Answer<Info> {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let settings = self.live.settings();
        let description = host::describe(&settings);
        let of = |kind: &str| -> Vec<String> {
            let plugins = description.plugins.iter().filter(|(it, _)| it == kind);
            plugins.map(|(_, name)| name.clone()).collect()
        };
        let all = ContainerListOptions { all: true, ..Default::default() };
        let containers = self.list_containers(all).await?;
        let in_state =
            |state: &str| containers.iter().filter(|it| it.state == state).count() as u64;
        let (running, paused) = (in_state("running"), in_state("paused"));
        let id = host_info::engine_id(&self.config.data_root);
        let id = id.map_err(|error| {
            ApiError::system(format!("failed to read the engine's id: {error}"))
        })?;
        let images = self.engine.images().list().await.map_err(super::engine_error::image)?;
        let mut info = Info {
            id,
            containers: containers.len() as u64,
            containers_running: running,
            containers_paused: paused,
            containers_stopped: containers.len() as u64 - running - paused,
            images: images.len() as u64,
            plugins: skep_docker_api::json::PluginsInfo {
                volume: of("Volume"),
                network: of("Network"),
                log: of("Log"),
                ..Default::default()
            },
            system_time: now,
            logging_driver: settings.containers.log_driver.clone(),
            debug: settings.debug,
            labels: settings.labels.clone(),
            experimental_build: settings.experimental,
            kernel_version: host::kernel(),
            operating_system: host::distribution(),
            os_type: "linux".to_owned(),
            architecture: description.architecture.clone(),
            ncpu: host::cpus(),
            mem_total: host::memory(),
            docker_root_dir: self.config.data_root.display().to_string(),
            name: description.hostname.clone(),
            server_version: VERSION.to_owned(),
            swarm: self.swarm_info().await,
            generic_resources: skep_docker_api::convert::generic_to_api(&settings.generic),
            nevents_listener: self.events.listeners() as u64,
            ..Default::default()
        };
        host_info::fill(&mut info, &self.config);
        engine_info::fill(&mut info, &self.config, &settings);
        Ok(info)
    }

    async fn swarm_info(&self) -> SwarmInfo {
        let Some(active) = self.swarm.active().await else {
            return SwarmInfo { local_node_state: "inactive".to_owned(), ..Default::default() };
        };
        let (news, record) = (active.news(), active.record());
        let manager = active.manager();
        let view = manager.as_ref().map(|manager| manager.view());
        let is_manager =
            |node: &&std::sync::Arc<skep_types::Node>| node.spec.role == NodeRole::Manager;
        let remote_managers = match &view {
            Some(view) => view
                .nodes()
                .iter()
                .filter_map(|node| {
                    let addr = node.manager.as_ref()?.addr.clone();
                    Some(Peer { node_id: node.id.to_string(), addr })
                })
                .collect(),
            None => news
                .managers
                .iter()
                .map(|addr| Peer { node_id: String::new(), addr: addr.clone() })
                .collect(),
        };
        let state = match (news.role, news.removed) {
            (_, true) => "error",
            (None, _) if manager.is_none() => "pending",
            _ => "active",
        };
        let cluster = view.as_ref().and_then(|view| view.cluster().cloned());
        SwarmInfo {
            node_id: active.node_id().to_string(),
            node_addr: record.advertise_addr.ip().to_string(),
            local_node_state: state.to_owned(),
            control_available: manager.is_some(),
            error: news.error,
            remote_managers: Some(remote_managers),
            nodes: view.as_ref().map_or(0, |view| view.nodes().len() as u64),
            managers: view
                .as_ref()
                .map_or(0, |view| view.nodes().iter().filter(is_manager).count() as u64),
            cluster: cluster.map(|cluster| {
                cluster_info_to_api(&cluster, &tls_info(&active.root_pem()), &raft_config())
            }),
            warnings: Vec::new(),
        }
    }
}
