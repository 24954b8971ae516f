//! What the daemon must be able to do for the router, in the API's own documents.
//!
//! Swarm and node calls must be given; the later groups answer as an engine without those routes until the daemon has them.

use async_trait::async_trait;

use crate::error::ApiError;
use crate::filters::Filters;
use crate::json::*;
use crate::logs::{LogOptions, Logs};
use crate::stream::{ByteStream, Flow};

type Answer<T> = Result<T, ApiError>;

#[async_trait]
pub trait Backend: Send + Sync + 'static {
    async fn version(&self) -> Answer<Version>;
    async fn info(&self) -> Answer<Info>;
    /// The `Swarm` header of `/_ping`: `inactive`, `active/manager`, `active/worker`, …
    async fn swarm_status(&self) -> String;

    /// Makes a swarm; gives this node's id.
    async fn swarm_init(&self, request: SwarmInitRequest) -> Answer<String>;
    async fn swarm_join(&self, request: SwarmJoinRequest) -> Answer<()>;
    async fn swarm_leave(&self, force: bool) -> Answer<()>;
    async fn swarm_inspect(&self) -> Answer<Swarm>;
    async fn swarm_update(&self, version: u64, spec: SwarmSpec, rotate: RotateTokens)
    -> Answer<()>;

    /// The key that unlocks managers; empty where they are not locked.
    async fn swarm_unlock_key(&self) -> Answer<UnlockKeyResponse> {
        Err(ApiError::absent())
    }
    async fn swarm_unlock(&self, _request: SwarmUnlockRequest) -> Answer<()> {
        Err(ApiError::absent())
    }

    async fn nodes(&self, filters: Filters) -> Answer<Vec<Node>>;
    /// By id, unique id prefix, or hostname; `self` is the client's business.
    async fn node(&self, id: &str) -> Answer<Node>;
    async fn node_update(&self, id: &str, version: u64, spec: NodeSpec) -> Answer<()>;
    async fn node_remove(&self, id: &str, force: bool) -> Answer<()>;

    /// `status` asks for each service's `ServiceStatus`.
    async fn services(&self, _filters: Filters, _status: bool) -> Answer<Vec<Service>> {
        Err(ApiError::absent())
    }
    async fn service(&self, _id: &str, _insert_defaults: bool) -> Answer<Service> {
        Err(ApiError::absent())
    }
    async fn service_create(&self, _spec: ServiceSpec) -> Answer<ServiceCreateResponse> {
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
    async fn service_remove(&self, _id: &str) -> Answer<()> {
        Err(ApiError::absent())
    }

    async fn tasks(&self, _filters: Filters) -> Answer<Vec<Task>> {
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
    async fn volume_remove(&self, _name: &str, _force: bool) -> Answer<()> {
        Err(ApiError::absent())
    }

    /// Those that are kept since `since`, then those that come; an `until` to come is the router's to keep, but where it has passed,
    /// the flow ends after those that are kept.
    /// A client that does not keep up loses its stream rather than grow the daemon.
    async fn events(&self, _options: EventOptions) -> Answer<Flow<Event>> {
        Err(ApiError::absent())
    }
}
