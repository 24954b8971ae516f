//! What a node is to know of the networks it has tasks or attached containers on: who answers where.
//!
//! The ingress network is every node's, for published ports are answered on all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use skep_state::State;
use skep_state::state::{AddressOwner, Named};
use skep_types::service::{PortConfig, PublishMode};
use skep_types::session::{self, Session};
use skep_types::task::Slot;
use skep_types::{
    Attachment, AttachmentId, DesiredState, Network, NetworkId, Node, NodeId, NodeState, ServiceId,
    Task, TaskId, TaskState,
};

use crate::concern::Touched;

/// Whether a task is to be given connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Starting,
    Serving,
    /// It was told to stop: no new connections.
    Draining,
}

/// A task's place on a network, or an attached container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub task: TaskId,
    /// None of a container that was started by hand.
    pub service: Option<ServiceId>,
    pub names: Vec<String>,
    /// At most one of each family, IPv4 first; never none.
    pub addresses: Vec<IpAddr>,
    /// Underlay address of its node.
    pub node: IpAddr,
    pub readiness: Readiness,
}

/// A service on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub id: ServiceId,
    pub name: String,
    pub aliases: Vec<String>,
    /// At most one of each family.
    pub vips: Vec<IpAddr>,
    /// On the ingress network those that every node answers; on others all that it has, by their names,
    /// and none of them published.
    pub ports: Vec<PortConfig>,
    pub session: Session,
}

/// Who answers on a network, on top of what was known before: of nothing for a whole network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// Underlay addresses of every node, on the ingress network.
    pub nodes: BTreeSet<IpAddr>,
    pub nodes_gone: BTreeSet<IpAddr>,
    pub endpoints: Vec<Endpoint>,
    pub endpoints_gone: Vec<TaskId>,
    pub services: Vec<Service>,
    pub services_gone: Vec<ServiceId>,
}

/// All that a node is to know of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    pub network: Arc<Network>,
    pub answers: Answers,
}

/// The networks that a node is to know: those of its tasks and containers, and the ingress network. What is not
/// allocated yet is among them.
pub fn networks_of(state: &State, node: NodeId) -> BTreeSet<NetworkId> {
    let mut wanted: BTreeSet<NetworkId> = state
        .tasks_on_node(node)
        .filter(|task| task.has_place())
        .flat_map(|task| task.networks.iter().map(|at| at.network))
        .collect();
    wanted.extend(state.attachments_on_node(node).map(|it| it.network));
    wanted.extend(state.networks().iter().filter(|it| it.spec.ingress).map(|it| it.id));
    wanted
}

/// The networks of a node, each with who answers there.
pub fn of_node(state: &State, node: NodeId) -> BTreeMap<NetworkId, NetworkView> {
    let views = networks_of(state, node).into_iter().filter_map(|id| NetworkView::of(state, id));
    views.map(|view| (view.network.id, view)).collect()
}

impl NetworkView {
    /// One network with who answers there, the same for every node that knows it; none while it is
    /// not allocated.
    pub fn of(state: &State, id: NetworkId) -> Option<Self> {
        let network = state.networks().get(id)?;
        if network.vni.is_none() || network.ipam.is_empty() {
            return None;
        }
        let ingress = network.spec.ingress;
        let nodes = if ingress { addresses(state).collect() } else { BTreeSet::new() };
        // Those that have an address there, and no others.
        let owners = state.address_owners(id);
        let owners: BTreeSet<TaskId> = owners
            .filter_map(|owner| match owner {
                AddressOwner::Task(task) => Some(task),
                AddressOwner::Attachment(attachment) => Some(attachment.as_task()),
                AddressOwner::Service(_) => None,
            })
            .collect();
        let endpoints = owners.into_iter().filter_map(|it| of_owner(state, it, id)).collect();
        let services = match ingress {
            true => state.services().iter().filter_map(|it| service(it, id, true)).collect(),
            false => {
                let joined = state.services_naming(Named::Network(id));
                joined.filter_map(|it| service(it, id, false)).collect()
            }
        };
        let answers = Answers { nodes, endpoints, services, ..Answers::default() };
        Some(Self { network: Arc::clone(network), answers })
    }
}

impl Answers {
    /// How those answer now that may answer otherwise than before on a network that has not changed
    /// itself.
    pub fn of(state: &State, network: &Network, touched: &Touched) -> Self {
        let mut answers = Self::default();
        for id in &touched.tasks {
            match of_owner(state, *id, network.id) {
                Some(endpoint) => answers.endpoints.push(endpoint),
                None => answers.endpoints_gone.push(*id),
            }
        }
        let ingress = network.spec.ingress;
        for id in &touched.services {
            let there = state.services().get(*id);
            match there.and_then(|it| service(it, network.id, ingress)) {
                Some(service) => answers.services.push(service),
                None => answers.services_gone.push(*id),
            }
        }
        for (of, node) in &touched.addresses {
            let has = |node: &Node| address(node).is_some_and(|it| it == *of);
            let still = state.nodes().get(*node).is_some_and(|node| has(node));
            match still || addresses(state).any(|it| it == *of) {
                true => answers.nodes.insert(*of),
                false => answers.nodes_gone.insert(*of),
            };
        }
        answers
    }

