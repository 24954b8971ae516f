//! One node's executor: each operation to the functions that carry it out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep_idmap::Owner;
use skep_overlay_plan::operation::Place;
use skep_overlay_plan::rules::{Count, counted_port, counted_vip};
use skep_overlay_plan::{HostPort, LocalPorts, Observed, Operation};
use skep_types::service::Protocol;
use skep_types::{NetworkId, TaskId};
use tokio::sync::Mutex;

use crate::ports::Bridges;
use crate::sandbox::{self, Entries, HostJoin};
use crate::task::{self, Connection, OutsidePair};
use crate::{
    HeldPort, HostNs, KernelError, Namespace, Paths, conntrack, host, host_port, nft, observe,
    replies,
};

/// Executes operations on one host. Operations of different tasks may go on at the same time, all
/// others one after the other.
#[derive(Debug)]
pub struct Executor {
    host: HostNs,
    paths: Paths,
    /// Whose tasks' namespaces are.
    owner: Owner,
    bridges: Bridges,
    /// Entries come by the thousand for one network: its socket is kept until another's is needed.
    entries: Mutex<Option<(NetworkId, Arc<Entries>)>>,
    /// The kernel tells of its flows to one at a time, and who waits spins.
    pruning: Mutex<()>,
}

impl Executor {
    /// Namespaces get their names below `run`.
    pub fn new(host: HostNs, run: &Path) -> Self {
        Self {
            host,
            paths: Paths::new(run),
            owner: Owner::Host,
            bridges: Bridges::default(),
            entries: Mutex::new(None),
            pruning: Mutex::new(()),
        }
    }

    /// With tasks' namespaces belonging to a user namespace.
    pub fn with_owner(self, owner: Owner) -> Self {
        Self { owner, ..self }
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

    /// From which ports of the host numbers are chosen.
    pub async fn local_ports(&self) -> Result<LocalPorts, KernelError> {
        host_port::local_ports(&self.host).await
    }

    /// Holds the first of these ports of the host that nobody has; None if there is none.
    pub async fn hold_port(
        &self,
        protocol: Protocol,
        numbers: Vec<u16>,
    ) -> Result<Option<(u16, HeldPort)>, KernelError> {
        host_port::hold_first(&self.host, protocol, numbers).await
    }

    /// How many connections began to the ports that this host answers.
    pub async fn connections(&self) -> Result<BTreeMap<HostPort, u64>, KernelError> {
        let counters = nft::counters(&self.host).await?;
        let of_port = |(name, count): (String, Count)| Some((counted_port(&name)?, count.packets));
        Ok(counters.into_iter().filter_map(of_port).collect())
    }

    /// How many connections a task began to each virtual address that it has rules for; none where it
    /// has no namespace.
    pub async fn vip_connections(
        &self,
        task: TaskId,
    ) -> Result<BTreeMap<IpAddr, u64>, KernelError> {
        let path = self.paths.task(task);
        if !Namespace::stands(&path) {
            return Ok(BTreeMap::new());
        }
        let counters = nft::counters(&Namespace::open(&path)?).await?;
        let of_vip = |(name, count): (String, Count)| Some((counted_vip(&name)?, count.packets));
        Ok(counters.into_iter().filter_map(of_vip).collect())
    }

    /// Carries one operation out. When it fails, the same one can be tried again.
    pub async fn execute(&self, operation: &Operation) -> Result<(), KernelError> {
        let (host, paths) = (&self.host, &self.paths);
        if let Operation::CreateSandbox { .. } | Operation::RemoveSandbox { .. } = operation {
            // The device may be another one after that.
            *self.entries.lock().await = None;
        }
        match operation {
            Operation::EnableForwarding(families) => host::enable_forwarding(host, *families).await,
            Operation::CreateSandbox { network, tunnel, gateways, mac } => {
                sandbox::create(host, paths, *network, tunnel, gateways, *mac).await
            }
            Operation::JoinToHost {
                network,
                subnet,
                gateway,
                subnet_v6,
                host: called,
                lacks_host,
                mtu,
            } => {
                let join = HostJoin {
                    network: *network,
                    subnet: *subnet,
                    gateway: *gateway,
                    subnet_v6: *subnet_v6,
                    host: *called,
                    lacks_host: *lacks_host,
                    mtu: *mtu,
                };
                sandbox::join_to_host(host, paths, &join).await
            }
            Operation::SetForwarding { network, mac, node } => {
                self.entries(*network).await?.set_forwarding(*mac, *node).await
            }
            Operation::SetNeighbour { network, address, mac } => {
                self.entries(*network).await?.set_neighbour(*address, *mac).await
            }
            Operation::CreateTask { task } => task::create(paths, *task, &self.owner).await,
            Operation::BorrowTask { task, namespace } => task::borrow(paths, *task, namespace),
            Operation::Connect { task, network, name, interface } => {
                let connection = Connection { task: *task, network: *network, name, interface };
                task::connect(paths, &self.bridges, &connection).await
            }
            Operation::ConnectOutside { task, name, outside, gateway, mtu } => {
                let pair = OutsidePair { name, outside: *outside, gateway: *gateway, mtu: *mtu };
                task::connect_outside(host, paths, *task, &pair).await
            }
            Operation::RouteReplies { task, name, address, gateway, early } => {
                let place = Namespace::open(&paths.task(*task))?;
                replies::route(&place, name, *address, *gateway, early).await
            }
            Operation::ReplaceHostRules { rules, .. } => nft::replace(host, rules).await,
            Operation::ReplaceTaskRules { task, rules } => {
                let place = Namespace::open(&paths.task(*task))?;
                nft::replace(&place, &rules.ruleset()).await
            }
            Operation::EditTaskRules { task, edit, .. } => {
                nft::edit(&Namespace::open(&paths.task(*task))?, edit.clone()).await
            }
            Operation::PruneFlows { place, balanced } => {
                let _one_at_a_time = self.pruning.lock().await;
                conntrack::prune(&self.place(*place)?, balanced.clone()).await
            }
            Operation::Disconnect { task, name } => {
                let place = Namespace::open(&paths.task(*task))?;
                crate::netlink::Netlink::open(&place).await?.delete(name).await
            }
            Operation::RemoveForwarding { network, mac } => {
                self.entries(*network).await?.remove_forwarding(*mac).await
            }
            Operation::RemoveNeighbour { network, address } => {
                self.entries(*network).await?.remove_neighbour(*address).await
            }
            Operation::RemoveTask { task } => task::remove(host, paths, *task).await,
            Operation::PartFromHost { network } => sandbox::part_from_host(host, *network).await,
            Operation::RemoveSandbox { network } => sandbox::remove(host, paths, *network).await,
            Operation::CreateUserTable => nft::create_user_table(host).await,
            Operation::RemoveHostRules => {
                nft::remove(host).await?;
                nft::remove_unused_user_table(host).await
            }
        }
    }

    async fn entries(&self, network: NetworkId) -> Result<Arc<Entries>, KernelError> {
        let mut kept = self.entries.lock().await;
        if let Some((of, entries)) = &*kept
            && *of == network
        {
            return Ok(entries.clone());
        }
        let place = Namespace::open(&self.paths.network(network))?;
        let entries = Arc::new(Entries::open(&place).await?);
        *kept = Some((network, entries.clone()));
        Ok(entries)
    }

    fn place(&self, place: Place) -> Result<Namespace, KernelError> {
        match place {
            Place::Host => Ok(self.host.clone()),
            Place::Task(task) => Namespace::open(&self.paths.task(task)),
        }
    }
}
