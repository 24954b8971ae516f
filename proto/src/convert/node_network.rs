//! Networks and addresses as a node is shown them: what was allocated stands beside what was asked
//! for, in the words of Docker's overlay driver.

use skep_types::service::{Endpoint, EndpointSpec, VirtualIp};
use skep_types::{Network, NetworkAttachment, Vni};

use super::address::net_of_text;
use super::error::{At, ConvertError};
use super::field::{
    WireEnum, absent, enumeration, id, list, list_with, messages, or_default, part,
};
use super::meta::driver;
use super::network::{ipam_configs, ipam_options};
use crate::swarmkit;

/// The driver of a network whose spec names none.
const OVERLAY: &str = "overlay";
/// The option in which Docker's overlay driver finds its VXLAN ids, one for each IPv4 subnet.
const VXLAN_IDS: &str = "com.docker.network.driver.overlay.vxlanid_list";

impl From<&Network> for swarmkit::Network {
    fn from(network: &Network) -> Self {
        let name = match network.spec.driver.as_str() {
            "" => OVERLAY,
            name => name,
        };
        let mut state = driver(name, &network.spec.driver_options);
        if let Some(vni) = network.vni {
            state.options.insert(VXLAN_IDS.to_owned(), vni.0.to_string());
        }
        Self {
            id: network.id.to_string(),
            meta: Some((&network.meta).into()),
            spec: Some((&network.spec).into()),
            driver_state: Some(state),
            ipam: Some(ipam_options(&network.ipam)),
            pending_delete: false,
            extra: None,
        }
    }
}

impl TryFrom<swarmkit::Network> for Network {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Network) -> Result<Self, ConvertError> {
        let options = message.driver_state.unwrap_or_default().options;
        let vni = options.get(VXLAN_IDS).map(|ids| {
            let bad = |_| ConvertError::bad("one VXLAN id", format_args!("{ids:?}"));
            ids.parse().map(Vni).map_err(bad).at("driver_state.options")
        });
        Ok(Self {
            id: id(&message.id, "id")?,
            meta: or_default(message.meta, "meta")?,
            spec: part(message.spec, "spec")?,
            vni: vni.transpose()?,
            ipam: ipam_configs(message.ipam, "ipam")?,
        })
    }
}

/// A task's place on a network, with the network itself.
pub(super) fn attachment(
    network: &Network,
    attachment: &NetworkAttachment,
) -> swarmkit::NetworkAttachment {
    swarmkit::NetworkAttachment {
        network: Some(network.into()),
        addresses: attachment.addresses.iter().map(ToString::to_string).collect(),
        aliases: attachment.aliases.clone(),
        driver_attachment_opts: Default::default(),
    }
}

pub(super) fn attachment_of(
    message: swarmkit::NetworkAttachment,
) -> Result<(Network, NetworkAttachment), ConvertError> {
    let plain = message.driver_attachment_opts.is_empty();
    absent(plain, "a driver's option", "driver_attachment_opts")?;
    let network: Network = part(message.network, "network")?;
    let attachment = NetworkAttachment {
        network: network.id,
        addresses: list_with(message.addresses, "addresses", |text| net_of_text(&text, ""))?,
        aliases: message.aliases,
    };
    Ok((network, attachment))
}

impl From<&VirtualIp> for swarmkit::endpoint::VirtualIp {
    fn from(vip: &VirtualIp) -> Self {
        Self {
            network_id: vip.network.to_string(),
            addr: format!("{}/{}", vip.address, vip.prefix_length),
        }
    }
}

impl TryFrom<swarmkit::endpoint::VirtualIp> for VirtualIp {
    type Error = ConvertError;

    fn try_from(message: swarmkit::endpoint::VirtualIp) -> Result<Self, ConvertError> {
        let net = net_of_text(&message.addr, "addr")?;
        Ok(Self {
            network: id(&message.network_id, "network_id")?,
            address: net.addr(),
            prefix_length: net.prefix_len(),
        })
    }
}

/// What was allocated for a service, with what its spec asked for.
pub(super) fn endpoint(endpoint: &Endpoint, spec: &EndpointSpec) -> swarmkit::Endpoint {
    let spec = swarmkit::EndpointSpec { mode: endpoint.mode.number(), ..spec.into() };
    swarmkit::Endpoint {
        spec: Some(spec),
        ports: messages(&endpoint.ports),
        virtual_ips: messages(&endpoint.virtual_ips),
    }
}

impl TryFrom<swarmkit::Endpoint> for Endpoint {
    type Error = ConvertError;

    fn try_from(message: swarmkit::Endpoint) -> Result<Self, ConvertError> {
        Ok(Self {
            mode: enumeration(message.spec.unwrap_or_default().mode, "spec.mode")?,
            ports: list(message.ports, "ports")?,
            virtual_ips: list(message.virtual_ips, "virtual_ips")?,
        })
    }
}
