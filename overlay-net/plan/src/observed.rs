//! What stands in the kernel, as it was read back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use skep_types::service::Protocol;
use skep_types::{NetworkId, TaskId, Vni};

use crate::address::outside_v6;
use crate::operation::Operation;
use crate::rules::{Digest, TaskRules};
use crate::{Balanced, Mac};
use skep_types::Family;

/// A VXLAN device. Its attributes cannot be changed while it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    pub vni: Vni,
    pub local: IpAddr,
    pub udp_port: u16,
    pub mtu: u32,
}

/// A network's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedSandbox {
    /// None unless bridge and device stand, joined and up.
    pub tunnel: Option<Tunnel>,
    pub gateways: BTreeSet<IpNet>,
    pub forwarding: BTreeMap<Mac, IpAddr>,
    pub neighbours: BTreeMap<IpAddr, Mac>,
    /// Joined to the host's namespace, for published ports.
    pub joined_to_host: bool,
}

/// An interface of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub mac: Mac,
    pub addresses: BTreeSet<IpNet>,
    /// Subnets that are reached by it without a router, beside those of its own addresses.
    pub routes: BTreeSet<IpNet>,
    pub mtu: u32,
}

/// What the host passes on from one interface to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarding {
    pub v4: bool,
    pub v6: bool,
}

/// A task's place towards its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outside {
    pub address: Ipv4Addr,
    /// Whether it has the IPv6 address that goes with it (`outside_v6`).
    pub v6: bool,
}

impl Outside {
    /// All its addresses, each alone in its subnet.
    pub fn addresses(self) -> BTreeSet<IpNet> {
        let v6 = self.v6.then(|| IpNet::from(IpAddr::V6(outside_v6(self.address))));
        [IpNet::from(IpAddr::V4(self.address))].into_iter().chain(v6).collect()
    }
}

/// A task's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedTask {
    /// Those that are up, by name, without the loopback.
    pub interfaces: BTreeMap<String, Interface>,
    pub outside: Option<Outside>,
    /// Ports that have a rule of their own by which replies leave by the ingress network, in the
    /// families with that routing.
    pub replies: BTreeMap<Family, BTreeSet<(Protocol, u16)>>,
    pub rules: Option<Digest>,
    /// The same rules, if it was us who wrote them since the daemon began.
    pub written: Option<Arc<TaskRules>>,
}

/// All of it on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub forwarding: Forwarding,
    pub host_rules: Option<Digest>,
    /// The ports that these answer, if it was us who wrote them since the daemon began.
    pub host_ports: Option<Vec<Balanced>>,
    /// The operator's own table stands, whatever is in it.
    pub user_table: bool,
    pub sandboxes: BTreeMap<NetworkId, ObservedSandbox>,
    pub tasks: BTreeMap<TaskId, ObservedTask>,
}

impl Observed {
    /// Keeps of what was known `before` what the kernel does not tell, where it tells the rest alike.
    pub fn remember(&mut self, before: &Self) {
        if self.host_rules == before.host_rules {
            self.host_ports.clone_from(&before.host_ports);
        }
        for (id, task) in &mut self.tasks {
            let written = before.tasks.get(id).and_then(|it| it.written.as_ref());
            task.written = written.filter(|it| Some(it.digest()) == task.rules).cloned();
        }
    }

    /// What stands after an operation that succeeded, so that the kernel need not be read again
    /// after each step.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::EnableForwarding(families) => self.forwarding = *families,
            Operation::ReplaceHostRules { rules, balanced } => {
                self.host_rules = Some(rules.digest());
                self.host_ports = Some(balanced.clone());
            }
            Operation::CreateUserTable => self.user_table = true,
            Operation::RemoveHostRules => {
                (self.host_rules, self.host_ports) = (None, None);
                // It stays only if something was written into it; making it again does no harm.
                self.user_table = false;
            }
            Operation::PruneFlows { .. } => {}
            Operation::RemoveSandbox { network } => {
                self.sandboxes.remove(network);
            }
            Operation::RemoveTask { task } => {
                self.tasks.remove(task);
            }
            Operation::CreateSandbox { network, .. }
            | Operation::JoinToHost { network, .. }
            | Operation::PartFromHost { network }
            | Operation::SetForwarding { network, .. }
            | Operation::RemoveForwarding { network, .. }
            | Operation::SetNeighbour { network, .. }
            | Operation::RemoveNeighbour { network, .. } => {
                self.sandboxes.entry(*network).or_default().apply(operation);
            }
            Operation::CreateTask { task }
            | Operation::BorrowTask { task, .. }
            | Operation::Connect { task, .. }
            | Operation::ConnectOutside { task, .. }
            | Operation::RouteReplies { task, .. }
            | Operation::Disconnect { task, .. }
            | Operation::ReplaceTaskRules { task, .. }
            | Operation::EditTaskRules { task, .. } => {
                self.tasks.entry(*task).or_default().apply(operation);
            }
        }
    }
}

impl ObservedSandbox {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::CreateSandbox { tunnel, gateways, .. } => {
                if self.tunnel != Some(*tunnel) {
                    // A new device knows nobody yet.
                    self.forwarding.clear();
                    self.neighbours.clear();
                }
                self.tunnel = Some(*tunnel);
                self.gateways.clone_from(gateways);
            }
            Operation::JoinToHost { .. } => self.joined_to_host = true,
            Operation::PartFromHost { .. } => self.joined_to_host = false,
            Operation::SetForwarding { mac, node, .. } => {
                self.forwarding.insert(*mac, *node);
            }
            Operation::RemoveForwarding { mac, .. } => {
                self.forwarding.remove(mac);
            }
            Operation::SetNeighbour { address, mac, .. } => {
                self.neighbours.insert(*address, *mac);
            }
            Operation::RemoveNeighbour { address, .. } => {
                self.neighbours.remove(address);
            }
            _ => {}
        }
    }
}

impl ObservedTask {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Connect { name, interface, .. } => {
                self.interfaces.insert(name.clone(), interface.clone());
            }
            Operation::ConnectOutside { name, outside, mtu, .. } => {
                let addresses = outside.addresses();
                // Its link-layer address is the kernel's choice, and nobody asks for it.
                let (mac, routes) = (Mac([0; 6]), BTreeSet::new());
                let interface = Interface { mac, addresses, routes, mtu: *mtu };
                self.interfaces.insert(name.clone(), interface);
                self.outside = Some(*outside);
            }
            Operation::RouteReplies { address, early, .. } => {
                self.replies.insert(Family::of(*address), early.clone());
            }
            Operation::Disconnect { name, .. } => {
                self.interfaces.remove(name);
            }
            Operation::ReplaceTaskRules { rules, .. } | Operation::EditTaskRules { rules, .. } => {
                self.rules = Some(rules.digest());
                self.written = Some(Arc::clone(rules));
            }
            _ => {}
        }
    }
}
