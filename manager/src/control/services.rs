//! Services: what a spec must hold to be taken.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skep_scheduler::Constraint;
use skep_state::{Change, State};
use skep_template::service::Names;
use skep_types::resources::GenericResource;
use skep_types::service::{
    EndpointMode, EndpointSpec, JobStatus, PortConfig, PublishMode, TaskSpec, UpdateState,
    UpdateStatus,
};
use skep_types::{
    MountKind, Resources, Revision, Service, ServiceId, ServiceMode, ServiceSpec, Timestamp,
    UpdateConfig, defaults, dependency, down_grace, drain, privilege, session, validate,
};

use super::{ControlError, Plan, plan};

pub fn create(
    state: &State,
    spec: ServiceSpec,
    id: ServiceId,
    now: Timestamp,
) -> Result<Plan, ControlError> {
    check(state, &spec)?;
    ports_are_free(state, &spec, None)?;
    let first = JobStatus { iteration: 0, last_execution: now };
    let job = spec.mode.is_job().then_some(first);
    let service = Service { job, ..Service::new(id, Arc::new(spec)) };
    Ok(plan(id, Change::Create(Arc::new(service))))
}

pub fn update(
    state: &State,
    id: ServiceId,
    revision: Revision,
    spec: ServiceSpec,
    now: Timestamp,
) -> Result<Plan, ControlError> {
    let service = find(state, id)?;
    if service.spec.annotations.name != spec.annotations.name {
        return Err(ControlError::invalid("renaming services is not supported"));
    }
    if std::mem::discriminant(&service.spec.mode) != std::mem::discriminant(&spec.mode) {
        return Err(ControlError::invalid("service mode change is not allowed"));
    }
    check(state, &spec)?;
    if spec.endpoint != service.spec.endpoint {
        ports_are_free(state, &spec, Some(id))?;
    }
    // Whatever an earlier update came to: this one starts afresh.
    Ok(respec(service, revision, Arc::new(spec), None, now))
}

pub fn rollback(
    state: &State,
    id: ServiceId,
    revision: Revision,
    now: Timestamp,
) -> Result<Plan, ControlError> {
    let service = find(state, id)?;
    match &service.previous_spec {
        Some(previous) => {
            ports_are_free(state, previous, Some(id))?;
            let status = UpdateStatus {
                state: UpdateState::RollbackStarted,
                started_at: now,
                completed_at: None,
                message: "manually requested rollback".to_owned(),
                moving: Default::default(),
            };
            // A job has nothing to roll back: its tasks begin anew, as after every update.
            let status = (!previous.mode.is_job()).then_some(status);
            Ok(respec(service, revision, Arc::clone(previous), status, now))
        }
        None => {
            let name = &service.spec.annotations.name;
            Err(ControlError::precondition(format!("service {name} does not have a previous spec")))
        }
    }
}

pub fn find(state: &State, id: ServiceId) -> Result<&Arc<Service>, ControlError> {
    state.services().get(id).ok_or_else(|| ControlError::not_found("service", id))
}

fn respec(
    service: &Service,
    revision: Revision,
    spec: Arc<ServiceSpec>,
    status: Option<UpdateStatus>,
    now: Timestamp,
) -> Plan {
    let mut changed = service.clone();
    changed.meta.revision = revision;
    changed.spec = spec;
    changed.update_status = status;
    // SwarmKit's: every update of a job runs it again, whatever it changes.
    changed.job = service
        .job
        .map(|job| JobStatus { iteration: job.iteration.saturating_add(1), last_execution: now });
    plan(service.id, Change::Update(Arc::new(changed)))
}

