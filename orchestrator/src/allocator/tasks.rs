//! Addresses of tasks; a task that has all of them is pending, and the scheduler's. One whose service
//! waits for others gets none until it may begin.

use std::collections::BTreeSet;

use skep_types::service::PublishMode;
use skep_types::{NetworkAttachment, NetworkId, ServiceSpec, Task, TaskId, TaskState};

use super::{Books, is_allocated};
use crate::dependency;
use crate::dirty::is_new;
use crate::plan::Plan;

/// Tasks that got nothing.
#[derive(Debug, Default)]
pub struct Left {
    /// There was nothing left for them.
    pub starved: Vec<TaskId>,
    /// They wait for the service of that name.
    pub waiting: Vec<(String, TaskId)>,
}

/// Gives tasks what they lack, and tells which got nothing.
pub fn allocate(plan: &mut Plan<'_>, books: &mut Books, ids: BTreeSet<TaskId>) -> Left {
    let mut left = Left::default();
    for id in ids {
        let Some(task) = plan.view().tasks().get(id).filter(|task| is_new(task)).cloned() else {
            continue;
        };
        let Some(spec) = plan.view().spec(task.service_id, task.spec_version).cloned() else {
            continue;
        };
        let mut changed = Task::clone(&task);
        let service = plan.view().services().get(task.service_id);
        let told = task.status.error.as_str();
        let unmet = service.and_then(|service| dependency::unmet(plan.view(), service, told));
        let networks = match unmet {
            Some(unmet) => {
                left.waiting.push((unmet.service, id));
                Err(unmet.why)
            }
            None => attachments(plan, books, &spec, told).inspect_err(|_| left.starved.push(id)),
        };
        match networks {
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
        if !plan.update(changed) {
            left.starved.push(id);
        }
    }
    left
}

/// A place on each of the networks, or what is lacking. Where that is more than one thing, `told` is
/// said as long as it holds: what ran out later is no news to a task that waits already.
fn attachments(
    plan: &Plan<'_>,
    books: &mut Books,
    spec: &ServiceSpec,
    told: &str,
) -> Result<Vec<NetworkAttachment>, String> {
    let mut places: Vec<(NetworkId, Vec<String>)> =
        spec.task.networks.iter().map(|at| (at.target, at.aliases.clone())).collect();
    if spec.endpoint.ports.iter().any(|port| port.publish_mode == PublishMode::Ingress) {
        let ingress = books.ingress().ok_or("the swarm has no ingress network")?;
        places.push((ingress, Vec::new()));
    }
    let mut found = Vec::with_capacity(places.len());
    let mut lacking = Vec::new();
    for (id, aliases) in places {
        match attachment(plan, books, id, aliases) {
            Ok(place) => found.push(place),
            Err(why) => lacking.push(why),
        }
    }
    let place = lacking.iter().position(|why| why == told).unwrap_or(0);
    if lacking.is_empty() { Ok(found) } else { Err(lacking.swap_remove(place)) }
}

fn attachment(
    plan: &Plan<'_>,
    books: &mut Books,
    id: NetworkId,
    aliases: Vec<String>,
) -> Result<NetworkAttachment, String> {
    let network =
        plan.view().networks().get(id).ok_or_else(|| format!("network {id} not found"))?;
    let name = &network.spec.annotations.name;
    if !is_allocated(network) {
        return Err(format!("network {name} has no subnet: the address pools are full"));
    }
    let addresses = books
        .addresses(plan.view(), network)
        .ok_or_else(|| format!("network {name} has no free address left"))?;
    Ok(NetworkAttachment { network: id, addresses, aliases })
}
