//! Addresses and prefixes: as text for nodes, as bytes in the log.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::error::{At, ConvertError};
use super::field::narrow;
use crate::state;

const AN_ADDRESS: &str = "an IP address of 4 or 16 bytes";
const A_PREFIX: &str = "a prefix no longer than its address";

pub(super) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(super) fn address_of_bytes(bytes: &[u8], name: &str) -> Result<IpAddr, ConvertError> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    let bad = |_| ConvertError::bad(AN_ADDRESS, format_args!("{} bytes", bytes.len()));
    address.map_err(bad).at(name)
}

impl From<&IpNet> for state::Prefix {
    fn from(net: &IpNet) -> Self {
        Self { address: address_bytes(net.addr()), length: u32::from(net.prefix_len()) }
    }
}

impl TryFrom<state::Prefix> for IpNet {
    type Error = ConvertError;

    fn try_from(message: state::Prefix) -> Result<Self, ConvertError> {
        let address = address_of_bytes(&message.address, "address")?;
        let length = narrow(message.length, A_PREFIX, "length")?;
        IpNet::new(address, length)
            .map_err(|_| ConvertError::bad(A_PREFIX, message.length))
            .at("length")
    }
}

impl From<&Ipv4Net> for state::Prefix {
    fn from(net: &Ipv4Net) -> Self {
        Self::from(&IpNet::V4(*net))
    }
}

impl TryFrom<state::Prefix> for Ipv4Net {
    type Error = ConvertError;

    fn try_from(message: state::Prefix) -> Result<Self, ConvertError> {
        match IpNet::try_from(message)? {
            IpNet::V4(net) => Ok(net),
            IpNet::V6(net) => Err(ConvertError::bad("an IPv4 prefix", net)).at("address"),
        }
    }
}

/// `10.0.0.2/24`
pub(super) fn net_of_text(text: &str, name: &str) -> Result<IpNet, ConvertError> {
    let bad = |_| ConvertError::bad("an address with its prefix length", format_args!("{text:?}"));
    text.parse().map_err(bad).at(name)
}

pub(super) fn address_of_text(text: &str, name: &str) -> Result<IpAddr, ConvertError> {
    let bad = |_| ConvertError::bad("an IP address", format_args!("{text:?}"));
    text.parse().map_err(bad).at(name)
}
