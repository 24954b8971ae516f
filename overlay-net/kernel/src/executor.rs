//! One node's executor: each operation to the functions that carry it out.

use std::path::{Path, PathBuf};

use skep_overlay_plan::operation::Place;
use skep_overlay_plan::{Observed, Operation};
use skep_types::TaskId;

use crate::sandbox::{self, HostJoin};
use crate::task::{self, Outside};
use crate::{HostNs, KernelError, Namespace, Paths, conntrack, host, nft, observe};

/// Executes operations on one host. Only one may work on a host at a time.
#[derive(Debug, Clone)]
pub struct Executor {
    host: HostNs,
    paths: Paths,
}

impl Executor {
    /// Namespaces get their names below `run`.
    pub fn new(host: HostNs, run: &Path) -> Self {
        Self { host, paths: Paths::new(run) }
    }

    /// Where a task's namespace has its name.
    pub fn task_path(&self, task: TaskId) -> PathBuf {
        self.paths.task(task)
    }

    pub fn host(&self) -> &HostNs {
        &self.host
    }

    /// What stands now.
    pub async fn observe(&self) -> Result<Observed, KernelError> {
        observe::observe(&self.host, &self.paths).await
    }

    /// Carries one operation out. When it fails, the same one can be tried again.
    pub async fn execute(&self, operation: &Operation) -> Result<(), KernelError> {
        let (host, paths) = (&self.host, &self.paths);
        match operation {
            Operation::EnableForwarding => host::enable_forwarding(host).await,
            Operation::CreateSandbox { network, tunnel, gateways, mac } => {
                sandbox::create(host, paths, *network, tunnel, gateways, *mac).await
            }
            Operation::JoinToHost { network, subnet, gateway, node, mtu } => {
                let join = HostJoin {
                    network: *network,
                    subnet: *subnet,
                    gateway: *gateway,
                    node: *node,
                    mtu: *mtu,
                };
                sandbox::join_to_host(host, paths, &join).await
            }
            Operation::SetForwarding { network, mac, node } => {
                let place = Namespace::open(&paths.network(*network))?;
                sandbox::set_forwarding(&place, *mac, *node).await
            }
            Operation::SetNeighbour { network, address, mac } => {
                let place = Namespace::open(&paths.network(*network))?;
                sandbox::set_neighbour(&place, *address, *mac).await
            }
            Operation::CreateTask { task } => task::create(paths, *task).await,
            Operation::Connect { task, network, name, interface } => {
                task::connect(paths, *task, *network, name, interface).await
            }
            Operation::ConnectOutside { task, name, address, gateway, mtu } => {
                let outside = Outside { name, address: *address, gateway: *gateway, mtu: *mtu };
                task::connect_outside(host, paths, *task, &outside).await
            }
            Operation::RouteReplies { task, name, address, gateway, udp_ports } => {
                let place = Namespace::open(&paths.task(*task))?;
                task::route_replies(&place, name, *address, *gateway, udp_ports).await
            }
            Operation::ReplaceRules { place, rules } => {
                nft::replace(&self.place(*place)?, rules).await
            }
            Operation::PruneFlows { place, balanced } => {
                conntrack::prune(&self.place(*place)?, balanced.clone()).await
            }
            Operation::Disconnect { task, name } => {
                let place = Namespace::open(&paths.task(*task))?;
                crate::netlink::Netlink::open(&place).await?.delete(name).await
            }
            Operation::RemoveForwarding { network, mac } => {
                let place = Namespace::open(&paths.network(*network))?;
                sandbox::remove_forwarding(&place, *mac).await
            }
            Operation::RemoveNeighbour { network, address } => {
                let place = Namespace::open(&paths.network(*network))?;
                sandbox::remove_neighbour(&place, *address).await
            }
            Operation::RemoveTask { task } => task::remove(host, paths, *task).await,
            Operation::PartFromHost { network } => sandbox::part_from_host(host, *network).await,
            Operation::RemoveSandbox { network } => sandbox::remove(host, paths, *network).await,
            Operation::RemoveHostRules => nft::remove(host).await,
        }
    }

    fn place(&self, place: Place) -> Result<Namespace, KernelError> {
        match place {
            Place::Host => Ok(self.host.clone()),
            Place::Task(task) => Namespace::open(&self.paths.task(task)),
        }
    }
}
