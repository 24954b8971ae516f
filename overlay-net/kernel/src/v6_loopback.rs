//! The host's own clients of published ports at `[::1]`.
//!
//! What they send is translated on its way out and gets a source that can be answered; the answer is
//! translated back to `::1` as it comes in, on the link that leads to the task. There the kernel looks
//! for a route to `::1` by that very link, so each such link gets one. It lets nobody in: a packet that
//! comes from elsewhere with `::1` in it is dropped before any rule or route is asked.

use std::net::Ipv6Addr;

use netlink_packet_route::route::RouteType;
use rtnetlink::RouteMessageBuilder;

use crate::KernelError;
use crate::netlink::Netlink;
use crate::sandbox::add_route;

/// The kernel's own table of local addresses (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u32 = 255;

/// Behind the loopback's own route, which goes first for whoever asks for no link. Each link has a
/// metric of its own on top of it: of two routes that differ by their link alone, one would replace
/// the other.
const METRIC: u32 = 1024;

/// Takes answers for `::1` in on a link. It goes with the link.
pub async fn answer_on(netlink: &Netlink, link: &str) -> Result<(), KernelError> {
    let index = netlink.index(link).await?;
    let route = RouteMessageBuilder::<Ipv6Addr>::new()
        .table_id(LOCAL_TABLE)
        .kind(RouteType::Local)
        .destination_prefix(Ipv6Addr::LOCALHOST, 128)
        .priority(METRIC.saturating_add(index))
        .output_interface(index);
    add_route(netlink, route.build()).await
}
