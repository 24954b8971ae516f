//! The rules of a task's namespace: its resolver, the virtual addresses it connects to, and the
//! way back for connections that came in through a node.
//!
//! A virtual address is translated where the connection starts, so the server sees the client
//! task's own address and nobody else stands in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use skep_types::NetworkId;

use super::{RESOLVER, Ruleset, in_name, one_of};
use crate::address::{node_mac, node_mark};
use crate::balance::{Balanced, Target, vips};
use crate::desired::{DesiredTask, NodeConfig};
use crate::network::NetworkState;
use skep_types::Family;

/// Virtual addresses that the task can connect to. Those of the ingress network serve published
/// ports alone, as in Docker.
pub fn task_vips(
    task: &DesiredTask,
    networks: &BTreeMap<NetworkId, NetworkState>,
) -> Vec<Balanced> {
    let of_task = task.networks.iter().filter_map(|attachment| networks.get(&attachment.network));
    of_task.filter(|network| !network.ingress).flat_map(vips).collect()
}

/// The rules of one task.
pub fn task_rules(
    node: &NodeConfig,
    task: &DesiredTask,
    networks: &BTreeMap<NetworkId, NetworkState>,
) -> Ruleset {
    let vips = task_vips(task, networks);
    let mut inet = String::new();
    let mut netdev = String::new();
    translate(&mut inet, task.resolver, &vips);
    refuse(&mut inet, &vips);
    for (index, attachment) in task.networks.iter().enumerate() {
        if let Some(network) = networks.get(&attachment.network).filter(|it| it.ingress) {
            let mut nodes = network.nodes.clone();
            nodes.insert(node.underlay);
            let interface = format!("eth{index}");
            remember_node(&mut inet, &interface, &nodes);
            return_by_node(&mut netdev, &interface, &nodes);
        }
    }
    Ruleset::new(Vec::new(), &inet, &netdev)
}

fn address_of(vip: &Balanced) -> Option<IpAddr> {
    match vip.target {
        Target::Vip(address) => Some(address),
        Target::Port(..) => None,
    }
}

fn translate(inet: &mut String, resolver: Option<u16>, vips: &[Balanced]) {
    let mut jumps: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for vip in vips {
        let Some(address) = address_of(vip) else { continue };
        let (family, name) = (Family::of(address), in_name(address));
        let Some(to) = one_of(vip, family) else { continue };
        let family = family.word();
        let _ = write!(inet, "\tchain vip_{name} {{\n\t\tdnat {family} to {to}\n\t}}\n");
        jumps.entry(family).or_default().push(format!("{address} : goto vip_{name}"));
    }
    inet.push_str("\tchain connecting {\n\t\ttype nat hook output priority -100; policy accept;\n");
    if let Some(port) = resolver {
        for protocol in ["udp", "tcp"] {
            let _ = writeln!(
                inet,
                "\t\tip daddr {RESOLVER} {protocol} dport 53 dnat ip to {RESOLVER}:{port}"
            );
        }
    }
    for (family, jumps) in jumps {
        let _ = writeln!(inet, "\t\t{family} daddr vmap {{ {} }}", jumps.join(", "));
    }
    inet.push_str("\t}\n");
}

/// A virtual address that was not translated has nobody behind it. Packets of connections that
/// stand were translated before they come here.
fn refuse(inet: &mut String, vips: &[Balanced]) {
    let mut empty: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for address in vips.iter().filter(|vip| vip.serving.is_empty()).filter_map(address_of) {
        empty.entry(Family::of(address).word()).or_default().push(address.to_string());
    }
    if empty.is_empty() {
        return;
    }
    inet.push_str("\tchain refusing {\n\t\ttype filter hook output priority 0; policy accept;\n");
    for (family, addresses) in empty {
        let addresses = addresses.join(", ");
        let icmp = if family == "ip" { "icmp" } else { "icmpv6" };
        let _ = writeln!(
            inet,
            "\t\t{family} daddr {{ {addresses} }} meta l4proto tcp reject with tcp reset"
        );
        let _ = writeln!(
            inet,
            "\t\t{family} daddr {{ {addresses} }} reject with {icmp} port-unreachable"
        );
    }
    inet.push_str("\t}\n");
}

/// Which node a connection came in through is told by the link-layer address, for the network
/// address is the client's own.
fn remember_node(inet: &mut String, interface: &str, nodes: &BTreeSet<IpAddr>) {
    let marks: Vec<String> = nodes
        .iter()
        .map(|node| format!("{} : 0x{:08x}", node_mac(*node), node_mark(*node)))
        .collect();
    let _ = write!(
        inet,
        "\tchain arriving {{\n\
         \t\ttype filter hook prerouting priority -150; policy accept;\n\
         \t\tiifname \"{interface}\" ct direction original ct mark set ether saddr map {{ {} }}\n\
         \t}}\n\
         \tchain replying {{\n\
         \t\ttype route hook output priority -150; policy accept;\n\
         \t\tct direction reply ct mark != 0 meta mark set ct mark\n\
         \t}}\n",
        marks.join(", ")
    );
}

/// Replies are routed to the bridge's own address and get the node's link-layer address on their
/// way out: one routing rule, however many nodes there are. Written as raw payload, because
/// `ether daddr` asks for an incoming interface, which a packet on its way out has not.
fn return_by_node(netdev: &mut String, interface: &str, nodes: &BTreeSet<IpAddr>) {
    let mut jumps = Vec::new();
    for node in nodes {
        let (mark, bytes) = (node_mark(*node), node_mac(*node).0);
        let mac = bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let _ = write!(netdev, "\tchain node_{mark:08x} {{\n\t\t@ll,0,48 set 0x{mac:012x}\n\t}}\n");
        jumps.push(format!("0x{mark:08x} : goto node_{mark:08x}"));
    }
    let _ = write!(
        netdev,
        "\tchain leaving {{\n\
         \t\ttype filter hook egress device \"{interface}\" priority 0; policy accept;\n\
         \t\tmeta mark vmap {{ {} }}\n\
         \t}}\n",
        jumps.join(", ")
    );
}
