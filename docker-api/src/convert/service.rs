//! Services: the spec both ways, and the object with what the swarm made of it.

use skep_types::service::{UpdateState, UpdateStatus};
use skep_types::{Annotations, Service, ServiceMode, ServiceSpec};

use super::task_spec::{networks_from_api, task_spec_from_api, task_spec_to_api};
use super::{Answer, ResolveNetwork, endpoint, policy, timestamp, version};
use crate::error::ApiError;
use crate::json;

/// Reads a service's spec; networks are found by `resolve`, by id or name.
///
/// An empty name stays empty: Docker makes one up, which wants entropy and is the caller's.
/// Errors: as [`task_spec_from_api`], and what is wrong with mode, updates or ports.
pub fn service_spec_from_api(
    spec: &json::ServiceSpec,
    resolve: ResolveNetwork<'_>,
) -> Answer<ServiceSpec> {
    let mut task = task_spec_from_api(&spec.task_template, resolve)?;
    // Where clients before 1.25 put them; the newer place wins, as in Docker.
    if task.networks.is_empty() {
        task.networks = networks_from_api(&spec.networks, resolve)?;
    }
    let mode = mode_from_api(&spec.mode)?;
    if mode.is_job() && (spec.update_config.is_some() || spec.rollback_config.is_some()) {
        return Err(ApiError::invalid("update and rollback config cannot be specified for a job"));
    }
    Ok(ServiceSpec {
        annotations: Annotations { name: spec.name.clone(), labels: spec.labels.clone() },
        task,
        mode,
        update: policy::update_from_api(spec.update_config.as_ref())?,
        rollback: policy::update_from_api(spec.rollback_config.as_ref())?,
        endpoint: endpoint::spec_from_api(spec.endpoint_spec.as_ref())?,
    })
}

fn mode_from_api(mode: &json::ServiceMode) -> Answer<ServiceMode> {
    let json::ServiceMode { replicated, global, replicated_job, global_job } = mode;
    Ok(match (replicated, global, replicated_job, global_job) {
        (None, None, None, None) => ServiceMode::Replicated { replicas: 1 },
        (Some(replicated), None, None, None) => {
            ServiceMode::Replicated { replicas: replicated.replicas.unwrap_or(1) }
        }
        (None, Some(_), None, None) => ServiceMode::Global,
        (None, None, Some(job), None) => {
            let max_concurrent = job.max_concurrent.unwrap_or(1);
            let total_completions = job.total_completions.unwrap_or(max_concurrent);
            ServiceMode::ReplicatedJob { max_concurrent, total_completions }
        }
        (None, None, None, Some(_)) => ServiceMode::GlobalJob,
        _ => return Err(ApiError::invalid("must specify only one service mode")),
    })
}

fn mode_to_api(mode: ServiceMode) -> json::ServiceMode {
    let mut out = json::ServiceMode::default();
    match mode {
        ServiceMode::Replicated { replicas } => {
            out.replicated = Some(json::ReplicatedService { replicas: Some(replicas) });
        }
        ServiceMode::Global => out.global = Some(json::GlobalService {}),
        ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
            out.replicated_job = Some(json::ReplicatedJob {
                max_concurrent: Some(max_concurrent),
                total_completions: Some(total_completions),
            });
        }
        ServiceMode::GlobalJob => out.global_job = Some(json::GlobalService {}),
    }
    out
}

/// Writes a service's spec, every default spelled out.
pub fn service_spec_to_api(spec: &ServiceSpec) -> json::ServiceSpec {
    let updates = !spec.mode.is_job();
    json::ServiceSpec {
        name: spec.annotations.name.clone(),
        labels: spec.annotations.labels.clone(),
        task_template: task_spec_to_api(&spec.task),
        mode: mode_to_api(spec.mode),
        update_config: updates.then(|| policy::update_to_api(&spec.update)),
        rollback_config: updates.then(|| policy::update_to_api(&spec.rollback)),
        networks: Vec::new(),
        endpoint_spec: Some(endpoint::spec_to_api(&spec.endpoint)),
    }
}

fn status_to_api(status: &UpdateStatus) -> json::UpdateStatus {
    let state = match status.state {
        UpdateState::Updating => "updating",
        UpdateState::Paused => "paused",
        UpdateState::Completed => "completed",
        UpdateState::RollbackStarted => "rollback_started",
        UpdateState::RollbackPaused => "rollback_paused",
        UpdateState::RollbackCompleted => "rollback_completed",
    };
    json::UpdateStatus {
        state: state.to_owned(),
        started_at: Some(timestamp(status.started_at)),
        completed_at: status.completed_at.map(timestamp),
        message: status.message.clone(),
    }
}

/// Writes a service; `status` is what a list with `status=true` counts of its tasks.
pub fn service_to_api(service: &Service, status: Option<json::ServiceStatus>) -> json::Service {
    json::Service {
        id: service.id.to_string(),
        version: version(&service.meta),
        created_at: timestamp(service.meta.created_at),
        updated_at: timestamp(service.meta.updated_at),
        spec: service_spec_to_api(&service.spec),
        previous_spec: service.previous_spec.as_deref().map(service_spec_to_api),
        endpoint: endpoint::endpoint_to_api(service),
        update_status: service.update_status.as_ref().map(status_to_api),
        service_status: status,
        job_status: service.job.map(|job| json::JobStatus {
            job_iteration: json::ObjectVersion { index: job.iteration },
            last_execution: Some(timestamp(job.last_execution)),
        }),
    }
}
