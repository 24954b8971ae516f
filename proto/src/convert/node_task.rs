//! A task as its node is shown it: with its spec, its networks, and the names it goes by.
//!
//! **Invariant:** what [`wire_task`] writes, a dockerd runs too, and [`NodeTask`] reads whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_types::resources::GenericResource;
use skep_types::service::Endpoint;
use skep_types::task::Slot;
use skep_types::{
    Annotations, DesiredState, Meta, Network, NetworkAttachment, NodeId, Revision, ServiceId,
    ServiceSpec, Task, TaskId, TaskSpec, TaskStatus,
};

use super::error::ConvertError;
use super::field::{
    WireEnum, absent, enumeration, id, list, list_with, messages, optional, or_default, part,
};
use super::meta::version;
use super::node_network::{attachment, attachment_of, endpoint as wire_endpoint};
use crate::swarmkit;

/// What a node is told to run.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeTask {
    pub id: TaskId,
    pub meta: Meta,
    pub service_id: ServiceId,
    pub service_name: String,
    pub service_labels: BTreeMap<String, String>,
    pub slot: Slot,
    pub node_id: NodeId,
    pub desired_state: DesiredState,
    /// As the managers know it.
    pub status: TaskStatus,
    pub spec: TaskSpec,
    /// The task's own; the name is the container's, too.
    pub annotations: Annotations,
    /// In the order in which they are attached.
    pub networks: Vec<(Network, NetworkAttachment)>,
    /// The service's; `None` if nothing was allocated.
    pub endpoint: Option<Endpoint>,
    /// What the managers claimed for it of the node's generic resources.
    pub generic: Vec<GenericResource>,
}

/// Docker's name of a task: `service.slot.task`, with the node in the slot's place if it is global.
pub fn task_name(service: &str, slot: Slot, task: TaskId) -> String {
    match slot {
        Slot::Replica(number) => format!("{service}.{number}.{task}"),
        Slot::Node(node) => format!("{service}.{node}.{task}"),
    }
}

/// A task with all that its node needs to know of it. `spec` is the one that the task is made from;
/// `networks` are those it is attached to (one that is not among them is left out: the state lets
/// none go that a task uses).
pub fn wire_task(
    task: &Task,
    spec: &ServiceSpec,
    endpoint: Option<&Endpoint>,
    networks: &[Arc<Network>],
) -> swarmkit::Task {
    let (slot, home) = match task.slot {
        Slot::Replica(number) => (number, None),
        Slot::Node(node) => (0, Some(node)),
    };
    let attachments = task.networks.iter().filter_map(|at| {
        let network = networks.iter().find(|network| network.id == at.network)?;
        Some(attachment(network, at))
    });
    let name = task_name(&spec.annotations.name, task.slot, task.id);
    swarmkit::Task {
        id: task.id.to_string(),
        meta: Some((&task.meta).into()),
        spec: Some((&spec.task).into()),
        service_id: task.service_id.to_string(),
        slot,
        node_id: task.node_id.or(home).map(|node| node.to_string()).unwrap_or_default(),
        annotations: Some((&Annotations { name, labels: BTreeMap::new() }).into()),
        service_annotations: Some((&spec.annotations).into()),
        status: Some((&task.status).into()),
        desired_state: task.desired_state.number(),
        networks: attachments.collect(),
        endpoint: endpoint.map(|endpoint| wire_endpoint(endpoint, &spec.endpoint)),
        log_driver: spec.task.log_driver.as_ref().map(Into::into),
        spec_version: Some(version(task.spec_version)),
        assigned_generic_resources: messages(&task.generic),
        job_iteration: task.job_iteration.map(|iteration| version(Revision(iteration))),
        volumes: Vec::new(),
    }
}

impl TryFrom<swarmkit::Task> for NodeTask {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Task) -> Result<Self, ConvertError> {
        absent(message.volumes.is_empty(), "a cluster volume", "volumes")?;
        let id_of_task: TaskId = id(&message.id, "id")?;
        let node_id: NodeId = id(&message.node_id, "node_id")?;
        let slot = match message.slot {
            0 => Slot::Node(node_id),
            number => Slot::Replica(number),
        };
        let service: Annotations = part(message.service_annotations, "service_annotations")?;
        let mut annotations: Annotations = or_default(message.annotations, "annotations")?;
        if annotations.name.is_empty() {
            // A Docker manager leaves the name to the node.
            annotations.name = task_name(&service.name, slot, id_of_task);
        }
        let mut spec: TaskSpec = part(message.spec, "spec")?;
        if let Some(log) = optional(message.log_driver, "log_driver")? {
            // The swarm's default has been filled in here where the service names no driver.
            spec.log_driver = Some(log);
        }
        Ok(Self {
            id: id_of_task,
            meta: or_default(message.meta, "meta")?,
            service_id: id(&message.service_id, "service_id")?,
            service_name: service.name,
            service_labels: service.labels,
            slot,
            node_id,
            desired_state: enumeration(message.desired_state, "desired_state")?,
            status: part(message.status, "status")?,
            spec,
            annotations,
            networks: list_with(message.networks, "networks", attachment_of)?,
            endpoint: optional(message.endpoint, "endpoint")?,
            generic: list(message.assigned_generic_resources, "assigned_generic_resources")?,
        })
    }
}
