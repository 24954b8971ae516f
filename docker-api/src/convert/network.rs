//! Networks of the swarm: the request that makes one, and the two documents that show one.

use skep_types::network::{IpamConfig, MTU_OPTION};
use skep_types::{Annotations, Network, NetworkSpec};

use super::{Answer, timestamp, unsupported, version};
use crate::error::ApiError;
use crate::json;

/// The driver that spans the swarm, and the only one.
const OVERLAY: &str = "overlay";
/// The address manager of Docker and the only one.
const IPAM: &str = "default";
/// Where Docker shows an overlay's VXLAN ids.
const VNI_OPTION: &str = "com.docker.network.driver.overlay.vxlanid_list";

/// Reads a network to make in the swarm's scope.
///
/// Errors: what only networks of one host have, another address manager, options of it or of the
/// driver but for `com.docker.network.driver.mtu`, reserved addresses, a chosen VXLAN id.
pub fn network_spec_from_api(request: &json::NetworkCreateRequest) -> Answer<NetworkSpec> {
    let name = &request.name;
    let refuse = |what: &str| Err(unsupported(format!("network {name}: {what}")));
    if !matches!(request.scope.as_str(), "" | "swarm") {
        return refuse(&format!("scope {}", request.scope));
    }
    let from = request.config_from.as_ref().is_some_and(|from| !from.network.is_empty());
    if request.config_only || from {
        return refuse("a configuration-only network");
    }
    if request.enable_ipv4 == Some(false) {
        return refuse("switching IPv4 off");
    }
    if request.options.contains_key(VNI_OPTION) {
        return refuse("choosing VXLAN ids");
    }
    // DEVIATION: Docker passes over options that its driver does not know. To pass over one that it
    // does know, encryption above all, would be to break a promise.
    if let Some(option) = request.options.keys().find(|option| *option != MTU_OPTION) {
        return refuse(&format!("option {option:?}"));
    }
    if let Some(text) = request.options.get(MTU_OPTION) {
        NetworkSpec::parse_mtu(text)
            .map_err(|error| ApiError::invalid(format!("network {name}: {error}")))?;
    }
    let ipv6 = request.enable_ipv6 == Some(true);
    let ipam = request.ipam.clone().unwrap_or_default();
    if !matches!(ipam.driver.as_str(), "" | IPAM) {
        return refuse(&format!("IPAM driver {}", ipam.driver));
    }
    if ipam.options.is_some_and(|options| !options.is_empty()) {
        return refuse("IPAM options");
    }
    Ok(NetworkSpec {
        annotations: Annotations { name: name.clone(), labels: request.labels.clone() },
        driver: request.driver.clone(),
        driver_options: request.options.clone(),
        internal: request.internal,
        attachable: request.attachable,
        ingress: request.ingress,
        ipv6,
        ipam: ipam
            .config
            .iter()
            .filter_map(|part| subnet(part).transpose())
            // As Docker does with subnets of a family that a network does not have.
            .filter(|part| ipv6 || part.as_ref().map_or(true, |it| it.subnet.addr().is_ipv4()))
            .collect::<Answer<_>>()?,
    })
}

/// A subnet; `None` for the empty ones that clients send to ask for any.
fn subnet(config: &json::IpamConfig) -> Answer<Option<IpamConfig>> {
    if *config == json::IpamConfig::default() {
        return Ok(None);
    }
    if !config.auxiliary_addresses.is_empty() {
        return Err(unsupported("aux-address"));
    }
    let bad = |what: &str, text: &str| ApiError::invalid(format!("invalid {what} {text:?}"));
    if config.subnet.is_empty() {
        return Err(ApiError::invalid(
            "every ip-range or gateway must have a corresponding subnet",
        ));
    }
    let net = |what, text: &str| -> Answer<ipnet::IpNet> {
        text.parse::<ipnet::IpNet>().map(|net| net.trunc()).map_err(|_| bad(what, text))
    };
    let range = Some(config.ip_range.as_str()).filter(|text| !text.is_empty());
    let gateway = Some(config.gateway.as_str()).filter(|text| !text.is_empty());
    Ok(Some(IpamConfig {
        subnet: net("subnet", &config.subnet)?,
        range: range.map(|text| net("ip-range", text)).transpose()?,
        gateway: gateway.map(|text| text.parse().map_err(|_| bad("gateway", text))).transpose()?,
    }))
}

fn driver(network: &Network) -> &str {
    if network.spec.driver.is_empty() { OVERLAY } else { &network.spec.driver }
}

/// The driver's options with what was allocated.
fn options(network: &Network) -> json::Map {
    let mut options = network.spec.driver_options.clone();
    if let Some(vni) = network.vni {
        options.insert(VNI_OPTION.to_owned(), vni.0.to_string());
    }
    options
}

/// Writes a network as `/networks` shows it.
pub fn network_to_api(network: &Network) -> json::Network {
    let spec = &network.spec;
    // What is not allocated yet shows what was asked for.
    let ipam = if network.ipam.is_empty() { &spec.ipam } else { &network.ipam };
    let config = ipam.iter().map(|part| json::IpamConfig {
        subnet: part.subnet.to_string(),
        ip_range: part.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: part.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        auxiliary_addresses: json::Map::new(),
    });
    json::Network {
        name: spec.annotations.name.clone(),
        id: network.id.to_string(),
        created: timestamp(network.meta.created_at),
        scope: "swarm".to_owned(),
        driver: driver(network).to_owned(),
        enable_ipv4: true,
        enable_ipv6: spec.ipv6,
        ipam: json::Ipam { driver: IPAM.to_owned(), options: None, config: config.collect() },
        internal: spec.internal,
        attachable: spec.attachable,
        ingress: spec.ingress,
        options: options(network),
        labels: spec.annotations.labels.clone(),
        ..Default::default()
    }
}

/// Writes a network as a task's attachments show it.
pub fn swarm_network_to_api(network: &Network) -> json::SwarmNetwork {
    let spec = &network.spec;
    let ipam = |parts: &[IpamConfig]| {
        let configs = parts.iter().map(|part| json::SwarmIpamConfig {
            subnet: part.subnet.to_string(),
            range: part.range.map(|range| range.to_string()).unwrap_or_default(),
            gateway: part.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        });
        json::SwarmIpamOptions {
            driver: json::Driver { name: IPAM.to_owned(), ..Default::default() },
            configs: configs.collect(),
        }
    };
    json::SwarmNetwork {
        id: network.id.to_string(),
        version: version(&network.meta),
        created_at: timestamp(network.meta.created_at),
        updated_at: timestamp(network.meta.updated_at),
        spec: json::SwarmNetworkSpec {
            name: spec.annotations.name.clone(),
            labels: spec.annotations.labels.clone(),
            driver_configuration: Some(json::Driver {
                name: driver(network).to_owned(),
                options: spec.driver_options.clone(),
            }),
            ipv6_enabled: spec.ipv6,
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: spec.ingress,
            ipam_options: Some(ipam(&spec.ipam)),
            scope: "swarm".to_owned(),
        },
        driver_state: json::Driver { name: driver(network).to_owned(), options: options(network) },
        ipam_options: (!network.ipam.is_empty()).then(|| ipam(&network.ipam)),
    }
}
