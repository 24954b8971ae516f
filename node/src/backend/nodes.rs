//! `/nodes`.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_docker_api::convert::{ManagerView, node_spec_from_api, node_to_api};
use skep_docker_api::json;
use skep_docker_api::{ApiError, Filters, List};
use skep_manager::control::Request;
use skep_manager::lists::{self, find_node, manager_view, manager_views};
use skep_state::State;
use skep_types::Revision;

use super::swarm::tls_info;
use super::{Answer, DaemonBackend, error};

impl DaemonBackend {
    async fn manager_views(&self) -> Answer<BTreeMap<u64, ManagerView>> {
        Ok(manager_views(self.manager().await?.members().await))
    }

    pub(super) async fn list_nodes(&self, filters: Filters) -> Answer<List<json::Node>> {
        let view = self.fresh().await?;
        lists::nodes(view, &filters, self.tls().await, self.manager_views().await?)
    }

    pub(super) async fn inspect_node(&self, given: &str) -> Answer<json::Node> {
        let view = self.fresh().await?;
        let node = find_node(&view, given)?;
        let views = self.manager_views().await?;
        Ok(node_to_api(node, &self.tls().await, manager_view(node, &views)))
    }

    pub(super) async fn update_node(
        &self,
        given: &str,
        version: u64,
        spec: json::NodeSpec,
    ) -> Answer<()> {
        let view = self.fresh().await?;
        let id = find_node(&view, given)?.id;
        let spec = node_spec_from_api(&spec)?;
        let request = Request::UpdateNode { id, revision: Revision(version), spec };
        self.execute(request).await.map(drop)
    }

    pub(super) async fn remove_node(&self, given: &str, force: bool) -> Answer<()> {
        let view = self.fresh().await?;
        let id = find_node(&view, given)?.id;
        self.execute(Request::RemoveNode { id, force }).await.map(drop)
    }

    async fn tls(&self) -> json::TlsInfo {
        match self.swarm.active().await {
            Some(active) => tls_info(&active.root_pem()),
            None => json::TlsInfo::default(),
        }
    }

    /// Has the managers do it.
    pub(super) async fn execute(&self, request: Request) -> Answer<String> {
        let manager = self.manager().await?;
        manager.execute(request).await.map(|done| done.id).map_err(error::control)
    }

    /// The manager here, or Docker's words on why there is none.
    pub(super) async fn manager(&self) -> Answer<Arc<skep_manager::Manager>> {
        match self.swarm.active().await {
            None => Err(ApiError::not_in_swarm()),
            Some(active) => active.manager().ok_or_else(ApiError::not_manager),
        }
    }

    /// What holds everything that was acknowledged before.
    pub(super) async fn fresh(&self) -> Answer<State> {
        self.manager().await?.fresh_view().await.map_err(error::control)
    }
}
