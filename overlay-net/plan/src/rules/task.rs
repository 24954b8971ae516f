//! The rules of a task's namespace: its resolver, the virtual addresses it connects to, and the
//! way back for connections that came in through a node.
//!
//! A virtual address is translated where the connection starts, so the server sees the client
//! task's own address and nobody else stands in the way. Only the first packet of a connection comes
//! to the rules for that, and finds its task by two look-ups: by the address, and by the slot among
//! those that serve.
//!
//! Who serves changes often, and a node has many tasks: between two states of that stands an [`Edit`],
//! which costs the kernel as much as changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use skep_types::{Family, NetworkId};

use super::{Digest, Fnv, RESOLVER, Ruleset, backends, idle_map, vip_chain, vip_counter, vips_map};
use crate::address::{node_mac, node_mark};
use crate::balance::leaves_flows_behind;
use crate::desired::{DesiredTask, NodeConfig};
use crate::network::NetworkState;
use crate::shares::SEED;
use crate::vips::{Choice, Vip, Vips};

/// The chain that refuses connections to a virtual address with nobody behind it. Packets of those that
/// stand were translated before they could come to it.
pub const IDLE: &str = "idle";

/// The rules of one task.
#[derive(Clone, PartialEq, Eq)]
pub struct TaskRules {
    /// What does not change with who serves.
    resolver: Option<u16>,
    families: BTreeSet<Family>,
    ingress: String,
    netdev: String,
    vips: Vec<Arc<Vips>>,
    digest: Digest,
}

/// Not all that is behind each address: there may be thousands.
impl fmt::Debug for TaskRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskRules").field(&self.digest).finish()
    }
}

/// What leads from one state of a task's rules to another. Chains of addresses that are new have to be
/// made before anything leads to them, those of addresses that are gone go last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub vips: Vec<VipEdit>,
    pub slots: Vec<SlotEdit>,
    /// Marked by these.
    pub from: Digest,
    pub to: Digest,
}

/// What is done with connections to a virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Nobody serves: they are refused.
    Idle,
    /// They are given one of the slots.
    Slots(Choice),
}

/// None: it is no virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VipEdit {
    pub vip: IpAddr,
    pub from: Option<Lead>,
    pub to: Option<Lead>,
}

/// None: nobody is in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotEdit {
    pub vip: IpAddr,
    pub slot: u32,
    pub from: Option<IpAddr>,
    pub to: Option<IpAddr>,
}

/// More are written whole: they would not fit into a message's buffer.
const SLOT_EDITS_MAX: usize = 4096;

