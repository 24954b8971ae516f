//! Packet rules of a host for its bridges, and of a container for its resolver, in the language of
//! nftables. Pure.
//!
//! All of ours stand in tables of our own, which are replaced at once. The host's rules follow from
//! the networks and from what is published and linked, so a container that is neither changes
//! nothing. Every value in them is a number, an address or an interface's name that was checked.
//!
//! An operator's own rules go into a table of the operator's: a `forward` chain of a priority below
//! 0 sees each packet before ours, and what it drops stays dropped (Docker's `DOCKER-USER`).
//! The other way round, what another table drops cannot be accepted here: a host whose iptables
//! have the policy DROP in FORWARD must accept the bridges' traffic there.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::ports::{Protocol, Published};

/// Our table in each family that we use.
pub const TABLE: &str = "skep_bridge";
/// The families with a table of ours.
const FAMILIES: [&str; 2] = ["inet", "bridge"];

/// A network's bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub interface: String,
    pub subnets: Vec<IpNet>,
    pub internal: bool,
    /// Host's ends of containers that may not speak to one another; empty where they may.
    pub closed: Vec<String>,
    pub masquerade: bool,
}

/// A published port with what is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    pub published: Published,
    /// Of the same family as the published address.
    pub to: IpAddr,
}

/// What a link opens on a bridge whose containers may not speak to one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub from: IpAddr,
    pub to: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

/// The script that makes a host's rules these and no others.
pub fn host(bridges: &[Bridge], forwarded: &[Forwarded], opened: &[Opened]) -> String {
    let mut script = remove();
    if bridges.is_empty() && forwarded.is_empty() {
        return script;
    }
    let _ = write!(script, "table inet {TABLE} {{\n{}}}\n", inet(bridges, forwarded));
    if bridges.iter().any(|it| !it.closed.is_empty()) {
        let _ = write!(script, "table bridge {TABLE} {{\n{}}}\n", between(bridges, opened));
    }
    script
}

