//! Nothing is left behind: no task of a service or node that is gone, no spec that nothing was made
//! from, no more history than the limit, no container that no task stands for.

use std::collections::BTreeMap;

use skep_types::{DesiredState, Revision, ServiceId, Task, TaskState};

use super::{Invariant, Settled, Verdict};

pub struct Leaks;

impl Invariant for Leaks {
    fn name(&self) -> &'static str {
        "leaks"
    }

    fn settled(&mut self, settled: &Settled<'_>) -> Verdict {
        let state = settled.truth;
        for task in state.tasks().iter() {
            stands_for_something(settled, task)?;
        }
        for (service, version, _) in state.specs() {
            is_referred_to(settled, service, version)?;
        }
        history(settled)?;
        for (node, agent) in settled.agents {
            let strays = agent
                .containers
                .keys()
                .find(|id| state.tasks().get(**id).is_none_or(|task| task.node_id != Some(*node)));
            if let Some(stray) = strays {
                return Err(format!("node {node} keeps the container of {stray}"));
            }
        }
        Ok(())
    }
}

fn stands_for_something(settled: &Settled<'_>, task: &Task) -> Verdict {
    let state = settled.truth;
    if state.services().get(task.service_id).is_none() {
        return Err(format!("the service of {task:?} is gone"));
    }
    if task.desired_state == DesiredState::Remove {
        return Err(format!("{task:?} is to be removed and stays"));
    }
    let ended = task.status.state.is_terminal() || task.status.state < TaskState::Assigned;
    if task.desired_state >= DesiredState::Shutdown && !ended {
        return Err(format!("{task:?} is to end and does not"));
    }
    let lost = task.node_id.is_some_and(|node| state.nodes().get(node).is_none());
    if lost && !task.status.state.is_terminal() {
        return Err(format!("the node of {task:?} is gone"));
    }
    Ok(())
}

fn is_referred_to(settled: &Settled<'_>, id: ServiceId, version: Revision) -> Verdict {
    let state = settled.truth;
    let standing = state.services().get(id).is_some_and(|service| {
        service.spec_version == version || service.previous_spec_version == Some(version)
    });
    match standing || state.tasks_of_service(id).any(|task| task.spec_version == version) {
        true => Ok(()),
        false => Err(format!("spec {version} of service {id} is kept for nothing")),
    }
}

fn history(settled: &Settled<'_>) -> Verdict {
    let state = settled.truth;
    let limit = state.cluster().map_or(0, |cluster| cluster.spec.task_history_limit);
    for service in state.services().iter() {
        let mut ended: BTreeMap<_, u64> = BTreeMap::new();
        for task in state.tasks_of_service(service.id) {
            if task.desired_state >= DesiredState::Shutdown {
                *ended.entry(task.slot).or_default() += 1;
            }
        }
        // What restarts are counted by, and what an update is read from.
        let attempts = service.spec.task.restart.max_attempts + 1;
        let most = u64::from(limit).max(attempts).max(2);
        if let Some((slot, count)) = ended.iter().find(|(_, count)| **count > most) {
            let name = &service.spec.annotations.name;
            return Err(format!("{name} keeps {count} ended tasks of {slot:?}, at most {most}"));
        }
    }
    Ok(())
}
