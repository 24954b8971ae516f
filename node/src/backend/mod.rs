//! The daemon behind the Docker Engine API: documents in, requests to the managers, documents out.

mod auth;
mod container_files;
mod containers;
mod disk_usage;
mod engine_error;
mod engine_info;
mod error;
mod flow;
mod host_info;
mod image_cleanup;
mod image_events;
mod image_flows;
mod images;
mod logs;
mod names;
mod network_doctor;
mod networks;
mod nodes;
mod payloads;
mod prune;
mod search;
mod services;
mod swarm;
mod system;
mod task_containers;
mod volumes;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use skep_agent::containers::Containers;
use skep_bridge::HostNetworks;
use skep_containers::Execs;
use skep_docker_api::json::*;
use skep_docker_api::{
    ApiError, Backend, ByteStream, Events, Filters, Flow, List, LogOptions, Logs, Streams,
};

use self::prune::Prunes;
use crate::config::Config;
use crate::reload::Live;
use crate::swarm::Swarm;

pub use self::host_info::engine_id;

type Answer<T> = Result<T, ApiError>;

/// What the router calls.
pub struct DaemonBackend {
    config: Config,
    live: Live,
    swarm: Arc<Swarm>,
    engine: Arc<Containers>,
    networks: Arc<HostNetworks>,
    /// Those that are made by hand.
    containers: Arc<skep_containers::Containers>,
    execs: Execs,
    events: Events,
    prunes: Prunes,
}

/// What the backend stands on.
pub struct BackendParts {
    pub config: Config,
    pub live: Live,
    pub swarm: Arc<Swarm>,
    pub engine: Arc<Containers>,
    pub networks: Arc<HostNetworks>,
    pub containers: Arc<skep_containers::Containers>,
}

impl DaemonBackend {
    pub fn new(parts: BackendParts) -> Self {
        let BackendParts { config, live, swarm, engine, networks, containers } = parts;
        let events = containers.events().clone();
        let (execs, prunes) = (Execs::default(), Prunes::default());
        Self { config, live, swarm, engine, networks, containers, execs, events, prunes }
    }
}

#[async_trait]
impl Backend for DaemonBackend {
    async fn version(&self) -> Answer<Version> {
        Ok(self.show_version())
    }
    async fn info(&self) -> Answer<Info> {
        self.show_info().await
    }
    async fn swarm_status(&self) -> String {
        self.swarm_header().await
    }

    async fn swarm_init(&self, request: SwarmInitRequest) -> Answer<String> {
        self.init(request).await
    }
    async fn swarm_join(&self, request: SwarmJoinRequest) -> Answer<()> {
        self.join(request).await
    }
    async fn swarm_leave(&self, force: bool) -> Answer<()> {
        self.swarm.leave(force).await.map_err(error::swarm)
    }
    async fn swarm_inspect(&self) -> Answer<skep_docker_api::json::Swarm> {
        self.inspect_swarm().await
    }
    async fn swarm_update(
        &self,
        version: u64,
        spec: SwarmSpec,
        rotate: RotateTokens,
    ) -> Answer<()> {
        self.update_swarm(version, spec, rotate).await
    }

    async fn swarm_unlock_key(&self) -> Answer<UnlockKeyResponse> {
        self.unlock_key().await
    }
    async fn swarm_unlock(&self, _request: SwarmUnlockRequest) -> Answer<()> {
        self.unlock_swarm().await
    }

    async fn nodes(&self, filters: Filters) -> Answer<List<Node>> {
        self.list_nodes(filters).await
    }
    async fn node(&self, id: &str) -> Answer<Node> {
        self.inspect_node(id).await
    }
    async fn node_update(&self, id: &str, version: u64, spec: NodeSpec) -> Answer<()> {
        self.update_node(id, version, spec).await
    }
    async fn node_remove(&self, id: &str, force: bool) -> Answer<()> {
        self.remove_node(id, force).await
    }

