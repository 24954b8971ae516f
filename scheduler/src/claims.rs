//! Which of a node's generic resources a task gets, once its node is chosen.
//!
//! Placement only counts; names are given here, where decisions become changes of tasks.
//!
//! **Invariant:** what a task holds that has not ended, or what was claimed before in the same pass,
//! is claimed by no other.

use std::collections::BTreeMap;

use skep_state::State;
use skep_types::resources::GenericResource;
use skep_types::{NodeId, Task, generic};

/// What was claimed in one pass, by node.
#[derive(Debug, Default)]
pub struct Claims {
    held: BTreeMap<NodeId, Vec<GenericResource>>,
}

impl Claims {
    /// What the task gets of the node; nothing where it asks for nothing. None if the node has not
    /// enough, as after it came to declare less.
    pub fn claim(
        &mut self,
        state: &State,
        task: &Task,
        node: NodeId,
    ) -> Option<Vec<GenericResource>> {
        let Some(spec) = state.spec(task.service_id, task.spec_version) else {
            return Some(Vec::new());
        };
        let reserved = &spec.task.resources.reservations.generic;
        if reserved.is_empty() {
            return Some(Vec::new());
        }
        let description = state.nodes().get(node)?.description.as_ref()?;
        let held = self.held.entry(node).or_insert_with(|| {
            let tasks = state.tasks_on_node(node).filter(|it| !it.status.state.is_terminal());
            tasks.flat_map(|task| task.generic.clone()).collect()
        });
        let claimed = generic::claim(&description.resources.generic, held, reserved)?;
        held.extend(claimed.iter().cloned());
        Some(claimed)
    }
}
