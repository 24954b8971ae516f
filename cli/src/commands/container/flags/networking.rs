//! Flags about a container's networks, names and ports.

use std::collections::BTreeMap;

use clap::Args;
use skep_docker_api::json::{
    ContainerCreateRequest, EndpointIpamConfig, EndpointSettings, NetworkingConfig,
};

use super::process::some;
use super::refuse;
use crate::failure::{Failure, Outcome};
use crate::values::endpoint::{self, Endpoint};
use crate::values::{host, publish};

#[derive(Debug, Args)]
pub struct NetworkFlags {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "list", value_parser = host::mapping)]
    add_host: Vec<String>,
    /// Set custom DNS servers
    #[arg(long, value_name = "list", value_parser = host::address)]
    dns: Vec<String>,
    /// Set DNS options
    #[arg(long, visible_alias = "dns-opt", value_name = "list")]
    dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "list", value_parser = host::search)]
    dns_search: Vec<String>,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    expose: Vec<String>,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ip: String,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ip6: String,
    /// Add link to another container
    #[arg(long, value_name = "list", value_parser = host::link)]
    link: Vec<String>,
    /// Container IPv4/IPv6 link-local addresses
    #[arg(long, value_name = "list")]
    link_local_ip: Vec<String>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    mac_address: String,
    /// Connect a container to a network
    #[arg(long, alias = "net", value_name = "network", value_parser = endpoint::parse)]
    network: Vec<Endpoint>,
    /// Add network-scoped alias for the container
    #[arg(long, alias = "net-alias", value_name = "list")]
    network_alias: Vec<String>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "list")]
    publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    publish_all: bool,
}

impl NetworkFlags {
    pub fn apply(&self, request: &mut ContainerCreateRequest) -> Outcome {
        if !self.mac_address.is_empty() && !endpoint::is_mac(self.mac_address.trim()) {
            return refuse(format!("{} is not a valid mac address", self.mac_address));
        }
        let ContainerCreateRequest { config, host_config: host, .. } = request;
        for text in &self.publish {
            publish::publish(text, &mut host.port_bindings, &mut config.exposed_ports)
                .map_err(Failure::new)?;
        }
        for text in &self.expose {
            publish::expose(text, &mut config.exposed_ports).map_err(Failure::new)?;
        }
        host.publish_all_ports = self.publish_all;
        host.dns = Some(self.dns.clone());
        host.dns_search = Some(self.dns_search.clone());
        host.dns_options = Some(self.dns_option.clone());
        host.extra_hosts = some(&self.add_host);
        host.links = some(&self.link);
        let mode = self.network.first().map_or("default", |first| first.target.as_str());
        host.network_mode = mode.into();
        request.networking_config = Some(NetworkingConfig { endpoints_config: self.endpoints()? });
        Ok(())
    }

    fn endpoints(&self) -> Outcome<BTreeMap<String, EndpointSettings>> {
        let mut endpoints = BTreeMap::new();
        if self.network.is_empty() {
            let alone = Endpoint { target: "default".into(), ..Default::default() };
            endpoints.insert("default".into(), settings(&self.first(alone)?)?);
        }
        let (mut made, mut others) = (false, false);
        for (at, network) in self.network.iter().enumerate() {
            let user_defined = endpoint::is_user_defined(&network.target);
            made |= user_defined;
            others |= !user_defined;
            let network = if at == 0 { self.first(network.clone())? } else { network.clone() };
            let settings = settings(&network)?;
            if endpoints.contains_key(&network.target) {
                return refuse(format!("network {:?} is specified multiple times", network.target));
            }
            // One network with no wishes: the mode says it all.
            if self.network.len() == 1 && settings == EndpointSettings::default() {
                continue;
            }
            endpoints.insert(network.target, settings);
        }
        if made && others {
            return refuse(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            );
        }
        Ok(endpoints)
    }

    /// What flags without a network say is said of the first one.
    fn first(&self, mut network: Endpoint) -> Outcome<Endpoint> {
        let twice = |a: bool, b: bool, flag: &str, what: &str| match a && b {
            true => refuse(format!(
                "conflicting options: cannot specify both --{flag} and per-network {what}"
            )),
            false => Ok(()),
        };
        twice(
            !network.aliases.is_empty(),
            !self.network_alias.is_empty(),
            "network-alias",
            "alias",
        )?;
        twice(!network.ip.is_empty(), !self.ip.is_empty(), "ip", "IPv4 address")?;
        twice(!network.ip6.is_empty(), !self.ip6.is_empty(), "ip6", "IPv6 address")?;
        twice(!network.mac.is_empty(), !self.mac_address.is_empty(), "mac-address", "MAC address")?;
        twice(
            !network.link_local.is_empty(),
            !self.link_local_ip.is_empty(),
            "link-local-ip",
            "link-local IP addresses",
        )?;
        network.aliases.extend(self.network_alias.iter().cloned());
        network.link_local.extend(self.link_local_ip.iter().cloned());
        // On the default network a link is the container's; elsewhere it is a name on that network.
        if endpoint::is_user_defined(&network.target) {
            network.links = self.link.clone();
        }
        for (place, flag) in [
            (&mut network.ip, &self.ip),
            (&mut network.ip6, &self.ip6),
            (&mut network.mac, &self.mac_address),
        ] {
            if !flag.is_empty() {
                *place = flag.clone();
            }
        }
        Ok(network)
    }
}

fn settings(network: &Endpoint) -> Outcome<EndpointSettings> {
    if network.target.trim().is_empty() {
        return refuse("no name set for network");
    }
    if !endpoint::is_user_defined(&network.target) {
        if !network.aliases.is_empty() {
            return refuse("network-scoped aliases are only supported for user-defined networks");
        }
        if !network.links.is_empty() {
            return refuse("links are only supported for user-defined networks");
        }
    }
    if !network.mac.is_empty() && !endpoint::is_mac(network.mac.trim()) {
        return refuse(format!("{} is not a valid mac address", network.mac));
    }
    let wished =
        !network.ip.is_empty() || !network.ip6.is_empty() || !network.link_local.is_empty();
    Ok(EndpointSettings {
        gw_priority: network.gw_priority,
        aliases: some(&network.aliases),
        links: some(&network.links),
        driver_opts: (!network.driver_opts.is_empty()).then(|| network.driver_opts.clone()),
        ipam_config: wished.then(|| EndpointIpamConfig {
            ipv4_address: network.ip.clone(),
            ipv6_address: network.ip6.clone(),
            link_local_ips: network.link_local.clone(),
        }),
        mac_address: network.mac.clone(),
        ..Default::default()
    })
}