/// The script that takes all of ours away. A table must be there to be deleted, so it is named
/// first.
pub fn remove() -> String {
    let one =
        |family: &&str| format!("table {family} {TABLE} {{ }}\ndelete table {family} {TABLE}\n");
    FAMILIES.iter().map(one).collect()
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

fn inet(bridges: &[Bridge], forwarded: &[Forwarded]) -> String {
    let mut rules = String::new();
    let mut chain = |name: &str, hook: &str, body: Vec<String>| {
        let _ = writeln!(rules, "\tchain {name} {{");
        if !hook.is_empty() {
            let _ = writeln!(rules, "\t\ttype {hook}; policy accept;");
        }
        for line in body {
            let _ = writeln!(rules, "\t\t{line}");
        }
        rules.push_str("\t}\n");
    };
    // A loopback client's packets are routed to a bridge (`route_localnet`), so nothing else may
    // come in there for 127/8.
    let guard = |it: &Bridge| format!("iifname \"{}\" ip daddr 127.0.0.0/8 drop", it.interface);
    chain("guarding", "filter hook prerouting priority -300", bridges.iter().map(guard).collect());
    chain("published", "", translations(forwarded));
    for (name, hook) in [("arriving", "prerouting"), ("connecting", "output")] {
        let jump = vec!["fib daddr type local jump published".to_owned()];
        chain(name, &format!("nat hook {hook} priority -100"), jump);
    }
    chain(
        "leaving",
        "nat hook postrouting priority 100",
        bridges.iter().flat_map(disguises).collect(),
    );
    chain("passing", "filter hook forward priority 0", bridges.iter().flat_map(barriers).collect());
    rules
}

/// Ports of one address come before those of all. What is sent to `::1` is left to whoever holds the
/// port: the kernel takes such packets to no other interface.
fn translations(forwarded: &[Forwarded]) -> Vec<String> {
    let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let mut sorted: Vec<&Forwarded> =
        forwarded.iter().filter(|it| it.published.address != loopback).collect();
    sorted.sort_by_key(|it| (it.published.address.is_unspecified(), it.published));
    let line = |it: &&Forwarded| {
        let Published { port, address, host_port } = it.published;
        let (family, protocol) = (family(address), port.protocol.name());
        let at = if address.is_unspecified() {
            match address {
                IpAddr::V4(_) => "meta nfproto ipv4".to_owned(),
                IpAddr::V6(_) => format!("ip6 daddr != {loopback}"),
            }
        } else {
            format!("{family} daddr {address}")
        };
        let to = match it.to {
            IpAddr::V4(to) => format!("{to}:{}", port.number),
            IpAddr::V6(to) => format!("[{to}]:{}", port.number),
        };
        format!("{at} {protocol} dport {host_port} dnat {family} to {to}")
    };
    sorted.iter().map(line).collect()
}

fn disguises(bridge: &Bridge) -> Vec<String> {
    let name = &bridge.interface;
    let mut lines = vec![format!("oifname \"{name}\" ip saddr 127.0.0.0/8 masquerade")];
    for subnet in &bridge.subnets {
        let family = family(subnet.addr());
        // A container that reaches its own network through a published port: the answer must come
        // back the same way.
        lines.push(format!("oifname \"{name}\" {family} saddr {subnet} ct status dnat masquerade"));
        if bridge.masquerade && !bridge.internal {
            lines.push(format!("oifname != \"{name}\" {family} saddr {subnet} masquerade"));
        }
    }
    lines
}

/// What comes in from elsewhere was published, or answers; networks are so apart from one another
/// too. An internal network has no elsewhere.
fn barriers(bridge: &Bridge) -> Vec<String> {
    let name = &bridge.interface;
    if bridge.internal {
        return vec![
            format!("iifname \"{name}\" oifname != \"{name}\" drop"),
            format!("oifname \"{name}\" iifname != \"{name}\" drop"),
        ];
    }
    vec![format!(
        "oifname \"{name}\" iifname != \"{name}\" ct direction original ct status & dnat == 0 drop"
    )]
}

/// Frames from container to container never come to the IP layer: they are told apart where the
/// bridge passes them on, by the port they came in, for not every kernel can tell the bridge.
/// Without connections, as Docker's link rules are.
fn between(bridges: &[Bridge], opened: &[Opened]) -> String {
    let mut lines = Vec::new();
    for it in opened {
        let Opened { from, to, protocol, port } = it;
        let (family, protocol) = (family(*to), protocol.name());
        let between = |one: &IpAddr, other: &IpAddr| {
            format!("{family} saddr {one} {family} daddr {other} {protocol}")
        };
        lines.push(format!("{} dport {port} accept", between(from, to)));
        lines.push(format!("{} sport {port} accept", between(to, from)));
    }
    let ports = bridges.iter().flat_map(|it| &it.closed);
    let ports: Vec<String> = ports.map(|it| format!("\"{it}\"")).collect();
    let ports = format!("iifname {{ {} }} ether type", ports.join(", "));
    // Neighbours are still found; without them the gateway would not be either.
    let neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }";
    lines.push(format!("{ports} ip drop"));
    lines.push(format!("{ports} ip6 {neighbours} accept"));
    lines.push(format!("{ports} ip6 drop"));
    let mut rules = String::from(
        "\tchain passing {\n\t\ttype filter hook forward priority 0; policy accept;\n",
    );
    for line in lines {
        let _ = writeln!(rules, "\t\t{line}");
    }
    rules.push_str("\t}\n");
    rules
}

