//! From `POST /networks/create` to a network, in Docker's words where it is refused. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use skep_docker_api::ApiError;
use skep_docker_api::error::Kind;
use skep_docker_api::json::{self, NetworkCreateRequest, Timestamp};

use crate::network::{Driver, HostNetwork, Subnet};
use crate::options::NetworkOptions;
use crate::pool::{choose_subnet, first_address, overlap, unique_local_subnet};

const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const NAME: &str = "com.docker.network.bridge.name";
const BIND: &str = "com.docker.network.bridge.host_binding_ipv4";
const MTU: &str = "com.docker.network.driver.mtu";
const PREFIX: &str = "com.docker.network.container_iface_prefix";
const GATEWAY_MODES: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];
/// The kernel's limit (`IFNAMSIZ`), without its zero.
const INTERFACE_BYTES_MAX: usize = 15;

/// What a request is checked against.
pub struct Ground<'a> {
    pub options: &'a NetworkOptions,
    pub networks: &'a [&'a HostNetwork],
    /// What the host has routes to.
    pub routes: &'a [IpNet],
}

/// The network that a request asks for. `id` is 64 hexadecimal digits, and random.
pub fn build(
    request: &NetworkCreateRequest,
    id: String,
    created: Timestamp,
    ground: &Ground<'_>,
) -> Result<HostNetwork, ApiError> {
    let name = request.name.as_str();
    if name.trim().is_empty() {
        return Err(ApiError::invalid("invalid network name: name is empty"));
    }
    if matches!(name, "bridge" | "host" | "none" | "default") {
        let text = format!("operation is not permitted on predefined {name} network ");
        return Err(ApiError::new(Kind::Forbidden, text));
    }
    if !matches!(request.scope.as_str(), "" | "local") {
        let (driver, scope) = (&request.driver, &request.scope);
        let text = format!("networks of driver {driver:?} in scope {scope:?} are not supported");
        return Err(ApiError::new(Kind::NotImplemented, text));
    }
    match request.driver.as_str() {
        "" | "bridge" => {}
        // What others are made from has no driver of its own.
        "null" if request.config_only => {}
        "host" | "null" => {
            let text = format!("only one instance of \"{}\" network is allowed", request.driver);
            return Err(ApiError::new(Kind::Forbidden, text));
        }
        other => {
            return Err(ApiError::not_found(format!(
                "could not find plugin {other} in v1 plugin registry: plugin not found"
            )));
        }
    }
    if ground.networks.iter().any(|other| other.name == name) {
        return Err(ApiError::conflict(format!("network with name {name} already exists")));
    }
    let configured = configured(request, ground)?;
    let request = configured.as_ref().unwrap_or(request);
    let (ipv4, ipv6) = (request.enable_ipv4.unwrap_or(true), request.enable_ipv6.unwrap_or(false));
    if !ipv4 && !ipv6 {
        return Err(ApiError::invalid("IPv4 or IPv6 must be enabled"));
    }
    let mut network = HostNetwork {
        interface: format!("br-{}", &id[..12]),
        id,
        name: name.to_owned(),
        driver: if request.config_only { Driver::Null } else { Driver::Bridge },
        created,
        subnets: Vec::new(),
        ipv4,
        ipv6,
        ipam_options: request.ipam.as_ref().and_then(|it| it.options.clone()).unwrap_or_default(),
        config_only: request.config_only,
        config_from: request.config_from.clone().unwrap_or_default().network,
        internal: request.internal,
        attachable: request.attachable,
        icc: true,
        masquerade: true,
        mtu: crate::options::MTU,
        ours: true,
        bind: None,
        prefix: "eth".into(),
        labels: request.labels.clone(),
        options: request.options.clone(),
    };
    if network.config_only {
        network.interface.clear();
        network.subnets = asked(request.ipam.as_ref(), &network)?;
        return Ok(network);
    }
    for (key, value) in &ground.options.default_opts {
        network.options.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let options = network.options.clone();
    apply_options(&mut network, &options)?;
    if let Some(other) = ground.networks.iter().find(|it| it.interface == network.interface) {
        return Err(ApiError::new(
            Kind::Forbidden,
            format!(
                "cannot create network {} ({}): conflicts with network {} ({}): networks have \
                 same bridge name",
                network.id, network.interface, other.id, other.interface
            ),
        ));
    }
    network.subnets = subnets(request.ipam.as_ref(), &network, ground)?;
    Ok(network)
}

fn apply_options(network: &mut HostNetwork, options: &json::Map) -> Result<(), ApiError> {
    let truth = |key: &str, text: &str| match text {
        "" | "1" | "t" | "true" | "T" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "false" | "F" | "FALSE" | "False" => Ok(false),
        other => Err(ApiError::invalid(format!("failed to parse {key} value: {other:?}"))),
    };
    for (key, value) in options {
        match key.as_str() {
            ICC => network.icc = truth(key, value)?,
            MASQUERADE => network.masquerade = truth(key, value)?,
            NAME => network.interface = interface(value)?,
            PREFIX => network.prefix = interface(value)?,
            BIND => network.bind = Some(parse(value, "host binding address")?),
            MTU => network.mtu = parse(value, "MTU")?,
            key if GATEWAY_MODES.contains(&key) && value != "nat" && !value.is_empty() => {
                let text = format!("gateway mode {value:?} is not supported: only \"nat\" is");
                return Err(ApiError::new(Kind::NotImplemented, text));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Names stand in packet rules, so only harmless bytes are taken.
pub fn interface(name: &str) -> Result<String, ApiError> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = !name.is_empty() && name.len() <= INTERFACE_BYTES_MAX;
    if fits && name.bytes().all(harmless) && name != "lo" && !name.starts_with('.') {
        return Ok(name.to_owned());
    }
    Err(ApiError::invalid(format!("invalid interface name {name:?}")))
}

fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::invalid(format!("invalid {what}: {text:?}")))
}

fn invalid(text: String) -> ApiError {
    ApiError::invalid(format!("invalid network config:\n{text}"))
}

/// What a request asks for together with the configuration that it is to be made from; None where
/// it is made from itself.
fn configured(
    request: &NetworkCreateRequest,
    ground: &Ground<'_>,
) -> Result<Option<NetworkCreateRequest>, ApiError> {
    let refuse = |text: &str| Err(ApiError::new(Kind::Forbidden, text));
    let from = request.config_from.as_ref().map(|it| it.network.as_str()).unwrap_or_default();
    let of_operator = request.ingress || request.internal || request.attachable;
    if request.config_only && (of_operator || !request.scope.is_empty()) {
        return refuse(
            "configuration network can only contain network specific fields. Network operator \
             fields like [ ingress | internal | attachable | scope ] are not supported.",
        );
    }
    if from.is_empty() {
        return Ok(None);
    }
    if request.config_only {
        return refuse("a configuration network cannot depend on another configuration network");
    }
    let ipam = request.ipam.clone().unwrap_or_default();
    let options = ipam.options.as_ref().is_some_and(|it| !it.is_empty());
    if options || !ipam.config.is_empty() || request.enable_ipv6.is_some() {
        return refuse(
            "user specified configurations are not supported if the network depends on a \
             configuration network",
        );
    }
    if !request.options.is_empty() {
        return refuse(
            "network driver options are not supported if the network depends on a configuration \
             network",
        );
    }
    let configs = ground.networks.iter().filter(|it| it.config_only);
    let Some(config) = configs.into_iter().find(|it| it.name == from) else {
        return Err(ApiError::not_found(format!("configuration network {from:?} not found")));
    };
    let shown = config.show();
    let labels = if request.labels.is_empty() { &config.labels } else { &request.labels };
    Ok(Some(NetworkCreateRequest {
        ipam: Some(shown.ipam),
        enable_ipv4: Some(config.ipv4),
        enable_ipv6: Some(config.ipv6),
        options: config.options.clone(),
        labels: labels.clone(),
        ..request.clone()
    }))
}

/// The subnets that a request names.
fn asked(ipam: Option<&json::Ipam>, network: &HostNetwork) -> Result<Vec<Subnet>, ApiError> {
    if let Some(driver) = ipam.map(|it| it.driver.as_str())
        && !matches!(driver, "" | "default")
    {
        return Err(ApiError::not_found(format!(
            "could not find plugin {driver} in v1 plugin registry: plugin not found"
        )));
    }
    let configs: Vec<&json::IpamConfig> = ipam.iter().flat_map(|it| &it.config).collect();
    let mut found: Vec<Subnet> = Vec::new();
    for config in configs.iter().filter(|it| !it.subnet.is_empty()) {
        let subnet = chosen(config)?;
        let wanted = if subnet.subnet.addr().is_ipv6() { network.ipv6 } else { network.ipv4 };
        if !wanted {
            continue;
        }
        let same = |it: &Subnet| it.subnet.addr().is_ipv4() == subnet.subnet.addr().is_ipv4();
        if found.iter().any(same) {
            let text = "bridge driver supports one subnet of a family only";
            return Err(ApiError::invalid(text));
        }
        found.push(subnet);
    }
    Ok(found)
}

fn subnets(
    ipam: Option<&json::Ipam>,
    network: &HostNetwork,
    ground: &Ground<'_>,
) -> Result<Vec<Subnet>, ApiError> {
    let mut found = asked(ipam, network)?;
    let configs: Vec<&json::IpamConfig> = ipam.iter().flat_map(|it| &it.config).collect();
    // A configuration's own subnets are nobody's before a network is made from it.
    let real = ground.networks.iter().filter(|it| !it.config_only);
    let others = real.flat_map(|it| &it.subnets).map(|it| it.subnet);
    let theirs: Vec<IpNet> = others.chain(ground.options.reserved.iter().copied()).collect();
    // A subnet that a user chose may lie on a route of the host, as in Docker; not on another's.
    if found.iter().any(|it| theirs.iter().any(|other| overlap(it.subnet, *other))) {
        let text = "invalid pool request: Pool overlaps with other one on this address space";
        return Err(ApiError::new(Kind::Forbidden, text));
    }
    if network.ipv4 && !found.iter().any(|it| it.subnet.addr().is_ipv4()) {
        if let Some(config) =
            configs.iter().find(|it| it.subnet.is_empty() && !it.gateway.is_empty())
        {
            let text = format!("invalid gateway {}: it needs a subnet", config.gateway);
            return Err(invalid(text));
        }
        let taken: Vec<IpNet> = theirs.iter().chain(ground.routes).copied().collect();
        let subnet = choose_subnet(&ground.options.pools, &taken).ok_or_else(|| {
            ApiError::invalid("all predefined address pools have been fully subnetted")
        })?;
        found.insert(0, automatic(subnet)?);
    }
    if network.ipv6 && !found.iter().any(|it| it.subnet.addr().is_ipv6()) {
        let mut random = [0; 7];
        if hex::decode_to_slice(&network.id[..14], &mut random).is_err() {
            return Err(ApiError::system("a network's id is not hexadecimal"));
        }
        found.push(automatic(unique_local_subnet(random))?);
    }
    Ok(found)
}

/// A subnet that nobody chose.
pub fn automatic(subnet: IpNet) -> Result<Subnet, ApiError> {
    let gateway =
        first_address(subnet).ok_or_else(|| invalid(format!("subnet {subnet} is too small")))?;
    Ok(Subnet { subnet, range: None, gateway, auxiliary: Default::default(), chosen: false })
}

fn chosen(config: &json::IpamConfig) -> Result<Subnet, ApiError> {
    let cidr = |what: &str, text: &str| -> Result<IpNet, ApiError> {
        let net: IpNet = text
            .parse()
            .map_err(|_| invalid(format!("invalid {what} {text}: invalid CIDR block notation")))?;
        if net.trunc() != net {
            return Err(invalid(format!("invalid {what} {text}: it should be {}", net.trunc())));
        }
        Ok(net)
    };
    let subnet = cidr("subnet", &config.subnet)?;
    let inside = |what: &str, text: &str| -> Result<IpAddr, ApiError> {
        let address: IpAddr =
            text.parse().map_err(|_| invalid(format!("invalid {what} {text}: invalid address")))?;
        if !subnet.contains(&address) {
            let text = format!(
                "invalid {what} {text}: parent subnet {subnet} doesn't contain this address"
            );
            return Err(invalid(text));
        }
        Ok(address)
    };
    let mut found = automatic(subnet)?;
    found.chosen = true;
    if !config.ip_range.is_empty() {
        let range = cidr("ip-range", &config.ip_range)?;
        if range.prefix_len() < subnet.prefix_len() {
            return Err(invalid(format!(
                "invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}"
            )));
        }
        if !subnet.contains(&range.network()) {
            return Err(invalid(format!(
                "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
            )));
        }
        found.range = Some(range);
    }
    if !config.gateway.is_empty() {
        found.gateway = inside("gateway", &config.gateway)?;
    }
    for (name, address) in &config.auxiliary_addresses {
        found.auxiliary.insert(name.clone(), inside("auxiliary address", address)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: serde_json::Value, expected: Result<&[&str], &str>) {
        let options = NetworkOptions::default();
        let ground = Ground {
            options: &options,
            networks: &[],
            routes: &["172.17.0.0/16".parse().unwrap()],
        };
        let request: NetworkCreateRequest = serde_json::from_value(request).unwrap();
        let built = build(&request, "ab".repeat(32), Timestamp::default(), &ground);
        let subnets = built.map(|it| {
            let text = |it: &Subnet| format!("{} {}", it.subnet, it.gateway);
            it.subnets.iter().map(text).collect::<Vec<_>>()
        });
        match (subnets, expected) {
            (Ok(subnets), Ok(expected)) => assert_eq!(subnets, expected),
            (Err(error), Err(expected)) => assert_eq!(error.message, expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_become_networks_or_are_refused() {
        let subnet = |config: serde_json::Value| serde_json::json!({ "Name": "front", "IPAM": { "Config": [config] } });
        // The first pool is the host's route's, the second the swarm's.
        check(serde_json::json!({ "Name": "front" }), Ok(&["172.19.0.0/16 172.19.0.1"]));
        check(
            serde_json::json!({ "Name": "front", "EnableIPv6": true }),
            Ok(&["172.19.0.0/16 172.19.0.1", "fdab:abab:abab:abab::/64 fdab:abab:abab:abab::1"]),
        );
        check(
            subnet(serde_json::json!({ "Subnet": "10.3.0.0/24", "Gateway": "10.3.0.254" })),
            Ok(&["10.3.0.0/24 10.3.0.254"]),
        );
        check(
            subnet(serde_json::json!({ "Subnet": "10.3.0.5/24" })),
            Err("invalid network config:\ninvalid subnet 10.3.0.5/24: it should be 10.3.0.0/24"),
        );
        check(
            subnet(serde_json::json!({ "Subnet": "10.3.0.0/24", "Gateway": "10.4.0.1" })),
            Err("invalid network config:\ninvalid gateway 10.4.0.1: parent subnet 10.3.0.0/24 \
                 doesn't contain this address"),
        );
        check(
            subnet(serde_json::json!({ "Subnet": "172.18.4.0/24" })),
            Err("invalid pool request: Pool overlaps with other one on this address space"),
        );
        check(
            serde_json::json!({ "Name": "six", "EnableIPv4": false, "EnableIPv6": true }),
            Ok(&["fdab:abab:abab:abab::/64 fdab:abab:abab:abab::1"]),
        );
        check(
            serde_json::json!({ "Name": "neither", "EnableIPv4": false }),
            Err("IPv4 or IPv6 must be enabled"),
        );
        check(
            serde_json::json!({ "Name": "of", "ConfigFrom": { "Network": "nothing" } }),
            Err("configuration network \"nothing\" not found"),
        );
        check(
            serde_json::json!({ "Name": "c", "ConfigOnly": true, "Internal": true }),
            Err(
                "configuration network can only contain network specific fields. Network operator \
                 fields like [ ingress | internal | attachable | scope ] are not supported.",
            ),
        );
        check(
            serde_json::json!({ "Name": "bridge" }),
            Err("operation is not permitted on predefined bridge network "),
        );
        check(
            serde_json::json!({ "Name": "x", "Options": { NAME: "br0\" drop" } }),
            Err("invalid interface name \"br0\\\" drop\""),
        );
    }
}
