//! Services: what a user asks for, and a service as it stands.

use std::sync::Arc;

use skep_types::service::{JobStatus, NetworkAttachmentConfig, Placement};
use skep_types::{Revision, Service, ServiceId, ServiceMode, ServiceSpec, TaskSpec, Timestamp};

use super::error::{At, ConvertError};
use super::field::{CompactId, absent, id, list, list_with, messages, optional, or_default, part};
use crate::swarmkit::placement_preference::Preference;
use crate::swarmkit::service_spec::Mode;
use crate::swarmkit::task_spec::Runtime;
use crate::{state, swarmkit};

impl From<&NetworkAttachmentConfig> for swarmkit::NetworkAttachmentConfig {
    fn from(config: &NetworkAttachmentConfig) -> Self {
        Self {
            target: config.target.to_string(),
            aliases: config.aliases.clone(),
            ..Self::default()
        }
    }
}

impl TryFrom<swarmkit::NetworkAttachmentConfig> for NetworkAttachmentConfig {
    type Error = ConvertError;

    fn try_from(message: swarmkit::NetworkAttachmentConfig) -> Result<Self, ConvertError> {
        absent(message.addresses.is_empty(), "a fixed address", "addresses")?;
        let plain = message.driver_attachment_opts.is_empty();
        absent(plain, "a driver's option", "driver_attachment_opts")?;
        Ok(Self { target: id(&message.target, "target")?, aliases: message.aliases })
    }
}

impl From<&Placement> for swarmkit::Placement {
    fn from(placement: &Placement) -> Self {
        let spread = placement.spread.iter().map(|descriptor| {
            let spread_descriptor = descriptor.clone();
            let preference = Preference::Spread(swarmkit::SpreadOver { spread_descriptor });
            swarmkit::PlacementPreference { preference: Some(preference) }
        });
        let platforms = placement.platforms.iter().map(|(os, architecture)| swarmkit::Platform {
            architecture: architecture.clone(),
            os: os.clone(),
        });
        Self {
            constraints: placement.constraints.clone(),
            preferences: spread.collect(),
            platforms: platforms.collect(),
            max_replicas: placement.max_replicas_per_node,
        }
    }
}

impl TryFrom<swarmkit::Placement> for Placement {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Placement) -> Result<Self, ConvertError> {
        let spread = |message: swarmkit::PlacementPreference| match message.preference {
            Some(Preference::Spread(over)) => Ok(over.spread_descriptor),
            None => Err(ConvertError::missing()).at("spread"),
        };
        Ok(Self {
            constraints: message.constraints,
            spread: list_with(message.preferences, "preferences", spread)?,
            max_replicas_per_node: message.max_replicas,
            platforms: message.platforms.into_iter().map(|p| (p.os, p.architecture)).collect(),
        })
    }
}

impl From<&TaskSpec> for swarmkit::TaskSpec {
    fn from(spec: &TaskSpec) -> Self {
        let mut container = swarmkit::ContainerSpec::from(&spec.container);
        container.pids_limit = spec.resources.limits.pids;
        Self {
            resources: Some((&spec.resources).into()),
            restart: Some((&spec.restart).into()),
            placement: Some((&spec.placement).into()),
            log_driver: spec.log_driver.as_ref().map(Into::into),
            networks: messages(&spec.networks),
            force_update: spec.force_update,
            resource_references: Vec::new(),
            runtime: Some(Runtime::Container(container)),
        }
    }
}

impl TryFrom<swarmkit::TaskSpec> for TaskSpec {
    type Error = ConvertError;

    fn try_from(message: swarmkit::TaskSpec) -> Result<Self, ConvertError> {
        let container = match message.runtime {
            Some(Runtime::Container(container)) => Ok(container),
            Some(Runtime::Attachment(_)) => {
                Err(ConvertError::unsupported("a container outside the swarm")).at("attachment")
            }
            Some(Runtime::Generic(_)) => {
                Err(ConvertError::unsupported("a runtime other than containers")).at("generic")
            }
            None => Err(ConvertError::missing()).at("container"),
        }?;
        // Said again by the container's secrets and configs, where it is read.
        let plain = message.resource_references.is_empty();
        absent(plain, "a resource that no container names", "resource_references")?;
        let pids = container.pids_limit;
        let mut spec = Self {
            container: part(Some(container), "container")?,
            resources: or_default(message.resources, "resources")?,
            restart: or_default(message.restart, "restart")?,
            placement: or_default(message.placement, "placement")?,
            networks: list(message.networks, "networks")?,
            log_driver: optional(message.log_driver, "log_driver")?,
            force_update: message.force_update,
        };
        spec.resources.limits.pids = pids;
        Ok(spec)
    }
}

