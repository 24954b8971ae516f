//! Which objects of the swarm a list shows: the filters of each list, checked once, then asked for every object.
//!
//! Names and ids match from their start, and one value of a name is enough; labels must all be there.

use skep_types::{
    Annotations, Node, NodeId, NodeRole, Service, ServiceId, ServiceMode, Task, TaskState,
};

use super::Filters;
use crate::error::ApiError;

type Answer<T> = Result<T, ApiError>;

/// The filters of `GET /services`: id, name, label, mode, runtime.
#[derive(Debug, Clone)]
pub struct ServiceFilter(Filters);

impl ServiceFilter {
    pub fn new(filters: &Filters) -> Answer<Self> {
        filters.only(&["id", "name", "label", "mode", "runtime"])?;
        Ok(Self(filters.clone()))
    }

    pub fn matches(&self, service: &Service) -> bool {
        let mode = match service.spec.mode {
            ServiceMode::Replicated { .. } => "replicated",
            ServiceMode::Global => "global",
            ServiceMode::ReplicatedJob { .. } => "replicated-job",
            ServiceMode::GlobalJob => "global-job",
        };
        let annotations = &service.spec.annotations;
        self.0.prefix("name", &annotations.name)
            && self.0.exact("mode", mode)
            && self.0.exact("runtime", "container")
            && self.0.labels("label", &annotations.labels)
            && self.0.id(service.id)
    }
}

/// The filters of `GET /nodes`: id, name (the host's), label (the engine's), node.label, role, membership.
#[derive(Debug, Clone)]
pub struct NodeFilter(Filters);

impl NodeFilter {
    pub fn new(filters: &Filters) -> Answer<Self> {
        filters.only(&["id", "name", "label", "node.label", "role", "membership"])?;
        filters.known("role", &["worker", "manager"])?;
        filters.known("membership", &["accepted", "pending"])?;
        Ok(Self(filters.clone()))
    }

    pub fn matches(&self, node: &Node) -> bool {
        let role = match node.spec.role {
            NodeRole::Worker => "worker",
            NodeRole::Manager => "manager",
        };
        let none = Default::default();
        let description = node.description.as_ref();
        self.0.prefix("name", description.map_or("", |it| it.hostname.as_str()))
            && self.0.caseless("role", role)
            // Whoever is a node was accepted.
            && self.0.caseless("membership", "accepted")
            && self.0.labels("label", description.map_or(&none, |it| &it.engine_labels))
            && self.0.labels("node.label", &node.spec.annotations.labels)
            && self.0.id(node.id)
    }
}

/// The filters of `GET /tasks`: id, name, label (its service's), service, node, desired-state, runtime, and whether it is up to date.
#[derive(Debug, Clone)]
pub struct TaskFilter {
    filters: Filters,
    services: Vec<ServiceId>,
    nodes: Vec<NodeId>,
}

impl TaskFilter {
    /// Services and nodes may be named by id, name or prefix: `service` and `node` find them, with their errors.
    pub fn new(
        filters: &Filters,
        service: &dyn Fn(&str) -> Answer<ServiceId>,
        node: &dyn Fn(&str) -> Answer<NodeId>,
    ) -> Answer<Self> {
        filters.only(&[
            "id",
            "name",
            "label",
            "service",
            "node",
            "desired-state",
            "_up-to-date",
            "runtime",
        ])?;
        filters.known("desired-state", &TaskState::ALL.map(TaskState::name))?;
        Ok(Self {
            services: filters.values("service").map(service).collect::<Answer<_>>()?,
            nodes: filters.values("node").map(node).collect::<Answer<_>>()?,
            filters: filters.clone(),
        })
    }

    /// Only tasks of these services are shown, if it names any.
    pub fn services(&self) -> &[ServiceId] {
        &self.services
    }

    /// Only tasks on these nodes are shown, if it names any.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Whether a list shows the task; `service` is the one it belongs to, where it still stands.
    pub fn matches(&self, task: &Task, service: Option<&Service>) -> bool {
        let none = Annotations::default();
        let annotations = service.map_or(&none, |it| &it.spec.annotations);
        let desired = TaskState::from(task.desired_state).name();
        let up_to_date = || {
            service.is_some_and(|it| match it.job {
                Some(job) => task.job_iteration == Some(job.iteration),
                None => it.spec_version == task.spec_version && !it.moves(task.id),
            })
        };
        (self.services.is_empty() || self.services.contains(&task.service_id))
            && (self.nodes.is_empty() || task.node_id.is_some_and(|id| self.nodes.contains(&id)))
            && self.filters.caseless("desired-state", desired)
            && self.filters.exact("runtime", "container")
            && self.filters.labels("label", &annotations.labels)
            && self.filters.id(task.id)
            && (!self.filters.0.contains_key("_up-to-date") || up_to_date())
            && (!self.filters.0.contains_key("name")
                || self.filters.prefix("name", &task_name(task, &annotations.name)))
    }
}

/// A task's name as SwarmKit puts it together.
fn task_name(task: &Task, service: &str) -> String {
    match task.slot {
        skep_types::task::Slot::Replica(slot) => format!("{service}.{slot}.{}", task.id),
        skep_types::task::Slot::Node(node) => format!("{service}.{node}.{}", task.id),
    }
}

/// The filters of `GET /secrets` and `GET /configs`: id, name, label; secrets also by whole `names`.
#[derive(Debug, Clone)]
pub struct PayloadFilter(Filters);

impl PayloadFilter {
    pub fn secrets(filters: &Filters) -> Answer<Self> {
        filters.only(&["id", "name", "names", "label"])?;
        Ok(Self(filters.clone()))
    }

    pub fn configs(filters: &Filters) -> Answer<Self> {
        filters.only(&["id", "name", "label"])?;
        Ok(Self(filters.clone()))
    }

    pub fn matches(&self, id: impl std::fmt::Display, annotations: &Annotations) -> bool {
        self.0.prefix("name", &annotations.name)
            && self.0.exact("names", &annotations.name)
            && self.0.labels("label", &annotations.labels)
            && self.0.id(id)
    }
}
