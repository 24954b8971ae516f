//! From what stands to what is wanted.
//!
//! Order: what is new is built before rules speak of it, rules change before what they spoke of
//! goes, and what goes is taken down in reverse of how it was built. A sandbox that holds the VXLAN id of
//! a new one goes first, for the kernel has each id once.
//!
//! **Invariant:** when observed is as desired, the plan is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use skep_types::service::Protocol;
use skep_types::{NetworkId, TaskId};

use crate::balance::leaves_flows_behind;
use crate::desired::{Desired, DesiredTask, Knowledge};
use crate::network::NetworkState;
use crate::observed::{Forwarding, Interface, Observed, ObservedSandbox, ObservedTask};
use crate::operation::{Operation, Place};
use crate::rules::{TaskRules, host_rules};
use crate::vips::Vips;
use crate::{Balanced, Mac, node_mac};
use skep_types::Family;

/// The operations that make `observed` into `desired`, in order.
pub fn plan(desired: &Desired, observed: &Observed) -> Vec<Operation> {
    let mut steps = Vec::new();
    let mut removals = Vec::new();
    let wanted: BTreeMap<NetworkId, &NetworkState> =
        desired.sandboxes().map(|network| (network.id, network)).collect();

    for (id, sandbox) in &observed.sandboxes {
        let unwanted = !wanted.contains_key(id) && !is_left_alone(desired, *id);
        if unwanted && holds_a_wanted_vni(sandbox, &wanted) {
            steps.push(Operation::RemoveSandbox { network: *id });
        } else if unwanted {
            removals.push(Operation::RemoveSandbox { network: *id });
        }
    }
    let in_use = !wanted.is_empty() || !desired.tasks.is_empty();
    plan_forwarding(desired, observed.forwarding, in_use, &mut steps);
    let nothing = ObservedSandbox::default();
    for (id, network) in &wanted {
        let stands = observed.sandboxes.get(id).unwrap_or(&nothing);
        plan_sandbox(desired, network, stands, &mut steps, &mut removals);
    }
    let nothing = ObservedTask::default();
    let vips = arranged(desired, observed, &wanted);
    for (id, task) in &desired.tasks {
        if !observed.tasks.contains_key(id) {
            steps.push(match &task.lent {
                Some(lent) => {
                    Operation::BorrowTask { task: *id, namespace: lent.namespace.clone() }
                }
                None => Operation::CreateTask { task: *id },
            });
        }
        let stands = observed.tasks.get(id).unwrap_or(&nothing);
        plan_task(desired, *id, task, &vips, stands, &mut steps);
    }
    plan_host_rules(desired, observed, in_use, &mut steps, &mut removals);
    for id in observed.tasks.keys().filter(|id| !desired.tasks.contains_key(id)) {
        removals.push(Operation::RemoveTask { task: *id });
    }
    removals.reverse();
    steps.extend(removals);
    steps
}

/// What the host forwards already goes on.
fn plan_forwarding(
    desired: &Desired,
    stands: Forwarding,
    in_use: bool,
    steps: &mut Vec<Operation>,
) {
    let mut outsides = desired.tasks.values().filter_map(|task| task.outside(&desired.node));
    let by_ingress = desired.ingress().is_some_and(|it| v6(&it.gateways).is_some());
    let needs_v6 = by_ingress || outsides.any(|outside| outside.v6);
    let wanted = Forwarding { v4: stands.v4 || in_use, v6: stands.v6 || needs_v6 };
    if wanted != stands {
        steps.push(Operation::EnableForwarding(wanted));
    }
}

fn is_left_alone(desired: &Desired, network: NetworkId) -> bool {
    desired.knowledge == Knowledge::Partial && !desired.networks.contains_key(&network)
}

fn holds_a_wanted_vni(
    sandbox: &ObservedSandbox,
    wanted: &BTreeMap<NetworkId, &NetworkState>,
) -> bool {
    let Some(tunnel) = sandbox.tunnel else { return false };
    wanted.values().any(|network| network.vni == tunnel.vni)
}

