//! The whole state, as one immutable view, with the indexes that rules and reconcilers look in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use ipnet::IpNet;
use skep_types::service::Protocol;
use skep_types::task::Slot;
use skep_types::{
    Attachment, AttachmentId, Cluster, Config, ConfigId, Network, NetworkId, Node, NodeId,
    Revision, Secret, SecretId, Service, ServiceId, ServiceSpec, Task, TaskId, Vni,
};

use crate::rejection::Reason;
use crate::rules;
use crate::table::Table;
use crate::tally::{Tally, TallyKey};

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
    pub(crate) attachments: Table<Attachment>,
    /// Specs that tasks were made from, the current and the previous one of each service included.
    pub(crate) specs: OrdMap<(ServiceId, Revision), KeptSpec>,
    pub(crate) tasks_by_slot: OrdSet<(ServiceId, Slot, TaskId)>,
    pub(crate) tasks_by_node: OrdSet<(NodeId, TaskId)>,
    pub(crate) tallies: OrdMap<TallyKey, Tally>,
    /// Containers on networks by node, each with its id in the engine there.
    pub(crate) attachment_places: OrdMap<(NodeId, NetworkId, Arc<str>), AttachmentId>,
    /// Who has an address: a service's VIP, a task that has not ended, or a container that was
    /// started by hand.
    pub(crate) addresses: OrdMap<(NetworkId, IpAddr), AddressOwner>,
    pub(crate) ports: OrdMap<(Protocol, u16), ServiceId>,
    /// Ports that services ask for on the nodes their tasks run on. Several may ask for one.
    pub(crate) host_ports: OrdSet<(Protocol, u16, ServiceId)>,
    /// Nodes that are managers by role, or that still are members of the Raft group.
    pub(crate) managers: OrdSet<NodeId>,
    /// What services name in their specs: such an object stays.
    pub(crate) named_by: OrdSet<(Named, ServiceId)>,
    pub(crate) vnis: OrdMap<Vni, NetworkId>,
    /// By first address, wider ones first.
    pub(crate) subnets: OrdSet<(IpAddr, u8, NetworkId)>,
}

/// Who an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOwner {
    Service(ServiceId),
    Task(TaskId),
    Attachment(AttachmentId),
}

/// Something that a service's spec names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    Network(NetworkId),
    Secret(SecretId),
    Config(ConfigId),
}

