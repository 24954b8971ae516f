//! The rules of the host's namespace: published ports, and tasks' way to the outside.
//!
//! A client's address is kept, except where the same address means somebody else on every node:
//! the loopback's, tasks' outside addresses, local bridges'. Loopback clients need
//! `route_localnet` on our interfaces, so nothing else may come in there for 127/8.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use skep_types::service::PortConfig;
use skep_types::session::Session;

use super::{INGRESS_PREFIX, OUTSIDE_PREFIX, Ruleset, one_of};
use crate::balance::{Balanced, Target, published};
use crate::desired::{Desired, DesiredTask};
use crate::family::Family;

/// The ports this node answers: the routing mesh's, then those of its own tasks. A port that both
/// claim is the task's own.
pub fn host_ports(desired: &Desired) -> Vec<Balanced> {
    let mut ports: Vec<Balanced> = desired.tasks.values().flat_map(of_task).collect();
    for port in desired.ingress().map(published).unwrap_or_default() {
        if !ports.iter().any(|other| other.target == port.target) {
            ports.push(port);
        }
    }
    ports.sort_by_key(|port| port.target);
    ports
}

fn of_task(task: &DesiredTask) -> Vec<Balanced> {
    let Some(address) = task.outside else { return Vec::new() };
    let balanced = |port: &PortConfig| Balanced {
        target: Target::Port(port.protocol, port.published_port),
        target_port: Some(port.target_port),
        serving: vec![IpAddr::V4(address)],
        draining: Vec::new(),
        session: Session::Any,
    };
    task.host_ports.iter().map(balanced).collect()
}

/// The rules of the host.
pub fn host_rules(desired: &Desired) -> Ruleset {
    let mut inet = String::new();
    let mut jumps = Vec::new();
    for port in host_ports(desired) {
        let Target::Port(protocol, number) = port.target else { continue };
        let name = protocol.word();
        let to = |family: Family| {
            let to = one_of(&port, family)?;
            Some(format!("\t\tmeta l4proto {name} dnat {} to {to}\n", family.word()))
        };
        let translate: String = Family::ALL.into_iter().filter_map(to).collect();
        // Nobody behind it: the packet goes on and the host refuses it itself.
        if translate.is_empty() {
            continue;
        }
        let _ = write!(inet, "\tchain port_{name}_{number} {{\n{translate}\t}}\n");
        jumps.push(format!("{name} . {number} : goto port_{name}_{number}"));
    }
    inet.push_str("\tchain published {\n");
    if !jumps.is_empty() {
        let _ = writeln!(inet, "\t\tmeta l4proto . th dport vmap {{ {} }}", jumps.join(", "));
    }
    inet.push_str("\t}\n");
    let pool = desired.node.outside_pool;
    let mut repeated = vec!["127.0.0.0/8".to_owned(), pool.to_string()];
    repeated.extend(desired.node.repeated_sources.iter().map(ToString::to_string));
    let repeated = repeated.join(", ");
    // Over an IPv6 underlay the mesh's own IPv4 source is whatever address the host has there.
    let as_node = match desired.node.underlay {
        IpAddr::V4(address) => format!("snat ip to {address}"),
        IpAddr::V6(_) => "masquerade".to_owned(),
    };
    let _ = write!(
        inet,
        "\tchain guarding {{\n\
         \t\ttype filter hook prerouting priority -300; policy accept;\n\
         \t\tiifname \"{OUTSIDE_PREFIX}*\" ip daddr 127.0.0.0/8 drop\n\
         \t\tiifname \"{INGRESS_PREFIX}*\" ip daddr 127.0.0.0/8 drop\n\
         \t}}\n\
         \tchain arriving {{\n\
         \t\ttype nat hook prerouting priority -100; policy accept;\n\
         \t\tmeta nfproto ipv4 fib daddr type local jump published\n\
         \t}}\n\
         \tchain connecting {{\n\
         \t\ttype nat hook output priority -100; policy accept;\n\
         \t\tmeta nfproto ipv4 fib daddr type local jump published\n\
         \t}}\n\
         \tchain leaving {{\n\
         \t\ttype nat hook postrouting priority 100; policy accept;\n\
         \t\tct status dnat oifname \"{INGRESS_PREFIX}*\" ip saddr {{ {repeated} }} {as_node}\n\
         \t\tct status dnat oifname \"{OUTSIDE_PREFIX}*\" ip saddr {{ {repeated} }} masquerade\n\
         \t\tip saddr {pool} oifname != {{ \"{OUTSIDE_PREFIX}*\", \"{INGRESS_PREFIX}*\" }} masquerade\n\
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
        members_alone(desired)
    );
    Ruleset::new(&inet, "")
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
