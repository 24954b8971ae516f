//! `skep daemon`'s network flags, as keys of `daemon.json`: a flag that is not given is no key.

use clap::{ArgAction, Args};
use serde_json::{Map, Value};
use skep_node::config_file::pool_of_flag;

/// What a daemon is told about its host's networks.
#[derive(Debug, Args)]
pub struct NetworkFlags {
    /// Attach containers to a network bridge that stands already; none: no default network
    #[arg(short = 'b', long, value_name = "BRIDGE")]
    pub bridge: Option<String>,
    /// Address of the default bridge with its subnet
    #[arg(long, value_name = "CIDR")]
    pub bip: Option<String>,
    /// Where containers' addresses on the default bridge come from
    #[arg(long, value_name = "CIDR")]
    pub fixed_cidr: Option<String>,
    /// MTU of the host's networks
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
    /// Let containers on the default bridge speak to one another
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub icc: Option<bool>,
    /// Where ports are published when nobody says otherwise
    #[arg(long, value_name = "IP")]
    pub ip: Option<String>,
    /// Let the host forward packets
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub ip_forward: Option<bool>,
    /// Set packet rules
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub iptables: Option<bool>,
    /// Give the default bridge IPv6 addresses too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub ipv6: Option<bool>,
    /// Where containers' IPv6 addresses on the default bridge come from
    #[arg(long, value_name = "CIDR")]
    pub fixed_cidr_v6: Option<String>,
    /// Set packet rules for IPv6; they go with those for IPv4
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub ip6tables: Option<bool>,
    /// Let what leaves the default bridge have the host's address
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub ip_masq: Option<bool>,
    /// Pass on what packet rules do not translate (loopback traffic)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub userland_proxy: Option<bool>,
    /// Default network option (DRIVER=OPTION=VALUE)
    #[arg(long = "default-network-opt", value_name = "OPTION", value_parser = network_opt)]
    pub default_network_opts: Vec<(String, String, String)>,
    /// Range that networks' subnets are cut from (base=CIDR,size=BITS)
    #[arg(long = "default-address-pool", value_name = "POOL", value_parser = pool_of_flag)]
    pub default_address_pools: Vec<Value>,
    /// Name server of containers
    #[arg(long, value_name = "IP")]
    pub dns: Vec<String>,
    /// Search domain of containers
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Option of containers' resolv.conf
    #[arg(long = "dns-opt", value_name = "OPTION")]
    pub dns_opts: Vec<String>,
}

/// `DRIVER=OPTION=VALUE`.
fn network_opt(text: &str) -> Result<(String, String, String), String> {
    let mut parts = text.splitn(3, '=').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(driver), Some(option), Some(value)) => Ok((driver, option, value)),
        _ => Err(format!("bad format for default network options: {text}")),
    }
}

impl NetworkFlags {
    fn network_opts(&self) -> Option<Value> {
        let mut drivers = Map::new();
        for (driver, option, value) in &self.default_network_opts {
            let options = drivers.entry(driver.clone()).or_insert_with(|| Map::new().into());
            if let Value::Object(options) = options {
                options.insert(option.clone(), value.clone().into());
            }
        }
        (!drivers.is_empty()).then(|| drivers.into())
    }

    pub fn keys(&self) -> Map<String, Value> {
        let list = |values: &[String]| (!values.is_empty()).then(|| Value::from(values.to_vec()));
        let pools = &self.default_address_pools;
        let keys = [
            ("bridge", self.bridge.clone().map(Value::from)),
            ("bip", self.bip.clone().map(Value::from)),
            ("fixed-cidr", self.fixed_cidr.clone().map(Value::from)),
            ("mtu", self.mtu.map(Value::from)),
            ("icc", self.icc.map(Value::from)),
            ("ip", self.ip.clone().map(Value::from)),
            ("ip-forward", self.ip_forward.map(Value::from)),
            ("iptables", self.iptables.map(Value::from)),
            ("ipv6", self.ipv6.map(Value::from)),
            ("fixed-cidr-v6", self.fixed_cidr_v6.clone().map(Value::from)),
            ("ip6tables", self.ip6tables.map(Value::from)),
            ("ip-masq", self.ip_masq.map(Value::from)),
            ("userland-proxy", self.userland_proxy.map(Value::from)),
            ("default-network-opts", self.network_opts()),
            ("default-address-pools", (!pools.is_empty()).then(|| Value::from(pools.clone()))),
            ("dns", list(&self.dns)),
            ("dns-search", list(&self.dns_search)),
            ("dns-opts", list(&self.dns_opts)),
        ];
        let given = keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        given.collect()
    }
}
