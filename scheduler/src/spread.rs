//! Evenness: among the nodes that may take a task, which one shall.
//!
//! Placement preferences divide the nodes into branches by the values of labels, outermost label
//! first. The branch with the fewest tasks of the service takes the next one; within the innermost
//! branch the node with the fewest of the service, then with the fewest in all, then by id. Nodes
//! that keep failing a service come after all others.

use std::collections::{BTreeMap, BTreeSet};

use skep_types::{Node, NodeId};

use crate::hosts::Place;

/// How full a node is, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// Failures of the service of late, if they are enough to count.
    pub failures: u32,
    pub of_service: u32,
    pub in_all: u32,
    pub node: NodeId,
    pub place: Place,
}

/// A branch of the preference tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// Tasks of the service on all nodes beneath, those that can take no more included.
    tasks: u32,
    /// Beneath the last preference: the nodes that can take a task.
    nodes: BTreeSet<Load>,
    branches: BTreeMap<String, Tree>,
}

impl Tree {
    /// Counts a node's tasks of the service on its branch, whether or not it can take one more.
    pub fn count(&mut self, path: &[String], tasks: u32) {
        self.tasks += tasks;
        if let [first, rest @ ..] = path {
            self.branches.entry(first.clone()).or_default().count(rest, tasks);
        }
    }

    /// Puts in a node that can take a task.
    pub fn offer(&mut self, path: &[String], load: Load) {
        match path {
            [] => {
                self.nodes.insert(load);
            }
            [first, rest @ ..] => {
                self.branches.entry(first.clone()).or_default().offer(rest, load);
            }
        }
    }

    /// Takes out the node that shall have the next task.
    pub fn take(&mut self) -> Option<Load> {
        if let Some(load) = self.nodes.pop_first() {
            return Some(load);
        }
        let mut branches: Vec<(u32, &mut Self)> =
            self.branches.values_mut().map(|branch| (branch.tasks, branch)).collect();
        branches.sort_by_key(|(tasks, _)| *tasks);
        branches.into_iter().find_map(|(_, branch)| branch.take())
    }
}

/// The values of a node's labels along the preferences; a missing label is a branch of its own.
pub fn path(preferences: &[String], node: &Node) -> Vec<String> {
    preferences
        .iter()
        .map(|preference| {
            let label = if let Some(key) = preference.strip_prefix("node.labels.") {
                node.spec.annotations.labels.get(key)
            } else if let Some(key) = preference.strip_prefix("engine.labels.") {
                node.description.as_ref().and_then(|of| of.engine_labels.get(key))
            } else {
                None
            };
            label.cloned().unwrap_or_default()
        })
        .collect()
}