/// Everything about a spec that can be said without looking at other services.
fn check(state: &State, spec: &ServiceSpec) -> Result<(), ControlError> {
    validate::name(&spec.annotations.name)?;
    validate::labels(&spec.annotations.labels)?;
    drain::of(&spec.annotations.labels)
        .map_err(|error| ControlError::invalid(error.to_string()))?;
    down_grace::asked(&spec.annotations.labels)
        .map_err(|error| ControlError::invalid(error.to_string()))?;
    session::of(&spec.annotations.labels)
        .map_err(|error| ControlError::invalid(error.to_string()))?;
    check_mode(spec.mode)?;
    if let Some(label) = spec.annotations.labels.get(dependency::LABEL) {
        dependency::parse(label).map_err(|error| ControlError::invalid(error.to_string()))?;
    }
    check_task(&spec.task)?;
    if !spec.mode.is_job() {
        check_update("update", &spec.update)?;
        check_update("rollback", &spec.rollback)?;
    } else if [&spec.update, &spec.rollback].iter().any(|it| **it != UpdateConfig::default()) {
        return Err(ControlError::invalid("Jobs may not have an update config"));
    }
    check_endpoint(&spec.endpoint)?;
    let by_ingress = |port: &PortConfig| port.publish_mode == PublishMode::Ingress;
    if spec.endpoint.ports.iter().any(by_ingress)
        && !state.networks().iter().any(|network| network.spec.ingress)
    {
        return Err(ControlError::precondition(
            "service needs ingress network, but no ingress network is present",
        ));
    }
    let global = matches!(spec.mode, ServiceMode::Global | ServiceMode::GlobalJob);
    if global && spec.task.placement.max_replicas_per_node > 0 {
        return Err(ControlError::invalid(
            "replicas-max-per-node can only be used with replicated mode",
        ));
    }
    for at in &spec.task.networks {
        let network = state.networks().get(at.target);
        let network = network.ok_or_else(|| ControlError::not_found("network", at.target))?;
        if network.spec.ingress {
            return Err(ControlError::invalid(
                "Service cannot be explicitly attached to the ingress network \"ingress\"",
            ));
        }
    }
    Ok(())
}

fn check_mode(mode: ServiceMode) -> Result<(), ControlError> {
    // Numbers that are negative in the eyes of clients that count with signs.
    let negative = |number: u64| i64::try_from(number).is_err();
    match mode {
        ServiceMode::Replicated { replicas } if negative(replicas) => {
            Err(ControlError::invalid("Number of replicas must be non-negative"))
        }
        ServiceMode::ReplicatedJob { max_concurrent, .. } if negative(max_concurrent) => {
            Err(ControlError::invalid("Maximum concurrent jobs must not be negative"))
        }
        ServiceMode::ReplicatedJob { total_completions, .. } if negative(total_completions) => {
            Err(ControlError::invalid("Total completed jobs must not be negative"))
        }
        _ => Ok(()),
    }
}

fn check_task(task: &TaskSpec) -> Result<(), ControlError> {
    let container = &task.container;
    if container.image.is_empty() {
        return Err(ControlError::invalid("ContainerSpec: image reference must be provided"));
    }
    validate::labels(&container.labels)?;
    privilege::of(&container.labels).map_err(|error| ControlError::invalid(error.to_string()))?;
    let bytes: usize = container
        .command
        .iter()
        .chain(&container.args)
        .chain(&container.env)
        .map(String::len)
        .sum();
    if bytes > defaults::ARGUMENTS_BYTES_MAX {
        return Err(ControlError::invalid(format!(
            "command, arguments and environment are too large: expected at most {} bytes together, \
             got {bytes}",
            defaults::ARGUMENTS_BYTES_MAX
        )));
    }
    // With names of nobody: what is malformed or unknown is known now.
    Names::default()
        .fill(&mut container.clone())
        .map_err(|error| ControlError::invalid(error.to_string()))?;
    check_mounts(task)?;
    check_targets(task)?;
    for resources in [&task.resources.limits, &task.resources.reservations] {
        check_resources(resources)?;
    }
    for constraint in &task.placement.constraints {
        Constraint::parse(constraint).map_err(|error| ControlError::invalid(error.to_string()))?;
    }
    Ok(())
}

fn check_mounts(task: &TaskSpec) -> Result<(), ControlError> {
    let mut targets = BTreeSet::new();
    for mount in &task.container.mounts {
        if !mount.target.starts_with('/') {
            let target = &mount.target;
            return Err(ControlError::invalid(format!(
                "invalid mount target, must be an absolute path: {target}"
            )));
        }
        if mount.kind == MountKind::Bind && !mount.source.starts_with('/') {
            let source = &mount.source;
            return Err(ControlError::invalid(format!(
                "invalid bind mount source, must be an absolute path: {source}"
            )));
        }
        if mount.kind == MountKind::Tmpfs && !mount.source.is_empty() {
            return Err(ControlError::invalid("invalid tmpfs source, source must be empty"));
        }
        if !targets.insert(mount.target.trim_end_matches('/')) {
            let target = &mount.target;
            return Err(ControlError::invalid(format!(
                "ContainerSpec: duplicate mount point: {target}"
            )));
        }
    }
    Ok(())
}

/// Two secrets, or two configs, cannot be the same file.
fn check_targets(task: &TaskSpec) -> Result<(), ControlError> {
    let secrets = task.container.secrets.iter().map(|it| ("secret", &it.secret_name, &it.target));
    let configs = task.container.configs.iter().map(|it| ("config", &it.config_name, &it.target));
    let mut seen = BTreeSet::new();
    for (kind, name, target) in secrets.chain(configs) {
        if target.name.is_empty() {
            return Err(ControlError::invalid(format!("malformed {kind} reference, no target")));
        }
        if !seen.insert((kind, &target.name)) {
            return Err(ControlError::invalid(format!(
                "{kind} references '{name}' and another have a conflicting target: '{}'",
                target.name
            )));
        }
    }
    Ok(())
}

