//! What a daemon is told about its host's networks, with Docker's defaults.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use skep_overlay_kernel::Namespace;
use skep_overlay_net::NameServer;

/// The default bridge's interface; Docker's is `docker0`, and both may run on one host.
pub const DEFAULT_BRIDGE: &str = "skep0";
/// Ethernet's, as Docker takes it where nobody says otherwise.
pub const MTU: u32 = 1500;
/// Tasks of the swarm have their addresses towards their host here, on every node: no network of a
/// host is cut from it.
pub const SWARM_POOL: &str = "172.18.0.0/16";

/// Where networks stand and what they are told.
#[derive(Debug, Clone)]
pub struct HostNetworksConfig {
    /// Records that outlive a boot.
    pub state_dir: PathBuf,
    /// Containers' namespaces have their names here.
    pub run_dir: PathBuf,
    /// The host's namespace.
    pub host: Namespace,
    /// The host's name servers; `/etc/resolv.conf` when None.
    pub resolv_conf: Option<PathBuf>,
    pub options: NetworkOptions,
    /// Who answers containers.
    pub names: NameServer,
}

/// A range that subnets of `size` bits are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    pub base: IpNet,
    pub size: u8,
}

/// Which default network a host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultBridge {
    /// Made by us, under this name.
    Ours(String),
    /// `-b NAME`: made by somebody else, and left standing.
    Given(String),
    /// `-b none`.
    None,
}

/// The daemon's network options.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    pub bridge: DefaultBridge,
    /// `--bip`: the default bridge's own address with its subnet.
    pub bip: Option<Ipv4Net>,
    /// `--fixed-cidr`: where its containers' addresses come from.
    pub fixed_cidr: Option<Ipv4Net>,
    /// Whether the default bridge has IPv6 as well, and where its addresses come from; an own range
    /// is made up where none is named.
    pub ipv6: bool,
    pub fixed_cidr_v6: Option<Ipv6Net>,
    /// The default bridge's.
    pub mtu: u32,
    /// Whether containers on the default bridge may speak to one another.
    pub icc: bool,
    /// `--ip`: where ports are published when nobody says otherwise.
    pub bind: IpAddr,
    pub ip_forward: bool,
    /// Without it no packet rule is touched; published ports go through the daemon then.
    pub iptables: bool,
    /// Whether what leaves the default bridge has the host's address.
    pub masquerade: bool,
    /// Whether the daemon passes on what packet rules do not translate.
    pub userland_proxy: bool,
    /// Options of users' networks that do not say otherwise.
    pub default_opts: BTreeMap<String, String>,
    pub pools: Vec<AddressPool>,
    pub dns: DnsOptions,
    /// Ranges that are somebody else's already.
    pub reserved: Vec<IpNet>,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            bridge: DefaultBridge::Ours(DEFAULT_BRIDGE.into()),
            bip: None,
            fixed_cidr: None,
            ipv6: false,
            fixed_cidr_v6: None,
            mtu: MTU,
            icc: true,
            bind: Ipv4Addr::UNSPECIFIED.into(),
            ip_forward: true,
            iptables: true,
            masquerade: true,
            userland_proxy: true,
            default_opts: BTreeMap::new(),
            pools: default_pools(),
            dns: DnsOptions::default(),
            reserved: vec![SWARM_POOL.parse().expect("a constant network")],
        }
    }
}

/// Docker's: 172.17 to 172.31 by /16, then 192.168 by /20.
pub fn default_pools() -> Vec<AddressPool> {
    let pool = |base: [u8; 4], length, size| AddressPool {
        base: IpNet::V4(Ipv4Net::new(base.into(), length).expect("a constant network")),
        size,
    };
    vec![
        pool([172, 17, 0, 0], 16, 16),
        pool([172, 18, 0, 0], 16, 16),
        pool([172, 19, 0, 0], 16, 16),
        pool([172, 20, 0, 0], 14, 16),
        pool([172, 24, 0, 0], 14, 16),
        pool([172, 28, 0, 0], 14, 16),
        pool([192, 168, 0, 0], 16, 20),
    ]
}

/// Name servers and how names are completed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsOptions {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}
