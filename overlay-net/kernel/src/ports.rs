//! The ports of a network's bridge on this node. A Linux bridge takes 1,023 of them; the tasks beyond
//! hang on further bridges, each joined to the first by a pair of links.
//!
//! **Invariant:** nothing is learnt and nothing unknown is flooded to tasks. What a bridge knows of
//! tasks it was told (`task::connect`), so it never sends where somebody was before; what it does not
//! know is another bridge's or another node's.

use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVeth, LinkAttribute, LinkInfo,
    LinkMessage,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use tokio::sync::Mutex;

use crate::KernelError;
use crate::link::{self, BRIDGE};
use crate::netlink::{Netlink, is};

/// Ports of the first bridge that tasks have; the last 23 are for the VXLAN device and for other
/// bridges.
const FIRST_BRIDGE_TASKS_MAX: u16 = 1_000;
/// As many as the first bridge has ports for.
const FURTHER_BRIDGES_MAX: u16 = 22;

/// Who is behind a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// One task, whose link-layer address the bridge is told.
    Task,
    /// Other nodes or another bridge: what a bridge does not know may be there.
    Others,
}

/// The bridges of one node's networks.
#[derive(Debug, Default)]
pub struct Bridges {
    /// One bridge more at a time.
    extending: Mutex<()>,
}

impl Bridges {
    /// Makes a task's link a port of the first bridge with room for it.
    pub async fn plug(&self, sandbox: &Netlink, port: &str, mtu: u32) -> Result<(), KernelError> {
        if joins(sandbox, port, BRIDGE).await? {
            let number = number(sandbox, port).await?;
            if number.is_none_or(|number| number <= FIRST_BRIDGE_TASKS_MAX) {
                return told_only(sandbox, port, Behind::Task).await;
            }
        }
        for place in 1..=FURTHER_BRIDGES_MAX {
            let bridge = format!("br{place}");
            let extending = self.extending.lock().await;
            if sandbox.find(&bridge).await?.is_none() {
                extend(sandbox, place, &bridge, mtu).await?;
            }
            drop(extending);
            if joins(sandbox, port, &bridge).await? {
                return told_only(sandbox, port, Behind::Task).await;
            }
        }
        Err(KernelError::BridgesFull { place: sandbox.place.to_string() })
    }
}

/// Keeps a port from learning; a task's is not sent what the bridge does not know either.
pub async fn told_only(netlink: &Netlink, port: &str, behind: Behind) -> Result<(), KernelError> {
    let settings = vec![
        InfoBridgePort::Learning(false),
        InfoBridgePort::UnicastFlood(behind == Behind::Others),
    ];
    netlink.set_port(port, settings).await
}

/// Whether the bridge took it: false where that is full.
async fn joins(netlink: &Netlink, port: &str, bridge: &str) -> Result<bool, KernelError> {
    match netlink.join(port, bridge).await {
        Err(KernelError::Netlink { source, .. }) if is(&source, libc::EXFULL) => Ok(false),
        other => other.map(|()| true),
    }
}

/// One more bridge, joined to the first. It is named last, so that one with a name is whole.
async fn extend(sandbox: &Netlink, place: u16, bridge: &str, mtu: u32) -> Result<(), KernelError> {
    let (up, down, unnamed) = (format!("up{place}"), format!("down{place}"), format!("new{place}"));
    sandbox.delete(&unnamed).await?;
    sandbox.delete(&up).await?;
    sandbox.add(&unnamed, link::plain_bridge(&unnamed, mtu)).await?;
    sandbox.add(&up, pair_of_bridges(&up, &down, mtu)).await?;
    for (port, bridge) in [(&up, BRIDGE), (&down, unnamed.as_str())] {
        sandbox.join(port, bridge).await?;
        told_only(sandbox, port, Behind::Others).await?;
        sandbox.up(port).await?;
    }
    sandbox.rename(&unnamed, bridge).await?;
    sandbox.up(bridge).await
}

fn pair_of_bridges(name: &str, peer: &str, mtu: u32) -> LinkMessage {
    let mut other = LinkMessage::default();
    other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
    other.attributes.push(LinkAttribute::Mtu(mtu));
    LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
        .name(name)
        .mtu(mtu)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(other)))
        .build()
}

/// Which of its bridge's ports a link is, from 1 on.
async fn number(netlink: &Netlink, port: &str) -> Result<Option<u16>, KernelError> {
    let Some(link) = netlink.find(port).await? else { return Ok(None) };
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let settings = infos.flatten().filter_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(settings)) => Some(settings),
        _ => None,
    });
    Ok(settings.flatten().find_map(|setting| match setting {
        InfoBridgePort::PortNumber(number) => Some(*number),
        _ => None,
    }))
}
