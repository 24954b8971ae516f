//! The way back for connections that came to a task through a node: its routing rules, the same for
//! IPv4 and IPv6.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::IpProtocol;
use netlink_packet_route::route::{RouteHeader, RouteMessage};
use netlink_packet_route::rule::{
    RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange,
};
use rtnetlink::{IpVersion, RouteMessageBuilder};
use skep_types::Family;
use skep_types::service::Protocol;

use crate::netlink::{Netlink, gone_is_fine};
use crate::sandbox::add_route;
use crate::{KernelError, Namespace, host, sysctl};

/// The routing table for replies to connections that came in through a node.
const REPLY_TABLE: u8 = 100;
/// Rules before those of the main table (32766): marked packets, then what the main table knows
/// but for its default route, then the ports whose sockets choose a source early.
const MARK_PRIORITY: u32 = 100;
const CONNECTED_PRIORITY: u32 = 101;
const EARLY_PRIORITY: u32 = 102;

/// Replies to connections that came in through a node leave by the ingress interface: the marked
/// ones, and what the `early` ports send, whose source is chosen before they are marked. `address`
/// and `gateway` are of one family.
pub async fn route(
    place: &Namespace,
    name: &str,
    address: IpAddr,
    gateway: IpAddr,
    early: &BTreeSet<(Protocol, u16)>,
) -> Result<(), KernelError> {
    let netlink = Netlink::open(place).await?;
    let family = Family::of(address);
    if family == Family::V4 {
        // Clients' addresses come in here while the route to them is another. IPv6 never asks.
        let loose = |key: &str| (format!("ipv4/conf/{key}/rp_filter"), "2");
        sysctl::write(place, vec![loose("all"), loose(name)]).await?;
    }
    if let Some(route) = by_node(netlink.index(name).await?, address, gateway) {
        add_route(&netlink, route).await?;
    }
    let stands = rules(&netlink, family).await?;
    for port in early_of(&stands).difference(early) {
        let (protocol, number) = (port.0.word(), port.1);
        let step = format!("remove the routing rule of port {number}/{protocol} in {place}");
        gone_is_fine(netlink.handle.rule().del(early_rule(family, *port)).execute().await)
            .map_err(KernelError::netlink(step))?;
    }
    add_rule(&netlink, &stands, connected_rule(family)).await?;
    for port in early {
        add_rule(&netlink, &stands, early_rule(family, *port)).await?;
    }
    // Last: it says that all of it stands.
    add_rule(&netlink, &stands, marked_rule(family)).await
}

/// To wherever: by the ingress network. None of two families.
fn by_node(link: u32, address: IpAddr, gateway: IpAddr) -> Option<RouteMessage> {
    let table = u32::from(REPLY_TABLE);
    match (address, gateway) {
        (IpAddr::V4(address), IpAddr::V4(gateway)) => Some(
            RouteMessageBuilder::<Ipv4Addr>::new()
                .table_id(table)
                .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
                .gateway(gateway)
                .pref_source(address)
                .output_interface(link)
                .build(),
        ),
        (IpAddr::V6(address), IpAddr::V6(gateway)) => Some(
            RouteMessageBuilder::<Ipv6Addr>::new()
                .table_id(table)
                .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
                .gateway(gateway)
                .pref_source(address)
                .output_interface(link)
                .build(),
        ),
        _ => None,
    }
}

/// The ports with a routing rule of their own, in the families whose replies are routed by us.
pub async fn standing(
    netlink: &Netlink,
) -> Result<BTreeMap<Family, BTreeSet<(Protocol, u16)>>, KernelError> {
    let mut standing = BTreeMap::new();
    for family in Family::ALL.into_iter().filter(|it| *it == Family::V4 || host::speaks_v6()) {
        let rules = rules(netlink, family).await?;
        if rules.iter().any(|rule| priority(rule) == Some(MARK_PRIORITY)) {
            standing.insert(family, early_of(&rules));
        }
    }
    Ok(standing)
}

async fn rules(netlink: &Netlink, family: Family) -> Result<Vec<RuleMessage>, KernelError> {
    let step = format!("list routing rules in {}", netlink.place);
    let version = match family {
        Family::V4 => IpVersion::V4,
        Family::V6 => IpVersion::V6,
    };
    let rules = netlink.handle.rule().get(version).execute().try_collect();
    rules.await.map_err(KernelError::netlink(step))
}

fn priority(rule: &RuleMessage) -> Option<u32> {
    rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    })
}

fn port(rule: &RuleMessage) -> Option<(Protocol, u16)> {
    let mut protocol = None;
    let mut number = None;
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::IpProtocol(IpProtocol::Udp) => protocol = Some(Protocol::Udp),
            RuleAttribute::IpProtocol(IpProtocol::Sctp) => protocol = Some(Protocol::Sctp),
            RuleAttribute::SourcePortRange(range) => number = Some(range.start),
            _ => {}
        }
    }
    protocol.zip(number)
}

fn early_of(rules: &[RuleMessage]) -> BTreeSet<(Protocol, u16)> {
    let ours = rules.iter().filter(|rule| priority(rule) == Some(EARLY_PRIORITY));
    ours.filter_map(port).collect()
}

fn rule(family: Family, table: u8, at: u32, matches: &[RuleAttribute]) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    rule.header.table = table;
    rule.header.action = RuleAction::ToTable;
    rule.attributes.push(RuleAttribute::Priority(at));
    rule.attributes.extend_from_slice(matches);
    rule
}

/// Any mark: which node it stands for is looked up on the way out.
fn marked_rule(family: Family) -> RuleMessage {
    let any = [RuleAttribute::FwMark(0), RuleAttribute::FwMask(u32::MAX)];
    let mut rule = rule(family, REPLY_TABLE, MARK_PRIORITY, &any);
    rule.header.flags = RuleFlags::Invert;
    rule
}

/// Networks that the task is on are reached directly, whatever the port.
fn connected_rule(family: Family) -> RuleMessage {
    let main = RouteHeader::RT_TABLE_MAIN;
    rule(family, main, CONNECTED_PRIORITY, &[RuleAttribute::SuppressPrefixLen(0)])
}

fn early_rule(family: Family, (protocol, number): (Protocol, u16)) -> RuleMessage {
    let range = RulePortRange { start: number, end: number };
    let protocol = match protocol {
        Protocol::Tcp => IpProtocol::Tcp,
        Protocol::Udp => IpProtocol::Udp,
        Protocol::Sctp => IpProtocol::Sctp,
    };
    let matches = [RuleAttribute::IpProtocol(protocol), RuleAttribute::SourcePortRange(range)];
    rule(family, REPLY_TABLE, EARLY_PRIORITY, &matches)
}

async fn add_rule(
    netlink: &Netlink,
    stands: &[RuleMessage],
    rule: RuleMessage,
) -> Result<(), KernelError> {
    let same = |it: &&RuleMessage| priority(it) == priority(&rule) && port(it) == port(&rule);
    if stands.iter().any(|it| same(&it)) {
        return Ok(());
    }
    let mut request = netlink.handle.rule().add();
    *request.message_mut() = rule;
    let step = format!("add a routing rule in {}", netlink.place);
    request.execute().await.map_err(KernelError::netlink(step))
}
