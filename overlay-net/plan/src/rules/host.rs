//! The rules of the host's namespace: published ports, and tasks' way to the outside.
//!
//! A client's address is kept, except where the same address means somebody else on every node:
//! the loopback's, tasks' outside addresses, local bridges'. Loopback clients need
//! `route_localnet` on our interfaces, so nothing else may come in there for 127/8; for `::1` it is
//! a route (`kernel/src/v6_loopback.rs`), and the kernel itself lets nobody in from elsewhere.
//! Link-local addresses are no port's: a packet from one must not be passed on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use skep_types::service::{PortConfig, Protocol};
use skep_types::session::Session;

use super::{INGRESS_PREFIX, OUTSIDE_PREFIX, Ruleset, one_of, port_counter};
use crate::address::{node_v6, outside_pool_v6};
use crate::balance::{Balanced, Target, published};
use crate::desired::{Desired, DesiredTask, NodeConfig};
use skep_types::Family;

/// The ports this node answers: the routing mesh's, then those of its own tasks. A port that both
/// claim is the task's own.
pub fn host_ports(desired: &Desired) -> Vec<Balanced> {
    let node = &desired.node;
    let mut ports: Vec<Balanced> =
        desired.tasks.values().flat_map(|task| of_task(node, task)).collect();
    for port in desired.ingress().map(published).unwrap_or_default() {
        if !ports.iter().any(|other| other.target == port.target) {
            ports.push(port);
        }
    }
    let by_sctp = |port: &Balanced| matches!(port.target, Target::Port(Protocol::Sctp, _));
    ports.retain(|port| node.sctp || !by_sctp(port));
    ports.sort_by_key(|port| port.target);
    ports
}

fn of_task(node: &NodeConfig, task: &DesiredTask) -> Vec<Balanced> {
    let Some(outside) = task.outside(node) else { return Vec::new() };
    let balanced = |port: &PortConfig| Balanced {
        target: Target::Port(port.protocol, port.published_port),
        target_port: Some(port.target_port),
        serving: outside.addresses().iter().map(IpNet::addr).collect(),
        draining: Vec::new(),
        session: Session::Any,
    };
    task.host_ports.iter().map(balanced).collect()
}

/// The rules of the host.
pub fn host_rules(desired: &Desired) -> Ruleset {
    let mut inet = String::new();
    let mut jumps = Vec::new();
    let mut counters = Vec::new();
    for port in host_ports(desired) {
        let Target::Port(protocol, number) = port.target else { continue };
        let name = protocol.word();
        // Kept while nobody serves, for what it has counted.
        let counter = port_counter((protocol, number));
        let to = |family: Family| {
            let to = one_of(&port, family)?;
            Some(format!("\t\tmeta l4proto {name} dnat {} to {to}\n", family.word()))
        };
        let translate: String = Family::ALL.into_iter().filter_map(to).collect();
        // Nobody behind it: the packet goes on and the host refuses it itself.
        if translate.is_empty() {
            counters.push(counter);
            continue;
        }
        // Only the first packet of a connection comes here.
        let _ = write!(
            inet,
            "\tchain port_{name}_{number} {{\n\t\tcounter name {counter}\n{translate}\t}}\n"
        );
        counters.push(counter);
        jumps.push(format!("{name} . {number} : goto port_{name}_{number}"));
    }
    inet.push_str("\tchain published {\n");
    if desired.node.ipv6 {
        inet.push_str("\t\tip6 daddr fe80::/10 return\n");
    }
    if !jumps.is_empty() {
        let _ = writeln!(inet, "\t\tmeta l4proto . th dport vmap {{ {} }}", jumps.join(", "));
    }
    inet.push_str("\t}\n");
    // Not a word of IPv6 where the kernel has none: it would not know it.
    let which = if desired.node.ipv6 { "" } else { "meta nfproto ipv4 " };
    let _ = write!(
        inet,
        "\tchain guarding {{\n\
         \t\ttype filter hook prerouting priority -300; policy accept;\n\
         \t\tiifname \"{OUTSIDE_PREFIX}*\" ip daddr 127.0.0.0/8 drop\n\
         \t\tiifname \"{INGRESS_PREFIX}*\" ip daddr 127.0.0.0/8 drop\n\
         \t}}\n\
         {}\
         \tchain arriving {{\n\
         \t\ttype nat hook prerouting priority -100; policy accept;\n\
         \t\t{which}fib daddr type local jump published\n\
         \t}}\n\
         \tchain connecting {{\n\
         \t\ttype nat hook output priority -100; policy accept;\n\
         \t\t{which}fib daddr type local jump published\n\
         \t}}\n\
         \tchain leaving {{\n\
         \t\ttype nat hook postrouting priority 100; policy accept;\n\
         {}\
         \t}}\n\
         \tchain passing {{\n\
         \t\ttype filter hook forward priority 0; policy accept;\n\
         \t\tct direction original iifname \"{INGRESS_PREFIX}*\" drop\n\
         \t\tct direction original ct status & dnat == 0 oifname \"{INGRESS_PREFIX}*\" drop\n\
         \t\tct direction original ct status & dnat == 0 oifname \"{OUTSIDE_PREFIX}*\" drop\n\
         \t}}\n\
         \tchain entering {{\n\
         \t\ttype filter hook input priority 0; policy accept;\n\
         \t\tct direction original iifname \"{INGRESS_PREFIX}*\" drop\n\
         {}\
         \t}}\n",
        fitting(desired),
        masked(&desired.node),
        members_alone(desired)
    );
    Ruleset::new(counters, &inet, "")
}

