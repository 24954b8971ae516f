//! A network's namespace on this node: bridge, VXLAN device, forwarding and neighbour entries,
//! and for the ingress network the way to the host.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteMessage;
use rtnetlink::RouteMessageBuilder;
use skep_overlay_plan::Mac;
use skep_overlay_plan::observed::Tunnel;
use skep_types::NetworkId;

use crate::link::{self, BRIDGE, LOOPBACK, Peer, TO_HOST, VXLAN};
use crate::netlink::{Netlink, gone_is_fine};
use crate::observe::tunnel_of;
use crate::ports::Behind;
use crate::{HostNs, KernelError, Namespace, Paths, ports, sysctl, v6_loopback};

/// Bridge and VXLAN device. A device with other attributes is replaced.
pub async fn create(
    host: &HostNs,
    paths: &Paths,
    network: NetworkId,
    tunnel: &Tunnel,
    gateways: &BTreeSet<IpNet>,
    mac: Mac,
) -> Result<(), KernelError> {
    let place = Namespace::create(&paths.network(network)).await?;
    let inside = Netlink::open(&place).await?;
    inside.up(LOOPBACK).await?;
    if inside.find(BRIDGE).await?.is_none() {
        inside.add(BRIDGE, link::bridge(BRIDGE, mac, tunnel.mtu)).await?;
    }
    let bridge = inside.index(BRIDGE).await?;
    for (index, address) in inside.addresses().await? {
        if index == bridge && !gateways.contains(&address) {
            remove_address(&inside, index, address).await?;
        }
    }
    for gateway in gateways {
        inside.add_address(BRIDGE, *gateway).await?;
    }
    let stands = inside.find(VXLAN).await?.as_ref().and_then(|it| tunnel_of(it, bridge));
    if stands.as_ref() != Some(tunnel) {
        inside.delete(VXLAN).await?;
        let outside = Netlink::open(host).await?;
        outside.add(VXLAN, link::vxlan(tunnel, &place)).await?;
        inside.join(VXLAN, BRIDGE).await?;
        ports::told_only(&inside, VXLAN, Behind::Others).await?;
        inside.up(VXLAN).await?;
    }
    Ok(())
}

async fn remove_address(netlink: &Netlink, index: u32, address: IpNet) -> Result<(), KernelError> {
    use rtnetlink::AddressMessageBuilder;
    let message = match address {
        IpNet::V4(it) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(it.addr(), it.prefix_len())
            .build(),
        IpNet::V6(it) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(it.addr(), it.prefix_len())
            .build(),
    };
    gone_is_fine(netlink.handle.address().del(message).execute().await)
        .map_err(KernelError::netlink(format!("remove address {address} in {}", netlink.place)))
}

/// The ingress sandbox's way to and from the host: packets for tasks come in by it, replies to
/// clients go out by it.
pub struct HostJoin {
    pub network: NetworkId,
    pub subnet: Ipv4Net,
    pub gateway: Ipv4Addr,
    pub subnet_v6: Option<Ipv6Net>,
    /// What the host is called there.
    pub host: IpAddr,
    /// The host has no such address yet: its end of the way is given it.
    pub lacks_host: bool,
    pub mtu: u32,
}

pub async fn join_to_host(
    host: &HostNs,
    paths: &Paths,
    join: &HostJoin,
) -> Result<(), KernelError> {
    let place = Namespace::open(&paths.network(join.network))?;
    let (inside, outside) = (Netlink::open(&place).await?, Netlink::open(host).await?);
    let end = link::ingress_end(join.network);
    inside.delete(TO_HOST).await?;
    outside.delete(&end).await?;
    let peer = Peer { name: TO_HOST, place: &place, mac: None };
    outside.add(&end, link::pair(&end, join.mtu, &peer)).await?;
    let setting = |key: &str| format!("ipv4/conf/{key}");
    sysctl::write(
        &place,
        vec![
            ("ipv4/ip_forward".into(), "1"),
            // Clients' addresses arrive here from the host, and replies to them from the bridge.
            (setting("all/rp_filter"), "0"),
            (setting(&format!("{TO_HOST}/rp_filter")), "0"),
            (setting(&format!("{BRIDGE}/rp_filter")), "0"),
            (setting(&format!("{BRIDGE}/send_redirects")), "0"),
            (setting("all/send_redirects"), "0"),
        ],
    )
    .await?;
    // Loopback clients of published ports; the rules keep everybody else's 127/8 out.
    let localnet = setting(&format!("{end}/route_localnet"));
    sysctl::write(host, vec![(localnet, "1")]).await?;
    inside.up(TO_HOST).await?;
    if join.lacks_host {
        outside.add_address(&end, IpNet::from(join.host)).await?;
    }
    // Up last: an end that is up says that all of it stands.
    outside.up(&end).await?;
    let to_clients = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
        .output_interface(inside.index(TO_HOST).await?);
    let to_clients = match join.host {
        IpAddr::V4(host) => to_clients.gateway(host).onlink(),
        IpAddr::V6(_) => to_clients.scope(netlink_packet_route::route::RouteScope::Link),
    };
    add_route(&inside, to_clients.build()).await?;
    let to_tasks = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(join.subnet.network(), join.subnet.prefix_len())
        .output_interface(outside.index(&end).await?)
        .gateway(join.gateway)
        .onlink();
    let to_tasks = match join.host {
        IpAddr::V4(host) => to_tasks.pref_source(host),
        IpAddr::V6(_) => to_tasks,
    };
    add_route(&outside, to_tasks.build()).await?;
    match join.subnet_v6 {
        Some(subnet) => join_v6(&inside, &outside, &end, subnet).await,
        None => Ok(()),
    }
}

