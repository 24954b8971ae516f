//! Who balances to which task: what the leader tells nodes of their networks, what their kernels come
//! to hold, and what they confirm. Watermarks are the real ones; the rest is a model of the overlay's
//! stream, in which a message is what changed of all networks of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_dispatch::SessionId;
use skep_state::state::AddressOwner;
use skep_state::{Event as Applied, State};
use skep_types::{DesiredState, NetworkId, NodeId, NodeState, Task, TaskId, TaskState};

use crate::agents::Own;
use crate::network::{Answer, Call};
use crate::world::{Event, World};

/// The tasks of a network that a node gives connections to.
pub type Balanced = BTreeMap<NetworkId, BTreeSet<TaskId>>;

/// A message of the stream of networks.
#[derive(Debug, Clone)]
pub struct Networks {
    pub session: SessionId,
    /// Messages are numbered without gaps; generations are not.
    pub number: u64,
    /// What is to be confirmed.
    pub last: (u64, NetworkId),
    /// None: the network is not the node's any more.
    pub changed: BTreeMap<NetworkId, Option<BTreeSet<TaskId>>>,
}

/// What the leader keeps of a node's stream.
pub struct Stream {
    session: SessionId,
    generation: u64,
    number: u64,
    known: Balanced,
}

/// What a leadership keeps of all streams.
#[derive(Default)]
pub struct Streams {
    by_node: BTreeMap<NodeId, Stream>,
    /// Networks on which something changed, and nodes whose networks may have.
    changed: BTreeSet<NetworkId>,
    concerned: BTreeSet<NodeId>,
    due: bool,
}

impl Streams {
    pub fn end(&mut self, node: NodeId) {
        self.by_node.remove(&node);
    }

    /// The session in which a node follows its networks.
    pub fn session(&self, node: NodeId) -> Option<SessionId> {
        self.by_node.get(&node).map(|stream| stream.session)
    }

    pub fn note(&mut self, state: &State, event: &Applied) {
        match event {
            Applied::Task(delta) => {
                let (before, after) = (delta.before.as_deref(), delta.after.as_deref());
                let Some(task) = after.or(before) else { return };
                let serves = |task: Option<&Task>| task.is_some_and(|task| serves(state, task));
                if serves(before) != serves(after) {
                    self.changed.extend(task.networks.iter().map(|at| at.network));
                }
                if before.is_some_and(Task::has_place) != after.is_some_and(Task::has_place) {
                    self.concerned.extend(task.node_id);
                }
            }
            Applied::Node(delta) => {
                let Some(node) = delta.after.as_ref().or(delta.before.as_ref()) else { return };
                let tasks = state.tasks_on_node(node.id).filter(|task| task.has_place());
                self.changed.extend(tasks.flat_map(|it| it.networks.iter().map(|at| at.network)));
            }
            _ => {}
        }
    }
}

fn serves(state: &State, task: &Task) -> bool {
    let node = task.node_id.and_then(|node| state.nodes().get(node));
    task.status.state == TaskState::Running
        && task.desired_state < DesiredState::Shutdown
        && node.is_some_and(|node| node.status.state != NodeState::Down)
}

fn serving(state: &State, network: NetworkId) -> BTreeSet<TaskId> {
    let owners = state.address_owners(network).filter_map(|owner| match owner {
        AddressOwner::Task(task) => state.tasks().get(task),
        AddressOwner::Service(_) | AddressOwner::Attachment(_) => None,
    });
    owners.filter(|task| serves(state, task)).map(|task| task.id).collect()
}

/// The ingress network is every node's.
fn networks_of(state: &State, node: NodeId) -> BTreeSet<NetworkId> {
    let tasks = state.tasks_on_node(node).filter(|task| task.has_place());
    let own = tasks.flat_map(|task| task.networks.iter().map(|at| at.network));
    let ingress = state.networks().iter().filter(|it| it.spec.ingress).map(|it| it.id);
    own.chain(ingress).collect()
}

impl World {
    /// A node asks the leader for its networks.
    pub(crate) fn follow(&mut self, node: NodeId, session: SessionId) {
        let Some(leader) = &mut self.managers.leader else { return };
        let is_copy = |stream: &Stream| stream.session == session;
        if leader.networks.by_node.get(&node).is_some_and(is_copy) {
            return;
        }
        leader.marks.follow(node, session);
        let stream = Stream { session, generation: 0, number: 0, known: Balanced::new() };
        leader.networks.by_node.insert(node, stream);
        self.tell_networks_of(node, true);
    }

    pub(crate) fn plan_tell_networks(&mut self) {
        let Some(leader) = &mut self.managers.leader else { return };
        if !leader.networks.due && !leader.networks.by_node.is_empty() {
            leader.networks.due = true;
            let epoch = leader.epoch;
            let wait = Duration::from_millis(5 + self.rng.below(20));
            self.queue.push(self.now.saturating_add(wait), Event::TellNetworks(epoch));
        }
    }

