//! The whole state, as one immutable view, with the indexes that rules and reconcilers look in.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use skep_types::service::Protocol;
use skep_types::{
    Cluster, Config, Network, NetworkId, Node, NodeId, Revision, Secret, Service, ServiceId,
    ServiceSpec, Task, TaskId,
};

use crate::rejection::Reason;
use crate::rules;
use crate::table::Table;

/// Every table at one point of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub(crate) epoch: u64,
    pub(crate) cluster: Table<Cluster>,
    pub(crate) nodes: Table<Node>,
    pub(crate) services: Table<Service>,
    pub(crate) tasks: Table<Task>,
    pub(crate) networks: Table<Network>,
    pub(crate) secrets: Table<Secret>,
    pub(crate) configs: Table<Config>,
    /// Specs that tasks were made from, the current and the previous one of each service included.
    pub(crate) specs: OrdMap<(ServiceId, Revision), Arc<ServiceSpec>>,
    pub(crate) tasks_by_service: OrdSet<(ServiceId, TaskId)>,
    pub(crate) tasks_by_node: OrdSet<(NodeId, TaskId)>,
    /// Who has an address: a service's VIP or a task that has not ended.
    pub(crate) addresses: OrdMap<(NetworkId, IpAddr), AddressOwner>,
    pub(crate) ports: OrdMap<(Protocol, u16), ServiceId>,
}

/// Who an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOwner {
    Service(ServiceId),
    Task(TaskId),
}

impl State {
    /// The leadership under which the last transaction was made.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The swarm's own object; none before `swarm init`.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.iter().next()
    }

    pub fn nodes(&self) -> &Table<Node> {
        &self.nodes
    }

    pub fn services(&self) -> &Table<Service> {
        &self.services
    }

    pub fn tasks(&self) -> &Table<Task> {
        &self.tasks
    }

    pub fn networks(&self) -> &Table<Network> {
        &self.networks
    }

    pub fn secrets(&self) -> &Table<Secret> {
        &self.secrets
    }

    pub fn configs(&self) -> &Table<Config> {
        &self.configs
    }

    /// The spec that a task was made from.
    pub fn spec(&self, service: ServiceId, version: Revision) -> Option<&Arc<ServiceSpec>> {
        self.specs.get(&(service, version))
    }

    /// Tasks of a service, ascending by id, those that have ended included.
    pub fn tasks_of_service(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        let first = (service, TaskId::new(0));
        let last = (service, TaskId::new(u128::MAX));
        self.tasks_by_service.range(first..=last).filter_map(|(_, id)| self.tasks.get(*id))
    }

    /// Tasks that were given to a node, ascending by id, those that have ended included.
    pub fn tasks_on_node(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        let first = (node, TaskId::new(0));
        let last = (node, TaskId::new(u128::MAX));
        self.tasks_by_node.range(first..=last).filter_map(|(_, id)| self.tasks.get(*id))
    }

    /// Who has this address on this network.
    pub fn address_owner(&self, network: NetworkId, address: IpAddr) -> Option<AddressOwner> {
        self.addresses.get(&(network, address)).copied()
    }

    /// Which service has this port on every node.
    pub fn port_owner(&self, protocol: Protocol, port: u16) -> Option<ServiceId> {
        self.ports.get(&(protocol, port)).copied()
    }

    /// Every retained spec, for a snapshot.
    pub fn specs(&self) -> impl Iterator<Item = (ServiceId, Revision, &Arc<ServiceSpec>)> {
        self.specs.iter().map(|((service, version), spec)| (*service, *version, spec))
    }

    /// Everything that stands, for a snapshot; [`State::from_objects`] gives the same state back.
    pub fn to_objects(&self) -> Objects {
        fn all<T: crate::Object>(table: &Table<T>) -> Vec<T> {
            table.iter().map(|object| T::clone(object)).collect()
        }
        Objects {
            epoch: self.epoch,
            cluster: self.cluster().map(|cluster| Cluster::clone(cluster)),
            nodes: all(&self.nodes),
            services: all(&self.services),
            specs: self
                .specs()
                .map(|(id, version, spec)| (id, version, Arc::clone(spec)))
                .collect(),
            tasks: all(&self.tasks),
            networks: all(&self.networks),
            secrets: all(&self.secrets),
            configs: all(&self.configs),
        }
    }

    /// Builds a state from the objects of a snapshot, as they are, and makes the indexes anew.
    ///
    /// # Errors
    /// Two objects claim the same id, name, address or port: the snapshot is not one that
    /// `apply` made.
    pub fn from_objects(objects: Objects) -> Result<Self, Reason> {
        let mut state = Self { epoch: objects.epoch, ..Self::default() };
        if let Some(cluster) = objects.cluster {
            state.cluster.load(cluster)?;
        }
        for node in objects.nodes {
            state.nodes.load(node)?;
        }
        for network in objects.networks {
            state.networks.load(network)?;
        }
        for secret in objects.secrets {
            state.secrets.load(secret)?;
        }
        for config in objects.configs {
            state.configs.load(config)?;
        }
        for (service, version, spec) in objects.specs {
            state.specs.insert((service, version), spec);
        }
        for service in objects.services {
            rules::services::index(&mut state, None, Some(&service))?;
            state.services.load(service)?;
        }
        for task in objects.tasks {
            rules::tasks::index(&mut state, None, Some(&task))?;
            state.tasks.load(task)?;
        }
        Ok(state)
    }
}

/// The contents of a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    pub epoch: u64,
    pub cluster: Option<Cluster>,
    pub nodes: Vec<Node>,
    pub services: Vec<Service>,
    pub specs: Vec<(ServiceId, Revision, Arc<ServiceSpec>)>,
    pub tasks: Vec<Task>,
    pub networks: Vec<Network>,
    pub secrets: Vec<Secret>,
    pub configs: Vec<Config>,
}
