//! The one place that changes a node's networks: takes tasks and the leader's messages, makes the
//! kernel so, and keeps a resolver for each task.
//!
//! **Invariant:** one change at a time. When a call has returned without an error, the kernel is as
//! it was asked to be; when it failed, what is left to do is done with the next call or `repair`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use ipnet::IpNet;
use skep_idmap::Owner;
use skep_overlay_kernel::{Executor, HeldPort, HostNs, KernelError, Namespace};
use skep_overlay_plan::desired::Knowledge;
use skep_overlay_plan::finding::{Finding, Mend, findings};
use skep_overlay_plan::observed::Outside;
use skep_overlay_plan::operation::Subject;
use skep_overlay_plan::{
    Desired, DesiredTask, HostPort, Lent, NetworkState, NetworkUpdate, NodeConfig, Observed,
    Operation, TaskNet, TaskNetError, plan,
};
use skep_types::service::{PortConfig, Protocol};
use skep_types::{NetworkId, ServiceId, TaskId, error_chain};
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::Instant;

use crate::NetworkError;
use crate::dns::client::{Asker, Forward, Group, NameServer};
use crate::dns::names::Place;
use crate::dns::overlay;

/// How long a task waits for word of its networks. The leader sends a network's endpoints together
/// with the first task on it; a new leader needs a few seconds to begin.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// Where the host's resolvers are named.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How often the kernel is read beside changes before they have to wait.
const READS_BESIDE_CHANGES_MAX: u32 = 5;

/// Tasks whose steps go on at the same time: a change of rules is a thread that waits, for a grace period
/// of the kernel's, most of its time.
const LANES_MAX: usize = 32;

#[derive(Debug, Clone)]
pub struct ManagerConfig {
    pub node: NodeConfig,
    pub host: HostNs,
    /// Namespaces get their names below it. It must not outlive a boot: `/run/skep/net`.
    pub run: PathBuf,
    /// Whose tasks' namespaces are.
    pub owner: Owner,
    /// The host's resolvers; the usual file when None.
    pub resolv_conf: Option<PathBuf>,
    /// Who answers tasks.
    pub names: NameServer,
}

/// A node's overlay networks.
#[derive(Debug)]
pub struct NetworkManager {
    executor: Executor,
    names: NameServer,
    resolv_conf: PathBuf,
    /// Of the kernel.
    speaks_v6: bool,
    inner: Mutex<Inner>,
    told: Notify,
}

#[derive(Debug)]
struct Inner {
    desired: Desired,
    /// None: to be read from the kernel.
    observed: Option<Observed>,
    /// Tasks that are answered.
    answered: BTreeSet<TaskId>,
    /// How often the kernel was made as desired.
    changes: u64,
    /// The sockets of the host ports that were chosen here.
    held: BTreeMap<HostPort, HeldPort>,
    /// The last number that was chosen.
    last_chosen: Option<u16>,
    /// What tasks that are gone asked of services by their virtual addresses.
    asked: BTreeMap<(NetworkId, ServiceId), u64>,
}

/// What a task was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Where its network namespace has its name.
    pub namespace: PathBuf,
    /// Its ports in host mode, each with its number.
    pub host_ports: Vec<PortConfig>,
    /// Its addresses towards the host, if it has a way there: at most one of each family.
    pub outside: Vec<IpAddr>,
}

/// What came to a port of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConnections {
    pub protocol: Protocol,
    pub number: u16,
    /// Whose port it is in the whole swarm; empty for a port in host mode.
    pub service: String,
    /// Since the port is published here without a pause, or the host was started.
    pub connections: u64,
}

/// What the tasks of this node asked of a service by its virtual addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipConnections {
    pub network: String,
    pub service: String,
    /// Since the daemon began, and of tasks that run still since they do.
    pub connections: u64,
}