    async fn services(&self, filters: Filters, status: bool) -> Answer<List<Service>> {
        self.list_services(filters, status).await
    }
    async fn service(&self, id: &str, _insert_defaults: bool) -> Answer<Service> {
        self.inspect_service(id).await
    }
    async fn service_create(
        &self,
        spec: ServiceSpec,
        registry_auth: Option<RegistryAuth>,
    ) -> Answer<ServiceCreateResponse> {
        self.create_service(spec, registry_auth).await
    }
    async fn service_update(
        &self,
        id: &str,
        options: ServiceUpdateOptions,
        spec: ServiceSpec,
    ) -> Answer<ServiceUpdateResponse> {
        self.update_service(id, options, spec).await
    }
    async fn service_rebalance(&self, id: &str, dry_run: bool) -> Answer<ServiceRebalanceResponse> {
        self.rebalance_service(id, dry_run).await
    }
    async fn service_remove(&self, id: &str) -> Answer<()> {
        self.remove_service(id).await
    }

    async fn tasks(&self, filters: Filters) -> Answer<List<Task>> {
        self.list_tasks(filters).await
    }
    async fn task(&self, id: &str) -> Answer<Task> {
        self.inspect_task(id).await
    }

    async fn secrets(&self, filters: Filters) -> Answer<Vec<Secret>> {
        self.list_secrets(filters).await
    }
    async fn secret(&self, id: &str) -> Answer<Secret> {
        self.inspect_secret(id).await
    }
    async fn secret_create(&self, spec: SecretSpec) -> Answer<IdResponse> {
        self.create_secret(spec).await
    }
    async fn secret_update(&self, id: &str, version: u64, spec: SecretSpec) -> Answer<()> {
        self.update_secret(id, version, spec).await
    }
    async fn secret_remove(&self, id: &str) -> Answer<()> {
        self.remove_secret(id).await
    }

    async fn configs(&self, filters: Filters) -> Answer<Vec<skep_docker_api::json::Config>> {
        self.list_configs(filters).await
    }
    async fn config(&self, id: &str) -> Answer<skep_docker_api::json::Config> {
        self.inspect_config(id).await
    }
    async fn config_create(&self, spec: ConfigSpec) -> Answer<IdResponse> {
        self.create_config(spec).await
    }
    async fn config_update(&self, id: &str, version: u64, spec: ConfigSpec) -> Answer<()> {
        self.update_config(id, version, spec).await
    }
    async fn config_remove(&self, id: &str) -> Answer<()> {
        self.remove_config(id).await
    }

    async fn networks(&self, filters: Filters) -> Answer<Vec<Network>> {
        self.list_networks(filters).await
    }
    async fn network(&self, id: &str) -> Answer<Network> {
        self.inspect_network(id).await
    }
    async fn network_create(&self, request: NetworkCreateRequest) -> Answer<NetworkCreateResponse> {
        self.create_network(request).await
    }
    async fn network_remove(&self, id: &str) -> Answer<()> {
        self.remove_network(id).await
    }

    async fn networks_doctor(&self) -> Answer<NetworkDoctor> {
        self.doctor_networks().await
    }
    async fn networks_prune(&self, filters: Filters) -> Answer<NetworksPruneResponse> {
        self.prune_networks(filters).await
    }