/// A spec, and how many of the tasks that stand were made from it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeptSpec {
    pub spec: Arc<ServiceSpec>,
    pub tasks: u32,
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

    pub fn attachments(&self) -> &Table<Attachment> {
        &self.attachments
    }

    /// Attachments of a node's containers, network by network.
    pub fn attachments_on_node(&self, node: NodeId) -> impl Iterator<Item = &Arc<Attachment>> {
        let from = (node, NetworkId::new(0), Arc::<str>::from(""));
        let places = self.attachment_places.range(from..);
        let its = places.take_while(move |((on, ..), _)| *on == node);
        its.filter_map(|(_, id)| self.attachments.get(*id))
    }

    /// The attachment of a node's container to a network.
    pub fn attachment_at(
        &self,
        (node, network, container): (NodeId, NetworkId, &str),
    ) -> Option<&Arc<Attachment>> {
        let id = self.attachment_places.get(&(node, network, container.into()))?;
        self.attachments.get(*id)
    }

    /// The spec that a task was made from.
    pub fn spec(&self, service: ServiceId, version: Revision) -> Option<&Arc<ServiceSpec>> {
        self.specs.get(&(service, version)).map(|kept| &kept.spec)
    }

    /// Tasks of a service, slot by slot, those that have ended included.
    pub fn tasks_of_service(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        self.slots_between(service, Slot::Replica(0), Slot::Node(NodeId::new(u128::MAX)))
    }

    /// Tasks of one slot of a service, ascending by id, those that have ended included.
    pub fn tasks_in_slot(
        &self,
        service: ServiceId,
        slot: Slot,
    ) -> impl Iterator<Item = &Arc<Task>> {
        self.slots_between(service, slot, slot)
    }

    fn slots_between(
        &self,
        service: ServiceId,
        first: Slot,
        last: Slot,
    ) -> impl Iterator<Item = &Arc<Task>> {
        let first = (service, first, TaskId::new(0));
        let last = (service, last, TaskId::new(u128::MAX));
        self.tasks_by_slot.range(first..=last).filter_map(|(_, _, id)| self.tasks.get(*id))
    }

    /// Tasks that were given to a node, ascending by id, those that have ended included.
    pub fn tasks_on_node(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        let first = (node, TaskId::new(0));
        let last = (node, TaskId::new(u128::MAX));
        self.tasks_by_node.range(first..=last).filter_map(|(_, id)| self.tasks.get(*id))
    }

    /// Nodes that are managers by role, or that still are members of the Raft group.
    pub fn managers(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.managers.iter().filter_map(|id| self.nodes.get(*id))
    }

    /// Services whose specs name an object, ascending by id.
    pub fn services_naming(&self, named: Named) -> impl Iterator<Item = &Arc<Service>> {
        let first = (named, ServiceId::new(0));
        let last = (named, ServiceId::new(u128::MAX));
        self.named_by.range(first..=last).filter_map(|(_, id)| self.services.get(*id))
    }

    /// Who has an address on a network, in the order of addresses.
    pub fn address_owners(&self, network: NetworkId) -> impl Iterator<Item = AddressOwner> + '_ {
        let first = (network, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let last = (network, IpAddr::V6(Ipv6Addr::from(u128::MAX)));
        self.addresses.range(first..=last).map(|(_, owner)| *owner)
    }

    /// Addresses of a network that somebody has, ascending.
    pub fn addresses(&self, network: NetworkId) -> impl Iterator<Item = IpAddr> + '_ {
        let first = (network, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let last = (network, IpAddr::V6(Ipv6Addr::from(u128::MAX)));
        self.addresses.range(first..=last).map(|((_, address), _)| *address)
    }

    /// Networks that have a subnet of which an address is in the given one too.
    pub fn subnet_owners(&self, subnet: IpNet) -> impl Iterator<Item = NetworkId> + '_ {
        let any = |id| NetworkId::new(id);
        // Two subnets that overlap are one within the other: those around it, then those within.
        let around = (0..subnet.prefix_len()).filter_map(move |length| {
            let wider = IpNet::new(subnet.network(), length).ok()?.network();
            Some((wider, length, any(0))..=(wider, length, any(u128::MAX)))
        });
        let within = (subnet.network(), subnet.prefix_len(), any(0))
            ..=(subnet.broadcast(), u8::MAX, any(u128::MAX));
        let candidates = around.chain(std::iter::once(within));
        candidates.flat_map(|range| self.subnets.range(range)).filter_map(
            move |(first, length, network)| {
                let found = IpNet::new(*first, *length).ok()?;
                (found.contains(&subnet) || subnet.contains(&found)).then_some(*network)
            },
        )
    }

    /// Which network has this VXLAN id.
    pub fn vni_owner(&self, vni: Vni) -> Option<NetworkId> {
        self.vnis.get(&vni).copied()
    }

    /// Who has this address on this network.
    pub fn address_owner(&self, network: NetworkId, address: IpAddr) -> Option<AddressOwner> {
        self.addresses.get(&(network, address)).copied()
    }

    /// Which service has this port on every node.
    pub fn port_owner(&self, protocol: Protocol, port: u16) -> Option<ServiceId> {
        self.ports.get(&(protocol, port)).copied()
    }

    /// Services that ask for this port on the nodes their tasks run on, ascending by id.
    pub fn host_port_users(
        &self,
        protocol: Protocol,
        port: u16,
    ) -> impl Iterator<Item = ServiceId> + '_ {
        let first = (protocol, port, ServiceId::new(0));
        let last = (protocol, port, ServiceId::new(u128::MAX));
        self.host_ports.range(first..=last).map(|(_, _, id)| *id)
    }

    /// Every retained spec, for a snapshot.
    pub fn specs(&self) -> impl Iterator<Item = (ServiceId, Revision, &Arc<ServiceSpec>)> {
        self.specs.iter().map(|((service, version), kept)| (*service, *version, &kept.spec))
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
            attachments: all(&self.attachments),
        }
    }

    /// Builds a state from the objects of a snapshot, as they are, and makes the indexes anew.
    ///
    /// # Errors
    /// Two objects claim the same id, name, address or port, or a task was made from a spec that is
    /// not there: the snapshot is not one that `apply` made.
    pub fn from_objects(objects: Objects) -> Result<Self, Reason> {
        let mut state = Self { epoch: objects.epoch, ..Self::default() };
        if let Some(cluster) = objects.cluster {
            state.cluster.load(cluster)?;
        }
        for node in objects.nodes {
            rules::nodes::index(&mut state, None, Some(&node));
            state.nodes.load(node)?;
        }
        for network in objects.networks {
            rules::networks::index(&mut state, None, Some(&network));
            state.networks.load(network)?;
        }
        for secret in objects.secrets {
            state.secrets.load(secret)?;
        }
        for config in objects.configs {
            state.configs.load(config)?;
        }
        for attachment in objects.attachments {
            rules::attachments::claims_are_free(&state, &attachment)?;
            rules::attachments::index(&mut state, None, Some(&attachment));
            state.attachments.load(attachment)?;
        }
        for (service, version, spec) in objects.specs {
            state.specs.insert((service, version), KeptSpec { spec, tasks: 0 });
        }
        for service in objects.services {
            rules::services::claims_are_free(&state, &service)?;
            rules::services::index(&mut state, None, Some(&service));
            state.services.load(service)?;
        }
        for task in objects.tasks {
            state.load_task(task)?;
        }
        Ok(state)
    }

    /// Puts one more task of a snapshot in as it is, behind all other objects. After an error the
    /// state is not to be used.
    ///
    /// # Errors
    /// As of [`State::from_objects`].
    pub fn load_task(&mut self, task: Task) -> Result<(), Reason> {
        rules::tasks::spec_exists(self, &task)?;
        rules::tasks::claims_are_free(self, &task)?;
        rules::tasks::index(self, None, Some(&task));
        self.tasks.load(task)
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
    pub attachments: Vec<Attachment>,
}
