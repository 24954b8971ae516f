//! The packet rules of a namespace, in the language of nftables.
//!
//! A namespace's rules are one text that replaces all of ours at once. Every value in it is a
//! number or an address, so nothing can be smuggled in. An empty chain named after the text's
//! digest stands in the kernel, so that the rules can be compared without reading them back.

mod host;
mod task;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

pub use host::{host_ports, host_rules};
use skep_types::service::Protocol;
use skep_types::session::Session;
pub use task::{Edit, IDLE, Lead, SlotEdit, TaskRules, VipEdit};

use crate::balance::Balanced;
use crate::host_port::HostPort;
pub use crate::shares::SEED;
use crate::shares::{BUCKETS, shares};
use skep_types::Family;

/// The one table of ours in each family that we use.
pub const TABLE: &str = "skep";
/// The host's operator has rules of his own in this table, as in Docker's chain `DOCKER-USER`. It is
/// made once, with one chain, and never looked into or changed after that.
pub const USER_TABLE: &str = "skep-user";
/// Host ends of tasks' outside interfaces begin so.
pub const OUTSIDE_PREFIX: &str = "sko-";
/// Host ends of ingress sandboxes begin so.
pub const INGRESS_PREFIX: &str = "ski-";
/// Where containers ask for names, as in Docker.
pub const RESOLVER: &str = "127.0.0.11";
/// The name of the chain that carries the digest begins so.
const DIGEST_PREFIX: &str = "v_";

/// What two texts of rules are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// The name of the chain that carries it.
    pub fn chain(self) -> String {
        format!("{DIGEST_PREFIX}{:016x}", self.0)
    }

    /// From the name of a chain, if it is one that carries a digest.
    pub fn from_chain(name: &str) -> Option<Self> {
        u64::from_str_radix(name.strip_prefix(DIGEST_PREFIX)?, 16).ok().map(Self)
    }
}

/// What a counter has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

/// All rules of ours in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    text: String,
    /// The names of the counters that the rules count in.
    counters: Vec<String>,
    /// Where in the text the counters are to stand.
    counters_at: usize,
    digest: Digest,
}

impl Ruleset {
    /// `inet` and `netdev` are the bodies of our tables in these families, of which the first counts
    /// in `counters`.
    fn new(counters: Vec<String>, inet: &str, netdev: &str) -> Self {
        let mut hash = Fnv::default();
        for part in counters.iter().map(String::as_str).chain([inet, "\0", netdev]) {
            hash.write(part);
        }
        Self::marked(Digest(hash.0), counters, inet, netdev)
    }

    fn marked(digest: Digest, counters: Vec<String>, inet: &str, netdev: &str) -> Self {
        let mut text = String::new();
        replace_table(&mut text, "netdev", netdev);
        let marker = format!("\tchain {} {{ }}\n", digest.chain());
        replace_table(&mut text, "inet", &format!("{marker}{inet}"));
        let counters_at = text.find(&marker).unwrap_or_default();
        text.insert_str(counters_at, &counters_with(&counters, &BTreeMap::new()));
        Self { text, counters, counters_at, digest }
    }

    /// For `nft -f`: one transaction. All counters begin anew.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same with counters that go on from what those of the same name had.
    pub fn text_from(&self, had: &BTreeMap<String, Count>) -> String {
        let (before, rest) = self.text.split_at(self.counters_at);
        let anew = counters_with(&self.counters, &BTreeMap::new()).len();
        format!("{before}{}{}", counters_with(&self.counters, had), &rest[anew..])
    }

    /// Whether anything is counted.
    pub fn counts(&self) -> bool {
        !self.counters.is_empty()
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }
}

fn counters_with(names: &[String], had: &BTreeMap<String, Count>) -> String {
    let counter = |name: &String| {
        let Count { packets, bytes } = had.get(name).copied().unwrap_or_default();
        format!("\tcounter {name} {{\n\t\tpackets {packets} bytes {bytes}\n\t}}\n")
    };
    names.iter().map(counter).collect()
}

/// The counter of new connections to a port that this node answers.
fn port_counter((protocol, number): HostPort) -> String {
    format!("port_{}_{number}", protocol.word())
}

/// The port that a counter is for.
pub fn counted_port(name: &str) -> Option<HostPort> {
    let (protocol, number) = name.strip_prefix("port_")?.split_once('_')?;
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let protocol = all.into_iter().find(|it| it.word() == protocol)?;
    Some((protocol, number.parse().ok()?))
}

/// Makes the operator's table, with a chain for what passes through this host: after published ports
/// were translated and before our own chain judges it. Fails where the table stands.
pub fn user_table() -> String {
    format!(
        "create table inet {USER_TABLE}\n\
         add chain inet {USER_TABLE} forward {{ type filter hook forward priority -10; policy accept; }}\n"
    )
}

/// A table must be there to be deleted, so it is named first.
fn replace_table(text: &mut String, family: &str, body: &str) {
    let _ = writeln!(text, "table {family} {TABLE} {{ }}\ndelete table {family} {TABLE}");
    if !body.is_empty() {
        let _ = write!(text, "table {family} {TABLE} {{\n{body}}}\n");
    }
}

/// FNV-1a: stable across builds, and rules are not chosen by an enemy of the comparison.
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn write(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Picks one of the addresses for each new connection: at random, or by the address that the client
/// comes from. Counting up would send the first connection of every fresh namespace to the same task.
/// None without addresses.
///
/// The map has no ranges, so the kernel keeps it as a hash table: a choice among a thousand costs as
/// much as one of two.
fn one_of(balanced: &Balanced, family: Family) -> Option<String> {
    let serving = balanced.serving_of(family);
    let number = serving.len();
    let (key, values) = match balanced.session {
        _ if number == 0 => return None,
        Session::ClientAddress if number > 1 => {
            let key = format!("jhash {} saddr mod {BUCKETS} seed 0x{SEED:08x}", family.word());
            (key, shares(&serving))
        }
        Session::Any | Session::ClientAddress => (format!("numgen random mod {number}"), serving),
    };
    let element = |(index, address): (usize, &IpAddr)| match balanced.target_port {
        Some(port) => format!("{index} : {address} . {port}"),
        None => format!("{index} : {address}"),
    };
    let elements: Vec<String> = values.iter().enumerate().map(element).collect();
    Some(format!("{key} map {{ {} }}", elements.join(", ")))
}

/// The chain that chooses a slot for a virtual address.
pub fn vip_chain(address: IpAddr) -> String {
    format!("vip_{}", address.to_string().replace(['.', ':'], "_"))
}

/// The counter of new connections to a virtual address.
pub fn vip_counter(address: IpAddr) -> String {
    vip_chain(address)
}

/// The virtual address that a counter is for.
pub fn counted_vip(name: &str) -> Option<IpAddr> {
    let digits = name.strip_prefix("vip_")?;
    let v4 = digits.replace('_', ".").parse().map(IpAddr::V4).ok();
    v4.or_else(|| digits.replace('_', ":").parse().map(IpAddr::V6).ok())
}

/// The map from virtual addresses and slots to tasks.
pub fn backends(family: Family) -> String {
    format!("backends_{}", family.word())
}

/// The map from virtual addresses that nobody serves to the chain that refuses.
pub fn idle_map(family: Family) -> String {
    format!("idle_{}", family.word())
}

/// The map from virtual addresses that are served to their chains.
pub fn vips_map(family: Family) -> String {
    format!("vips_{}", family.word())
}
