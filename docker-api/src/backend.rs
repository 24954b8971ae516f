//! What the daemon must be able to do for the router, in the API's own documents.
//!
//! What a backend does not give answers as an engine without those routes.

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::attach::Streams;
use crate::error::ApiError;
use crate::filters::Filters;
use crate::json::*;
use crate::logs::{LogOptions, Logs};
use crate::stream::{ByteStream, Flow, List};

type Answer<T> = Result<T, ApiError>;

#[async_trait]
pub trait Backend: Send + Sync + 'static {
    async fn version(&self) -> Answer<Version>;
    async fn info(&self) -> Answer<Info>;
    /// The `Swarm` header of `/_ping`: `inactive`, `active/manager`, `active/worker`, …
    async fn swarm_status(&self) -> String;

    /// Makes a swarm; gives this node's id.
    async fn swarm_init(&self, _request: SwarmInitRequest) -> Answer<String> {
        Err(ApiError::absent())
    }
    async fn swarm_join(&self, _request: SwarmJoinRequest) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn swarm_leave(&self, _force: bool) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn swarm_inspect(&self) -> Answer<Swarm> {
        Err(ApiError::absent())
    }
    async fn swarm_update(
        &self,
        _version: u64,
        _spec: SwarmSpec,
        _rotate: RotateTokens,
    ) -> Answer<()> {
        Err(ApiError::absent())
    }

    /// The key that unlocks managers; empty where they are not locked.
    async fn swarm_unlock_key(&self) -> Answer<UnlockKeyResponse> {
        Err(ApiError::absent())
    }
    async fn swarm_unlock(&self, _request: SwarmUnlockRequest) -> Answer<()> {
        Err(ApiError::absent())
    }

    async fn nodes(&self, _filters: Filters) -> Answer<List<Node>> {
        Err(ApiError::absent())
    }
    /// By id, unique id prefix, or hostname; `self` is the client's business.
    async fn node(&self, _id: &str) -> Answer<Node> {
        Err(ApiError::absent())
    }
    async fn node_update(&self, _id: &str, _version: u64, _spec: NodeSpec) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn node_remove(&self, _id: &str, _force: bool) -> Answer<()> {
        Err(ApiError::absent())
    }

    /// `status` asks for each service's `ServiceStatus`.
    async fn services(&self, _filters: Filters, _status: bool) -> Answer<List<Service>> {
        Err(ApiError::absent())
    }
    async fn service(&self, _id: &str, _insert_defaults: bool) -> Answer<Service> {
        Err(ApiError::absent())
    }
    /// With the login for the image's registry, for the nodes that pull it.
    async fn service_create(
        &self,
        _spec: ServiceSpec,
        _registry_auth: Option<RegistryAuth>,
    ) -> Answer<ServiceCreateResponse> {
        Err(ApiError::absent())
    }
    async fn service_update(
        &self,
        _id: &str,
        _options: ServiceUpdateOptions,
        _spec: ServiceSpec,
    ) -> Answer<ServiceUpdateResponse> {
        Err(ApiError::absent())
    }
    /// Moves as few tasks as spread a replicated service anew; with `dry_run` it only says which.
    async fn service_rebalance(
        &self,
        _id: &str,
        _dry_run: bool,
    ) -> Answer<ServiceRebalanceResponse> {
        Err(ApiError::absent())
    }
    async fn service_remove(&self, _id: &str) -> Answer<()> {
        Err(ApiError::absent())
    }

    async fn tasks(&self, _filters: Filters) -> Answer<List<Task>> {
        Err(ApiError::absent())
    }
    async fn task(&self, _id: &str) -> Answer<Task> {
        Err(ApiError::absent())
    }

    async fn secrets(&self, _filters: Filters) -> Answer<Vec<Secret>> {
        Err(ApiError::absent())
    }
    async fn secret(&self, _id: &str) -> Answer<Secret> {
        Err(ApiError::absent())
    }
    async fn secret_create(&self, _spec: SecretSpec) -> Answer<IdResponse> {
        Err(ApiError::absent())
    }
    async fn secret_update(&self, _id: &str, _version: u64, _spec: SecretSpec) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn secret_remove(&self, _id: &str) -> Answer<()> {
        Err(ApiError::absent())
    }

    async fn configs(&self, _filters: Filters) -> Answer<Vec<Config>> {
        Err(ApiError::absent())
    }
    async fn config(&self, _id: &str) -> Answer<Config> {
        Err(ApiError::absent())
    }
    async fn config_create(&self, _spec: ConfigSpec) -> Answer<IdResponse> {
        Err(ApiError::absent())
    }
    async fn config_update(&self, _id: &str, _version: u64, _spec: ConfigSpec) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn config_remove(&self, _id: &str) -> Answer<()> {
        Err(ApiError::absent())
    }

    async fn networks(&self, _filters: Filters) -> Answer<Vec<Network>> {
        Err(ApiError::absent())
    }
    /// With everything that is known; whoever asks for less is shown less.
    async fn network(&self, _id: &str) -> Answer<Network> {
        Err(ApiError::absent())
    }
    async fn network_create(
        &self,
        _request: NetworkCreateRequest,
    ) -> Answer<NetworkCreateResponse> {
        Err(ApiError::absent())
    }
    async fn network_remove(&self, _id: &str) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn network_connect(&self, _id: &str, _request: NetworkConnectRequest) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn network_disconnect(
        &self,
        _id: &str,
        _request: NetworkDisconnectRequest,
    ) -> Answer<()> {
        Err(ApiError::absent())
    }
    /// How the networks of the swarm are, on every node.
    async fn networks_doctor(&self) -> Answer<NetworkDoctor> {
        Err(ApiError::absent())
    }
    async fn networks_prune(&self, _filters: Filters) -> Answer<NetworksPruneResponse> {
        Err(ApiError::absent())
    }

    async fn images(&self, _filters: Filters) -> Answer<Vec<ImageSummary>> {
        Err(ApiError::absent())
    }
    /// By name, id, or unique id prefix.
    async fn image(&self, _name: &str) -> Answer<ImageInspect> {
        Err(ApiError::absent())
    }
    async fn image_pull(&self, _request: PullRequest) -> Answer<Flow<Progress>> {
        Err(ApiError::absent())
    }
    /// `tar` is a root file system, compressed or not; the last line is the image's id.
    async fn image_import(
        &self,
        _request: ImportRequest,
        _tar: ByteStream,
    ) -> Answer<Flow<Progress>> {
        Err(ApiError::absent())
    }
    /// `tar` is what [`Self::image_save`] gives, compressed or not.
    async fn image_load(&self, _quiet: bool, _tar: ByteStream) -> Answer<Flow<Progress>> {
        Err(ApiError::absent())
    }
    async fn image_save(&self, _names: Vec<String>) -> Answer<ByteStream> {
        Err(ApiError::absent())
    }
    async fn image_tag(&self, _name: &str, _request: TagRequest) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn image_remove(
        &self,
        _name: &str,
        _options: ImageRemoveOptions,
    ) -> Answer<Vec<ImageDeleteItem>> {
        Err(ApiError::absent())
    }
    async fn images_prune(&self, _filters: Filters) -> Answer<ImagesPruneResponse> {
        Err(ApiError::absent())
    }
    /// The newest step first.
    async fn image_history(&self, _name: &str) -> Answer<Vec<ImageHistoryItem>> {
        Err(ApiError::absent())
    }
    async fn image_push(&self, _request: PushRequest) -> Answer<Flow<Progress>> {
        Err(ApiError::absent())
    }
    /// `limit` is zero where the client named none.
    async fn image_search(
        &self,
        _term: &str,
        _limit: u64,
        _filters: Filters,
        _auth: Option<RegistryAuth>,
    ) -> Answer<Vec<SearchResult>> {
        Err(ApiError::absent())
    }
    /// Asks a registry whether it knows a login.
    async fn auth(&self, _auth: RegistryAuth) -> Answer<AuthResponse> {
        Err(ApiError::absent())
    }
    /// What a registry has under a name.
    async fn distribution(
        &self,
        _name: &str,
        _auth: Option<RegistryAuth>,
    ) -> Answer<DistributionInspect> {
        Err(ApiError::absent())
    }

    async fn containers(&self, _options: ContainerListOptions) -> Answer<Vec<ContainerSummary>> {
        Err(ApiError::absent())
    }
    /// By id, name, or unique id prefix; `size` asks for the sizes.
    async fn container(&self, _id: &str, _size: bool) -> Answer<ContainerInspect> {
        Err(ApiError::absent())
    }
    /// `platform` as the client wrote it, empty where it did not; no name: one is made up.
    async fn container_create(
        &self,
        _name: Option<&str>,
        _platform: &str,
        _request: ContainerCreateRequest,
    ) -> Answer<ContainerCreateResponse> {
        Err(ApiError::absent())
    }
    /// Whether it was not running before.
    async fn container_start(&self, _id: &str) -> Answer<bool> {
        Err(ApiError::absent())
    }
    /// Whether it was running before.
    async fn container_stop(&self, _id: &str, _options: StopOptions) -> Answer<bool> {
        Err(ApiError::absent())
    }
    async fn container_restart(&self, _id: &str, _options: StopOptions) -> Answer<()> {
        Err(ApiError::absent())
    }
    /// An empty signal is the one that cannot be caught.
    async fn container_kill(&self, _id: &str, _signal: &str) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn container_pause(&self, _id: &str) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn container_unpause(&self, _id: &str) -> Answer<()> {
        Err(ApiError::absent())
    }
    /// Begins to wait: from then on no end is missed. The head of the answer goes out when this is back, its body with the end.
    async fn container_wait(
        &self,
        _id: &str,
        _condition: WaitCondition,
    ) -> Answer<BoxFuture<'static, Answer<ContainerWaitResponse>>> {
        Err(ApiError::absent())
    }
    async fn container_rename(&self, _id: &str, _name: &str) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn container_update(
        &self,
        _id: &str,
        _request: ContainerUpdateRequest,
    ) -> Answer<ContainerUpdateResponse> {
        Err(ApiError::absent())
    }
    async fn container_remove(&self, _id: &str, _options: RemoveOptions) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn containers_prune(&self, _filters: Filters) -> Answer<ContainersPruneResponse> {
        Err(ApiError::absent())
    }
    /// The streams that were asked for. Keys that detach are the router's to find, but are part of the options all the same.
    async fn container_attach(&self, _id: &str, _options: AttachOptions) -> Answer<Streams> {
        Err(ApiError::absent())
    }
    async fn container_resize(&self, _id: &str, _height: u16, _width: u16) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn container_top(&self, _id: &str, _ps_args: &str) -> Answer<TopResponse> {
        Err(ApiError::absent())
    }
    /// Without `stream` one document and the end; with `one_shot` it does not wait for a look before.
    async fn container_stats(
        &self,
        _id: &str,
        _stream: bool,
        _one_shot: bool,
    ) -> Answer<Flow<Stats>> {
        Err(ApiError::absent())
    }
    async fn container_changes(&self, _id: &str) -> Answer<Vec<Change>> {
        Err(ApiError::absent())
    }
    /// The whole root file system as a tar archive.
    async fn container_export(&self, _id: &str) -> Answer<ByteStream> {
        Err(ApiError::absent())
    }
    async fn container_archive_stat(&self, _id: &str, _path: &str) -> Answer<PathStat> {
        Err(ApiError::absent())
    }
    /// What stands at the path, and it as a tar archive.
    async fn container_archive(&self, _id: &str, _path: &str) -> Answer<(PathStat, ByteStream)> {
        Err(ApiError::absent())
    }
    /// `tar` is compressed or not.
    async fn container_archive_put(
        &self,
        _id: &str,
        _path: &str,
        _options: ArchivePutOptions,
        _tar: ByteStream,
    ) -> Answer<()> {
        Err(ApiError::absent())
    }
    /// Gives the new image's id; what of the configuration is not given is the container's own.
    async fn container_commit(
        &self,
        _options: CommitOptions,
        _config: Option<ContainerConfig>,
    ) -> Answer<String> {
        Err(ApiError::absent())
    }

    /// Gives the session's id.
    async fn exec_create(&self, _container: &str, _request: ExecCreateRequest) -> Answer<String> {
        Err(ApiError::absent())
    }
    /// None where it is detached.
    async fn exec_start(&self, _id: &str, _request: ExecStartRequest) -> Answer<Option<Streams>> {
        Err(ApiError::absent())
    }
    async fn exec_inspect(&self, _id: &str) -> Answer<ExecInspect> {
        Err(ApiError::absent())
    }
    async fn exec_resize(&self, _id: &str, _height: u16, _width: u16) -> Answer<()> {
        Err(ApiError::absent())
    }

    async fn container_logs(&self, _id: &str, _options: LogOptions) -> Answer<Logs> {
        Err(ApiError::absent())
    }
    async fn service_logs(&self, _id: &str, _options: LogOptions) -> Answer<Logs> {
        Err(ApiError::absent())
    }
    async fn task_logs(&self, _id: &str, _options: LogOptions) -> Answer<Logs> {
        Err(ApiError::absent())
    }

    async fn volumes(&self, _filters: Filters) -> Answer<VolumeList> {
        Err(ApiError::absent())
    }
    async fn volume(&self, _name: &str) -> Answer<Volume> {
        Err(ApiError::absent())
    }
    async fn volume_create(&self, _request: VolumeCreateRequest) -> Answer<Volume> {
        Err(ApiError::absent())
    }
    /// Of a cluster's volumes alone.
    async fn volume_update(&self, _name: &str, _version: u64) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn volume_remove(&self, _name: &str, _force: bool) -> Answer<()> {
        Err(ApiError::absent())
    }
    async fn volumes_prune(&self, _filters: Filters) -> Answer<VolumesPruneResponse> {
        Err(ApiError::absent())
    }

    /// `types` are of `container`, `image`, `volume` and `build-cache`; none: all. What was not asked for is left out.
    async fn disk_usage(&self, _types: Vec<String>) -> Answer<DiskUsage> {
        Err(ApiError::absent())
    }

    /// Those that are kept since `since`, then those that come; an `until` to come is the router's to keep, but where it has passed,
    /// the flow ends after those that are kept.
    /// A client that does not keep up loses its stream rather than grow the daemon.
    async fn events(&self, _options: EventOptions) -> Answer<Flow<Event>> {
        Err(ApiError::absent())
    }
}