    async fn images(&self, filters: Filters) -> Answer<Vec<ImageSummary>> {
        self.list_images(filters).await
    }
    async fn image(&self, name: &str) -> Answer<ImageInspect> {
        self.inspect_image(name).await
    }
    async fn image_pull(&self, request: PullRequest) -> Answer<Flow<Progress>> {
        self.pull_image(request).await
    }
    async fn image_import(
        &self,
        request: ImportRequest,
        tar: ByteStream,
    ) -> Answer<Flow<Progress>> {
        self.import_image(request, tar).await
    }
    async fn image_load(&self, _quiet: bool, tar: ByteStream) -> Answer<Flow<Progress>> {
        self.load_images(tar).await
    }
    async fn image_save(&self, names: Vec<String>) -> Answer<ByteStream> {
        self.save_images(names).await
    }
    async fn image_tag(&self, name: &str, request: TagRequest) -> Answer<()> {
        self.tag_image(name, request).await
    }
    async fn image_remove(
        &self,
        name: &str,
        options: ImageRemoveOptions,
    ) -> Answer<Vec<ImageDeleteItem>> {
        self.remove_image(name, options).await
    }
    async fn images_prune(&self, filters: Filters) -> Answer<ImagesPruneResponse> {
        self.prune_images(filters).await
    }
    async fn image_history(&self, name: &str) -> Answer<Vec<ImageHistoryItem>> {
        self.image_steps(name).await
    }
    async fn image_push(&self, request: PushRequest) -> Answer<Flow<Progress>> {
        self.push_image(request).await
    }
    async fn image_search(
        &self,
        term: &str,
        limit: u64,
        filters: Filters,
        auth: Option<RegistryAuth>,
    ) -> Answer<Vec<SearchResult>> {
        self.search_images(term, limit, filters, auth).await
    }
    async fn auth(&self, auth: RegistryAuth) -> Answer<AuthResponse> {
        self.check_registry_login(auth).await
    }
    async fn distribution(
        &self,
        name: &str,
        auth: Option<RegistryAuth>,
    ) -> Answer<DistributionInspect> {
        self.ask_registry(name, auth).await
    }

    async fn containers(&self, options: ContainerListOptions) -> Answer<Vec<ContainerSummary>> {
        self.list_containers(options).await
    }
    async fn container(&self, id: &str, size: bool) -> Answer<ContainerInspect> {
        self.inspect_container(id, size).await
    }

