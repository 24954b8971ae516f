//! Published ports, virtual addresses, and how a service's name is answered.

use skep_types::Service;
use skep_types::service::{EndpointMode, EndpointSpec, PortConfig, Protocol, PublishMode};

use super::Answer;
use crate::error::ApiError;
use crate::json;

pub(super) fn spec_from_api(spec: Option<&json::EndpointSpec>) -> Answer<EndpointSpec> {
    let Some(spec) = spec else { return Ok(EndpointSpec::default()) };
    let mode = match spec.mode.as_str() {
        "vip" | "" => EndpointMode::Vip,
        "dnsrr" => EndpointMode::DnsRoundRobin,
        other => return Err(ApiError::invalid(format!("invalid resolution mode: {other:?}"))),
    };
    Ok(EndpointSpec { mode, ports: spec.ports.iter().map(port_from_api).collect::<Answer<_>>()? })
}

fn port_from_api(port: &json::PortConfig) -> Answer<PortConfig> {
    // Docker takes an unknown protocol or publish mode for its default; a typing error is better told.
    let protocol = match port.protocol.as_str() {
        "" => Protocol::default(),
        word => Protocol::of_word(word)
            .ok_or_else(|| ApiError::invalid(format!("invalid protocol: {word:?}")))?,
    };
    let publish_mode = match port.publish_mode.as_str() {
        "ingress" | "" => PublishMode::Ingress,
        "host" => PublishMode::Host,
        other => return Err(ApiError::invalid(format!("invalid publish mode: {other:?}"))),
    };
    let number = |number: u32, what: &str| {
        u16::try_from(number).map_err(|_| {
            ApiError::invalid(format!(
                "EndpointSpec: invalid {what} port {number}: expected at most 65535"
            ))
        })
    };
    Ok(PortConfig {
        name: port.name.clone(),
        protocol,
        target_port: number(port.target_port, "target")?,
        published_port: number(port.published_port, "published")?,
        publish_mode,
    })
}

pub(super) fn port_to_api(port: &PortConfig) -> json::PortConfig {
    let protocol = port.protocol.word();
    let publish_mode = match port.publish_mode {
        PublishMode::Ingress => "ingress",
        PublishMode::Host => "host",
    };
    json::PortConfig {
        name: port.name.clone(),
        protocol: protocol.to_owned(),
        target_port: port.target_port.into(),
        published_port: port.published_port.into(),
        publish_mode: publish_mode.to_owned(),
    }
}

fn mode_to_api(mode: EndpointMode) -> String {
    match mode {
        EndpointMode::Vip => "vip",
        EndpointMode::DnsRoundRobin => "dnsrr",
    }
    .to_owned()
}

pub(super) fn spec_to_api(spec: &EndpointSpec) -> json::EndpointSpec {
    json::EndpointSpec {
        mode: mode_to_api(spec.mode),
        ports: spec.ports.iter().map(port_to_api).collect(),
    }
}

/// What was allocated; empty until it was, as Docker has it.
pub(super) fn endpoint_to_api(service: &Service) -> json::Endpoint {
    let Some(endpoint) = &service.endpoint else { return json::Endpoint::default() };
    let virtual_ips = endpoint.virtual_ips.iter().map(|vip| json::VirtualIp {
        network_id: vip.network.to_string(),
        addr: format!("{}/{}", vip.address, vip.prefix_length),
    });
    json::Endpoint {
        spec: json::EndpointSpec {
            mode: mode_to_api(endpoint.mode),
            ports: service.spec.endpoint.ports.iter().map(port_to_api).collect(),
        },
        ports: endpoint.ports.iter().map(port_to_api).collect(),
        virtual_ips: virtual_ips.collect(),
    }
}