/// A task that runs already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub net: TaskNet,
    /// What it was given when it was attached.
    pub host_ports: Vec<PortConfig>,
    /// Of a container that was started by hand.
    pub lent: Option<Lent>,
}

impl NetworkManager {
    /// Changes nothing yet.
    pub fn new(config: ManagerConfig) -> Self {
        Self {
            executor: Executor::new(config.host, &config.run).with_owner(config.owner),
            names: config.names,
            resolv_conf: config.resolv_conf.unwrap_or_else(|| RESOLV_CONF.into()),
            speaks_v6: config.node.ipv6,
            inner: Mutex::new(Inner {
                desired: Desired::new(config.node),
                observed: None,
                answered: BTreeSet::new(),
                changes: 0,
                held: BTreeMap::new(),
                last_chosen: None,
                asked: BTreeMap::new(),
            }),
            told: Notify::new(),
        }
    }

    /// Gives a task its namespace, to be joined by its container, with all interfaces, rules and a
    /// resolver at 127.0.0.11. Waits, within a bound, for word of its networks. Called again with
    /// the same task it changes what differs. Ports in host mode without a number are given one of
    /// this host's, which the task has until it is detached.
    pub async fn attach_task(&self, net: TaskNet) -> Result<Attached, NetworkError> {
        self.attach(net, None).await
    }

    /// Puts a container that was started by hand on these networks and no others, in the namespace
    /// that its owner lends. To be told again after every change of what it is on; it ends with
    /// [`Self::detach_task`], before the namespace goes.
    pub async fn attach_container(
        &self,
        net: TaskNet,
        lent: Lent,
    ) -> Result<Attached, NetworkError> {
        self.attach(net, Some(lent)).await
    }

