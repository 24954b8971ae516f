//! Published ports, and how a service's name is answered.

use skep_types::NetworkId;
use skep_types::service::{
    Endpoint, EndpointMode, EndpointSpec, PortConfig, Protocol, PublishMode, VirtualIp,
};

use super::address::{address_bytes, address_of_bytes};
use super::error::ConvertError;
use super::field::{A_PORT, CompactId, WireEnum, enumeration, list, messages, narrow, wire_enum};
use crate::{state, swarmkit};

wire_enum!(Protocol = swarmkit::port_config::Protocol { Tcp = Tcp, Udp = Udp, Sctp = Sctp });
wire_enum!(PublishMode = swarmkit::port_config::PublishMode { Ingress = Ingress, Host = Host });
wire_enum!(EndpointMode = swarmkit::endpoint_spec::ResolutionMode {
    Vip = Vip, DnsRoundRobin = Dnsrr,
});

impl From<&PortConfig> for swarmkit::PortConfig {
    fn from(port: &PortConfig) -> Self {
        Self {
            name: port.name.clone(),
            protocol: port.protocol.number(),
            target_port: u32::from(port.target_port),
            published_port: u32::from(port.published_port),
            publish_mode: port.publish_mode.number(),
        }
    }
}

impl TryFrom<swarmkit::PortConfig> for PortConfig {
    type Error = ConvertError;

    fn try_from(message: swarmkit::PortConfig) -> Result<Self, ConvertError> {
        Ok(Self {
            name: message.name,
            protocol: enumeration(message.protocol, "protocol")?,
            target_port: narrow(message.target_port, A_PORT, "target_port")?,
            published_port: narrow(message.published_port, A_PORT, "published_port")?,
            publish_mode: enumeration(message.publish_mode, "publish_mode")?,
        })
    }
}

impl From<&EndpointSpec> for swarmkit::EndpointSpec {
    fn from(spec: &EndpointSpec) -> Self {
        Self { mode: spec.mode.number(), ports: messages(&spec.ports) }
    }
}

impl TryFrom<swarmkit::EndpointSpec> for EndpointSpec {
    type Error = ConvertError;

    fn try_from(message: swarmkit::EndpointSpec) -> Result<Self, ConvertError> {
        Ok(Self { mode: enumeration(message.mode, "mode")?, ports: list(message.ports, "ports")? })
    }
}

impl From<&VirtualIp> for state::VirtualIp {
    fn from(vip: &VirtualIp) -> Self {
        Self {
            network_id: vip.network.to_bytes(),
            address: address_bytes(vip.address),
            prefix_length: u32::from(vip.prefix_length),
        }
    }
}

impl TryFrom<state::VirtualIp> for VirtualIp {
    type Error = ConvertError;

    fn try_from(message: state::VirtualIp) -> Result<Self, ConvertError> {
        let length = message.prefix_length;
        Ok(Self {
            network: NetworkId::from_bytes(&message.network_id, "network_id")?,
            address: address_of_bytes(&message.address, "address")?,
            prefix_length: narrow(length, "a prefix length", "prefix_length")?,
        })
    }
}

impl From<&Endpoint> for state::Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            mode: endpoint.mode.number(),
            ports: messages(&endpoint.ports),
            virtual_ips: messages(&endpoint.virtual_ips),
        }
    }
}

impl TryFrom<state::Endpoint> for Endpoint {
    type Error = ConvertError;

    fn try_from(message: state::Endpoint) -> Result<Self, ConvertError> {
        Ok(Self {
            mode: enumeration(message.mode, "mode")?,
            ports: list(message.ports, "ports")?,
            virtual_ips: list(message.virtual_ips, "virtual_ips")?,
        })
    }
}
