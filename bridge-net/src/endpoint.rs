//! A container's place on one network, and its record while it is open. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use skep_docker_api::ApiError;
use skep_docker_api::error::Kind;
use skep_docker_api::json::EndpointSettings;
use skep_overlay_net::Mac;

use crate::endpoint_options;
use crate::network::{Driver, HostNetwork, net_of};
use crate::pool::choose_address;
use crate::ports::Published;
use crate::sandbox::SandboxRequest;
use crate::swarm::{Joined, SwarmEndpoint};

/// Docker's short form of an id.
pub const SHORT_DIGITS: usize = 12;

/// An interface of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The network's id.
    pub network: String,
    /// In the container.
    pub interface: String,
    pub mac: [u8; 6],
    pub addresses: Vec<IpNet>,
    /// Beside them, for those on the same link alone.
    #[serde(default)]
    pub link_local: Vec<IpNet>,
    /// What the interface is told, by the path below `/proc/sys/net`.
    #[serde(default)]
    pub sysctls: Vec<(String, String)>,
    /// The network's own addresses, each the way out for its family.
    pub gateways: Vec<IpAddr>,
    /// As it was asked for, which inspect shows again.
    pub wished: EndpointSettings,
    /// What others on the network call it.
    pub names: Vec<String>,
}

impl Endpoint {
    /// Begins the names of the host's ends, so that those that nobody owns can be found.
    pub const HOST_END_PREFIX: &'static str = "skv";

    /// The name of the host's end: 48 random bits tell endpoints apart.
    pub fn host_end(&self) -> String {
        format!("{}{}", Self::HOST_END_PREFIX, &self.id[..12])
    }

    pub fn mac(&self) -> Mac {
        Mac(self.mac)
    }

    pub fn v4(&self) -> Option<IpNet> {
        self.addresses.iter().copied().find(|it| it.addr().is_ipv4())
    }

    pub fn v6(&self) -> Option<IpNet> {
        self.addresses.iter().copied().find(|it| it.addr().is_ipv6())
    }

    /// As inspect shows it; `gateway` tells whether the network has a way out.
    pub fn show(&self) -> EndpointSettings {
        let gateway = |v4: bool| {
            let found = self.gateways.iter().find(|it| it.is_ipv4() == v4);
            found.map(ToString::to_string).unwrap_or_default()
        };
        let address = |net: Option<IpNet>| net.map(|it| it.addr().to_string()).unwrap_or_default();
        let length = |net: Option<IpNet>| net.map(|it| it.prefix_len()).unwrap_or_default();
        EndpointSettings {
            mac_address: self.mac().to_string(),
            network_id: self.network.clone(),
            endpoint_id: self.id.clone(),
            gateway: gateway(true),
            ip_address: address(self.v4()),
            ip_prefix_len: length(self.v4()),
            ipv6_gateway: gateway(false),
            global_ipv6_address: address(self.v6()),
            global_ipv6_prefix_len: length(self.v6()),
            dns_names: (!self.names.is_empty()).then(|| self.names.clone()),
            ..self.wished.clone()
        }
    }
}

/// An open sandbox: written before the kernel is changed for it, removed after.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub request: SandboxRequest,
    pub endpoints: Vec<Endpoint>,
    pub published: Vec<Published>,
    /// There once it was on a network of the swarm.
    #[serde(default)]
    pub swarm: Option<Joined>,
}

impl Record {
    /// Its places on networks of the swarm.
    pub fn on_swarm(&self) -> &[SwarmEndpoint] {
        self.swarm.as_ref().map(|it| &it.endpoints[..]).unwrap_or_default()
    }

    /// Its places on all networks.
    pub fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().chain(self.on_swarm().iter().map(|it| &it.endpoint))
    }

    /// Where the host reaches what it publishes: its addresses on its way out.
    pub fn reached_at(&self, networks: &BTreeMap<String, HostNetwork>) -> Vec<IpAddr> {
        match (way_out(&self.endpoints, networks), &self.swarm) {
            (Some(out), _) => out.addresses.iter().map(IpNet::addr).collect(),
            (None, Some(joined)) => joined.outside_addresses.clone(),
            (None, None) => Vec::new(),
        }
    }

    /// Names of the interfaces that it has.
    pub fn interfaces(&self) -> BTreeSet<String> {
        let outside = self.swarm.iter().filter_map(|it| it.outside.clone());
        self.all().map(|it| it.interface.clone()).chain(outside).collect()
    }
}

