//! What stands, read back from the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::str::FromStr;

use futures::stream::{self, StreamExt, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use skep_overlay_plan::observed::{Interface, Outside, Tunnel};
use skep_overlay_plan::{Mac, Observed, ObservedSandbox, ObservedTask, outside_v6};
use skep_types::{NetworkId, TaskId, Vni};

use crate::link::{self, BRIDGE, LOOPBACK, TO_HOST, VXLAN};
use crate::netlink::{self, Netlink};
use crate::{HostNs, KernelError, Namespace, Paths, host, nft, replies};

/// Tasks that are read at the same time: each waits for a process of `nft` most of the time.
const TASKS_AT_ONCE: usize = 8;

pub async fn observe(host: &HostNs, paths: &Paths) -> Result<Observed, KernelError> {
    let host_side = Netlink::open(host).await?;
    let ends: BTreeMap<String, LinkMessage> = host_side
        .links()
        .await?
        .into_iter()
        .filter_map(|link| Some((netlink::name(&link)?.to_owned(), link)))
        .collect();
    let mut observed = Observed {
        forwarding: host::forwards(host).await?,
        host_rules: nft::digest(host).await?,
        user_table: nft::user_table_stands(host).await?,
        ..Observed::default()
    };
    for id in named::<NetworkId>(paths.networks())? {
        let joined = ends.get(&link::ingress_end(id)).is_some_and(netlink::is_up);
        let sandbox = sandbox(&paths.network(id), joined).await?;
        observed.sandboxes.insert(id, sandbox);
    }
    let ends = &ends;
    let mut tasks = named::<TaskId>(paths.tasks())?;
    tasks.extend(named::<TaskId>(paths.all_lent())?);
    let tasks = tasks.into_iter().map(|id| async move {
        let end = ends.get(&link::outside_end(id)).filter(|link| netlink::is_up(link));
        let lent = paths.is_lent(id);
        Ok::<_, KernelError>((id, observed_task(&paths.task(id), end, lent).await?))
    });
    observed.tasks = stream::iter(tasks).buffer_unordered(TASKS_AT_ONCE).try_collect().await?;
    Ok(observed)
}

/// The ids that have a file in a directory. Files with other names are not ours.
fn named<T: FromStr>(directory: &Path) -> Result<Vec<T>, KernelError> {
    let step = || format!("list {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| KernelError::io(step())(error))?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| KernelError::io(step())(error))?;
        ids.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()));
    }
    Ok(ids)
}

async fn sandbox(path: &Path, joined: bool) -> Result<ObservedSandbox, KernelError> {
    // A name without a namespace: what was there is gone, the name is to be removed or used anew.
    if !Namespace::stands(path) {
        return Ok(ObservedSandbox::default());
    }
    let netlink = Netlink::open(&Namespace::open(path)?).await?;
    let Some(bridge) = netlink.find(BRIDGE).await?.filter(netlink::is_up) else {
        return Ok(ObservedSandbox::default());
    };
    let bridge = bridge.header.index;
    let mut observed = ObservedSandbox {
        joined_to_host: joined
            && netlink.find(TO_HOST).await?.is_some_and(|it| netlink::is_up(&it)),
        ..ObservedSandbox::default()
    };
    for (index, address) in netlink.addresses().await? {
        if index == bridge {
            observed.gateways.insert(address);
        }
    }
    if let Some(vxlan) = netlink.find(VXLAN).await?.filter(netlink::is_up) {
        observed.tunnel = tunnel_of(&vxlan, bridge);
        let index = vxlan.header.index;
        observed.forwarding = forwarding(&netlink, index).await?;
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            observed.neighbours.extend(neighbours(&netlink, family, index).await?);
        }
    }
    Ok(observed)
}

