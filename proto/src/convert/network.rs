//! Networks: what a user asks for, and a network as it stands.

use skep_types::network::IpamConfig;
use skep_types::{
    Attachment, AttachmentId, Network, NetworkAttachment, NetworkId, NetworkSpec, NodeId, Vni,
};

use super::address::{address_bytes, address_of_bytes, address_of_text, net_of_text};
use super::error::ConvertError;
use super::field::{CompactId, absent, list, messages, optional, part};
use super::meta::driver;
use crate::swarmkit::ipam_config::AddressFamily;
use crate::{state, swarmkit};

/// The only way of giving out addresses; Docker's word for it.
const IPAM_DRIVER: &str = "default";

impl From<&IpamConfig> for swarmkit::IpamConfig {
    fn from(config: &IpamConfig) -> Self {
        let family = match config.subnet {
            ipnet::IpNet::V4(_) => AddressFamily::Ipv4,
            ipnet::IpNet::V6(_) => AddressFamily::Ipv6,
        };
        let text = |value: Option<String>| value.unwrap_or_default();
        Self {
            family: family as i32,
            subnet: config.subnet.to_string(),
            range: text(config.range.map(|range| range.to_string())),
            gateway: text(config.gateway.map(|gateway| gateway.to_string())),
            reserved: Default::default(),
        }
    }
}

impl TryFrom<swarmkit::IpamConfig> for IpamConfig {
    type Error = ConvertError;

    fn try_from(message: swarmkit::IpamConfig) -> Result<Self, ConvertError> {
        absent(message.reserved.is_empty(), "a reserved address", "reserved")?;
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self {
            subnet: net_of_text(&message.subnet, "subnet")?,
            range: given(&message.range).map(|it| net_of_text(&it, "range")).transpose()?,
            gateway: given(&message.gateway)
                .map(|it| address_of_text(&it, "gateway"))
                .transpose()?,
        })
    }
}

pub(super) fn ipam_options(configs: &[IpamConfig]) -> swarmkit::IpamOptions {
    let driver = driver(IPAM_DRIVER, &Default::default());
    swarmkit::IpamOptions { driver: Some(driver), configs: messages(configs) }
}

pub(super) fn ipam_configs(
    options: Option<swarmkit::IpamOptions>,
    name: &str,
) -> Result<Vec<IpamConfig>, ConvertError> {
    let options = options.unwrap_or_default();
    let plain = options.driver.is_none_or(|driver| {
        (driver.name.is_empty() || driver.name == IPAM_DRIVER) && driver.options.is_empty()
    });
    absent(plain, "an IPAM driver", &format!("{name}.driver"))?;
    list(options.configs, &format!("{name}.configs"))
}

impl From<&NetworkSpec> for swarmkit::NetworkSpec {
    fn from(spec: &NetworkSpec) -> Self {
        Self {
            annotations: Some((&spec.annotations).into()),
            driver_config: Some(driver(&spec.driver, &spec.driver_options)),
            ipv6_enabled: spec.ipv6,
            internal: spec.internal,
            ipam: Some(ipam_options(&spec.ipam)),
            attachable: spec.attachable,
            ingress: spec.ingress,
            config_from: None,
        }
    }
}

impl TryFrom<swarmkit::NetworkSpec> for NetworkSpec {
    type Error = ConvertError;

    fn try_from(message: swarmkit::NetworkSpec) -> Result<Self, ConvertError> {
        absent(message.config_from.is_none(), "a node's own network", "config_from")?;
        let driver = message.driver_config.unwrap_or_default();
        Ok(Self {
            annotations: part(message.annotations, "annotations")?,
            driver: driver.name,
            driver_options: driver.options,
            internal: message.internal,
            attachable: message.attachable,
            ingress: message.ingress,
            ipv6: message.ipv6_enabled,
            ipam: ipam_configs(message.ipam, "ipam")?,
        })
    }
}

impl From<&IpamConfig> for state::IpamConfig {
    fn from(config: &IpamConfig) -> Self {
        Self {
            subnet: Some((&config.subnet).into()),
            range: config.range.as_ref().map(Into::into),
            gateway: config.gateway.map(address_bytes).unwrap_or_default(),
        }
    }
}

impl TryFrom<state::IpamConfig> for IpamConfig {
    type Error = ConvertError;

    fn try_from(message: state::IpamConfig) -> Result<Self, ConvertError> {
        let gateway = Some(message.gateway).filter(|bytes| !bytes.is_empty());
        Ok(Self {
            subnet: part(message.subnet, "subnet")?,
            range: optional(message.range, "range")?,
            gateway: gateway.map(|bytes| address_of_bytes(&bytes, "gateway")).transpose()?,
        })
    }
}

impl From<&Network> for state::Network {
    fn from(network: &Network) -> Self {
        Self {
            id: network.id.to_bytes(),
            meta: Some((&network.meta).into()),
            spec: Some((&network.spec).into()),
            vni: network.vni.map(|vni| vni.0),
            ipam: messages(&network.ipam),
        }
    }
}

impl TryFrom<state::Network> for Network {
    type Error = ConvertError;

    fn try_from(message: state::Network) -> Result<Self, ConvertError> {
        Ok(Self {
            id: NetworkId::from_bytes(&message.id, "id")?,
            meta: part(message.meta, "meta")?,
            spec: part(message.spec, "spec")?,
            vni: message.vni.map(Vni),
            ipam: list(message.ipam, "ipam")?,
        })
    }
}

impl From<&NetworkAttachment> for state::NetworkAttachment {
    fn from(attachment: &NetworkAttachment) -> Self {
        Self {
            network_id: attachment.network.to_bytes(),
            addresses: messages(&attachment.addresses),
            aliases: attachment.aliases.clone(),
        }
    }
}

impl TryFrom<state::NetworkAttachment> for NetworkAttachment {
    type Error = ConvertError;

    fn try_from(message: state::NetworkAttachment) -> Result<Self, ConvertError> {
        Ok(Self {
            network: NetworkId::from_bytes(&message.network_id, "network_id")?,
            addresses: list(message.addresses, "addresses")?,
            aliases: message.aliases,
        })
    }
}

impl From<&Attachment> for state::Attachment {
    fn from(attachment: &Attachment) -> Self {
        Self {
            id: attachment.id.to_bytes(),
            meta: Some((&attachment.meta).into()),
            node_id: attachment.node_id.to_bytes(),
            network_id: attachment.network.to_bytes(),
            container_id: attachment.container_id.clone(),
            names: attachment.names.clone(),
            addresses: messages(&attachment.addresses),
        }
    }
}

impl TryFrom<state::Attachment> for Attachment {
    type Error = ConvertError;

    fn try_from(message: state::Attachment) -> Result<Self, ConvertError> {
        Ok(Self {
            id: AttachmentId::from_bytes(&message.id, "id")?,
            meta: part(message.meta, "meta")?,
            node_id: NodeId::from_bytes(&message.node_id, "node_id")?,
            network: NetworkId::from_bytes(&message.network_id, "network_id")?,
            container_id: message.container_id,
            names: message.names,
            addresses: list(message.addresses, "addresses")?,
        })
    }
}
