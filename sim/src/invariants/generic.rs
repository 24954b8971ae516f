//! No unit of a generic resource is held twice, and none is given beyond what its node declares.
//! The book is the invariant's own, kept by what tasks say.

use std::collections::BTreeMap;

use skep_state::{Delta, Event, State};
use skep_types::resources::GenericResource;
use skep_types::{NodeId, Task, TaskId};

use super::{Invariant, Seen, Verdict};

#[derive(Default)]
pub struct Generic {
    held: BTreeMap<NodeId, BTreeMap<TaskId, Vec<GenericResource>>>,
}

impl Invariant for Generic {
    fn name(&self) -> &'static str {
        "generic resources"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            let Event::Task(Delta { before, after }) = event else { continue };
            let of = |task: &Option<std::sync::Arc<Task>>| task.as_deref().and_then(holds);
            let (was, is) = (of(before), of(after));
            if was == is {
                continue;
            }
            if let Some((node, id, _)) = was {
                self.held.entry(node).or_default().remove(&id);
            }
            if let Some((node, id, units)) = is {
                let held = self.held.entry(node).or_default();
                if before.as_ref().is_none_or(|it| it.generic.is_empty()) {
                    let others: Vec<&GenericResource> = held.values().flatten().collect();
                    are_free(seen.after, node, &units, &others)
                        .map_err(|why| format!("task {id} of node {node}: {why}"))?;
                }
                held.insert(id, units);
            }
        }
        for event in seen.events {
            let Event::Task(Delta { before, after: Some(task) }) = event else { continue };
            let placed = |it: &Task| it.status.state >= skep_types::TaskState::Assigned;
            if placed(task) && before.as_ref().is_none_or(|before| !placed(before)) {
                has_what_it_asked_for(seen.after, task)?;
            }
        }
        Ok(())
    }
}

/// Until its container has ended, a task holds what it was given.
fn holds(task: &Task) -> Option<(NodeId, TaskId, Vec<GenericResource>)> {
    let live = !task.status.state.is_terminal() && !task.generic.is_empty();
    live.then(|| Some((task.node_id?, task.id, task.generic.clone())))?
}

fn are_free(
    state: &State,
    node: NodeId,
    units: &[GenericResource],
    others: &[&GenericResource],
) -> Verdict {
    let Some(node) = state.nodes().get(node) else { return Err("its node is gone".to_owned()) };
    let declared = node.description.iter().flat_map(|it| &it.resources.generic);
    let declared: Vec<&GenericResource> = declared.collect();
    for unit in units {
        match unit {
            GenericResource::Named { .. } => {
                if others.contains(&unit) {
                    return Err(format!("{unit:?} is held by another"));
                }
                if !declared.contains(&unit) {
                    return Err(format!("{unit:?} is none of {declared:?}"));
                }
            }
            GenericResource::Discrete { kind, value } => {
                let count = |list: &[&GenericResource]| -> i64 {
                    list.iter().filter(|it| it.kind() == kind).map(|it| it.amount()).sum()
                };
                if count(others) + value > count(&declared) {
                    return Err(format!("{unit:?} beside {others:?} of {declared:?}"));
                }
            }
        }
    }
    Ok(())
}

fn has_what_it_asked_for(state: &State, task: &Task) -> Verdict {
    let Some(spec) = state.spec(task.service_id, task.spec_version) else { return Ok(()) };
    let amount = |list: &[GenericResource], kind: &str| -> i64 {
        list.iter().filter(|it| it.kind() == kind).map(GenericResource::amount).sum()
    };
    let asked = &spec.task.resources.reservations.generic;
    let whole = asked.iter().all(|it| amount(&task.generic, it.kind()) == it.amount());
    match whole && task.generic.iter().all(|it| amount(asked, it.kind()) > 0) {
        true => Ok(()),
        false => Err(format!("task {} asked for {asked:?} and has {:?}", task.id, task.generic)),
    }
}
