//! What stands in the kernel, as it was read back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use skep_types::{NetworkId, TaskId, Vni};

use crate::Mac;
use crate::rules::Digest;

/// A VXLAN device. Its attributes cannot be changed while it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    pub vni: Vni,
    pub local: IpAddr,
    pub udp_port: u16,
    pub mtu: u32,
}

/// A network's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedSandbox {
    /// None unless bridge and device stand, joined and up.
    pub tunnel: Option<Tunnel>,
    pub gateways: BTreeSet<IpNet>,
    pub forwarding: BTreeMap<Mac, IpAddr>,
    pub neighbours: BTreeMap<IpAddr, Mac>,
    /// Joined to the host's namespace, for published ports.
    pub joined_to_host: bool,
}

/// An interface of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub mac: Mac,
    pub addresses: BTreeSet<IpNet>,
    pub mtu: u32,
}

/// A task's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedTask {
    /// Those that are up, by name, without the loopback.
    pub interfaces: BTreeMap<String, Interface>,
    pub outside: Option<Ipv4Addr>,
    /// UDP ports whose replies leave by the ingress network; None without that routing.
    pub replies: Option<BTreeSet<u16>>,
    pub rules: Option<Digest>,
}

/// All of it on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub forwarding: bool,
    pub host_rules: Option<Digest>,
    pub sandboxes: BTreeMap<NetworkId, ObservedSandbox>,
    pub tasks: BTreeMap<TaskId, ObservedTask>,
}