    pub(crate) fn tell_networks(&mut self, epoch: u64) {
        let Some(leader) = self.managers.leader.as_mut().filter(|it| it.epoch == epoch) else {
            return;
        };
        leader.networks.due = false;
        let changed = std::mem::take(&mut leader.networks.changed);
        let concerned = std::mem::take(&mut leader.networks.concerned);
        let nodes: Vec<(NodeId, bool)> = leader
            .networks
            .by_node
            .iter()
            .map(|(node, stream)| {
                let knows = stream.known.keys().any(|network| changed.contains(network));
                (*node, knows || concerned.contains(node))
            })
            .collect();
        for (node, has_news) in nodes {
            self.tell_networks_of(node, has_news);
        }
        self.look_at_held();
    }

    fn tell_networks_of(&mut self, node: NodeId, has_news: bool) {
        let index = self.managers.log.len() as u64;
        let truth = &self.managers.truth;
        let Some(leader) = &mut self.managers.leader else { return };
        let Some(stream) = leader.networks.by_node.get_mut(&node) else { return };
        stream.generation += 1;
        let session = stream.session;
        let mut changed = BTreeMap::new();
        if has_news {
            let next: Balanced =
                networks_of(truth, node).into_iter().map(|id| (id, serving(truth, id))).collect();
            for (id, tasks) in &next {
                if stream.known.get(id) != Some(tasks) {
                    changed.insert(*id, Some(tasks.clone()));
                }
            }
            let gone = stream.known.keys().filter(|id| !next.contains_key(id));
            changed.extend(gone.map(|id| (*id, None)));
            let all = stream.known.keys().chain(next.keys()).copied().collect();
            stream.known = next;
            if let Some((network, _)) = changed.last_key_value() {
                stream.number += 1;
                let last = (stream.generation, *network);
                let number = stream.number;
                leader.marks.told(node, session, all, last, index);
                if let Some(trace) = &mut self.trace {
                    trace.push(format!("node {node} is told at {index} of {last:?}: {changed:?}"));
                }
                let message = Networks { session, number, last, changed };
                return self.send_stream(node, session, Answer::Networks(message));
            }
        }
        leader.marks.unchanged(node, session, index);
    }

    /// A node's kernel is as a message said.
    pub(crate) fn confirmed(&mut self, node: NodeId, session: SessionId, last: (u64, NetworkId)) {
        let Some(leader) = &mut self.managers.leader else { return };
        leader.marks.confirmed(node, session, last);
        self.look_at_held();
    }

    /// Nodes whose tasks wait for confirmations are looked at again.
    fn look_at_held(&mut self) {
        let Some(leader) = &mut self.managers.leader else { return };
        let held = leader.held_nodes();
        leader.concerned.extend(held);
        self.plan_tell();
    }

    /// A message of the stream of networks reaches a node: messages are taken in their order.
    pub(crate) fn take_networks(&mut self, node: NodeId, message: Networks) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        if agent.session() != Some(message.session) || message.number <= agent.networks_taken {
            return;
        }
        agent.networks_waiting.insert(message.number, message);
        self.apply_networks(node);
    }

    /// The kernel takes a moment for each message.
    fn apply_networks(&mut self, node: NodeId) {
        let most = if self.rng.once_in(50) { 7_000 } else { 20 };
        let time = Duration::from_millis(1 + self.rng.below(most));
        let Some(agent) = self.agents.get_mut(&node) else { return };
        let next = agent.networks_waiting.first_key_value().map(|(number, _)| *number);
        if agent.networks_busy || next != Some(agent.networks_taken + 1) {
            return;
        }
        agent.networks_busy = true;
        let (run, session) = (agent.run, agent.session());
        let Some(session) = session else { return };
        let event = Event::Local(node, run, Own::Balances(session));
        self.queue.push(self.now.saturating_add(time), event);
    }

    /// A node's kernel has what the message that is next said.
    pub(crate) fn balances(&mut self, node: NodeId, session: SessionId) {
        let Some(agent) = self.agents.get_mut(&node) else { return };
        if agent.session() != Some(session) {
            return;
        }
        agent.networks_busy = false;
        let Some((number, message)) = agent.networks_waiting.pop_first() else { return };
        if number == 1 {
            // The first says all of it.
            agent.balances.clear();
        }
        for (network, tasks) in message.changed {
            match tasks {
                Some(tasks) => drop(agent.balances.insert(network, tasks)),
                None => drop(agent.balances.remove(&network)),
            }
        }
        agent.networks_taken = number;
        if let Some(trace) = &mut self.trace {
            let (last, now) = (message.last, self.now);
            trace.push(format!("node {node} balances at {now:?} as {last:?} said"));
        }
        self.confirm(node, session, message.last);
        self.apply_networks(node);
    }

    fn confirm(&mut self, node: NodeId, session: SessionId, last: (u64, NetworkId)) {
        self.call(node, Call::Confirm(session, last));
    }
}
