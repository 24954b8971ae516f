//! What somebody makes who needs a VXLAN for several containers of a host: a bridge with the device in
//! it and a pair to each container. The kernel alone is at work, no rule and no connection tracking.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::Host;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 2);
/// Not the swarm's own.
const PORT: u16 = 4790;

/// The client's namespace on the first host and the server's on the second.
pub fn make(one: &Host, two: &Host) -> Result<[PathBuf; 2]> {
    Ok([on(one, two, CLIENT)?, on(two, one, SERVER)?])
}

fn on(host: &Host, other: &Host, address: Ipv4Addr) -> Result<PathBuf> {
    let (own, peer) = (host.address(), other.address());
    // The VXLAN device is made where its packets are to leave, and moved.
    let script = format!(
        "set -e
        ip netns add hand-net
        ip netns add hand-task
        ip link add hand0 mtu 1450 type vxlan id 4790 local {own} remote {peer} dstport {PORT}
        ip link set hand0 netns hand-net
        ip -n hand-net link add br0 mtu 1450 type bridge
        ip -n hand-net link set hand0 master br0 up
        ip -n hand-net link add port mtu 1450 type veth peer name eth0 mtu 1450 netns hand-task
        ip -n hand-net link set port master br0 up
        ip -n hand-net link set br0 up
        ip -n hand-task link set lo up
        ip -n hand-task addr add {address}/24 dev eth0
        ip -n hand-task link set eth0 up"
    );
    host.check(&["sh", "-c", &script]).context("failed to make a VXLAN by hand")?;
    let first = host.first_process()?;
    Ok(format!("/proc/{}/root/run/netns/hand-task", first.pid).into())
}