fn check_resources(resources: &Resources) -> Result<(), ControlError> {
    // Docker refuses less than a thousandth of a CPU, the least that the kernel's quota can say.
    const NANO_CPUS_MIN: i64 = 1_000_000;
    if resources.nano_cpus != 0 && resources.nano_cpus < NANO_CPUS_MIN {
        let cpus = resources.nano_cpus as f64 / 1e9;
        return Err(ControlError::invalid(format!(
            "invalid cpu value {cpus}: Must be at least {}",
            NANO_CPUS_MIN as f64 / 1e9
        )));
    }
    if resources.memory_bytes != 0 && resources.memory_bytes < defaults::MEMORY_BYTES_MIN {
        let bytes = resources.memory_bytes;
        return Err(ControlError::invalid(format!(
            "invalid memory value {bytes}: Must be at least {}MiB",
            defaults::MEMORY_BYTES_MIN >> 20
        )));
    }
    let mut kinds = BTreeSet::new();
    for resource in &resources.generic {
        let kind = resource.kind();
        match resource {
            // SwarmKit's: a service asks for so many, and the scheduler says which.
            GenericResource::Named { .. } => {
                return Err(ControlError::invalid(format!("invalid argument for resource {kind}")));
            }
            GenericResource::Discrete { value, .. } if *value < 0 => {
                return Err(ControlError::invalid(format!(
                    "cannot ask for negative resource {kind}"
                )));
            }
            GenericResource::Discrete { .. } if kind.is_empty() || !kinds.insert(kind) => {
                return Err(ControlError::invalid(format!(
                    "generic resource '{kind}' must have a kind and be asked for once"
                )));
            }
            GenericResource::Discrete { .. } => {}
        }
    }
    Ok(())
}

fn check_update(which: &str, config: &UpdateConfig) -> Result<(), ControlError> {
    if !(0.0..=1.0).contains(&config.max_failure_ratio) {
        return Err(ControlError::invalid(format!(
            "TaskSpec: {which}-maxfailureratio cannot be less than 0 or bigger than 1"
        )));
    }
    // The longest that fits a signed count of nanoseconds, as the wire has it.
    const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);
    if config.delay > LONGEST || config.monitor > LONGEST {
        return Err(ControlError::invalid(format!("TaskSpec: {which}-delay is too long")));
    }
    Ok(())
}

fn check_endpoint(endpoint: &EndpointSpec) -> Result<(), ControlError> {
    let mut published = BTreeSet::new();
    for port in &endpoint.ports {
        let ingress = port.publish_mode == PublishMode::Ingress;
        if ingress && endpoint.mode == EndpointMode::DnsRoundRobin {
            return Err(ControlError::invalid(
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
            ));
        }
        if port.target_port == 0 {
            return Err(ControlError::invalid("EndpointSpec: target port must be provided"));
        }
        if port.published_port != 0 && !published.insert((port.protocol, port.published_port)) {
            return Err(ControlError::invalid("EndpointSpec: duplicate published ports provided"));
        }
    }
    Ok(())
}

/// A port that every node answers for one service is no other's, on no node; those on the nodes'
/// own addresses go by node, and the scheduler keeps two of one node apart. `apply` itself holds
/// the first half alone, whatever it is asked.
fn ports_are_free(
    state: &State,
    spec: &ServiceSpec,
    own: Option<ServiceId>,
) -> Result<(), ControlError> {
    for port in spec.endpoint.ports.iter().filter(|port| port.published_port != 0) {
        let (protocol, number) = (port.protocol, port.published_port);
        let others = |id: &ServiceId| Some(*id) != own;
        if let Some(owner) = state.port_owner(protocol, number).filter(others) {
            return Err(in_use(state, number, owner, "an ingress port"));
        }
        let ingress = port.publish_mode == PublishMode::Ingress;
        if let Some(user) = state.host_port_users(protocol, number).find(others)
            && ingress
        {
            return Err(in_use(state, number, user, "a host-published port"));
        }
    }
    Ok(())
}

fn in_use(state: &State, port: u16, owner: ServiceId, how: &str) -> ControlError {
    let name = state.services().get(owner).map(|it| it.spec.annotations.name.as_str());
    let name = name.unwrap_or_default();
    ControlError::invalid(format!(
        "port '{port}' is already in use by service '{name}' ({owner}) as {how}"
    ))
}