/// The same way for IPv6: the two ends know each other by link-local addresses, for the host need
/// have no other.
async fn join_v6(
    inside: &Netlink,
    outside: &Netlink,
    end: &str,
    subnet: Ipv6Net,
) -> Result<(), KernelError> {
    sysctl::write(&inside.place, vec![("ipv6/conf/all/forwarding".into(), "1")]).await?;
    outside.add_address(end, link_local(HOST_SIDE)).await?;
    inside.add_address(TO_HOST, link_local(INNER_SIDE)).await?;
    let to_clients = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
        .gateway(HOST_SIDE)
        .output_interface(inside.index(TO_HOST).await?);
    add_route(inside, to_clients.build()).await?;
    let to_tasks = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(subnet.network(), subnet.prefix_len())
        .gateway(INNER_SIDE)
        .output_interface(outside.index(end).await?);
    add_route(outside, to_tasks.build()).await?;
    v6_loopback::answer_on(outside, end).await
}

/// The ends of a pair between the host and a namespace of ours, on that pair alone.
pub const HOST_SIDE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub const INNER_SIDE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

pub fn link_local(address: Ipv6Addr) -> IpNet {
    const PREFIX: u8 = 64;
    IpNet::V6(Ipv6Net::new_assert(address, PREFIX))
}

/// Adds a route, or puts it in the place of the one that stands.
pub async fn add_route(netlink: &Netlink, route: RouteMessage) -> Result<(), KernelError> {
    let step = format!("add a route in {}", netlink.place);
    let request = netlink.handle.route().add(route).replace();
    request.execute().await.map_err(KernelError::netlink(step))
}

pub async fn part_from_host(host: &HostNs, network: NetworkId) -> Result<(), KernelError> {
    Netlink::open(host).await?.delete(&link::ingress_end(network)).await
}

/// A sandbox's forwarding and neighbour entries, with a socket that is kept for many of them.
#[derive(Debug)]
pub struct Entries {
    netlink: Netlink,
    vxlan: u32,
}

impl Entries {
    pub async fn open(place: &Namespace) -> Result<Self, KernelError> {
        let netlink = Netlink::open(place).await?;
        let vxlan = netlink.index(VXLAN).await?;
        Ok(Self { netlink, vxlan })
    }

    /// Frames for `mac` are tunnelled to `node`. Without the flag that names the device itself the
    /// kernel would ask the bridge, and forget the node.
    pub async fn set_forwarding(&self, mac: Mac, node: IpAddr) -> Result<(), KernelError> {
        let neighbours = self.netlink.handle.neighbours();
        let request = neighbours.add_bridge(self.vxlan, &mac.0).destination(node);
        let request = request.state(NeighbourState::Permanent).flags(NeighbourFlags::Own).replace();
        let step = || format!("forward {mac} to {node} in {}", self.netlink.place);
        request.execute().await.map_err(|error| KernelError::netlink(step())(error))
    }

    pub async fn remove_forwarding(&self, mac: Mac) -> Result<(), KernelError> {
        let mut message = self.message(AddressFamily::Bridge);
        message.header.state = NeighbourState::Permanent;
        message.header.flags = NeighbourFlags::Own;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let step = || format!("forget where {mac} is in {}", self.netlink.place);
        gone_is_fine(self.netlink.handle.neighbours().del(message).execute().await)
            .map_err(|error| KernelError::netlink(step())(error))
    }

    /// Who asks for `address` on the bridge is told `mac` by the VXLAN device.
    pub async fn set_neighbour(&self, address: IpAddr, mac: Mac) -> Result<(), KernelError> {
        let neighbours = self.netlink.handle.neighbours();
        let request = neighbours.add(self.vxlan, address).link_layer_address(&mac.0).replace();
        let step = || format!("make {mac} the neighbour {address} in {}", self.netlink.place);
        request.execute().await.map_err(|error| KernelError::netlink(step())(error))
    }

    pub async fn remove_neighbour(&self, address: IpAddr) -> Result<(), KernelError> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let mut message = self.message(family);
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(address)));
        let step = || format!("forget the neighbour {address} in {}", self.netlink.place);
        gone_is_fine(self.netlink.handle.neighbours().del(message).execute().await)
            .map_err(|error| KernelError::netlink(step())(error))
    }

    fn message(&self, family: AddressFamily) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        message.header.ifindex = self.vxlan;
        message
    }
}

/// Takes everything down. The device goes first and by itself: its VXLAN id is free for another
/// network as soon as it is deleted, but only some time after its namespace is.
pub async fn remove(host: &HostNs, paths: &Paths, network: NetworkId) -> Result<(), KernelError> {
    let path = paths.network(network);
    part_from_host(host, network).await?;
    if Namespace::stands(&path) {
        let inside = Netlink::open(&Namespace::open(&path)?).await?;
        inside.delete(VXLAN).await?;
        inside.delete(BRIDGE).await?;
        // Further bridges and what joined them are in nobody's way, and go with the namespace.
    }
    Namespace::remove(&path)
}