    async fn container_create(
        &self,
        name: Option<&str>,
        platform: &str,
        request: ContainerCreateRequest,
    ) -> Answer<ContainerCreateResponse> {
        self.create_container(name, platform, request).await
    }
    async fn container_start(&self, id: &str) -> Answer<bool> {
        self.own(id, "started").await?;
        self.containers.start(id).await
    }
    async fn container_stop(&self, id: &str, options: StopOptions) -> Answer<bool> {
        self.stop_container(id, options).await
    }
    async fn container_restart(&self, id: &str, options: StopOptions) -> Answer<()> {
        self.own(id, "restarted").await?;
        self.containers.restart(id, &options).await
    }
    async fn container_kill(&self, id: &str, signal: &str) -> Answer<()> {
        self.kill_container(id, signal).await
    }
    async fn container_pause(&self, id: &str) -> Answer<()> {
        self.own(id, "paused").await?;
        self.containers.pause(id).await
    }
    async fn container_unpause(&self, id: &str) -> Answer<()> {
        self.own(id, "unpaused").await?;
        self.containers.unpause(id).await
    }
    async fn container_wait(
        &self,
        id: &str,
        condition: WaitCondition,
    ) -> Answer<BoxFuture<'static, Answer<ContainerWaitResponse>>> {
        self.wait_for_container(id, condition).await
    }
    async fn container_rename(&self, id: &str, name: &str) -> Answer<()> {
        self.own(id, "named").await?;
        self.containers.rename(id, name).await
    }
    async fn container_update(
        &self,
        id: &str,
        request: ContainerUpdateRequest,
    ) -> Answer<ContainerUpdateResponse> {
        self.own(id, "updated").await?;
        self.containers.update(id, &request).await?;
        Ok(ContainerUpdateResponse::default())
    }
    async fn container_remove(&self, id: &str, options: RemoveOptions) -> Answer<()> {
        if options.link {
            return self.containers.remove(id, options).await;
        }
        self.own(id, "removed").await?;
        let record = self.containers.get(id)?;
        self.containers.remove(&record.id, options).await?;
        self.execs.forget(&record.id);
        Ok(())
    }
    async fn containers_prune(&self, filters: Filters) -> Answer<ContainersPruneResponse> {
        self.prune_containers(filters).await
    }
    async fn container_attach(&self, id: &str, options: AttachOptions) -> Answer<Streams> {
        self.attach_container(id, options).await
    }
    async fn container_resize(&self, id: &str, height: u16, width: u16) -> Answer<()> {
        let (container, _) = self.running(id).await?;
        container.resize(height, width).await.map_err(engine_error::runtime)
    }
    async fn container_top(&self, id: &str, ps_args: &str) -> Answer<TopResponse> {
        self.top_of(id, ps_args).await
    }
    async fn container_stats(&self, id: &str, stream: bool, one_shot: bool) -> Answer<Flow<Stats>> {
        self.stats_of(id, stream, one_shot).await
    }

    async fn container_changes(&self, id: &str) -> Answer<Vec<Change>> {
        self.changes_of(id).await
    }
    async fn container_export(&self, id: &str) -> Answer<ByteStream> {
        self.export_container(id).await
    }
    async fn container_archive_stat(&self, id: &str, path: &str) -> Answer<PathStat> {
        self.stat_path(id, path).await
    }
    async fn container_archive(&self, id: &str, path: &str) -> Answer<(PathStat, ByteStream)> {
        self.read_path(id, path).await
    }
    async fn container_archive_put(
        &self,
        id: &str,
        path: &str,
        options: ArchivePutOptions,
        tar: ByteStream,
    ) -> Answer<()> {
        self.write_path(id, path, options, tar).await
    }
    async fn container_commit(
        &self,
        options: CommitOptions,
        config: Option<ContainerConfig>,
    ) -> Answer<String> {
        self.commit_container(options, config).await
    }

    async fn exec_create(&self, container: &str, request: ExecCreateRequest) -> Answer<String> {
        self.create_exec(container, request).await
    }
    async fn exec_start(&self, id: &str, request: ExecStartRequest) -> Answer<Option<Streams>> {
        self.start_exec(id, request).await
    }
    async fn exec_inspect(&self, id: &str) -> Answer<ExecInspect> {
        self.inspect_exec(id)
    }
    async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Answer<()> {
        self.execs.resize(id, height, width)
    }

    async fn network_connect(&self, id: &str, request: NetworkConnectRequest) -> Answer<()> {
        self.own(&request.container, "connected").await?;
        let settings = request.endpoint_config.unwrap_or_default();
        self.containers.connect(id, &request.container, settings).await
    }
    async fn network_disconnect(&self, id: &str, request: NetworkDisconnectRequest) -> Answer<()> {
        self.own(&request.container, "disconnected").await?;
        self.containers.disconnect(id, &request.container).await
    }

    async fn volumes(&self, filters: Filters) -> Answer<VolumeList> {
        self.list_volumes(filters).await
    }
    async fn volume(&self, name: &str) -> Answer<Volume> {
        self.inspect_volume(name)
    }
    async fn volume_create(&self, request: VolumeCreateRequest) -> Answer<Volume> {
        self.create_volume(request).await
    }
    async fn volume_update(&self, name: &str, _version: u64) -> Answer<()> {
        self.update_volume(name).await
    }
    async fn volume_remove(&self, name: &str, force: bool) -> Answer<()> {
        self.remove_volume(name, force).await
    }
    async fn volumes_prune(&self, filters: Filters) -> Answer<VolumesPruneResponse> {
        self.prune_volumes(filters).await
    }

    async fn disk_usage(&self, types: Vec<String>) -> Answer<DiskUsage> {
        self.show_disk_usage(types).await
    }

    async fn container_logs(&self, id: &str, options: LogOptions) -> Answer<Logs> {
        self.show_container_logs(id, options).await
    }
    async fn service_logs(&self, id: &str, options: LogOptions) -> Answer<Logs> {
        self.show_service_logs(id, options).await
    }
    async fn task_logs(&self, id: &str, options: LogOptions) -> Answer<Logs> {
        self.show_task_logs(id, options).await
    }

    async fn events(&self, options: EventOptions) -> Answer<Flow<Event>> {
        self.events.subscribe(&options)
    }
}