fn plan_sandbox(
    desired: &Desired,
    network: &NetworkState,
    stands: &ObservedSandbox,
    steps: &mut Vec<Operation>,
    removals: &mut Vec<Operation>,
) {
    let node = &desired.node;
    let id = network.id;
    let tunnel = node.tunnel(network);
    let gateways: BTreeSet<IpNet> = network.gateways.iter().copied().collect();
    let keeps_entries = stands.tunnel == Some(tunnel);
    if !keeps_entries || stands.gateways != gateways {
        let mac = node_mac(node.underlay);
        steps.push(Operation::CreateSandbox { network: id, tunnel, gateways, mac });
    }
    let (mut forwarding, mut neighbours) = (BTreeMap::new(), BTreeMap::new());
    for endpoint in network.endpoints.values().filter(|it| it.node != node.underlay) {
        forwarding.insert(endpoint.mac, endpoint.node);
        neighbours.extend(endpoint.addresses.iter().map(|address| (*address, endpoint.mac)));
    }
    for other in network.nodes.iter().filter(|other| **other != node.underlay) {
        forwarding.insert(node_mac(*other), *other);
    }
    let nothing = ObservedSandbox::default();
    let entries = if keeps_entries { stands } else { &nothing };
    for (mac, to) in changed::<Mac, IpAddr>(&forwarding, &entries.forwarding) {
        steps.push(Operation::SetForwarding { network: id, mac, node: to });
    }
    for (address, mac) in changed::<IpAddr, Mac>(&neighbours, &entries.neighbours) {
        steps.push(Operation::SetNeighbour { network: id, address, mac });
    }
    for mac in entries.forwarding.keys().filter(|mac| !forwarding.contains_key(mac)) {
        removals.push(Operation::RemoveForwarding { network: id, mac: *mac });
    }
    for address in entries.neighbours.keys().filter(|it| !neighbours.contains_key(it)) {
        removals.push(Operation::RemoveNeighbour { network: id, address: *address });
    }
    match (network.ingress, v4(&network.gateways)) {
        (true, Some(gateway)) if !stands.joined_to_host => steps.push(Operation::JoinToHost {
            network: id,
            subnet: gateway.trunc(),
            gateway: gateway.addr(),
            subnet_v6: v6(&network.gateways).map(|gateway| gateway.trunc()),
            host: node.face(),
            lacks_host: node.face() != node.underlay,
            mtu: node.mtu(network),
        }),
        (false, _) if stands.joined_to_host => {
            removals.push(Operation::PartFromHost { network: id });
        }
        _ => {}
    }
}

fn changed<K: Ord + Copy, V: PartialEq + Copy>(
    wanted: &BTreeMap<K, V>,
    stands: &BTreeMap<K, V>,
) -> Vec<(K, V)> {
    let differs = |(key, value): &(&K, &V)| stands.get(key) != Some(value);
    wanted.iter().filter(differs).map(|(key, value)| (*key, *value)).collect()
}

fn plan_task(
    desired: &Desired,
    id: TaskId,
    task: &DesiredTask,
    vips: &BTreeMap<NetworkId, Arc<Vips>>,
    stands: &ObservedTask,
    steps: &mut Vec<Operation>,
) {
    let known = task.is_known(&desired.networks);
    let outside_name = task.outside.map(|_| task.outside_name());
    if known {
        for name in stands.interfaces.keys() {
            let wanted = task.names().any(|(_, it)| it == *name);
            if !wanted && outside_name.as_ref() != Some(name) {
                steps.push(Operation::Disconnect { task: id, name: name.clone() });
            }
        }
    }
    for (network, name, interface) in task.interfaces(&desired.node, &desired.networks) {
        if stands.interfaces.get(&name) != Some(&interface) {
            connect(stands, id, network, name, interface, steps);
        }
    }
    if let (Some(outside), Some(name)) = (task.outside(&desired.node), outside_name)
        && !(stands.outside == Some(outside) && stands.interfaces.contains_key(&name))
    {
        steps.push(Operation::ConnectOutside {
            task: id,
            name,
            outside,
            gateway: desired.node.outside_gateway(),
            mtu: desired.node.underlay_mtu,
        });
    }
    // Rules that speak of networks not known yet would take away what stands.
    if !known {
        return;
    }
    plan_replies(desired, id, task, stands, steps);
    let rules = TaskRules::of(&desired.node, task, &desired.networks, |network| {
        let none = || Vips::of(network, None);
        vips.get(&network.id).map_or_else(none, Arc::clone)
    });
    if stands.rules == Some(rules.digest()) {
        return;
    }
    let rules = Arc::new(rules);
    let written = stands.written.as_ref();
    let prunes = written.is_none_or(|written| rules.leaves_flows_behind(written));
    steps.push(match written.and_then(|written| rules.edit_from(written)) {
        Some(edit) => Operation::EditTaskRules { task: id, edit, rules: Arc::clone(&rules) },
        None => Operation::ReplaceTaskRules { task: id, rules: Arc::clone(&rules) },
    });
    if !prunes {
        return;
    }
    let balanced: Vec<Balanced> =
        rules.vips().iter().flat_map(|vips| vips.balanced.iter().cloned()).collect();
    if !balanced.is_empty() {
        steps.push(Operation::PruneFlows { place: Place::Task(id), balanced });
    }
}

