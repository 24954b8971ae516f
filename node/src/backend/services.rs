//! `/services` and `/tasks`.

use std::sync::Arc;

use skep_docker_api::convert::{service_spec_from_api, service_to_api};
use skep_docker_api::json;
use skep_docker_api::{ApiError, Filters, List};
use skep_manager::control::Request;
use skep_manager::lists::{self, find_service, find_task, show_task};
use skep_types::{Payload, Revision, Task, defaults};

use super::networks::find_network;
use super::{Answer, DaemonBackend};

impl DaemonBackend {
    pub(super) async fn list_services(
        &self,
        filters: Filters,
        with_status: bool,
    ) -> Answer<List<json::Service>> {
        lists::services(self.fresh().await?, &filters, with_status)
    }

    pub(super) async fn inspect_service(&self, given: &str) -> Answer<json::Service> {
        let view = self.fresh().await?;
        Ok(service_to_api(find_service(&view, given)?, None))
    }

    pub(super) async fn create_service(
        &self,
        spec: json::ServiceSpec,
        registry_auth: Option<json::RegistryAuth>,
    ) -> Answer<json::ServiceCreateResponse> {
        let view = self.fresh().await?;
        let resolve = |name: &str| find_network(&view, name).map(|network| network.id);
        let mut spec = service_spec_from_api(&spec, &resolve)?;
        check_image(&spec.task.container.image)?;
        spec.task.container.registry_auth = kept_login(registry_auth)?;
        if spec.annotations.name.is_empty() {
            spec.annotations.name = super::names::made_up(rand::random());
        }
        let id = self.execute(Request::CreateService(spec)).await?;
        Ok(json::ServiceCreateResponse { id, ..Default::default() })
    }

    pub(super) async fn update_service(
        &self,
        given: &str,
        options: json::ServiceUpdateOptions,
        spec: json::ServiceSpec,
    ) -> Answer<json::ServiceUpdateResponse> {
        let view = self.fresh().await?;
        let service = find_service(&view, given)?;
        let (id, revision) = (service.id, Revision(options.version));
        let request = if options.rollback_previous {
            Request::RollbackService { id, revision }
        } else {
            let resolve = |name: &str| find_network(&view, name).map(|network| network.id);
            let mut spec = service_spec_from_api(&spec, &resolve)?;
            check_image(&spec.task.container.image)?;
            // No document has it: what stands is kept, unless another comes.
            let standing = match options.registry_auth_of_previous {
                true => service.previous_spec.as_ref(),
                false => Some(&service.spec),
            };
            spec.task.container.registry_auth = match options.registry_auth {
                Some(auth) => kept_login(Some(auth))?,
                None => standing
                    .map(|spec| spec.task.container.registry_auth.clone())
                    .unwrap_or_default(),
            };
            Request::UpdateService { id, revision, spec }
        };
        self.execute(request).await?;
        Ok(json::ServiceUpdateResponse::default())
    }

    pub(super) async fn rebalance_service(
        &self,
        given: &str,
        dry_run: bool,
    ) -> Answer<json::ServiceRebalanceResponse> {
        let view = self.fresh().await?;
        let service = find_service(&view, given)?;
        let (id, revision) = (service.id, service.meta.revision);
        let planned = self.manager().await?.moves(view.clone(), id).await;
        let mut moves = planned.map_err(super::error::control)?;
        let left = moves.len().saturating_sub(defaults::REBALANCE_MOVES_MAX);
        moves.truncate(defaults::REBALANCE_MOVES_MAX);
        if !dry_run && !moves.is_empty() {
            let tasks = moves.iter().map(|it| (it.task, it.to)).collect();
            self.execute(Request::RebalanceService { id, revision, tasks }).await?;
        }
        let placed =
            |task: &&Arc<Task>| task.node_id.is_some() && task.has_place() && task.is_wanted();
        let slot = |id| match view.tasks().get(id).map(|task| task.slot) {
            Some(skep_types::task::Slot::Replica(slot)) => slot,
            _ => 0,
        };
        let moves = moves.iter().map(|it| json::ServiceMove {
            task_id: it.task.to_string(),
            slot: slot(it.task),
            from: it.from.to_string(),
            to: it.to.to_string(),
        });
        Ok(json::ServiceRebalanceResponse {
            tasks: view.tasks_of_service(id).filter(placed).count() as u64,
            moves: moves.collect(),
            left: left as u64,
        })
    }

    pub(super) async fn remove_service(&self, given: &str) -> Answer<()> {
        let view = self.fresh().await?;
        let id = find_service(&view, given)?.id;
        self.execute(Request::RemoveService(id)).await.map(drop)
    }

    pub(super) async fn list_tasks(&self, filters: Filters) -> Answer<List<json::Task>> {
        lists::tasks(self.fresh().await?, &filters)
    }

    pub(super) async fn inspect_task(&self, given: &str) -> Answer<json::Task> {
        let view = self.fresh().await?;
        let task = find_task(&view, given)?;
        show_task(&view, task).ok_or_else(|| ApiError::not_found(format!("task {given} not found")))
    }
}

/// In SwarmKit's words. One that is missing is the managers' to refuse.
fn check_image(name: &str) -> Answer<()> {
    match name.parse::<skep_images::Reference>() {
        Err(_) if !name.is_empty() => {
            Err(ApiError::invalid(format!("ContainerSpec: {name:?} is not a valid repository/tag")))
        }
        _ => Ok(()),
    }
}

/// A login as it is kept with a service: as it came, if it is of a kind that nodes can use.
fn kept_login(auth: Option<json::RegistryAuth>) -> Answer<Payload> {
    let Some(auth) = auth else { return Ok(Payload::default()) };
    let header = auth.to_header();
    skep_containers::registry_login(auth)?;
    Ok(Payload(header.into_bytes().into()))
}
