//! Which ports of a host a container wishes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use skep_docker_api::ApiError;
use skep_docker_api::json::PortBinding;

/// Of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A container's port: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    pub number: u16,
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.name())
    }
}

impl FromStr for Port {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" | "" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => return Err(ApiError::invalid(format!("invalid proto: {other}"))),
        };
        match number.parse() {
            Ok(number) if number != 0 => Ok(Self { number, protocol }),
            _ => Err(ApiError::invalid(format!("invalid port specification: {text:?}"))),
        }
    }
}

/// One wish: the first free one of `candidates` on all of `addresses`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub port: Port,
    pub addresses: Vec<IpAddr>,
    pub candidates: RangeInclusive<u16>,
}

/// A port of the host that is a container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Published {
    pub port: Port,
    pub address: IpAddr,
    pub host_port: u16,
}

/// How ports are published when a wish leaves something open.
#[derive(Debug, Clone)]
pub struct Defaults {
    pub bind: IpAddr,
    /// Whether the host speaks IPv6.
    pub ipv6: bool,
    /// `net.ipv4.ip_local_port_range`.
    pub ephemeral: RangeInclusive<u16>,
}

/// All wishes of a container.
pub fn wishes(
    bindings: &BTreeMap<String, Vec<PortBinding>>,
    exposed: &BTreeSet<String>,
    publish_all: bool,
    defaults: &Defaults,
) -> Result<Vec<Wish>, ApiError> {
    let mut wishes = Vec::new();
    let mut named = BTreeSet::new();
    for (port, bindings) in bindings {
        let port: Port = port.parse()?;
        named.insert(port);
        for binding in bindings {
            wishes.push(wish(port, binding, defaults)?);
        }
    }
    if publish_all {
        for port in exposed {
            let port: Port = port.parse()?;
            if !named.contains(&port) {
                wishes.push(wish(port, &PortBinding::default(), defaults)?);
            }
        }
    }
    // Ports that a user named come before any free one takes them.
    wishes.sort_by_key(|it| it.candidates.end() - it.candidates.start());
    Ok(wishes)
}

fn wish(port: Port, binding: &PortBinding, defaults: &Defaults) -> Result<Wish, ApiError> {
    let invalid =
        || ApiError::invalid(format!("invalid port specification: {:?}", binding.host_port));
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    let candidates = match binding.host_port.as_str() {
        "" | "0" => defaults.ephemeral.clone(),
        text => match text.split_once('-') {
            Some((first, last)) => number(first)?..=number(last)?,
            None => number(text)?..=number(text)?,
        },
    };
    if candidates.is_empty() || *candidates.start() == 0 {
        return Err(invalid());
    }
    let everywhere = |v4: IpAddr| {
        if defaults.ipv6 && v4.is_unspecified() {
            vec![v4, Ipv6Addr::UNSPECIFIED.into()]
        } else {
            vec![v4]
        }
    };
    let addresses = match binding.host_ip.trim_matches(['[', ']']) {
        "" => everywhere(defaults.bind),
        text => {
            let address = text.parse();
            let address = address.map_err(|_| {
                ApiError::invalid(format!("invalid IP address: {}", binding.host_ip))
            })?;
            vec![address]
        }
    };
    Ok(Wish { port, addresses, candidates })
}

/// Docker's words.
pub fn taken(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(_) => format!("Bind for {address}:{port} failed: port is already allocated"),
        IpAddr::V6(_) => format!("Bind for [{address}]:{port} failed: port is already allocated"),
    }
}

/// As `NetworkSettings.Ports` shows them: exposed ones too, with nothing behind.
pub fn show(
    exposed: &BTreeSet<String>,
    published: &[Published],
) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut shown: BTreeMap<String, Option<Vec<PortBinding>>> =
        exposed.iter().map(|port| (port.clone(), None)).collect();
    for it in published {
        let binding =
            PortBinding { host_ip: it.address.to_string(), host_port: it.host_port.to_string() };
        shown.entry(it.port.to_string()).or_default().get_or_insert_default().push(binding);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(port: &str, ip: &str, host: &str, expected: &str) {
        let defaults =
            Defaults { bind: "0.0.0.0".parse().unwrap(), ipv6: true, ephemeral: 32768..=60999 };
        let binding = PortBinding { host_ip: ip.into(), host_port: host.into() };
        let bindings = BTreeMap::from([(port.to_owned(), vec![binding])]);
        let text = match wishes(&bindings, &BTreeSet::new(), false, &defaults) {
            Ok(wishes) => {
                let wish = &wishes[0];
                format!("{} {:?} {:?}", wish.port, wish.addresses, wish.candidates)
            }
            Err(error) => error.message,
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn every_form_of_publishing() {
        check("80/tcp", "", "8080", "80/tcp [0.0.0.0, ::] 8080..=8080");
        check("53/udp", "127.0.0.1", "", "53/udp [127.0.0.1] 32768..=60999");
        check("80", "::1", "8000-8010", "80/tcp [::1] 8000..=8010");
        check("9/sctp", "[::]", "9", "9/sctp [::] 9..=9");
        check("80/tcp", "", "80a", "invalid port specification: \"80a\"");
        check("80/tcp", "", "9-8", "invalid port specification: \"9-8\"");
        check("0/tcp", "", "1", "invalid port specification: \"0/tcp\"");
        check("80/icmp", "", "1", "invalid proto: icmp");
        check("80/tcp", "nowhere", "1", "invalid IP address: nowhere");
    }
}
