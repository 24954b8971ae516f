//! The interface that carries the overlays' frames between nodes.

use std::net::IpAddr;

use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric};

use skep_types::Family;

use crate::netlink::{Netlink, output};
use crate::{HostNs, KernelError};

/// What an underlay carries when nothing has its address: Ethernet's.
const MTU_DEFAULT: u32 = 1500;

/// The largest packet that a pair of virtual interfaces takes; loopback, where a swarm of one host
/// may stand, says more.
const MTU_MAX: u32 = 65_535;

/// The largest packet that reaches other nodes by the interface that has an address, as far as a
/// task's can have it: the interface's own, or less where one of the routes over it says so (a tunnel
/// on the way, a provider's network).
pub async fn mtu(host: &HostNs, address: IpAddr) -> Result<u32, KernelError> {
    let netlink = Netlink::open(host).await?;
    let addresses = netlink.addresses().await?;
    let Some((index, _)) = addresses.into_iter().find(|(_, it)| it.addr() == address) else {
        return Ok(MTU_DEFAULT);
    };
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let routes = netlink.routes(family).await?;
    let of_routes = routes.iter().filter(|it| output(it) == Some(index)).filter_map(of_route);
    let links = netlink.links().await?;
    let of_link = links.iter().find(|it| it.header.index == index).and_then(of_link);
    Ok(of_routes.chain(of_link).min().unwrap_or(MTU_DEFAULT).min(MTU_MAX))
}

fn of_link(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

fn of_route(route: &RouteMessage) -> Option<u32> {
    let metrics = route.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => Some(metrics),
        _ => None,
    });
    metrics.flatten().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}
