//! What the kernel and the host must have for the swarm's networks: tried when they begin, so that a
//! host that lacks something says so by name before a task fails on it.

use std::io;
use std::path::Path;

use netlink_packet_route::link::InfoKind;
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::netlink::{Netlink, is};
use crate::{KernelError, Namespace, nft};

/// Something that is lacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What, and what it is for.
    pub what: String,
    /// What to do.
    pub mend: String,
}

/// Kinds of links, each with what it is for and the module that has it.
const LINKS: &[(InfoKind, &str, &str, &str)] = &[
    (InfoKind::Vxlan, "VXLAN devices", "overlays reach other nodes by them", "vxlan"),
    (InfoKind::Bridge, "bridges", "tasks of a network on one node meet on them", "bridge"),
    (InfoKind::Veth, "pairs of virtual interfaces", "tasks are on networks by them", "veth"),
];

/// What rules say, each with what it is for and the module that has it.
const RULES: &[(&str, &str, &str, &str)] = &[
    ("chain c { }", "nftables", "services and published ports are balanced by it", "nf_tables"),
    (
        "chain c { type nat hook output priority -100; dnat ip to 192.0.2.1; }",
        "translation of addresses in nftables",
        "services and published ports are balanced by it",
        "nft_chain_nat, nft_nat",
    ),
    (
        "chain c { type nat hook output priority -100; \
         dnat ip to numgen random mod 2 map { 0 : 192.0.2.1, 1 : 192.0.2.2 }; }",
        "random numbers in nftables",
        "each connection goes to any of a service's tasks by them",
        "nft_numgen",
    ),
    (
        "map m { typeof ip daddr . numgen random mod 65536 : ip daddr; }\n\
         chain c { type nat hook output priority -100; \
         dnat ip to ip daddr . numgen random mod 2 map @m; }",
        "maps from addresses and numbers in nftables",
        "services' tasks stand in them",
        "nf_tables, and the command nft of version 1.0 or later",
    ),
    (
        "chain c { type nat hook output priority -100; \
         dnat ip to jhash ip saddr mod 2 seed 0x1 map { 0 : 192.0.2.1, 1 : 192.0.2.2 }; }",
        "hashes in nftables",
        "clients keep their task by them",
        "nft_hash",
    ),
    (
        "chain c { type filter hook prerouting priority -150; ct mark set 0x1; }",
        "marks of connections in nftables",
        "replies to published ports find their way back by them",
        "nft_ct",
    ),
    (
        "chain c { type nat hook prerouting priority -100; fib daddr type local accept; }",
        "look-ups of routes in nftables",
        "published ports are told from others by them",
        "nft_fib, nft_fib_inet",
    ),
    (
        "chain c { type filter hook postrouting priority -150; \
         tcp flags syn tcp option maxseg size set 1400; }",
        "rewriting of TCP's options in nftables",
        "segments fit into the ingress network by it",
        "nft_exthdr",
    ),
    (
        "chain c { type filter hook output priority 0; reject; }",
        "refusals in nftables",
        "services without a task are refused by them",
        "nft_reject, nft_reject_inet",
    ),
];

/// Tries everything in a namespace that is made at `path` and taken away again.
pub async fn lacking(path: &Path) -> Result<Vec<Lack>, KernelError> {
    let place = Namespace::create(path).await?;
    let tried = try_all(&place).await;
    Namespace::remove(path)?;
    tried
}

async fn try_all(place: &Namespace) -> Result<Vec<Lack>, KernelError> {
    let mut lacking = Vec::new();
    let netlink = Netlink::open(place).await?;
    for (kind, what, purpose, module) in LINKS {
        if !has_links(&netlink, kind.clone()).await? {
            lacking.push(lack(what, purpose, module));
        }
    }
    // All at once, for that is how it nearly always ends; else each by itself, to tell which.
    let all: String = RULES.iter().map(|(rule, ..)| table(rule)).collect();
    if nft::execute(place, &all).await.is_ok() {
        return Ok(lacking);
    }
    for (rule, what, purpose, module) in RULES {
        match nft::execute(place, &table(rule)).await {
            Ok(()) => {}
            Err(KernelError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let what = format!("no command nft on this host: {purpose}");
                let mend = "install the package nftables".to_owned();
                lacking.push(Lack { what, mend });
                break;
            }
            Err(KernelError::Rules { .. }) => lacking.push(lack(what, purpose, module)),
            Err(error) => return Err(error),
        }
    }
    Ok(lacking)
}

fn table(rule: &str) -> String {
    format!("table inet probe {{\n{rule}\n}}\ndelete table inet probe\n")
}

fn lack(what: &str, purpose: &str, module: &str) -> Lack {
    Lack {
        what: format!("this kernel has no {what}: {purpose}"),
        mend: format!("load what has them ({module}), or start a kernel that was built with it"),
    }
}

/// Whether a link of that kind can be made. What it is refused for beyond its kind (a VXLAN device
/// without an id) says that the kind is known. It goes with the namespace.
async fn has_links(netlink: &Netlink, kind: InfoKind) -> Result<bool, KernelError> {
    const NAME: &str = "probe%d";
    let message =
        LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind).name(NAME.to_owned()).build();
    match netlink.add(NAME, message).await {
        Ok(()) => Ok(true),
        Err(KernelError::Netlink { source, .. }) => Ok(!is(&source, libc::EOPNOTSUPP)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kind_that_no_kernel_has_is_lacking() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIP: needs root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("probe");
        let place = Namespace::create(&path).await.unwrap();
        let netlink = Netlink::open(&place).await.unwrap();
        assert!(has_links(&netlink, InfoKind::Veth).await.unwrap());
        let nobodys = InfoKind::Other("skep-no-such-kind".to_owned());
        assert!(!has_links(&netlink, nobodys).await.unwrap());
        drop(netlink);
        Namespace::remove(&path).unwrap();
        assert_eq!(lacking(&path).await.unwrap(), [], "what the other tests of this crate need");
        assert!(!path.exists());
    }
}
