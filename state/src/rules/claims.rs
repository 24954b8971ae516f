//! Generic resources that have names: each belongs to one task until that has ended.

use skep_types::Task;
use skep_types::resources::GenericResource;

use crate::rejection::Reason;
use crate::state::State;

/// What a task claims stays as it is once it has a node, and no other task there holds it.
pub fn check(state: &State, before: Option<&Task>, after: &Task) -> Result<(), Reason> {
    let had = before.map_or(&[][..], |task| &task.generic);
    if had == after.generic {
        return Ok(());
    }
    if before.is_some_and(|task| task.node_id.is_some() && !task.generic.is_empty()) {
        return Err(Reason::Fixed {
            kind: "task",
            id: after.id.to_string(),
            what: "generic resources",
        });
    }
    let Some(node) = after.node_id else { return Ok(()) };
    let others = state
        .tasks_on_node(node)
        .filter(|other| other.id != after.id && !other.status.state.is_terminal());
    for other in others {
        let shared = other.generic.iter().find_map(|held| match held {
            GenericResource::Named { kind, value } if after.generic.contains(held) => {
                Some(format!("{kind}={value}"))
            }
            _ => None,
        });
        if let Some(resource) = shared {
            return Err(Reason::ResourceTaken { resource, owner: other.id.to_string() });
        }
    }
    Ok(())
}
