//! Whom a change of the state concerns: which nodes' sessions, assignments and networks are to be
//! looked at again.
//!
//! **Invariant:** a stream that is not concerned would be told nothing new. One that is may be told
//! nothing, too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use skep_state::{Delta, Event, State};
use skep_types::service::{Endpoint, NetworkAttachmentConfig};
use skep_types::{
    Attachment, Cluster, ConfigId, DesiredState, Network, NetworkAttachment, NetworkId, Node,
    NodeId, NodeState, SecretId, Service, ServiceId, ServiceSpec, Task, TaskId, TaskState, drain,
    session,
};

use crate::assignment::{is_the_nodes, reads_payloads};
use crate::endpoints::{Readiness, readiness};

/// All of a kind, or some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom<T: Ord> {
    All,
    Some(BTreeSet<T>),
}

impl<T: Ord> Default for Whom<T> {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl<T: Ord> Whom<T> {
    /// These, too.
    pub fn join(&mut self, more: Self) {
        match more {
            Self::All => *self = Self::All,
            Self::Some(more) => self.add(more),
        }
    }

    fn add(&mut self, more: impl IntoIterator<Item = T>) {
        if let Self::Some(some) = self {
            some.extend(more);
        }
    }
}

/// Tasks, attachments among them, of which their nodes may be to hear something else.
pub type NodesTasks = BTreeMap<NodeId, BTreeSet<TaskId>>;

/// Who may answer otherwise on a network than before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// The network itself has changed, come or gone, and with it everybody on it.
    pub all: bool,
    /// And attachments.
    pub tasks: BTreeSet<TaskId>,
    pub services: BTreeSet<ServiceId>,
    /// Underlay addresses that a node has or had; said of the ingress network.
    pub addresses: BTreeSet<(IpAddr, NodeId)>,
}

/// The networks on which somebody may answer otherwise.
pub type Networks = BTreeMap<NetworkId, Touched>;

fn touch(
    all: &mut Networks,
    networks: impl IntoIterator<Item = NetworkId>,
    touch: impl Fn(&mut Touched),
) {
    for network in networks {
        touch(all.entry(network).or_default());
    }
}

/// The networks of a task.
fn on(task: &Task) -> impl Iterator<Item = NetworkId> + '_ {
    task.networks.iter().map(|at| at.network)
}

/// Whom some events concern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concern {
    /// Nodes that may be told something new of themselves or of the managers.
    pub sessions: Whom<NodeId>,
    /// What nodes may be assigned otherwise, or is to stop there.
    pub assignments: NodesTasks,
    pub networks: Networks,
    /// Nodes that may have other networks than before.
    pub places: Whom<NodeId>,
}