/// Whose addresses are not kept: clients' that mean somebody else on other nodes, and tasks' on their
/// way to the outside.
fn masked(node: &NodeConfig) -> String {
    let mut rules = String::new();
    for family in Family::ALL.into_iter().filter(|it| *it == Family::V4 || node.ipv6) {
        let (pool, loopback, as_node) = match (family, node.face()) {
            (Family::V4, IpAddr::V4(own)) => {
                (node.outside_pool.to_string(), "127.0.0.0/8", format!("snat ip to {own}"))
            }
            // Over an IPv6 underlay the mesh's own IPv4 source is whatever address the host has there.
            (Family::V4, IpAddr::V6(_)) => {
                (node.outside_pool.to_string(), "127.0.0.0/8", "masquerade".to_owned())
            }
            (Family::V6, own) => {
                (outside_pool_v6().to_string(), "::1", format!("snat ip6 to {}", node_v6(own)))
            }
        };
        let mut repeated = vec![loopback.to_owned(), pool.clone()];
        if family == Family::V4 {
            repeated.extend(node.repeated_sources.iter().map(ToString::to_string));
        }
        let (repeated, family) = (repeated.join(", "), family.word());
        let _ = write!(
            rules,
            "\t\tct status dnat oifname \"{INGRESS_PREFIX}*\" {family} saddr {{ {repeated} }} {as_node}\n\
             \t\tct status dnat oifname \"{OUTSIDE_PREFIX}*\" {family} saddr {{ {repeated} }} masquerade\n\
             \t\t{family} saddr {pool} oifname != {{ \"{OUTSIDE_PREFIX}*\", \"{INGRESS_PREFIX}*\" }} masquerade\n"
        );
    }
    rules
}

/// Both ends of a TCP connection to a published port are told of segments that fit into the ingress
/// network. Neither finds that out by itself: a client is on the underlay, or on the loopback with its
/// 64 KiB, and a task chooses the size by its way to the outside, before its reply is marked. Many a
/// firewall keeps the word back that a packet was too large, and a client on this node never gets it.
fn fitting(desired: &Desired) -> String {
    let Some(ingress) = desired.ingress() else { return String::new() };
    let mtu = desired.node.mtu(ingress);
    let families = Family::ALL.into_iter().filter(|it| *it == Family::V4 || desired.node.ipv6);
    // Headers of both layers, without options.
    let sizes = families.map(|family| match family {
        Family::V4 => ("ipv4", mtu.saturating_sub(40)),
        Family::V6 => ("ipv6", mtu.saturating_sub(60)),
    });
    let mut chains = String::new();
    for (name, hook, side) in
        [("fitting_in", "prerouting", "iifname"), ("fitting_out", "postrouting", "oifname")]
    {
        let _ = write!(
            chains,
            "\tchain {name} {{\n\t\ttype filter hook {hook} priority -150; policy accept;\n"
        );
        for (family, size) in sizes.clone() {
            let _ = writeln!(
                chains,
                "\t\t{side} \"{INGRESS_PREFIX}*\" meta nfproto {family} \
                 tcp flags & (syn | rst) == syn tcp option maxseg size set {size}"
            );
        }
        chains.push_str("\t}\n");
    }
    chains
}

/// Our networks' frames come from the swarm's nodes alone: anybody else on the underlay could
/// otherwise speak to tasks. Other networks on the same UDP port are none of our business. The
/// nodes are known where there is an ingress network; without one nothing is said.
fn members_alone(desired: &Desired) -> String {
    let Some(ingress) = desired.ingress().filter(|it| !it.nodes.is_empty()) else {
        return String::new();
    };
    let vnis: Vec<String> =
        desired.sandboxes().map(|network| format!("0x{:06x}", network.vni.0)).collect();
    let endpoints = desired.networks.values().flat_map(|network| network.endpoints.values());
    let mut members: BTreeSet<IpAddr> = endpoints.map(|endpoint| endpoint.node).collect();
    members.extend(&ingress.nodes);
    members.insert(desired.node.underlay);
    let family = Family::of(desired.node.underlay).word();
    let like = |member: &&IpAddr| member.is_ipv4() == desired.node.underlay.is_ipv4();
    let members: Vec<String> = members.iter().filter(like).map(ToString::to_string).collect();
    // The VXLAN id stands after the UDP header and four bytes of flags (RFC 7348).
    format!(
        "\t\tudp dport {} @th,96,24 {{ {} }} {family} saddr != {{ {} }} drop\n",
        desired.node.vxlan_port,
        vnis.join(", "),
        members.join(", ")
    )
}
