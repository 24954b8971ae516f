//! A node as the scheduler sees it: what is there, what is taken, and by how many tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::State;
use skep_types::service::{Protocol, PublishMode};
use skep_types::{Node, ServiceId, ServiceSpec, Task, TaskState};

/// A node with its means counted.
#[derive(Debug, Clone)]
pub struct Host {
    pub node: Arc<Node>,
    /// Free of reservations; negative where more is reserved than the node now says it has.
    pub free_nano_cpus: i64,
    pub free_memory_bytes: i64,
    /// Tasks that are to run here.
    pub tasks: usize,
    pub tasks_of: BTreeMap<ServiceId, usize>,
    /// Ports published in host mode.
    pub host_ports: BTreeSet<(Protocol, u16)>,
}

impl Host {
    /// Counts what the tasks on a node take.
    pub fn of(state: &State, node: &Arc<Node>) -> Self {
        let resources = node.description.as_ref().map(|description| &description.resources);
        let mut host = Self {
            node: Arc::clone(node),
            free_nano_cpus: resources.map_or(0, |resources| resources.nano_cpus),
            free_memory_bytes: resources.map_or(0, |resources| resources.memory_bytes),
            tasks: 0,
            tasks_of: BTreeMap::new(),
            host_ports: BTreeSet::new(),
        };
        for task in state.tasks_on_node(node.id).filter(|task| takes_room(task)) {
            if let Some(spec) = state.spec(task.service_id, task.spec_version) {
                host.take(task.service_id, spec);
            }
        }
        host
    }

    /// Counts one more task of a service.
    pub fn take(&mut self, service: ServiceId, spec: &ServiceSpec) {
        let reserved = &spec.task.resources.reservations;
        self.free_nano_cpus = self.free_nano_cpus.saturating_sub(reserved.nano_cpus);
        self.free_memory_bytes = self.free_memory_bytes.saturating_sub(reserved.memory_bytes);
        self.tasks += 1;
        *self.tasks_of.entry(service).or_default() += 1;
        self.host_ports.extend(host_ports(spec));
    }

    /// Tasks of one service that are to run here.
    pub fn count(&self, service: ServiceId) -> usize {
        self.tasks_of.get(&service).copied().unwrap_or(0)
    }
}

/// Whether a task still holds what it reserved: until its container has really ended.
fn takes_room(task: &Task) -> bool {
    task.status.state <= TaskState::Running
}

/// Ports that a service wants on the node's own addresses.
pub fn host_ports(spec: &ServiceSpec) -> impl Iterator<Item = (Protocol, u16)> + '_ {
    spec.endpoint
        .ports
        .iter()
        .filter(|port| port.publish_mode == PublishMode::Host && port.published_port != 0)
        .map(|port| (port.protocol, port.published_port))
}
