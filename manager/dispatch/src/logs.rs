//! A subscription to tasks' logs: which nodes publish for it, and when all of it is there.
//!
//! It moves no log: what nodes publish goes past it to the reader.
//!
//! **Invariant:** a node is waited for only while it can still publish; one that cannot is named in
//! the warning instead. A subscription that follows never ends by itself.

use std::collections::{BTreeMap, BTreeSet};

use skep_state::State;
use skep_types::{DesiredState, NodeId, NodeState, ServiceId, Task, TaskId};

/// Whose logs are wanted: the union of all three.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSelector {
    pub services: BTreeSet<ServiceId>,
    pub nodes: BTreeSet<NodeId>,
    pub tasks: BTreeSet<TaskId>,
}

impl LogSelector {
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.nodes.is_empty() && self.tasks.is_empty()
    }

    /// Whether a task's log is wanted.
    pub fn wants(&self, task: &Task) -> bool {
        self.tasks.contains(&task.id)
            || self.services.contains(&task.service_id)
            || task.node_id.is_some_and(|node| self.nodes.contains(&node))
    }

    fn matching<'a>(&'a self, view: &'a State) -> impl Iterator<Item = &'a Task> {
        let named = self.tasks.iter().filter_map(|id| view.tasks().get(*id));
        let serving = self.services.iter().flat_map(|id| view.tasks_of_service(*id));
        named.chain(serving).map(|task| &**task)
    }
}

/// Whether to go on with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publishing {
    /// Asked, or to be asked as soon as it listens.
    Awaited,
    /// It has sent all that it has.
    Closed,
    Unavailable,
    /// It went away in the middle.
    Lost,
}

/// One subscription as the broker keeps it.
#[derive(Debug, Clone)]
pub struct Subscription {
    selector: LogSelector,
    follow: Follow,
    nodes: BTreeMap<NodeId, Publishing>,
    /// Tasks without a node.
    pending: BTreeSet<TaskId>,
}

impl Subscription {
    /// A subscription to what the state holds now.
    pub fn new(view: &State, selector: LogSelector, follow: Follow) -> Self {
        let (nodes, pending) = (BTreeMap::new(), BTreeSet::new());
        let mut made = Self { selector, follow, nodes, pending };
        made.extend(view);
        made.observe(view);
        made
    }

    fn extend(&mut self, view: &State) {
        self.pending.clear();
        for node in &self.selector.nodes {
            self.nodes.entry(*node).or_insert(Publishing::Awaited);
        }
        for task in self.selector.matching(view) {
            match task.node_id {
                Some(node) => drop(self.nodes.entry(node).or_insert(Publishing::Awaited)),
                // One that was given up before it had a node has no log to miss.
                None if task.desired_state <= DesiredState::Complete => {
                    self.pending.insert(task.id);
                }
                None => {}
            }
        }
    }

    /// Takes what changed in the state: who is down, and for a follower, where tasks went. Says
    /// whether other nodes are concerned than before.
    pub fn observe(&mut self, view: &State) -> bool {
        let before = self.nodes.len();
        if self.follow == Follow::Yes {
            self.extend(view);
            return self.nodes.len() != before;
        }
        for (id, publishing) in &mut self.nodes {
            let node = view.nodes().get(*id);
            let up = node.is_some_and(|node| {
                !matches!(node.status.state, NodeState::Down | NodeState::Disconnected)
            });
            if *publishing == Publishing::Awaited && !up {
                *publishing = Publishing::Unavailable;
            }
        }
        false
    }

    /// Whether a node is to publish for this one.
    pub fn asks(&self, node: NodeId) -> bool {
        match self.follow {
            Follow::Yes => self.nodes.contains_key(&node),
            Follow::No => self.nodes.get(&node) == Some(&Publishing::Awaited),
        }
    }

    /// A node has sent all that it has.
    pub fn closed(&mut self, node: NodeId) {
        self.settle(node, Publishing::Closed);
    }

    /// A node went away before it had sent everything.
    pub fn lost(&mut self, node: NodeId) {
        self.settle(node, Publishing::Lost);
    }

    /// No longer waits for nodes that do not even listen.
    pub fn give_up(&mut self, listening: impl Fn(NodeId) -> bool) {
        let deaf: Vec<NodeId> = self.nodes.keys().copied().filter(|it| !listening(*it)).collect();
        for node in deaf {
            self.settle(node, Publishing::Unavailable);
        }
    }

    fn settle(&mut self, node: NodeId, to: Publishing) {
        // A follower's node is asked again when it is back.
        if self.follow == Follow::No
            && let Some(publishing) = self.nodes.get_mut(&node)
            && *publishing == Publishing::Awaited
        {
            *publishing = to;
        }
    }

    /// Every node that could publish has.
    pub fn is_done(&self) -> bool {
        self.follow == Follow::No && !self.nodes.values().any(|it| *it == Publishing::Awaited)
    }

    /// What is missing, in Docker's words; none if nothing is.
    pub fn warning(&self) -> Option<String> {
        let nodes = self.nodes.iter().filter_map(|(node, publishing)| match publishing {
            Publishing::Unavailable => Some(format!("node {node} is not available")),
            Publishing::Lost => Some(format!("node {node} disconnected unexpectedly")),
            Publishing::Awaited | Publishing::Closed => None,
        });
        let tasks = self.pending.iter().map(|task| format!("task {task} has not been scheduled"));
        let reasons: Vec<String> = nodes.chain(tasks).collect();
        (!reasons.is_empty()).then(|| {
            let reasons = reasons.join(", ");
            format!(
                "warning: incomplete log stream. some logs could not be retrieved for the following reasons: {reasons}"
            )
        })
    }
}