/// The first name for an interface that a container has not given.
pub fn free_interface(record: &Record, prefix: &str) -> String {
    let taken = record.interfaces();
    let mut names = (0..).map(|number| format!("{prefix}{number}"));
    names.find(|name| !taken.contains(name)).unwrap_or_else(|| prefix.to_owned())
}

/// What is asked of one endpoint, checked.
pub struct Wanted<'a> {
    pub network: &'a HostNetwork,
    pub settings: &'a EndpointSettings,
    pub request: &'a SandboxRequest,
    /// Addresses on the network that somebody has.
    pub taken: &'a BTreeSet<IpAddr>,
    /// Names of the container's interfaces.
    pub interfaces: &'a BTreeSet<String>,
    /// The new endpoint's id, random.
    pub id: String,
}

/// Gives an endpoint its addresses, names and interface.
pub fn allocate(wanted: Wanted<'_>) -> Result<Endpoint, ApiError> {
    let Wanted { network, settings, request, taken, interfaces, id } = wanted;
    check(network, settings)?;
    let mut addresses = Vec::new();
    for subnet in &network.subnets {
        let address = match asked(settings, subnet.subnet.addr().is_ipv4())? {
            Some(address) if taken.contains(&address) || address == subnet.gateway => {
                return Err(ApiError::new(Kind::Forbidden, "Address already in use"));
            }
            Some(address) => address,
            None => choose_address(subnet, taken).ok_or_else(|| {
                ApiError::new(
                    Kind::Forbidden,
                    format!(
                        "no available IPv4 addresses on this network's address pools: {} ({})",
                        network.name, network.id
                    ),
                )
            })?,
        };
        addresses.push(net_of(address, subnet.subnet));
    }
    let mac = match settings.mac_address.as_str() {
        "" => made_mac(&addresses, &id),
        text => parse_mac(text)?,
    };
    let names = if network.is_users() { names(request, settings) } else { Vec::new() };
    let options = endpoint_options::read(settings)?;
    let interface = match options.interface {
        Some(name) if interfaces.contains(&name) => {
            return Err(ApiError::invalid(format!("interface name {name:?} is taken already")));
        }
        Some(name) => name,
        None => {
            let mut names = (0..).map(|number| format!("{}{number}", network.prefix));
            let free = names.find(|name| !interfaces.contains(name));
            free.ok_or_else(|| ApiError::system("no name for an interface is free"))?
        }
    };
    let sysctls = options.sysctls.iter().map(|it| it.at(&interface)).collect();
    let link_local = link_local(settings)?;
    let gateways = if network.internal {
        Vec::new()
    } else {
        network.subnets.iter().map(|it| it.gateway).collect()
    };
    Ok(Endpoint {
        id,
        network: network.id.clone(),
        interface,
        mac,
        addresses,
        link_local,
        sysctls,
        gateways,
        wished: settings.clone(),
        names,
    })
}

/// Whether a network can give what is asked of it, in Docker's words.
pub fn check(network: &HostNetwork, settings: &EndpointSettings) -> Result<(), ApiError> {
    let invalid = |text: String| {
        ApiError::invalid(format!(
            "invalid config for network {}: invalid endpoint settings:\n{text}",
            network.name
        ))
    };
    if network.config_only {
        let text = format!("network {} is a configuration network: nobody is on it", network.name);
        return Err(ApiError::new(Kind::Forbidden, text));
    }
    if network.driver != Driver::Bridge {
        return Ok(());
    }
    endpoint_options::read(settings)?;
    link_local(settings)?;
    for v4 in [true, false] {
        let Some(address) = asked(settings, v4)? else { continue };
        if !network.is_users() {
            let text = "user specified IP address is supported on user defined networks only";
            return Err(invalid(text.into()));
        }
        let chosen = network.subnets.iter().filter(|it| it.chosen);
        let mut chosen = chosen.filter(|it| it.subnet.addr().is_ipv4() == v4).peekable();
        if chosen.peek().is_none() {
            let text = "user specified IP address is supported only when connecting to networks \
                        with user configured subnets";
            return Err(invalid(text.into()));
        }
        if !chosen.any(|it| it.subnet.contains(&address)) {
            let text = format!("no configured subnet or ip-range contain the IP address {address}");
            return Err(invalid(text));
        }
    }
    if !network.is_users() && settings.aliases.as_ref().is_some_and(|it| !it.is_empty()) {
        let text = "network-scoped aliases are only supported for user-defined networks";
        return Err(invalid(text.into()));
    }
    Ok(())
}