impl Concern {
    /// Whom events concern that led to a view.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>, view: &State) -> Self {
        let mut concern = Self::default();
        for event in events {
            match event {
                Event::Cluster(delta) => concern.cluster(delta),
                Event::Node(delta) => concern.node(delta, view),
                Event::Service(delta) => concern.service(delta, view),
                Event::Task(delta) => concern.task(delta),
                Event::Network(delta) => concern.network(delta),
                Event::Attachment(delta) => concern.attachment(delta),
                Event::Secret(delta) if delta.before.is_none() || delta.after.is_none() => {
                    let id = delta.before.as_ref().or(delta.after.as_ref()).map(|it| it.id);
                    concern.readers(view, |spec| id.is_some_and(|id| reads_secret(spec, id)));
                }
                Event::Config(delta) if delta.before.is_none() || delta.after.is_none() => {
                    let id = delta.before.as_ref().or(delta.after.as_ref()).map(|it| it.id);
                    concern.readers(view, |spec| id.is_some_and(|id| reads_config(spec, id)));
                }
                // What a payload holds never changes, and nodes are not told the rest.
                Event::Secret(_) | Event::Config(_) => {}
            }
        }
        concern
    }

    fn cluster(&mut self, delta: &Delta<Cluster>) {
        let told =
            |cluster: &Cluster| (cluster.root_ca.certificate.clone(), cluster.data_path_port);
        if differs(delta, told) {
            self.sessions = Whom::All;
        }
    }

    fn node(&mut self, delta: &Delta<Node>, view: &State) {
        let Some(id) = delta.before.as_ref().or(delta.after.as_ref()).map(|node| node.id) else {
            return;
        };
        // A node that is none and one that is not there are the same to the others.
        let manager = |node: &Option<Arc<Node>>| {
            node.as_ref().and_then(|it| it.manager.as_ref()).map(|it| it.addr.clone())
        };
        if manager(&delta.before) != manager(&delta.after) {
            self.sessions = Whom::All;
        }
        let of_itself =
            |node: &Node| (node.spec.clone(), node.manager.clone(), node.certificate.clone());
        if differs(delta, of_itself) {
            self.sessions.add([id]);
        }
        let address = |node: &Node| node.status.addr.clone();
        let moved = differs(delta, address);
        if moved {
            let had_and_has = delta.before.iter().chain(&delta.after);
            for address in had_and_has.filter_map(|node| node.status.addr.parse().ok()) {
                touch(&mut self.networks, ingress(view), |it| {
                    it.addresses.insert((address, id));
                });
            }
        }
        if moved || differs(delta, |node| node.status.state == NodeState::Down) {
            self.touch_tasks(view.tasks_on_node(id));
            self.touch_attachments(view.attachments_on_node(id));
        }
    }

    fn service(&mut self, delta: &Delta<Service>, view: &State) {
        let Some(id) = delta.before.as_ref().or(delta.after.as_ref()).map(|it| it.id) else {
            return;
        };
        let drain_label = |it: &Service| it.spec.annotations.labels.get(drain::LABEL).cloned();
        let endpoint = |it: &Service| it.endpoint.clone();
        if differs(delta, endpoint) || differs(delta, drain_label) {
            self.assign(view.tasks_of_service(id));
        }
        let name = |it: &Service| it.spec.annotations.name.clone();
        if differs(delta, name) {
            self.touch_tasks(view.tasks_of_service(id));
        }
        type OnNetworks = (String, Vec<NetworkAttachmentConfig>, Option<Endpoint>, Option<String>);
        let on_networks = |it: &Service| -> OnNetworks {
            let session = it.spec.annotations.labels.get(session::LABEL).cloned();
            (name(it), it.spec.task.networks.clone(), it.endpoint.clone(), session)
        };
        if differs(delta, on_networks) {
            for service in delta.before.iter().chain(&delta.after) {
                let joined = service.spec.task.networks.iter().map(|at| at.target);
                let publishes = service.endpoint.as_ref().is_some_and(|it| !it.ports.is_empty());
                let ingress = ingress(view).filter(|_| publishes);
                touch(&mut self.networks, joined.chain(ingress), |it| {
                    it.services.insert(id);
                });
            }
        }
    }

    fn task(&mut self, delta: &Delta<Task>) {
        let (before, after) = (delta.before.as_deref(), delta.after.as_deref());
        let both = || delta.before.iter().chain(&delta.after);
        if before.and_then(assigned) != after.and_then(assigned) {
            self.assign(both());
        }
        if before.and_then(place) != after.and_then(place) {
            let on_networks = both().filter(|task| !task.networks.is_empty());
            self.places.add(on_networks.filter_map(|task| task.node_id));
            self.touch_tasks(both());
        }
    }

    /// What these tasks' nodes are told of them may be something else.
    fn assign<'a>(&mut self, tasks: impl IntoIterator<Item = &'a Arc<Task>>) {
        for task in tasks {
            if let Some(node) = task.node_id {
                self.assignments.entry(node).or_default().insert(task.id);
            }
        }
    }

    /// These tasks may answer otherwise on their networks.
    fn touch_tasks<'a>(&mut self, tasks: impl IntoIterator<Item = &'a Arc<Task>>) {
        for task in tasks.into_iter().filter(|task| task.has_place()) {
            touch(&mut self.networks, on(task), |it| {
                it.tasks.insert(task.id);
            });
        }
    }

    fn attachment(&mut self, delta: &Delta<Attachment>) {
        let both = || delta.before.iter().chain(&delta.after);
        if delta.before.is_none() || delta.after.is_none() {
            for it in both() {
                self.assignments.entry(it.node_id).or_default().insert(it.id.as_task());
            }
            self.places.add(both().map(|it| it.node_id));
        }
        self.touch_attachments(both());
    }

    fn touch_attachments<'a>(&mut self, all: impl IntoIterator<Item = &'a Arc<Attachment>>) {
        for attachment in all {
            touch(&mut self.networks, [attachment.network], |it| {
                it.tasks.insert(attachment.id.as_task());
            });
        }
    }

    fn network(&mut self, delta: &Delta<Network>) {
        for network in delta.before.iter().chain(&delta.after) {
            touch(&mut self.networks, [network.id], |it| it.all = true);
            if network.spec.ingress {
                // Every node has it.
                self.places = Whom::All;
            }
        }
    }

    /// Nodes of tasks that were made from a spec which reads something.
    fn readers(&mut self, view: &State, reads: impl Fn(&ServiceSpec) -> bool) {
        for (service, version, _) in view.specs().filter(|(_, _, spec)| reads(spec)) {
            let tasks = view.tasks_of_service(service).filter(|it| it.spec_version == version);
            self.assign(tasks);
        }
    }
}

fn reads_secret(spec: &ServiceSpec, id: SecretId) -> bool {
    spec.task.container.secrets.iter().any(|reference| reference.secret_id == id)
}

fn reads_config(spec: &ServiceSpec, id: ConfigId) -> bool {
    spec.task.container.configs.iter().any(|reference| reference.config_id == id)
}

fn ingress(view: &State) -> impl Iterator<Item = NetworkId> + '_ {
    view.networks().iter().filter(|network| network.spec.ingress).map(|network| network.id)
}

/// Whether something about an object differs before and after; to be there or not is a difference.
fn differs<T: skep_state::Object, V: PartialEq>(delta: &Delta<T>, what: impl Fn(&T) -> V) -> bool {
    delta.before.as_deref().map(&what) != delta.after.as_deref().map(&what)
}

/// What its node looks at of a task: a change of anything else is no news to it, its own reports
/// above all.
fn assigned(task: &Task) -> Option<impl PartialEq + '_> {
    is_the_nodes(task).then(|| {
        let stops = task.desired_state >= DesiredState::Shutdown;
        let serves = task.status.state == TaskState::Running;
        let reads = reads_payloads(task);
        (task.node_id, task.desired_state, &task.networks, reads, stops && serves)
    })
}

/// What others look at of a task that answers on networks.
fn place(task: &Task) -> Option<(Option<NodeId>, Readiness, &[NetworkAttachment])> {
    task.has_place().then(|| (task.node_id, readiness(task), &task.networks[..]))
}