impl From<ServiceMode> for Mode {
    fn from(mode: ServiceMode) -> Self {
        match mode {
            ServiceMode::Replicated { replicas } => {
                Self::Replicated(swarmkit::ReplicatedService { replicas })
            }
            ServiceMode::Global => Self::Global(swarmkit::GlobalService {}),
            ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
                Self::ReplicatedJob(swarmkit::ReplicatedJob { max_concurrent, total_completions })
            }
            ServiceMode::GlobalJob => Self::GlobalJob(swarmkit::GlobalJob {}),
        }
    }
}

impl From<Mode> for ServiceMode {
    fn from(message: Mode) -> Self {
        match message {
            Mode::Replicated(mode) => Self::Replicated { replicas: mode.replicas },
            Mode::Global(_) => Self::Global,
            Mode::ReplicatedJob(mode) => Self::ReplicatedJob {
                max_concurrent: mode.max_concurrent,
                total_completions: mode.total_completions,
            },
            Mode::GlobalJob(_) => Self::GlobalJob,
        }
    }
}

impl From<&ServiceSpec> for swarmkit::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        Self {
            annotations: Some((&spec.annotations).into()),
            task: Some((&spec.task).into()),
            update: Some((&spec.update).into()),
            networks: Vec::new(),
            endpoint: Some((&spec.endpoint).into()),
            rollback: Some((&spec.rollback).into()),
            mode: Some(spec.mode.into()),
        }
    }
}

impl TryFrom<swarmkit::ServiceSpec> for ServiceSpec {
    type Error = ConvertError;

    fn try_from(message: swarmkit::ServiceSpec) -> Result<Self, ConvertError> {
        absent(message.networks.is_empty(), "a network beside the task's", "networks")?;
        Ok(Self {
            annotations: part(message.annotations, "annotations")?,
            task: part(message.task, "task")?,
            mode: message.mode.ok_or_else(ConvertError::missing).at("mode")?.into(),
            update: or_default(message.update, "update")?,
            rollback: or_default(message.rollback, "rollback")?,
            endpoint: or_default(message.endpoint, "endpoint")?,
        })
    }
}

impl From<JobStatus> for state::JobStatus {
    fn from(status: JobStatus) -> Self {
        Self { iteration: status.iteration, last_execution_ns: status.last_execution.0 }
    }
}

impl From<state::JobStatus> for JobStatus {
    fn from(message: state::JobStatus) -> Self {
        Self { iteration: message.iteration, last_execution: Timestamp(message.last_execution_ns) }
    }
}

impl From<&Service> for state::Service {
    fn from(service: &Service) -> Self {
        Self {
            id: service.id.to_bytes(),
            meta: Some((&service.meta).into()),
            spec: Some((&*service.spec).into()),
            spec_version: service.spec_version.0,
            previous_spec: service.previous_spec.as_deref().map(Into::into),
            previous_spec_version: service.previous_spec_version.map(|version| version.0),
            endpoint: service.endpoint.as_ref().map(Into::into),
            update_status: service.update_status.as_ref().map(Into::into),
            job_status: service.job.map(Into::into),
        }
    }
}

impl TryFrom<state::Service> for Service {
    type Error = ConvertError;

    fn try_from(message: state::Service) -> Result<Self, ConvertError> {
        Ok(Self {
            id: ServiceId::from_bytes(&message.id, "id")?,
            meta: part(message.meta, "meta")?,
            spec: Arc::new(part(message.spec, "spec")?),
            spec_version: Revision(message.spec_version),
            previous_spec: optional(message.previous_spec, "previous_spec")?.map(Arc::new),
            previous_spec_version: message.previous_spec_version.map(Revision),
            endpoint: optional(message.endpoint, "endpoint")?,
            update_status: optional(message.update_status, "update_status")?,
            job: message.job_status.map(Into::into),
        })
    }
}
