//! What a node is to know of the networks it has tasks on: who answers where.
//!
//! The ingress network is every node's, for published ports are answered on all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use skep_state::State;
use skep_state::state::AddressOwner;
use skep_types::service::{PortConfig, PublishMode};
use skep_types::task::Slot;
use skep_types::{
    DesiredState, Network, NetworkId, Node, NodeId, NodeState, ServiceId, Task, TaskId, TaskState,
};

/// Whether a task is to be given connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Starting,
    Serving,
    /// It was told to stop: no new connections.
    Draining,
}

/// A task's place on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub task: TaskId,
    pub service: ServiceId,
    pub names: Vec<String>,
    pub address: IpAddr,
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
    pub vip: Option<IpAddr>,
    /// Those that every node answers.
    pub ports: Vec<PortConfig>,
}

/// All that a node is to know of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    pub network: Arc<Network>,
    /// Of every node, on the ingress network.
    pub nodes: BTreeSet<IpAddr>,
    pub endpoints: Vec<Endpoint>,
    pub services: Vec<Service>,
}

/// The networks of a node, each with who answers there.
pub fn of_node(state: &State, node: NodeId) -> BTreeMap<NetworkId, NetworkView> {
    let uses = |task: &&Arc<Task>| {
        task.status.state >= TaskState::Assigned && !task.status.state.is_terminal()
    };
    let mut wanted: BTreeSet<NetworkId> = state
        .tasks_on_node(node)
        .filter(uses)
        .flat_map(|task| task.networks.iter().map(|at| at.network))
        .collect();
    wanted.extend(state.networks().iter().filter(|it| it.spec.ingress).map(|it| it.id));
    let mut views: BTreeMap<NetworkId, NetworkView> = wanted
        .into_iter()
        .filter_map(|id| state.networks().get(id))
        .filter(|network| network.vni.is_some() && !network.ipam.is_empty())
        .map(|network| {
            let nodes = if network.spec.ingress { addresses(state) } else { BTreeSet::new() };
            let network = Arc::clone(network);
            let view = NetworkView { network, nodes, endpoints: vec![], services: vec![] };
            (view.network.id, view)
        })
        .collect();
    if views.is_empty() {
        return views;
    }
    // Those that have an address there, and no others.
    let owners = views.keys().flat_map(|id| state.address_owners(*id));
    let tasks: BTreeSet<TaskId> = owners
        .filter_map(|owner| match owner {
            AddressOwner::Task(task) => Some(task),
            AddressOwner::Service(_) => None,
        })
        .collect();
    for task in tasks.into_iter().filter_map(|id| state.tasks().get(id)) {
        for (id, endpoint) in endpoints(state, task) {
            if let Some(view) = views.get_mut(&id) {
                view.endpoints.push(endpoint);
            }
        }
    }
    for service in state.services().iter() {
        add_service(&mut views, service);
    }
    views
}

fn address(node: &Node) -> Option<IpAddr> {
    node.status.addr.parse().ok()
}

fn addresses(state: &State) -> BTreeSet<IpAddr> {
    state.nodes().iter().filter_map(|node| address(node)).collect()
}

/// A task's places. One whose node is down answers nowhere.
fn endpoints(state: &State, task: &Task) -> Vec<(NetworkId, Endpoint)> {
    if task.status.state < TaskState::Assigned || task.status.state.is_terminal() {
        return Vec::new();
    }
    let node = task.node_id.and_then(|id| state.nodes().get(id));
    let Some(node) = node.filter(|node| node.status.state != NodeState::Down) else {
        return Vec::new();
    };
    let Some(node) = address(node) else { return Vec::new() };
    let readiness = match (task.status.state, task.desired_state) {
        (_, DesiredState::Shutdown | DesiredState::Remove) => Readiness::Draining,
        (TaskState::Running, _) => Readiness::Serving,
        _ => Readiness::Starting,
    };
    let name = state.services().get(task.service_id).map(|service| {
        let service = &service.spec.annotations.name;
        match task.slot {
            Slot::Replica(number) => format!("{service}.{number}.{}", task.id),
            Slot::Node(node) => format!("{service}.{node}.{}", task.id),
        }
    });
    let place = |at: &skep_types::NetworkAttachment| {
        let endpoint = Endpoint {
            task: task.id,
            service: task.service_id,
            names: name.iter().cloned().collect(),
            address: at.addresses.first()?.addr(),
            node,
            readiness,
        };
        Some((at.network, endpoint))
    };
    task.networks.iter().filter_map(place).collect()
}

fn add_service(views: &mut BTreeMap<NetworkId, NetworkView>, service: &skep_types::Service) {
    let endpoint = service.endpoint.as_ref();
    let ports: Vec<PortConfig> = endpoint
        .iter()
        .flat_map(|endpoint| &endpoint.ports)
        .filter(|port| port.publish_mode == PublishMode::Ingress && port.published_port != 0)
        .cloned()
        .collect();
    for (id, view) in views {
        let joined = service.spec.task.networks.iter().find(|at| at.target == *id);
        let ingress = view.network.spec.ingress && !ports.is_empty();
        if joined.is_none() && !ingress {
            continue;
        }
        let vip = endpoint.and_then(|endpoint| {
            let vip = endpoint.virtual_ips.iter().find(|vip| vip.network == *id);
            vip.map(|vip| vip.address)
        });
        view.services.push(Service {
            id: service.id,
            name: service.spec.annotations.name.clone(),
            aliases: joined.map(|at| at.aliases.clone()).unwrap_or_default(),
            vip,
            ports: if view.network.spec.ingress { ports.clone() } else { Vec::new() },
        });
    }
}
