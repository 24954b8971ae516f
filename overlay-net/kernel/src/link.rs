//! The links that we make: names and messages.

use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVxlan};
use skep_overlay_plan::Mac;
use skep_overlay_plan::observed::Tunnel;
use skep_overlay_plan::rules::{INGRESS_PREFIX, OUTSIDE_PREFIX};
use skep_types::{NetworkId, TaskId};
use std::net::IpAddr;

use crate::Namespace;

/// In a sandbox: the bridge, its port to other nodes, and the way to the host.
pub const BRIDGE: &str = "br0";
pub const VXLAN: &str = "vxlan0";
pub const TO_HOST: &str = "host0";
pub const LOOPBACK: &str = "lo";

/// Interface names hold 15 bytes. Ids are random, so their last digits tell them apart: 36^11 is
/// more than 10^17.
const DIGITS_IN_NAME: usize = 11;

fn digits(id: String) -> String {
    id[id.len() - DIGITS_IN_NAME..].to_owned()
}

/// A task's port in a sandbox.
pub fn task_port(task: TaskId) -> String {
    format!("t-{}", digits(task.to_string()))
}

/// The host's end of a task's outside interface.
pub fn outside_end(task: TaskId) -> String {
    format!("{OUTSIDE_PREFIX}{}", digits(task.to_string()))
}

/// The host's end of an ingress sandbox.
pub fn ingress_end(network: NetworkId) -> String {
    format!("{INGRESS_PREFIX}{}", digits(network.to_string()))
}

/// The other end of a pair.
pub struct Peer<'a> {
    pub name: &'a str,
    pub place: &'a Namespace,
    pub mac: Option<Mac>,
}

/// The group of a task's interfaces on networks of the swarm and towards the host, by which they are
/// told from others in a namespace that is somebody else's: `skep` as bytes.
pub const SWARM_GROUP: u32 = u32::from_be_bytes(*b"skep");

/// A pair of links: one end where the message is sent, the other in the peer's namespace.
pub fn pair(name: &str, mtu: u32, peer: &Peer<'_>) -> LinkMessage {
    grouped_pair(name, mtu, peer, 0)
}

/// The same, with the peer in a group of links.
pub fn grouped_pair(name: &str, mtu: u32, peer: &Peer<'_>, group: u32) -> LinkMessage {
    let mut other = LinkMessage::default();
    if group != 0 {
        other.attributes.push(LinkAttribute::Group(group));
    }
    other.attributes.push(LinkAttribute::IfName(peer.name.to_owned()));
    other.attributes.push(LinkAttribute::Mtu(mtu));
    other.attributes.push(LinkAttribute::NetNsFd(peer.place.raw_fd()));
    if let Some(mac) = peer.mac {
        other.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
    }
    LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
        .name(name)
        .mtu(mtu)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(other)))
        .build()
}

pub fn bridge(name: &str, mac: Mac, mtu: u32) -> LinkMessage {
    LinkBridge::new(name).address(mac.0.to_vec()).mtu(mtu).build()
}

/// A bridge whose own link-layer address nobody asks for.
pub fn plain_bridge(name: &str, mtu: u32) -> LinkMessage {
    LinkBridge::new(name).mtu(mtu).build()
}

/// To be sent in the host's namespace, where its packets leave and arrive, and to appear in the
/// sandbox. It learns nothing from the wire and answers for the neighbours it was told of.
pub fn vxlan(tunnel: &Tunnel, sandbox: &Namespace) -> LinkMessage {
    let vxlan = LinkVxlan::new(VXLAN, tunnel.vni.0)
        .port(tunnel.udp_port)
        .learning(false)
        .proxy(true)
        .mtu(tunnel.mtu)
        .setns_by_fd(sandbox.raw_fd());
    match tunnel.local {
        IpAddr::V4(local) => vxlan.local(local),
        IpAddr::V6(local) => vxlan.local6(local),
    }
    .build()
}

/// Whether a link is of [`SWARM_GROUP`].
pub fn is_swarms(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|it| matches!(it, LinkAttribute::Group(SWARM_GROUP)))
}
