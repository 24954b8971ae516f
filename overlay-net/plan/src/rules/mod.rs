//! The packet rules of a namespace, in the language of nftables.
//!
//! A namespace's rules are one text that replaces all of ours at once. Every value in it is a
//! number or an address, so nothing can be smuggled in. An empty chain named after the text's
//! digest stands in the kernel, so that the rules can be compared without reading them back.

mod host;
mod task;

use std::fmt::Write as _;
use std::net::IpAddr;

pub use host::{host_ports, host_rules};
use skep_types::session::Session;
pub use task::{task_rules, task_vips};

use crate::balance::Balanced;
use crate::family::Family;
use crate::shares::{BUCKETS, SEED, shares};

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

/// All rules of ours in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    text: String,
    digest: Digest,
}

impl Ruleset {
    /// `inet` and `netdev` are the bodies of our tables in these families.
    fn new(inet: &str, netdev: &str) -> Self {
        let mut hash = Fnv::default();
        hash.write(inet);
        hash.write("\0");
        hash.write(netdev);
        let digest = Digest(hash.0);
        let mut text = String::new();
        replace_table(&mut text, "netdev", netdev);
        replace_table(&mut text, "inet", &format!("\tchain {} {{ }}\n{inet}", digest.chain()));
        Self { text, digest }
    }

    /// For `nft -f`: one transaction.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }
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
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, text: &str) {
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

/// Addresses as parts of a chain's name.
fn in_name(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "_")
}