/// The tunnel of a VXLAN device that is a port of the bridge.
pub fn tunnel_of(link: &LinkMessage, bridge: u32) -> Option<Tunnel> {
    let (mut vni, mut local, mut udp_port, mut mtu, mut joined) = (None, None, None, None, false);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Controller(index) => joined = *index == bridge,
            LinkAttribute::Mtu(value) => mtu = Some(*value),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    let LinkInfo::Data(InfoData::Vxlan(data)) = info else { continue };
                    for item in data {
                        match item {
                            InfoVxlan::Id(id) => vni = Some(Vni(*id)),
                            InfoVxlan::Local(address) => local = Some(IpAddr::V4(*address)),
                            InfoVxlan::Local6(address) => local = Some(IpAddr::V6(*address)),
                            InfoVxlan::Port(port) => udp_port = Some(*port),
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let tunnel = Tunnel { vni: vni?, local: local?, udp_port: udp_port?, mtu: mtu? };
    joined.then_some(tunnel)
}

async fn dump(
    netlink: &Netlink,
    family: AddressFamily,
) -> Result<Vec<NeighbourMessage>, KernelError> {
    let step = format!("list neighbours in {}", netlink.place);
    let request = netlink.handle.neighbours().get().set_address_family(family);
    request.execute().try_collect().await.map_err(KernelError::netlink(step))
}

async fn forwarding(netlink: &Netlink, vxlan: u32) -> Result<BTreeMap<Mac, IpAddr>, KernelError> {
    let entries = dump(netlink, AddressFamily::Bridge).await?;
    let own = entries
        .iter()
        .filter(|it| it.header.ifindex == vxlan && it.header.flags.contains(NeighbourFlags::Own));
    Ok(own.filter_map(|it| Some((mac_of(it)?, destination(it)?))).collect())
}

async fn neighbours(
    netlink: &Netlink,
    family: AddressFamily,
    vxlan: u32,
) -> Result<BTreeMap<IpAddr, Mac>, KernelError> {
    let entries = dump(netlink, family).await?;
    let ours = entries
        .iter()
        .filter(|it| it.header.ifindex == vxlan && it.header.state == NeighbourState::Permanent);
    Ok(ours.filter_map(|it| Some((destination(it)?, mac_of(it)?))).collect())
}

fn mac_of(entry: &NeighbourMessage) -> Option<Mac> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(Mac),
        _ => None,
    })
}

/// In forwarding entries addresses come as bytes.
fn destination(entry: &NeighbourMessage) -> Option<IpAddr> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok()
        }
        _ => None,
    })
}

async fn observed_task(
    path: &Path,
    end: Option<&LinkMessage>,
    lent: bool,
) -> Result<ObservedTask, KernelError> {
    if !Namespace::stands(path) {
        return Ok(ObservedTask::default());
    }
    let place = Namespace::open(path)?;
    let netlink = Netlink::open(&place).await?;
    let mut addresses: BTreeMap<u32, BTreeSet<IpNet>> = BTreeMap::new();
    for (index, address) in netlink.addresses().await? {
        addresses.entry(index).or_default().insert(address);
    }
    let mut routes = netlink.on_link_routes().await?;
    let mut observed = ObservedTask {
        replies: replies::standing(&netlink).await?,
        rules: nft::digest(&place).await?,
        ..ObservedTask::default()
    };
    let peer = end.and_then(peer_index);
    let ours = |link: &&LinkMessage| !lent || link::is_swarms(link);
    for link in netlink.links().await?.iter().filter(|link| netlink::is_up(link)).filter(ours) {
        let Some(name) = netlink::name(link).filter(|name| *name != LOOPBACK) else { continue };
        let addresses = addresses.remove(&link.header.index).unwrap_or_default();
        if peer == Some(link.header.index) {
            observed.outside = addresses.iter().find_map(v4).map(|address| Outside {
                address,
                v6: addresses.iter().any(|it| it.addr() == outside_v6(address)),
            });
        }
        let Some((mac, mtu)) = mac_and_mtu(link) else { continue };
        let routes = routes.remove(&link.header.index).unwrap_or_default();
        observed.interfaces.insert(name.to_owned(), Interface { mac, addresses, routes, mtu });
    }
    Ok(observed)
}

/// The index that the other end of a pair has in its own namespace.
fn peer_index(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    })
}

fn v4(address: &IpNet) -> Option<Ipv4Addr> {
    match address {
        IpNet::V4(v4) => Some(v4.addr()),
        IpNet::V6(_) => None,
    }
}

fn mac_and_mtu(link: &LinkMessage) -> Option<(Mac, u32)> {
    let (mut mac, mut mtu) = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().ok().map(Mac),
            LinkAttribute::Mtu(value) => mtu = Some(*value),
            _ => {}
        }
    }
    Some((mac?, mtu?))
}
