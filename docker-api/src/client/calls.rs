//! The calls that send and receive whole documents.

use http::Method;

use super::{Answer, Client, encode, with_filters};
use crate::filters::Filters;
use crate::json::*;

impl Client {
    pub async fn ping(&self) -> Answer<()> {
        self.call(Method::GET, "/_ping", Vec::new()).await.map(drop)
    }
    pub async fn version(&self) -> Answer<Version> {
        self.get("/version").await
    }
    pub async fn info(&self) -> Answer<Info> {
        self.get("/info").await
    }

    pub async fn swarm_init(&self, request: &SwarmInitRequest) -> Answer<String> {
        self.create("/swarm/init", request).await
    }
    pub async fn swarm_join(&self, request: &SwarmJoinRequest) -> Answer<()> {
        self.post("/swarm/join", request).await
    }
    pub async fn swarm_leave(&self, force: bool) -> Answer<()> {
        self.post(if force { "/swarm/leave?force=1" } else { "/swarm/leave" }, &()).await
    }
    pub async fn swarm_inspect(&self) -> Answer<Swarm> {
        self.get("/swarm").await
    }
    pub async fn swarm_update(
        &self,
        version: u64,
        spec: &SwarmSpec,
        rotate: RotateTokens,
    ) -> Answer<()> {
        let RotateTokens { worker, manager, manager_unlock_key } = rotate;
        let path = format!(
            "/swarm/update?version={version}&rotateWorkerToken={worker}&rotateManagerToken={manager}&rotateManagerUnlockKey={manager_unlock_key}"
        );
        self.post(&path, spec).await
    }

    pub async fn swarm_unlock_key(&self) -> Answer<UnlockKeyResponse> {
        self.get("/swarm/unlockkey").await
    }
    pub async fn swarm_unlock(&self, request: &SwarmUnlockRequest) -> Answer<()> {
        self.post("/swarm/unlock", request).await
    }

    pub async fn nodes(&self, filters: &Filters) -> Answer<Vec<Node>> {
        self.list("/nodes", filters).await
    }
    pub async fn node(&self, id: &str) -> Answer<Node> {
        self.get(&format!("/nodes/{}", encode(id))).await
    }
    pub async fn node_update(&self, id: &str, version: u64, spec: &NodeSpec) -> Answer<()> {
        self.post(&format!("/nodes/{}/update?version={version}", encode(id)), spec).await
    }
    pub async fn node_remove(&self, id: &str, force: bool) -> Answer<()> {
        let query = if force { "?force=1" } else { "" };
        self.delete(&format!("/nodes/{}{query}", encode(id))).await
    }

    pub async fn services(&self, filters: &Filters, status: bool) -> Answer<Vec<Service>> {
        self.list(if status { "/services?status=true" } else { "/services" }, filters).await
    }
    pub async fn service(&self, id: &str, insert_defaults: bool) -> Answer<Service> {
        self.get(&format!("/services/{}?insertDefaults={insert_defaults}", encode(id))).await
    }
    pub async fn service_create(
        &self,
        spec: &ServiceSpec,
        auth: Option<&RegistryAuth>,
    ) -> Answer<ServiceCreateResponse> {
        self.create_with("/services/create", auth, spec).await
    }
    pub async fn service_update(
        &self,
        id: &str,
        options: &ServiceUpdateOptions,
        spec: &ServiceSpec,
    ) -> Answer<ServiceUpdateResponse> {
        let rollback = if options.rollback_previous { "&rollback=previous" } else { "" };
        let from = match options.registry_auth_of_previous {
            true => "&registryAuthFrom=previous-spec",
            false => "",
        };
        let version = options.version;
        let path = format!("/services/{}/update?version={version}{rollback}{from}", encode(id));
        self.create_with(&path, options.registry_auth.as_ref(), spec).await
    }
    pub async fn service_rebalance(
        &self,
        id: &str,
        dry_run: bool,
    ) -> Answer<ServiceRebalanceResponse> {
        let path = format!("/services/{}/rebalance?dryRun={dry_run}", encode(id));
        self.create(&path, &serde_json::json!({})).await
    }
    pub async fn service_remove(&self, id: &str) -> Answer<()> {
        self.delete(&format!("/services/{}", encode(id))).await
    }

    pub async fn tasks(&self, filters: &Filters) -> Answer<Vec<Task>> {
        self.list("/tasks", filters).await
    }
    pub async fn task(&self, id: &str) -> Answer<Task> {
        self.get(&format!("/tasks/{}", encode(id))).await
    }