pub fn asked(settings: &EndpointSettings, v4: bool) -> Result<Option<IpAddr>, ApiError> {
    let ipam = settings.ipam_config.as_ref();
    let text = ipam.map(|it| if v4 { &it.ipv4_address } else { &it.ipv6_address });
    let Some(text) = text.filter(|it| !it.is_empty()) else { return Ok(None) };
    let family = if v4 { "IPv4" } else { "IPv6" };
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_ipv4() == v4 => Ok(Some(address)),
        _ => Err(ApiError::invalid(format!("invalid {family} address: {text}"))),
    }
}

/// Addresses that a container has beside its own, with Docker's prefix lengths.
fn link_local(settings: &EndpointSettings) -> Result<Vec<IpNet>, ApiError> {
    let texts = settings.ipam_config.iter().flat_map(|it| &it.link_local_ips);
    let one = |text: &String| {
        let address: IpAddr = text
            .parse()
            .map_err(|_| ApiError::invalid(format!("invalid link-local IP address: {text}")))?;
        let length = if address.is_ipv4() { 16 } else { 64 };
        IpNet::new(address, length).map_err(|error| ApiError::system(error.to_string()))
    };
    texts.map(one).collect()
}

/// Follows from the IPv4 address, so that a container that comes back at the same address is not
/// taken for another by its neighbours.
fn made_mac(addresses: &[IpNet], id: &str) -> [u8; 6] {
    let v4 = addresses.iter().find_map(|it| match it.addr() {
        IpAddr::V4(v4) => Some(v4.octets()),
        IpAddr::V6(_) => None,
    });
    let mut rest = [0; 4];
    match v4 {
        Some(octets) => rest = octets,
        // Ids are hexadecimal; the bytes are zero should one not be.
        None => drop(hex::decode_to_slice(&id[..8], &mut rest)),
    }
    [0x02, 0x42, rest[0], rest[1], rest[2], rest[3]]
}

fn parse_mac(text: &str) -> Result<[u8; 6], ApiError> {
    let invalid = || ApiError::invalid(format!("invalid MAC address: {text}"));
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|it| it.len() == 2).ok_or_else(invalid)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
    }
    // The lowest bit of the first byte is a group's, which no interface has.
    if parts.next().is_some() || mac[0] & 1 == 1 || mac == [0; 6] {
        return Err(invalid());
    }
    Ok(mac)
}

/// What others call a container, in Docker's order.
pub fn names(request: &SandboxRequest, settings: &EndpointSettings) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let short = request.container.get(..SHORT_DIGITS).unwrap_or(&request.container);
    let aliases = settings.aliases.iter().flatten().map(String::as_str);
    let all = [request.name.as_str()].into_iter().chain(aliases).chain([short, &request.hostname]);
    for name in all {
        if !name.is_empty() && !names.iter().any(|it| it == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The endpoint that leads outside: the highest priority, then the first by the network's name, as
/// in Docker; None where all networks are internal.
pub fn way_out<'a>(
    endpoints: &'a [Endpoint],
    networks: &BTreeMap<String, HostNetwork>,
) -> Option<&'a Endpoint> {
    let out = endpoints.iter().filter(|it| !it.gateways.is_empty());
    let rank = |it: &&Endpoint| {
        let name = networks.get(&it.network).map(|network| network.name.clone());
        (std::cmp::Reverse(it.wished.gw_priority), name)
    };
    out.min_by_key(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs() {
        assert_eq!(parse_mac("02:42:ac:11:00:05").unwrap(), [2, 0x42, 0xac, 0x11, 0, 5]);
        for wrong in ["", "02:42:ac:11:00", "02:42:ac:11:00:05:06", "03:42:ac:11:00:05", "zz"] {
            let error = parse_mac(wrong).unwrap_err();
            assert_eq!(error.message, format!("invalid MAC address: {wrong}"));
        }
    }
}
