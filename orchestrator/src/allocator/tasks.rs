//! Addresses of tasks; a task that has all of them is pending, and the scheduler's.

use std::sync::Arc;

use skep_types::service::PublishMode;
use skep_types::{NetworkAttachment, NetworkId, ServiceSpec, Task, TaskState};

use super::addresses::Pool;
use super::{ingress, is_allocated};
use crate::plan::Plan;

pub fn allocate(plan: &mut Plan<'_>, pool: &mut Pool) {
    let new: Vec<Arc<Task>> = plan
        .view()
        .tasks()
        .iter()
        .filter(|task| task.status.state == TaskState::New && crate::slot::is_wanted(task))
        .cloned()
        .collect();
    for task in new {
        let Some(spec) = plan.view().spec(task.service_id, task.spec_version).cloned() else {
            continue;
        };
        let mut changed = Task::clone(&task);
        match attachments(plan, pool, &spec) {
            Ok(networks) => {
                changed.networks = networks;
                changed.status.state = TaskState::Pending;
                changed.status.message = "pending task scheduling".to_owned();
                changed.status.error.clear();
                changed.status.timestamp = plan.now();
            }
            Err(why) if why != task.status.error => {
                changed.status.error = why;
                changed.status.timestamp = plan.now();
            }
            Err(_) => continue,
        }
        plan.update(changed);
    }
}

fn attachments(
    plan: &Plan<'_>,
    pool: &mut Pool,
    spec: &ServiceSpec,
) -> Result<Vec<NetworkAttachment>, String> {
    let mut places: Vec<(NetworkId, Vec<String>)> =
        spec.task.networks.iter().map(|at| (at.target, at.aliases.clone())).collect();
    if spec.endpoint.ports.iter().any(|port| port.publish_mode == PublishMode::Ingress) {
        let ingress = ingress(plan).ok_or("the swarm has no ingress network")?;
        places.push((ingress, Vec::new()));
    }
    places.into_iter().map(|(id, aliases)| attachment(plan, pool, id, aliases)).collect()
}

fn attachment(
    plan: &Plan<'_>,
    pool: &mut Pool,
    id: NetworkId,
    aliases: Vec<String>,
) -> Result<NetworkAttachment, String> {
    let network =
        plan.view().networks().get(id).ok_or_else(|| format!("network {id} not found"))?;
    let name = &network.spec.annotations.name;
    if !is_allocated(network) {
        return Err(format!("network {name} has no subnet: the address pools are full"));
    }
    let address = pool
        .next(plan.view(), network)
        .ok_or_else(|| format!("network {name} has no free address left"))?;
    Ok(NetworkAttachment { network: id, addresses: vec![address], aliases })
}
