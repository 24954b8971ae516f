//! Tasks as the API shows them.

use skep_types::{Network, NetworkId, Task, TaskSpec, TaskState, TaskStatus};

use super::network::swarm_network_to_api;
use super::task_spec::{generic_to_api, task_spec_to_api};
use super::{endpoint, timestamp, version};
use crate::json;

/// Writes a task; `spec` is the template it was made from, and `network` finds a network it is on.
///
/// A network that is gone meanwhile is shown by its id alone.
pub fn task_to_api<'a>(
    task: &Task,
    spec: &TaskSpec,
    network: &dyn Fn(NetworkId) -> Option<&'a Network>,
) -> json::Task {
    let status = &task.status;
    let networks = task.networks.iter().map(|at| json::NetworkAttachment {
        network: network(at.network).map_or_else(
            || json::SwarmNetwork { id: at.network.to_string(), ..Default::default() },
            swarm_network_to_api,
        ),
        addresses: at.addresses.iter().map(ToString::to_string).collect(),
    });
    json::Task {
        id: task.id.to_string(),
        version: version(&task.meta),
        created_at: timestamp(task.meta.created_at),
        updated_at: timestamp(task.meta.updated_at),
        // Docker leaves a task's own name and labels empty; clients put them together from service and slot.
        name: String::new(),
        labels: json::Map::new(),
        spec: task_spec_to_api(spec),
        service_id: task.service_id.to_string(),
        slot: match task.slot {
            skep_types::task::Slot::Replica(number) => number,
            skep_types::task::Slot::Node(_) => 0,
        },
        node_id: task.node_id.map(|id| id.to_string()).unwrap_or_default(),
        status: json::TaskStatus {
            timestamp: timestamp(status.timestamp),
            state: shown_state(status).name().to_owned(),
            message: status.message.clone(),
            err: status.error.clone(),
            container_status: status.container.as_ref().map(|container| json::ContainerStatus {
                container_id: container.container_id.clone(),
                pid: container.pid.into(),
                exit_code: container.exit_code.into(),
            }),
            port_status: json::PortStatus {
                ports: status.host_ports.iter().map(endpoint::port_to_api).collect(),
            },
        },
        desired_state: TaskState::from(task.desired_state).name().to_owned(),
        networks_attachments: networks.collect(),
        generic_resources: generic_to_api(&task.generic),
        job_iteration: task.job_iteration.map(|index| json::ObjectVersion { index }),
    }
}

/// A new task that says what it waits for (a service that it depends on, an address) is shown as the
/// others that wait: clients look for what is pending.
fn shown_state(status: &TaskStatus) -> TaskState {
    match status.state {
        TaskState::New if !status.error.is_empty() => TaskState::Pending,
        state => state,
    }
}