    /// How many objects it speaks of.
    pub fn weight(&self) -> usize {
        let nodes = self.nodes.len() + self.nodes_gone.len();
        let endpoints = self.endpoints.len() + self.endpoints_gone.len();
        nodes + endpoints + self.services.len() + self.services_gone.len()
    }
}

fn address(node: &Node) -> Option<IpAddr> {
    node.status.addr.parse().ok()
}

fn addresses(state: &State) -> impl Iterator<Item = IpAddr> + '_ {
    state.nodes().iter().filter_map(|node| address(node))
}

pub(crate) fn readiness(task: &Task) -> Readiness {
    match (task.status.state, task.desired_state) {
        (_, DesiredState::Shutdown | DesiredState::Remove) => Readiness::Draining,
        (TaskState::Running, _) => Readiness::Serving,
        _ => Readiness::Starting,
    }
}

/// The place on a network of a task, or of an attachment, whoever has the id.
fn of_owner(state: &State, id: TaskId, network: NetworkId) -> Option<Endpoint> {
    match state.tasks().get(id) {
        Some(task) => endpoint(state, task, network),
        None => {
            let attachment = state.attachments().get(AttachmentId::of_task(id))?;
            of_attachment(state, attachment, network)
        }
    }
}

/// A container that was started by hand answers as long as its attachment stands and its node is up.
fn of_attachment(state: &State, it: &Attachment, network: NetworkId) -> Option<Endpoint> {
    let node = state.nodes().get(it.node_id);
    let node = node.filter(|node| node.status.state != NodeState::Down)?;
    if it.network != network {
        return None;
    }
    Some(Endpoint {
        task: it.id.as_task(),
        service: None,
        names: it.names.clone(),
        addresses: it.addresses.iter().map(|address| address.addr()).collect(),
        node: address(node)?,
        readiness: Readiness::Serving,
    })
}

/// A task's place on a network. One whose node is down answers nowhere.
fn endpoint(state: &State, task: &Task, network: NetworkId) -> Option<Endpoint> {
    if !task.has_place() {
        return None;
    }
    let node = task.node_id.and_then(|id| state.nodes().get(id));
    let node = node.filter(|node| node.status.state != NodeState::Down)?;
    let at = task.networks.iter().find(|at| at.network == network)?;
    let addresses: Vec<IpAddr> = at.addresses.iter().map(|address| address.addr()).collect();
    if addresses.is_empty() {
        return None;
    }
    let name = state.services().get(task.service_id).map(|service| {
        let service = &service.spec.annotations.name;
        match task.slot {
            Slot::Replica(number) => format!("{service}.{number}.{}", task.id),
            Slot::Node(node) => format!("{service}.{node}.{}", task.id),
        }
    });
    Some(Endpoint {
        task: task.id,
        service: Some(task.service_id),
        names: name.into_iter().collect(),
        addresses,
        node: address(node)?,
        readiness: readiness(task),
    })
}

/// A service's place on a network; none if it is not there.
fn service(service: &skep_types::Service, network: NetworkId, ingress: bool) -> Option<Service> {
    let endpoint = service.endpoint.as_ref();
    let own = endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    let ports: Vec<PortConfig> = match ingress {
        true => own
            .filter(|port| port.publish_mode == PublishMode::Ingress && port.published_port != 0)
            .cloned()
            .collect(),
        false => own.map(inside).collect(),
    };
    let joined = service.spec.task.networks.iter().find(|at| at.target == network);
    if joined.is_none() && (!ingress || ports.is_empty()) {
        return None;
    }
    let vips = endpoint.iter().flat_map(|endpoint| &endpoint.virtual_ips);
    let vips = vips.filter(|vip| vip.network == network).map(|vip| vip.address).collect();
    Some(Service {
        id: service.id,
        name: service.spec.annotations.name.clone(),
        aliases: joined.map(|at| at.aliases.clone()).unwrap_or_default(),
        vips,
        ports,
        session: session::of(&service.spec.annotations.labels).unwrap_or_default(),
    })
}

/// A port as the service's own networks know it: whatever is published of it is not reached by them.
fn inside(port: &PortConfig) -> PortConfig {
    PortConfig { published_port: 0, publish_mode: PublishMode::Ingress, ..port.clone() }
}