    async fn attach(&self, net: TaskNet, lent: Option<Lent>) -> Result<Attached, NetworkError> {
        let task = net.task;
        let net = if self.speaks_v6 { net } else { net.without_v6() };
        let deadline = Instant::now() + TOLD_WITHIN;
        loop {
            let told = self.told.notified();
            let mut inner = self.inner.lock().await;
            let before = inner.desired.tasks.get(&task).cloned();
            match inner.desired.check(&net) {
                Ok(()) => {
                    let had = before.as_ref().map(|it| it.host_ports.clone()).unwrap_or_default();
                    let result = self.take_in_and_bring_up(&mut inner, net, lent, &had).await;
                    if result.is_err() {
                        self.take_back(&mut inner, task, before).await;
                    }
                    return result;
                }
                Err(TaskNetError::UnknownNetwork(network)) => {
                    drop(inner);
                    if tokio::time::timeout_at(deadline, told).await.is_err() {
                        return Err(NetworkError::NotTold { network, waited: TOLD_WITHIN });
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes a task's namespace down; one that is not there is no error.
    pub async fn detach_task(&self, task: TaskId) -> Result<(), NetworkError> {
        let mut inner = self.inner.lock().await;
        self.stop_resolver(&mut inner, task).await;
        let asked = self.asked_by(&inner, task).await.unwrap_or_else(|error| {
            tracing::warn!(%task, %error, "a task's connections to services are not counted");
            BTreeMap::new()
        });
        add_up(&mut inner.asked, asked);
        inner.desired.tasks.remove(&task);
        let failures = self.reconcile(&mut inner).await?;
        inner.give_back();
        first_of(failures, |subject| subject == Subject::Task(task) || subject == Subject::Host)
    }

    /// Takes everything down: the node is in no swarm any more.
    pub async fn end(&self) -> Result<(), NetworkError> {
        let mut inner = self.inner.lock().await;
        for task in inner.answered.clone() {
            self.stop_resolver(&mut inner, task).await;
        }
        for network in inner.desired.networks.keys() {
            self.names.forget_zone(&overlay::zone(*network)).await;
        }
        inner.desired = Desired::new(inner.desired.node.clone());
        // A daemon that was started again may not have spoken to a leader since.
        inner.observed = None;
        let failures = self.reconcile(&mut inner).await?;
        inner.give_back();
        self.names.settle(Group::Swarm).await;
        first_of(failures, |_| true)
    }

    /// Applies a message of the leader. When it returns, the kernel is as the message's generation
    /// says, and that may be acknowledged.
    pub async fn update_network(&self, update: NetworkUpdate) -> Result<(), NetworkError> {
        let update = if self.speaks_v6 { update } else { update.without_v6() };
        let mut inner = self.inner.lock().await;
        let before = inner.desired.shadowed();
        let unanswered = inner.desired.unanswered();
        let names = match &update {
            NetworkUpdate::Delta(delta) => Some(overlay::change(&delta.answers)),
            _ => None,
        };
        let network = take_in(&mut inner.desired, update)?;
        for ((protocol, number), task) in inner.desired.shadowed().difference(&before) {
            tracing::warn!(
                ?protocol, number, %task,
                "the swarm publishes a port that this node had chosen for a task: here it leads to the task"
            );
        }
        for (protocol, number) in inner.desired.unanswered().difference(&unanswered) {
            tracing::warn!(
                protocol = protocol.word(),
                number,
                "the swarm publishes a port that this node does not answer: its kernel does not follow \
                 connections of SCTP (CONFIG_NF_CT_PROTO_SCTP)"
            );
        }
        let failures = self.reconcile(&mut inner).await?;
        // Names change after the rules: what they answer can then be reached.
        let zone = overlay::zone(network);
        match (inner.desired.networks.get(&network), names) {
            (Some(_), Some(change)) => self.names.change_zone(&zone, change).await,
            (Some(state), None) => self.names.set_zone(&zone, overlay::told(state)).await,
            (None, _) => self.names.forget_zone(&zone).await,
        }
        drop(inner);
        self.told.notify_waiters();
        first_of(failures, |_| true)
    }

    /// After the daemon started again: the tasks that run. What the leader has not spoken of yet
    /// is left as it stands until `settle`, and no connection is cut. Tasks not listed are taken
    /// down.
    pub async fn restore(&self, tasks: Vec<Standing>) -> Result<(), NetworkError> {
        let mut inner = self.inner.lock().await;
        let observed = self.executor.observe().await?;
        inner.desired.knowledge = Knowledge::Partial;
        // Those with an address first, so that nobody else is given it.
        let outside = |net: &TaskNet| {
            observed.tasks.get(&net.task).and_then(|task| task.outside).map(|it| it.address)
        };
        let (with, without): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|it| outside(&it.net).is_some());
        let mut first = Ok(());
        let mut ids = Vec::new();
        for Standing { net, host_ports, lent } in with.into_iter().chain(without) {
            let (task, address) = (net.task, outside(&net));
            let net = if self.speaks_v6 { net } else { net.without_v6() };
            let net = self.number(&mut inner, net, &host_ports).await;
            let added =
                net.and_then(|net| add(&mut inner.desired, net, lent, address).map_err(Into::into));
            match added {
                Ok(()) => ids.push(task),
                Err(error) => first = first.and(Err(error)),
            }
        }
        inner.observed = Some(observed);
        for task in ids {
            first = first.and(self.start_resolver(&mut inner, task).await);
        }
        let failures = self.reconcile(&mut inner).await?;
        inner.give_back();
        first.and(first_of(failures, |_| true))
    }

    /// Looks at what the leader has told.
    pub async fn told<T>(&self, look: impl FnOnce(&BTreeMap<NetworkId, NetworkState>) -> T) -> T {
        look(&self.inner.lock().await.desired.networks)
    }

    /// How many connections began here to each port that this node answers, by protocol and number.
    pub async fn connections(&self) -> Result<Vec<PortConnections>, NetworkError> {
        let services = self.inner.lock().await.desired.publishers();
        let counted = self.executor.connections().await?;
        let named = |(port, connections): (HostPort, u64)| PortConnections {
            protocol: port.0,
            number: port.1,
            service: services.get(&port).cloned().unwrap_or_default(),
            connections,
        };
        Ok(counted.into_iter().map(named).collect())
    }

    /// How many connections the tasks of this node began to each service by its virtual addresses.
    pub async fn vip_connections(&self) -> Result<Vec<VipConnections>, NetworkError> {
        // Nothing changes meanwhile: who goes would be counted twice, or not at all.
        let mut inner = self.inner.lock().await;
        let known = |networks: &BTreeMap<NetworkId, NetworkState>, of: &(NetworkId, ServiceId)| {
            networks.get(&of.0).is_some_and(|network| network.services.contains_key(&of.1))
        };
        let Inner { desired, asked, .. } = &mut *inner;
        asked.retain(|of, _| known(&desired.networks, of));
        let mut all = asked.clone();
        let tasks: Vec<TaskId> = inner.desired.tasks.keys().copied().collect();
        let each = tasks.into_iter().map(|task| self.asked_by(&inner, task));
        let mut each = stream::iter(each).buffer_unordered(LANES_MAX);
        while let Some(one) = each.next().await {
            add_up(&mut all, one?);
        }
        drop(each);
        let named = |((network, service), connections): ((NetworkId, ServiceId), u64)| {
            let network = inner.desired.networks.get(&network)?;
            let service = network.services.get(&service)?.name.clone();
            Some(VipConnections { network: network.name.clone(), service, connections })
        };
        Ok(all.into_iter().filter_map(named).collect())
    }

    /// What a task asked of services so far.
    async fn asked_by(
        &self,
        inner: &Inner,
        task: TaskId,
    ) -> Result<BTreeMap<(NetworkId, ServiceId), u64>, KernelError> {
        let Some(wanted) = inner.desired.tasks.get(&task) else { return Ok(BTreeMap::new()) };
        let mut asked = BTreeMap::new();
        let counted = self.executor.vip_connections(task).await?;
        let on = wanted.networks.iter().filter_map(|it| inner.desired.networks.get(&it.network));
        for network in on.filter(|network| !network.ingress) {
            for (id, service) in &network.services {
                let of_all = service.vips.iter().filter_map(|vip| counted.get(vip));
                add_up(&mut asked, [((network.id, *id), of_all.sum())]);
            }
        }
        Ok(asked)
    }

    /// The leader has told everything: what it did not speak of goes.
    pub async fn settle(&self) -> Result<(), NetworkError> {
        let mut inner = self.inner.lock().await;
        inner.desired.knowledge = Knowledge::Complete;
        let failures = self.reconcile(&mut inner).await?;
        self.names.settle(Group::Swarm).await;
        first_of(failures, |_| true)
    }

    /// Reads the kernel anew and mends what differs: after a failure, or from time to time.
    pub async fn repair(&self) -> Result<(), NetworkError> {
        let mut inner = self.inner.lock().await;
        inner.observed = None;
        let failures = self.reconcile(&mut inner).await?;
        first_of(failures, |_| true)
    }

    /// Reads the kernel, tells what is not as it should be, and mends it.
    pub async fn mend(&self) -> Result<Vec<Finding>, NetworkError> {
        let (mut inner, mut found) = self.compare().await?;
        if found.is_empty() {
            return Ok(found);
        }
        let failures = self.reconcile(&mut inner).await?;
        for finding in &mut found {
            let failed = failures.iter().find(|failure| failure.subject == finding.subject);
            finding.mend = failed.map_or(Mend::Done, |it| Mend::Failed(error_chain(&it.error)));
        }
        Ok(found)
    }

    /// Reads the kernel anew and compares it with what is wanted. Reading takes long where there are
    /// many tasks, and others need not wait for it: what was read beside a change is not looked at.
    async fn compare(&self) -> Result<(MutexGuard<'_, Inner>, Vec<Finding>), NetworkError> {
        for _ in 0..READS_BESIDE_CHANGES_MAX {
            let changes = self.inner.lock().await.changes;
            let seen = self.executor.observe().await?;
            let mut inner = self.inner.lock().await;
            if inner.changes == changes {
                let found = inner.see(seen);
                return Ok((inner, found));
            }
        }
        let mut inner = self.inner.lock().await;
        let seen = self.executor.observe().await?;
        let found = inner.see(seen);
        Ok((inner, found))
    }

    async fn take_in_and_bring_up(
        &self,
        inner: &mut Inner,
        net: TaskNet,
        lent: Option<Lent>,
        had: &[PortConfig],
    ) -> Result<Attached, NetworkError> {
        let task = net.task;
        let before = inner.desired.tasks.get(&task).cloned();
        let net = self.number(inner, net, had).await?;
        add(&mut inner.desired, net, lent, None)?;
        self.bring_up(inner, task, before.as_ref()).await?;
        // A number that it had and does not ask for any more.
        inner.give_back();
        let given = inner.desired.tasks.get(&task);
        let outside = given.and_then(|task| task.outside(&inner.desired.node));
        let outside = outside.map(Outside::addresses).unwrap_or_default();
        Ok(Attached {
            namespace: self.executor.task_path(task),
            host_ports: given.map(|task| task.host_ports.clone()).unwrap_or_default(),
            outside: outside.iter().map(IpNet::addr).collect(),
        })
    }

    /// Gives numbers to the host ports that have none: those that the task `had`, then free ones.
    /// Each is held from here on.
    async fn number(
        &self,
        inner: &mut Inner,
        mut net: TaskNet,
        had: &[PortConfig],
    ) -> Result<TaskNet, NetworkError> {
        for port in net.keep(had) {
            inner.desired.choose(port, net.task)?;
            if inner.held.contains_key(&port) {
                continue;
            }
            match self.executor.hold_port(port.0, vec![port.1]).await? {
                Some((_, held)) => drop(inner.held.insert(port, held)),
                // While no daemon held it. The rules that lead to the task stand all the same.
                None => tracing::warn!(
                    protocol = ?port.0, number = port.1, task = %net.task,
                    "somebody on this host has bound a port that leads to a task"
                ),
            }
        }
        let open: Vec<usize> = net.unnumbered().collect();
        if open.is_empty() {
            return Ok(net);
        }
        let local = self.executor.local_ports().await?;
        for index in open {
            let (protocol, target) = (net.ports[index].protocol, net.ports[index].target_port);
            let free = inner.desired.free_numbers(&net, protocol, &local, inner.last_chosen);
            let Some((number, held)) = self.executor.hold_port(protocol, free).await? else {
                let (first, last) = local.range.into_inner();
                return Err(TaskNetError::PortsExhausted { protocol, target, first, last }.into());
            };
            inner.desired.choose((protocol, number), net.task)?;
            inner.held.insert((protocol, number), held);
            inner.last_chosen = Some(number);
            net.ports[index].published_port = number;
        }
        Ok(net)
    }

    async fn bring_up(
        &self,
        inner: &mut Inner,
        task: TaskId,
        before: Option<&DesiredTask>,
    ) -> Result<(), NetworkError> {
        let wanted = inner.desired.tasks.get(&task).cloned();
        let answers =
            inner.answered.contains(&task) && before.map(scope_of) == wanted.as_ref().map(scope_of);
        if !answers {
            self.start_resolver(inner, task).await?;
        }
        let of_task = wanted.as_ref().map(|it| scope_of(it).0).unwrap_or_default();
        let failures = self.reconcile(inner).await?;
        first_of(failures, |subject| match subject {
            Subject::Host => true,
            Subject::Task(id) => id == task,
            Subject::Network(id) => of_task.contains(&id),
        })
    }

    /// After a failure: a new task goes, one that stood is wanted as it was.
    async fn take_back(&self, inner: &mut Inner, task: TaskId, before: Option<DesiredTask>) {
        match before {
            Some(before) => {
                inner.desired.tasks.insert(task, before);
                if let Err(error) = self.start_resolver(inner, task).await {
                    tracing::warn!(%task, %error, "the task is without a resolver");
                }
            }
            None => {
                inner.desired.tasks.remove(&task);
                self.stop_resolver(inner, task).await;
            }
        }
        if let Err(error) = self.reconcile(inner).await {
            tracing::warn!(%task, %error, "what a failed task left is not taken down yet");
        }
        inner.give_back();
    }

    /// The resolver comes before the rules that send questions to it.
    async fn start_resolver(&self, inner: &mut Inner, task: TaskId) -> Result<(), NetworkError> {
        let Some(wanted) = inner.desired.tasks.get(&task).filter(|it| it.lent.is_none()) else {
            return Ok(());
        };
        let (networks, has_outside, nameservers) = scope_of(wanted);
        let create = Operation::CreateTask { task };
        self.executor.execute(&create).await?;
        if let Some(observed) = &mut inner.observed {
            observed.apply(&create);
        }
        let place = Namespace::open(&self.executor.task_path(task))?;
        let forward = match has_outside {
            _ if !nameservers.is_empty() => Forward::Chosen(nameservers),
            true => Forward::Host(self.resolv_conf.clone()),
            false => Forward::Nowhere,
        };
        let on = |id: &NetworkId| Place { zone: overlay::zone(*id), links: Vec::new() };
        let asker = Asker {
            group: Group::Swarm,
            name: task.to_string(),
            seed: task.bits(),
            places: networks.iter().map(on).collect(),
            forward,
        };
        let port = self
            .names
            .open(asker, &place)
            .await
            .map_err(|source| NetworkError::Resolver { task, source })?;
        if let Some(wanted) = inner.desired.tasks.get_mut(&task) {
            wanted.resolver = Some(port);
        }
        inner.answered.insert(task);
        Ok(())
    }

    async fn stop_resolver(&self, inner: &mut Inner, task: TaskId) {
        inner.answered.remove(&task);
        self.names.close(Group::Swarm, &task.to_string()).await;
    }

    /// One lane's steps, in order.
    async fn execute(&self, lane: Vec<Operation>) -> Vec<(Operation, Result<(), KernelError>)> {
        let mut results = Vec::with_capacity(lane.len());
        for operation in lane {
            let result = self.executor.execute(&operation).await;
            results.push(match (operation, result) {
                // Others stand than we wrote: somebody took them away, or changed them.
                (Operation::EditTaskRules { task, rules, .. }, Err(error)) => {
                    tracing::info!(%task, %error, "the rules of a task are written anew");
                    let whole = Operation::ReplaceTaskRules { task, rules };
                    let result = self.executor.execute(&whole).await;
                    (whole, result)
                }
                done => done,
            });
        }
        results
    }

    /// Makes the kernel as desired. A step that fails does not keep the others back.
    async fn reconcile(&self, inner: &mut Inner) -> Result<Vec<Failure>, KernelError> {
        inner.changes += 1;
        let mut observed = match inner.observed.take() {
            Some(observed) => observed,
            None => self.executor.observe().await?,
        };
        let mut failures = Vec::new();
        for batch in batches(plan(&inner.desired, &observed)) {
            let lanes = batch.into_iter().map(|lane| self.execute(lane));
            let mut done = stream::iter(lanes).buffer_unordered(LANES_MAX);
            while let Some(results) = done.next().await {
                for (operation, result) in results {
                    match result {
                        Ok(()) => observed.apply(&operation),
                        Err(error) => {
                            tracing::warn!(?operation, %error, "operation failed");
                            failures.push(Failure { subject: operation.subject(), error });
                        }
                    }
                }
            }
        }
        // After a failure nobody knows what stands: it is read anew the next time.
        inner.observed = failures.is_empty().then_some(observed);
        Ok(failures)
    }
}

impl Inner {
    /// Takes in what was read from the kernel, and tells what of it is not as it should be.
    fn see(&mut self, mut seen: Observed) -> Vec<Finding> {
        if let Some(before) = &self.observed {
            seen.remember(before);
        }
        let found = findings(&self.desired, &plan(&self.desired, &seen));
        self.observed = Some(seen);
        found
    }

    /// Frees the host ports that no task has any more. The rules that lead to them are gone by then.
    fn give_back(&mut self) {
        self.desired.give_back();
        let chosen = &self.desired.chosen;
        self.held.retain(|port, _| chosen.contains_key(port));
    }
}

/// Splits a plan into batches that follow one another, and each batch into lanes that may go on at
/// the same time: the steps of different tasks, which have nothing in common.
fn batches(plan: Vec<Operation>) -> Vec<Vec<Vec<Operation>>> {
    let mut batches: Vec<Vec<Vec<Operation>>> = Vec::new();
    for operation in plan {
        let subject = operation.subject();
        let of_task = |lane: &Vec<Operation>| matches!(lane[0].subject(), Subject::Task(_));
        match batches.last_mut() {
            Some(batch) if matches!(subject, Subject::Task(_)) && batch.iter().all(of_task) => {
                match batch.iter_mut().find(|lane| lane[0].subject() == subject) {
                    Some(lane) => lane.push(operation),
                    None => batch.push(vec![operation]),
                }
            }
            _ => batches.push(vec![vec![operation]]),
        }
    }
    batches
}

/// What the resolver of a task depends on: its networks, whether it has an outside, and its own
/// name servers.
fn scope_of(task: &DesiredTask) -> (Vec<NetworkId>, bool, Vec<IpAddr>) {
    let networks = task.networks.iter().map(|attachment| attachment.network).collect();
    (networks, task.outside.is_some(), task.nameservers.clone())
}

fn add(
    desired: &mut Desired,
    net: TaskNet,
    lent: Option<Lent>,
    outside: Option<Ipv4Addr>,
) -> Result<(), TaskNetError> {
    match lent {
        Some(lent) => desired.add_container(net, lent, outside),
        None => desired.add_task(net, outside),
    }
}

fn add_up<K: Ord>(sums: &mut BTreeMap<K, u64>, more: impl IntoIterator<Item = (K, u64)>) {
    for (of, number) in more {
        *sums.entry(of).or_default() += number;
    }
}

struct Failure {
    subject: Subject,
    error: KernelError,
}

fn first_of(
    failures: Vec<Failure>,
    concerns: impl Fn(Subject) -> bool,
) -> Result<(), NetworkError> {
    match failures.into_iter().find(|failure| concerns(failure.subject)) {
        Some(failure) => Err(failure.error.into()),
        None => Ok(()),
    }
}

fn take_in(desired: &mut Desired, update: NetworkUpdate) -> Result<NetworkId, NetworkError> {
    match update {
        NetworkUpdate::Full(state) => {
            let id = state.id;
            desired.networks.insert(id, state);
            Ok(id)
        }
        NetworkUpdate::Delta(delta) => {
            let id = delta.id;
            match desired.networks.get_mut(&id) {
                Some(known) => known.apply(delta)?,
                None => return Err(delta.of_unknown().into()),
            }
            Ok(id)
        }
        NetworkUpdate::Gone(id) => {
            let uses = |(task, wanted): (&TaskId, &DesiredTask)| {
                wanted.networks.iter().any(|it| it.network == id).then_some(*task)
            };
            if let Some(task) = desired.tasks.iter().find_map(uses) {
                return Err(NetworkError::InUse(id, task));
            }
            desired.networks.remove(&id);
            Ok(id)
        }
    }
}
