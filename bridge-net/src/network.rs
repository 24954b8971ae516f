//! A host's network as it is remembered and shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use skep_docker_api::json::{self, Timestamp};

/// Docker's names of the networks that every host has.
pub const BRIDGE: &str = "bridge";
pub const HOST: &str = "host";
pub const NONE: &str = "none";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    Bridge,
    Host,
    Null,
}

impl Driver {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
        }
    }
}

/// A range of addresses on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub subnet: IpNet,
    /// Where addresses that nobody chose come from; all of the subnet when None.
    pub range: Option<IpNet>,
    /// The bridge's own.
    pub gateway: IpAddr,
    /// Never given to a container.
    pub auxiliary: BTreeMap<String, IpAddr>,
    /// A user chose it, so that addresses in it may be chosen too.
    pub chosen: bool,
}

impl Subnet {
    /// The gateway with the subnet's prefix, as an interface has it.
    pub fn gateway_net(&self) -> IpNet {
        net_of(self.gateway, self.subnet)
    }
}

/// An address with a subnet's prefix length.
pub fn net_of(address: IpAddr, subnet: IpNet) -> IpNet {
    // A subnet's length fits its own family; an address of another gets its full length.
    IpNet::new(address, subnet.prefix_len()).unwrap_or_else(|_| address.into())
}

fn yes() -> bool {
    true
}

/// A network. Its record is written before its interface is made and taken away after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostNetwork {
    pub id: String,
    pub name: String,
    pub driver: Driver,
    pub created: Timestamp,
    pub subnets: Vec<Subnet>,
    #[serde(default = "yes")]
    pub ipv4: bool,
    pub ipv6: bool,
    /// As they were asked for; the one address management has none of its own.
    #[serde(default)]
    pub ipam_options: json::Map,
    /// No network, but what others are made from.
    #[serde(default)]
    pub config_only: bool,
    /// The name of the one that this was made from; empty where it was not.
    #[serde(default)]
    pub config_from: String,
    pub internal: bool,
    pub attachable: bool,
    /// Whether its containers may speak to one another.
    pub icc: bool,
    pub masquerade: bool,
    pub mtu: u32,
    /// The bridge's interface; empty where there is none.
    pub interface: String,
    /// Whether the interface is made, and taken away, by us.
    pub ours: bool,
    /// Where its ports are published when nobody says otherwise.
    pub bind: Option<IpAddr>,
    /// How its interfaces in containers are named, before a number.
    pub prefix: String,
    pub labels: json::Map,
    pub options: json::Map,
}

impl HostNetwork {
    /// Made by a user, so that it has names and may be removed.
    pub fn is_users(&self) -> bool {
        !matches!(self.name.as_str(), BRIDGE | HOST | NONE)
    }

    /// What the API shows, but for its containers.
    pub fn show(&self) -> json::Network {
        let config = |it: &Subnet| json::IpamConfig {
            subnet: it.subnet.to_string(),
            ip_range: it.range.map(|it| it.to_string()).unwrap_or_default(),
            gateway: it.gateway.to_string(),
            auxiliary_addresses: it
                .auxiliary
                .iter()
                .map(|(name, at)| (name.clone(), at.to_string()))
                .collect(),
        };
        json::Network {
            name: self.name.clone(),
            id: self.id.clone(),
            created: self.created.clone(),
            scope: "local".into(),
            driver: self.driver.name().into(),
            enable_ipv4: self.ipv4,
            enable_ipv6: self.ipv6,
            ipam: json::Ipam {
                driver: "default".into(),
                config: self.subnets.iter().map(config).collect(),
                options: Some(self.ipam_options.clone()),
            },
            config_only: self.config_only,
            config_from: json::ConfigFrom { network: self.config_from.clone() },
            internal: self.internal,
            attachable: self.attachable,
            options: self.options.clone(),
            labels: self.labels.clone(),
            ..Default::default()
        }
    }
}