    pub async fn secrets(&self, filters: &Filters) -> Answer<Vec<Secret>> {
        self.list("/secrets", filters).await
    }
    pub async fn secret(&self, id: &str) -> Answer<Secret> {
        self.get(&format!("/secrets/{}", encode(id))).await
    }
    pub async fn secret_create(&self, spec: &SecretSpec) -> Answer<IdResponse> {
        self.create("/secrets/create", spec).await
    }
    pub async fn secret_update(&self, id: &str, version: u64, spec: &SecretSpec) -> Answer<()> {
        self.post(&format!("/secrets/{}/update?version={version}", encode(id)), spec).await
    }
    pub async fn secret_remove(&self, id: &str) -> Answer<()> {
        self.delete(&format!("/secrets/{}", encode(id))).await
    }

    pub async fn configs(&self, filters: &Filters) -> Answer<Vec<Config>> {
        self.list("/configs", filters).await
    }
    pub async fn config(&self, id: &str) -> Answer<Config> {
        self.get(&format!("/configs/{}", encode(id))).await
    }
    pub async fn config_create(&self, spec: &ConfigSpec) -> Answer<IdResponse> {
        self.create("/configs/create", spec).await
    }
    pub async fn config_update(&self, id: &str, version: u64, spec: &ConfigSpec) -> Answer<()> {
        self.post(&format!("/configs/{}/update?version={version}", encode(id)), spec).await
    }
    pub async fn config_remove(&self, id: &str) -> Answer<()> {
        self.delete(&format!("/configs/{}", encode(id))).await
    }

    pub async fn networks(&self, filters: &Filters) -> Answer<Vec<Network>> {
        self.list("/networks", filters).await
    }
    pub async fn network(&self, id: &str) -> Answer<Network> {
        self.get(&format!("/networks/{}", encode(id))).await
    }
    /// With the services and their tasks there.
    pub async fn network_verbose(&self, id: &str) -> Answer<Network> {
        self.get(&format!("/networks/{}?verbose=true", encode(id))).await
    }
    pub async fn network_create(
        &self,
        request: &NetworkCreateRequest,
    ) -> Answer<NetworkCreateResponse> {
        self.create("/networks/create", request).await
    }
    pub async fn network_remove(&self, id: &str) -> Answer<()> {
        self.delete(&format!("/networks/{}", encode(id))).await
    }
    pub async fn images(&self, filters: &Filters) -> Answer<Vec<ImageSummary>> {
        self.list("/images/json", filters).await
    }
    pub async fn image(&self, name: &str) -> Answer<ImageInspect> {
        self.get(&format!("/images/{}/json", encode(name))).await
    }
    pub async fn image_tag(&self, name: &str, request: &TagRequest) -> Answer<()> {
        let TagRequest { repo, tag } = request;
        let query = format!("repo={}&tag={}", encode(repo), encode(tag));
        self.post(&format!("/images/{}/tag?{query}", encode(name)), &()).await
    }
    pub async fn image_remove(
        &self,
        name: &str,
        options: ImageRemoveOptions,
    ) -> Answer<Vec<ImageDeleteItem>> {
        let ImageRemoveOptions { force, no_prune } = options;
        let query = format!("force={}&noprune={}", u8::from(force), u8::from(no_prune));
        self.json(Method::DELETE, &format!("/images/{}?{query}", encode(name)), Vec::new()).await
    }

    pub async fn containers(
        &self,
        options: &ContainerListOptions,
    ) -> Answer<Vec<ContainerSummary>> {
        let (all, size) = (u8::from(options.all), u8::from(options.size));
        let path = format!("/containers/json?all={all}&size={size}&limit={}", options.limit);
        self.list(&path, &options.filters).await
    }
    pub async fn container(&self, id: &str, size: bool) -> Answer<ContainerInspect> {
        self.get(&format!("/containers/{}/json?size={}", encode(id), u8::from(size))).await
    }

    pub async fn volumes(&self, filters: &Filters) -> Answer<VolumeList> {
        self.get(&with_filters("/volumes", filters)).await
    }
    pub async fn volume(&self, name: &str) -> Answer<Volume> {
        self.get(&format!("/volumes/{}", encode(name))).await
    }
    pub async fn volume_create(&self, request: &VolumeCreateRequest) -> Answer<Volume> {
        self.create("/volumes/create", request).await
    }
    pub async fn volume_remove(&self, name: &str, force: bool) -> Answer<()> {
        let query = if force { "?force=1" } else { "" };
        self.delete(&format!("/volumes/{}{query}", encode(name))).await
    }
}
