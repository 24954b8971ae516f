//! Evenness: the order of hosts, and the branches into which placement preferences divide them.
//!
//! Placement preferences divide the nodes by the values of labels, outermost label first. The
//! branch with the fewest tasks of the service takes the next one; within the innermost branch the
//! node with the fewest of the service, then with the fewest in all, then by id. Nodes that keep
//! failing a service come after all others of their branch.

use std::collections::{BTreeMap, BTreeSet};

use skep_types::{Node, NodeId};

use crate::defaults::FAILURES_MAX;
use crate::filter::{Needs, Refusal};
use crate::hosts::{Hosts, Place};
use crate::tally::Counts;

/// How full a host is, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// Failures of the service of late, if they are enough to count.
    pub failures: u32,
    pub of_service: u32,
    pub in_all: u32,
    pub node: NodeId,
    pub place: Place,
}

/// What is asked of hosts, and on what grounds they are compared.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    pub hosts: &'a Hosts,
    pub needs: &'a Needs,
    pub counts: &'a Counts,
    /// Zero: any number.
    pub max_replicas: u64,
}

impl Demand<'_> {
    /// Asks all filters.
    ///
    /// # Errors
    /// Why the host cannot take one more task.
    pub fn check(&self, place: Place) -> Result<(), Refusal> {
        self.needs.check(self.hosts.get(place))?;
        if self.max_replicas > 0 && u64::from(self.counts.tasks_on(place)) >= self.max_replicas {
            return Err(Refusal::MaxReplicas);
        }
        Ok(())
    }

    pub fn fits(&self, place: Place) -> bool {
        self.check(place).is_ok()
    }

    pub fn load(&self, place: Place) -> Load {
        let host = self.hosts.get(place);
        Load {
            failures: self.failures(place),
            of_service: self.counts.tasks_on(place),
            in_all: host.tasks(),
            node: host.id(),
            place,
        }
    }

    /// Failures of late, or none if they are too few to count.
    pub fn failures(&self, place: Place) -> u32 {
        let failures = self.counts.failures_on(place);
        if failures < FAILURES_MAX { 0 } else { failures }
    }
}

/// Names a branch of one tree.
pub type BranchId = usize;

/// Where all branches begin; the only one where there are no preferences.
pub const ROOT: BranchId = 0;

/// Hosts that fit, in order, by branch.
#[derive(Debug)]
pub struct Tree {
    branches: Vec<Branch>,
    /// The innermost branch of each node, those that do not fit included, by place; empty where
    /// there are no preferences.
    branch_of: Vec<Option<BranchId>>,
}

#[derive(Debug, Default)]
struct Branch {
    parent: Option<BranchId>,
    /// By the label's value.
    children: BTreeMap<String, BranchId>,
    /// Of an innermost branch.
    hosts: BTreeSet<Load>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { branches: vec![Branch::default()], branch_of: Vec::new() }
    }
}

impl Tree {
    /// Branches that were ever made.
    pub fn branches(&self) -> usize {
        self.branches.len()
    }

    /// The innermost branch of a host; none if it is no node.
    pub fn branch_of(&self, place: Place) -> Option<BranchId> {
        match self.branch_of.is_empty() {
            true => Some(ROOT),
            false => self.branch_of.get(place.index()).copied().flatten(),
        }
    }

    pub fn parent(&self, branch: BranchId) -> Option<BranchId> {
        self.branches[branch].parent
    }

    /// In the order of the labels' values.
    pub fn children(&self, branch: BranchId) -> impl ExactSizeIterator<Item = BranchId> {
        self.branches[branch].children.values().copied()
    }

    /// Hosts of an innermost branch that fit, least loaded first.
    pub fn hosts(&self, branch: BranchId) -> std::collections::btree_set::Iter<'_, Load> {
        self.branches[branch].hosts.iter()
    }

    /// Says on which branch a node is, or that the host is none.
    pub fn set_branch(&mut self, place: Place, preferences: &[String], node: Option<&Node>) {
        if preferences.is_empty() {
            return;
        }
        let branch = node.map(|node| self.branch(preferences, node));
        if self.branch_of.len() <= place.index() {
            self.branch_of.resize(place.index() + 1, None);
        }
        self.branch_of[place.index()] = branch;
    }

    fn branch(&mut self, preferences: &[String], node: &Node) -> BranchId {
        let mut at = ROOT;
        for preference in preferences {
            let value = value(preference, node);
            at = match self.branches[at].children.get(value) {
                Some(child) => *child,
                None => {
                    let child = self.branches.len();
                    self.branches.push(Branch { parent: Some(at), ..Branch::default() });
                    self.branches[at].children.insert(value.to_owned(), child);
                    child
                }
            };
        }
        at
    }

    pub fn insert(&mut self, branch: BranchId, load: Load) {
        self.branches[branch].hosts.insert(load);
    }

    pub fn remove(&mut self, branch: BranchId, load: &Load) {
        self.branches[branch].hosts.remove(load);
    }

    /// Puts many hosts in at once, which costs less than one after the other.
    pub fn fill(&mut self, mut loads: Vec<(BranchId, Load)>) {
        loads.sort_unstable();
        for hosts in loads.chunk_by(|(one, _), (other, _)| one == other) {
            self.branches[hosts[0].0].hosts = hosts.iter().map(|(_, load)| *load).collect();
        }
    }
}

/// The value of a node's label that a preference names. A missing label is a value of its own, and
/// so is one of a preference that names nothing known: then all nodes have the same.
pub(crate) fn value<'a>(preference: &str, node: &'a Node) -> &'a str {
    let label = if let Some(key) = strip_prefix(preference, "node.labels.") {
        node.spec.annotations.labels.get(key)
    } else if let Some(key) = strip_prefix(preference, "engine.labels.") {
        node.description.as_ref().and_then(|of| of.engine_labels.get(key))
    } else {
        None
    };
    label.map_or("", String::as_str)
}

/// As in constraints, a prefix is matched in any case and the label's own key to the letter.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
