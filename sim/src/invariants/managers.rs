//! Roles change, and a manager always remains; who is a manager keeps its place in the swarm.

use skep_state::Event;
use skep_types::NodeRole;

use super::{Invariant, Seen, Verdict};

pub struct Managers;

impl Invariant for Managers {
    fn name(&self) -> &'static str {
        "managers"
    }

    fn applied(&mut self, seen: &Seen<'_>) -> Verdict {
        for event in seen.events {
            let Event::Node(delta) = event else { continue };
            let is_manager = |node: &skep_types::Node| node.spec.role == NodeRole::Manager;
            let was = delta.before.as_ref().is_some_and(|node| is_manager(node));
            if was && delta.after.is_none() {
                return Err(format!("a manager was removed: {:?}", delta.before));
            }
            if was && !seen.after.nodes().iter().any(|node| is_manager(node)) {
                return Err("no manager is left".to_owned());
            }
        }
        Ok(())
    }
}