impl TaskRules {
    /// `vips` are those of the task's networks. Those of the ingress network serve published ports
    /// alone, as in Docker.
    pub fn of(
        node: &NodeConfig,
        task: &DesiredTask,
        networks: &BTreeMap<NetworkId, NetworkState>,
        vips: impl Fn(&NetworkState) -> Arc<Vips>,
    ) -> Self {
        let (mut ingress, mut netdev) = (String::new(), String::new());
        let mut families = BTreeSet::new();
        let mut of_networks = Vec::new();
        for (index, attachment) in task.networks.iter().enumerate() {
            let Some(network) = networks.get(&attachment.network) else { continue };
            if network.ingress {
                let mut nodes = network.nodes.clone();
                nodes.insert(node.underlay);
                let interface = format!("eth{index}");
                remember_node(&mut ingress, &interface, &nodes);
                return_by_node(&mut netdev, &interface, &nodes);
            } else {
                families.extend(network.gateways.iter().map(|gateway| Family::of(gateway.addr())));
                of_networks.push(vips(network));
            }
        }
        let mut rules = Self {
            resolver: task.resolver,
            families,
            ingress,
            netdev,
            vips: of_networks,
            digest: Digest(0),
        };
        rules.digest = rules.sum();
        rules
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What is balanced by them.
    pub fn vips(&self) -> &[Arc<Vips>] {
        &self.vips
    }

    fn sum(&self) -> Digest {
        let mut hash = Fnv::default();
        hash.write(FORM);
        hash.write(&format!("{:?} {:?}", self.resolver, self.families));
        for part in [&self.ingress, "\0", &self.netdev] {
            hash.write(part);
        }
        for (address, vip) in self.all_vips() {
            hash.write(&format!("{address} {:016x} ", vip.digest()));
        }
        Digest(hash.0)
    }

    fn all_vips(&self) -> impl Iterator<Item = (&IpAddr, &Vip)> {
        self.vips.iter().flat_map(|vips| &vips.all)
    }

    /// All of them, to be written whole.
    pub fn ruleset(&self) -> Ruleset {
        let mut inet = String::new();
        for family in &self.families {
            self.write_maps(&mut inet, *family);
        }
        if !self.families.is_empty() {
            let _ = write!(
                inet,
                "\tchain {IDLE} {{\n\t\tmeta l4proto tcp reject with tcp reset\n\
                 \t\treject with icmpx port-unreachable\n\t}}\n\
                 \tchain refusing {{\n\t\ttype filter hook output priority 0; policy accept;\n"
            );
            for family in &self.families {
                let _ = writeln!(inet, "\t\t{} daddr vmap @{}", family.word(), idle_map(*family));
            }
            inet.push_str("\t}\n");
        }
        for (address, vip) in self.all_vips() {
            let Some(choice) = vip.choice() else { continue };
            let family = Family::of(*address);
            let word = family.word();
            let choice = match choice {
                Choice::Random(number) => format!("numgen random mod {number}"),
                Choice::Hashed(number) => {
                    format!("jhash {word} saddr mod {number} seed 0x{SEED:08x}")
                }
            };
            let _ = write!(
                inet,
                "\tchain {} {{\n\t\tcounter name {}\n\t\tdnat {word} to {word} daddr . {choice} map @{}\n\t}}\n",
                vip_chain(*address),
                vip_counter(*address),
                backends(family)
            );
        }
        inet.push_str(
            "\tchain connecting {\n\t\ttype nat hook output priority -100; policy accept;\n",
        );
        if let Some(port) = self.resolver {
            for protocol in ["udp", "tcp"] {
                let _ = writeln!(
                    inet,
                    "\t\tip daddr {RESOLVER} {protocol} dport 53 dnat ip to {RESOLVER}:{port}"
                );
            }
        }
        for family in &self.families {
            let _ = writeln!(inet, "\t\t{} daddr vmap @{}", family.word(), vips_map(*family));
        }
        inet.push_str("\t}\n");
        inet.push_str(&self.ingress);
        let counters = self.all_vips().map(|(address, _)| vip_counter(*address)).collect();
        Ruleset::marked(self.digest, counters, &inet, &self.netdev)
    }

    fn write_maps(&self, inet: &mut String, family: Family) {
        let (word, of_family) = (family.word(), |it: &(&IpAddr, &Vip)| Family::of(*it.0) == family);
        let (mut slots, mut leads, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for (address, vip) in self.all_vips().filter(of_family) {
            let row = vip.slots.iter().enumerate();
            slots.extend(row.map(|(slot, to)| format!("{address} . {slot} : {to}")));
            match vip.choice() {
                Some(_) => leads.push(format!("{address} : goto {}", vip_chain(*address))),
                None => idle.push(format!("{address} : goto {IDLE}")),
            }
        }
        let elements = |all: Vec<String>| match all.is_empty() {
            true => String::new(),
            false => format!("\t\telements = {{ {} }}\n", all.join(", ")),
        };
        let _ = write!(
            inet,
            "\tmap {} {{\n\t\ttypeof {word} daddr . numgen random mod 65536 : {word} daddr\n{}\t}}\n",
            backends(family),
            elements(slots)
        );
        for (map, all) in [(vips_map(family), leads), (idle_map(family), idle)] {
            let all = elements(all);
            let _ = write!(inet, "\tmap {map} {{\n\t\ttypeof {word} daddr : verdict\n{all}\t}}\n");
        }
    }

    /// What leads here from rules that stand; None where they have to be written whole.
    pub fn edit_from(&self, stands: &Self) -> Option<Edit> {
        if self.resolver != stands.resolver
            || self.families != stands.families
            || self.ingress != stands.ingress
            || self.netdev != stands.netdev
        {
            return None;
        }
        let (had, has): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (stands.all_vips().collect(), self.all_vips().collect());
        let (mut vips, mut slots) = (Vec::new(), Vec::new());
        let all: BTreeSet<&IpAddr> = had.keys().chain(has.keys()).copied().collect();
        for vip in all {
            let (had, has) = (had.get(vip).copied(), has.get(vip).copied());
            let (from, to) = (had.map(lead), has.map(lead));
            if from != to {
                vips.push(VipEdit { vip: *vip, from, to });
            }
            slots.extend(slot_edits(*vip, slots_of(had), slots_of(has)));
        }
        if slots.len() > SLOT_EDITS_MAX {
            return None;
        }
        Some(Edit { vips, slots, from: stands.digest, to: self.digest })
    }

    /// Whether a flow that was right by `before` may be wrong now.
    pub fn leaves_flows_behind(&self, before: &Self) -> bool {
        self.vips.len() != before.vips.len()
            || self
                .vips
                .iter()
                .zip(&before.vips)
                .any(|(now, before)| leaves_flows_behind(&before.balanced, &now.balanced))
    }
}

/// Written into each digest, so that rules of another form are written anew.
const FORM: &str = "maps, counted ";

fn lead(vip: &Vip) -> Lead {
    vip.choice().map_or(Lead::Idle, Lead::Slots)
}

fn slots_of(vip: Option<&Vip>) -> &[IpAddr] {
    vip.map_or(&[], |vip| &vip.slots)
}

fn slot_edits(vip: IpAddr, had: &[IpAddr], has: &[IpAddr]) -> Vec<SlotEdit> {
    let edit = |slot: usize| {
        let (from, to) = (had.get(slot).copied(), has.get(slot).copied());
        (from != to).then_some(SlotEdit { vip, slot: slot as u32, from, to })
    };
    (0..had.len().max(has.len())).filter_map(edit).collect()
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
