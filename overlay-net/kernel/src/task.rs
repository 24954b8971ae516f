//! A task's namespace: its interfaces on networks and its way to the outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourState};
use netlink_packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::RouteMessageBuilder;
use skep_idmap::Owner;
use skep_overlay_plan::observed::{Interface, Outside};
use skep_overlay_plan::outside_v6;
use skep_types::{NetworkId, TaskId};

use crate::link::{self, LOOPBACK, Peer};
use crate::netlink::Netlink;
use crate::ports::Bridges;
use crate::sandbox::{HOST_SIDE, add_route, link_local};
use crate::{HostNs, KernelError, Namespace, Paths, sysctl, v6_loopback};

pub async fn create(paths: &Paths, task: TaskId, owner: &Owner) -> Result<(), KernelError> {
    let place = Namespace::create_for(&paths.task(task), owner).await?;
    Netlink::open(&place).await?.up(LOOPBACK).await
}

pub fn borrow(paths: &Paths, task: TaskId, from: &std::path::Path) -> Result<(), KernelError> {
    Namespace::borrow(&paths.lent(task), from)
}

/// An interface of a task on a network.
pub struct Connection<'a> {
    pub task: TaskId,
    pub network: NetworkId,
    pub name: &'a str,
    pub interface: &'a Interface,
}

/// An interface on a network's bridge. What stood under its name is replaced.
pub async fn connect(
    paths: &Paths,
    bridges: &Bridges,
    connection: &Connection<'_>,
) -> Result<(), KernelError> {
    let Connection { task, network, name, interface } = *connection;
    let place = Namespace::open(&paths.task(task))?;
    let sandbox = Netlink::open(&Namespace::open(&paths.network(network))?).await?;
    let inside = Netlink::open(&place).await?;
    let port = link::task_port(task);
    sandbox.delete(&port).await?;
    inside.delete(name).await?;
    let peer = Peer { name, place: &place, mac: Some(interface.mac) };
    let pair = link::grouped_pair(&port, interface.mtu, &peer, link::SWARM_GROUP);
    sandbox.add(&port, pair).await?;
    bridges.plug(&sandbox, &port, interface.mtu).await?;
    sandbox.up(&port).await?;
    is_here(&sandbox, &port, interface).await?;
    for address in &interface.addresses {
        inside.add_address(name, *address).await?;
    }
    // Up last: an interface that is up says that all of it stands. Routes need it to be up, and are
    // compared by themselves.
    inside.up(name).await?;
    for subnet in &interface.routes {
        add_route(&inside, on_link(*subnet, inside.index(name).await?)).await?;
    }
    Ok(())
}

fn on_link(subnet: IpNet, interface: u32) -> RouteMessage {
    match subnet {
        IpNet::V4(subnet) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(subnet.network(), subnet.prefix_len())
            .scope(RouteScope::Link)
            .output_interface(interface)
            .build(),
        IpNet::V6(subnet) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(subnet.network(), subnet.prefix_len())
            .output_interface(interface)
            .build(),
    }
}

/// Binds an interface's link-layer address to its port. It follows from the network address, so
/// whoever had that before had this too, and the bridge would go on sending there until the new
/// task speaks: one that only listens would not be reached. It goes with the port.
async fn is_here(sandbox: &Netlink, port: &str, interface: &Interface) -> Result<(), KernelError> {
    let neighbours = sandbox.handle.neighbours();
    let request = neighbours.add_bridge(sandbox.index(port).await?, &interface.mac.0);
    // Not permanent, which would make it the bridge's own; sticky, so that nobody else can claim it.
    let flags = NeighbourFlags::Controller | NeighbourFlags::Sticky;
    let request = request.state(NeighbourState::Noarp).flags(flags).replace();
    let step = format!("bind {} to port {port} in {}", interface.mac, sandbox.place);
    request.execute().await.map_err(KernelError::netlink(step))
}

/// A routed pair with the host, and the task's default route. No bridge: that ends at 1,024 ports.
pub async fn connect_outside(
    host: &HostNs,
    paths: &Paths,
    task: TaskId,
    pair: &OutsidePair<'_>,
) -> Result<(), KernelError> {
    let place = Namespace::open(&paths.task(task))?;
    let (host_side, inside) = (Netlink::open(host).await?, Netlink::open(&place).await?);
    let end = link::outside_end(task);
    host_side.delete(&end).await?;
    inside.delete(pair.name).await?;
    let peer = Peer { name: pair.name, place: &place, mac: None };
    let message = link::grouped_pair(&end, pair.mtu, &peer, link::SWARM_GROUP);
    host_side.add(&end, message).await?;
    for address in pair.outside.addresses() {
        inside.add_address(pair.name, address).await?;
    }
    inside.up(pair.name).await?;
    host_side.add_address(&end, single(pair.gateway)).await?;
    if pair.outside.v6 {
        host_side.add_address(&end, IpNet::from(IpAddr::V6(outside_v6(pair.gateway)))).await?;
        host_side.add_address(&end, link_local(HOST_SIDE)).await?;
    }
    let localnet = format!("ipv4/conf/{end}/route_localnet");
    sysctl::write(host, vec![(localnet, "1")]).await?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
        .gateway(pair.gateway)
        .output_interface(inside.index(pair.name).await?)
        .onlink();
    add_route(&inside, default.build()).await?;
    // Up last, for the same reason; a route needs its link to be up.
    host_side.up(&end).await?;
    let back = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(pair.outside.address, 32)
        .pref_source(pair.gateway)
        .scope(RouteScope::Link)
        .output_interface(host_side.index(&end).await?);
    add_route(&host_side, back.build()).await?;
    if !pair.outside.v6 {
        return Ok(());
    }
    let default = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
        .gateway(HOST_SIDE)
        .output_interface(inside.index(pair.name).await?);
    add_route(&inside, default.build()).await?;
    let back = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(outside_v6(pair.outside.address), 128)
        .pref_source(outside_v6(pair.gateway))
        .output_interface(host_side.index(&end).await?);
    add_route(&host_side, back.build()).await?;
    v6_loopback::answer_on(&host_side, &end).await
}

/// A task's interface to the host.
pub struct OutsidePair<'a> {
    pub name: &'a str,
    pub outside: Outside,
    pub gateway: Ipv4Addr,
    pub mtu: u32,
}

fn single(address: Ipv4Addr) -> IpNet {
    IpNet::V4(Ipv4Net::from(address))
}

/// Takes everything down. Links go by themselves, for a process that is still inside would keep
/// the namespace and them.
pub async fn remove(host: &HostNs, paths: &Paths, task: TaskId) -> Result<(), KernelError> {
    let path = paths.task(task);
    let lent = paths.is_lent(task);
    Netlink::open(host).await?.delete(&link::outside_end(task)).await?;
    if Namespace::stands(&path) {
        let place = Namespace::open(&path)?;
        let inside = Netlink::open(&place).await?;
        for link in inside.links().await? {
            match crate::netlink::name(&link) {
                Some(name) if name != LOOPBACK && (!lent || link::is_swarms(&link)) => {
                    inside.delete(name).await?;
                }
                _ => {}
            }
        }
        if lent {
            crate::nft::remove(&place).await?;
        }
    }
    Namespace::remove(&path)
}