/// The virtual addresses of the networks that tasks are on, arranged as they stand as far as they do.
fn arranged(
    desired: &Desired,
    observed: &Observed,
    networks: &BTreeMap<NetworkId, &NetworkState>,
) -> BTreeMap<NetworkId, Arc<Vips>> {
    let mut standing: BTreeMap<NetworkId, &Arc<Vips>> = BTreeMap::new();
    for id in desired.tasks.keys() {
        let written = observed.tasks.get(id).and_then(|it| it.written.as_ref());
        let Some(written) = written else { continue };
        for vips in written.vips() {
            standing.entry(vips.network).or_insert(vips);
        }
    }
    let all = networks.values().filter(|network| !network.ingress);
    all.map(|network| (network.id, Vips::of(network, standing.get(&network.id).copied()))).collect()
}

fn connect(
    stands: &ObservedTask,
    task: TaskId,
    network: NetworkId,
    name: String,
    interface: Interface,
    steps: &mut Vec<Operation>,
) {
    if stands.interfaces.contains_key(&name) {
        steps.push(Operation::Disconnect { task, name: name.clone() });
    }
    steps.push(Operation::Connect { task, network, name, interface });
}

fn plan_replies(
    desired: &Desired,
    id: TaskId,
    task: &DesiredTask,
    stands: &ObservedTask,
    steps: &mut Vec<Operation>,
) {
    for (index, attachment) in task.networks.iter().enumerate() {
        let Some(network) = desired.networks.get(&attachment.network).filter(|it| it.ingress)
        else {
            continue;
        };
        let early = early(network, id);
        for family in Family::ALL {
            let of = |all: &[IpNet]| {
                all.iter().map(IpNet::addr).find(|address| Family::of(*address) == family)
            };
            let (Some(address), Some(gateway)) = (of(&attachment.addresses), of(&network.gateways))
            else {
                continue;
            };
            if stands.replies.get(&family) != Some(&early) {
                steps.push(Operation::RouteReplies {
                    task: id,
                    name: format!("eth{index}"),
                    address,
                    gateway,
                    early: early.clone(),
                });
            }
        }
    }
}

/// A UDP server that listens on the wildcard address has its source chosen before its packet is
/// marked, and so has one of SCTP when it answers a first packet: there the ports themselves say
/// where replies go.
fn early(network: &NetworkState, task: TaskId) -> BTreeSet<(Protocol, u16)> {
    let service = network.endpoints.get(&task).and_then(|endpoint| endpoint.service);
    let ports = service.and_then(|id| network.services.get(&id)).map(|it| it.ports.as_slice());
    let published = ports.unwrap_or_default().iter().filter(|port| port.published != 0);
    let early = published.filter(|port| port.protocol != Protocol::Tcp);
    early.map(|port| (port.protocol, port.target)).collect()
}

fn v6(addresses: &[IpNet]) -> Option<Ipv6Net> {
    addresses.iter().find_map(|address| match address {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => Some(*v6),
    })
}

fn v4(addresses: &[IpNet]) -> Option<Ipv4Net> {
    addresses.iter().find_map(|address| match address {
        IpNet::V4(v4) => Some(*v4),
        IpNet::V6(_) => None,
    })
}

fn plan_host_rules(
    desired: &Desired,
    observed: &Observed,
    in_use: bool,
    steps: &mut Vec<Operation>,
    removals: &mut Vec<Operation>,
) {
    if desired.knowledge == Knowledge::Partial && observed.host_rules.is_some() {
        return;
    }
    if !in_use {
        if observed.host_rules.is_some() {
            removals.push(Operation::RemoveHostRules);
        }
        return;
    }
    if !observed.user_table {
        steps.push(Operation::CreateUserTable);
    }
    let rules = host_rules(desired);
    if observed.host_rules != Some(rules.digest()) {
        let balanced = crate::rules::host_ports(desired);
        let before = observed.host_ports.as_deref();
        let prunes = before.is_none_or(|before| leaves_flows_behind(before, &balanced));
        steps.push(Operation::ReplaceHostRules { rules, balanced: balanced.clone() });
        if prunes && !balanced.is_empty() {
            steps.push(Operation::PruneFlows { place: Place::Host, balanced });
        }
    }
}