/// A container's questions for names go to the port where its resolver listens.
pub fn container(resolver: IpAddr, port: u16) -> String {
    let mut script = format!(
        "table inet {TABLE} {{ }}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n\
         \tchain connecting {{\n\t\ttype nat hook output priority -100; policy accept;\n"
    );
    for protocol in ["udp", "tcp"] {
        let _ = writeln!(
            script,
            "\t\tip daddr {resolver} {protocol} dport 53 dnat ip to {resolver}:{port}"
        );
    }
    script.push_str("\t}\n}\n");
    script
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn bridge(interface: &str, subnet: &str) -> Bridge {
        Bridge {
            interface: interface.into(),
            subnets: vec![subnet.parse().unwrap()],
            internal: false,
            closed: Vec::new(),
            masquerade: true,
        }
    }

    #[test]
    fn without_bridges_nothing_stands() {
        assert_eq!(host(&[], &[], &[]), remove());
    }

    #[test]
    fn the_rules_of_a_host() {
        let published = |address: &str, host_port| Published {
            port: "80/tcp".parse().unwrap(),
            address: address.parse().unwrap(),
            host_port,
        };
        let forwarded = |published, to: &str| Forwarded { published, to: to.parse().unwrap() };
        let closed = Bridge {
            closed: vec!["skv1".into(), "skv2".into()],
            ..bridge("skep0", "172.17.0.0/16")
        };
        let inner = Bridge { internal: true, ..bridge("br-in", "fd00:1::/64") };
        let script = host(
            &[closed, inner],
            &[
                forwarded(published("0.0.0.0", 8080), "172.17.0.2"),
                forwarded(published("127.0.0.1", 8080), "172.17.0.3"),
                forwarded(published("::", 8080), "fd00::2"),
            ],
            &[Opened {
                from: "172.17.0.3".parse().unwrap(),
                to: "172.17.0.2".parse().unwrap(),
                protocol: Protocol::Tcp,
                port: 80,
            }],
        );
        expect![[r#"
            table inet skep_bridge { }
            delete table inet skep_bridge
            table bridge skep_bridge { }
            delete table bridge skep_bridge
            table inet skep_bridge {
            	chain guarding {
            		type filter hook prerouting priority -300; policy accept;
            		iifname "skep0" ip daddr 127.0.0.0/8 drop
            		iifname "br-in" ip daddr 127.0.0.0/8 drop
            	}
            	chain published {
            		ip daddr 127.0.0.1 tcp dport 8080 dnat ip to 172.17.0.3:80
            		meta nfproto ipv4 tcp dport 8080 dnat ip to 172.17.0.2:80
            		ip6 daddr != ::1 tcp dport 8080 dnat ip6 to [fd00::2]:80
            	}
            	chain arriving {
            		type nat hook prerouting priority -100; policy accept;
            		fib daddr type local jump published
            	}
            	chain connecting {
            		type nat hook output priority -100; policy accept;
            		fib daddr type local jump published
            	}
            	chain leaving {
            		type nat hook postrouting priority 100; policy accept;
            		oifname "skep0" ip saddr 127.0.0.0/8 masquerade
            		oifname "skep0" ip saddr 172.17.0.0/16 ct status dnat masquerade
            		oifname != "skep0" ip saddr 172.17.0.0/16 masquerade
            		oifname "br-in" ip saddr 127.0.0.0/8 masquerade
            		oifname "br-in" ip6 saddr fd00:1::/64 ct status dnat masquerade
            	}
            	chain passing {
            		type filter hook forward priority 0; policy accept;
            		oifname "skep0" iifname != "skep0" ct direction original ct status & dnat == 0 drop
            		iifname "br-in" oifname != "br-in" drop
            		oifname "br-in" iifname != "br-in" drop
            	}
            }
            table bridge skep_bridge {
            	chain passing {
            		type filter hook forward priority 0; policy accept;
            		ip saddr 172.17.0.3 ip daddr 172.17.0.2 tcp dport 80 accept
            		ip saddr 172.17.0.2 ip daddr 172.17.0.3 tcp sport 80 accept
            		iifname { "skv1", "skv2" } ether type ip drop
            		iifname { "skv1", "skv2" } ether type ip6 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
            		iifname { "skv1", "skv2" } ether type ip6 drop
            	}
            }
        "#]].assert_eq(&script);
    }
}
