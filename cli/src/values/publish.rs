//! `--publish` of a container: `[ip:][host]:container[/proto]` with ranges, or `published=…,target=…,protocol=…`; and `--expose`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use skep_docker_api::json::{Nothing, PortBinding};

/// Container ports with where each is reached on the host.
pub type Bindings = BTreeMap<String, Vec<PortBinding>>;

/// Ports as keys: `80/tcp`.
pub type Exposed = BTreeMap<String, Nothing>;

/// The long form comes down to the short one.
fn short(text: &str) -> Result<String, String> {
    if !text.contains('=') {
        return Ok(text.into());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                format!("invalid publish opts format (should be name=value but got '{field}')")
            })?;
        match key {
            "published" => published = value,
            "target" => target = value,
            "protocol" => protocol = value,
            _ => {}
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// First and last port of a range, or one port twice.
pub fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// A port and its protocol, which is TCP where none is said.
fn protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((port, "")) => (port, "tcp"),
        Some((port, protocol)) => (port, protocol),
        None => (text, "tcp"),
    }
}

fn address(text: &str) -> Result<String, String> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| format!("invalid IP address {text}"))?,
        None => text,
    };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    Ok(bare.into())
}

/// Adds all that one flag publishes.
pub fn publish(text: &str, bindings: &mut Bindings, exposed: &mut Exposed) -> Result<(), String> {
    let text = short(text)?;
    let (before, inner) = match text.rsplit_once(':') {
        Some((before, inner)) => (Some(before), inner),
        None => (None, text.as_str()),
    };
    let (ip, host) = match before {
        None => ("", ""),
        Some(before) => before.rsplit_once(':').unwrap_or(("", before)),
    };
    let (container, proto) = protocol(inner);
    let ip = address(ip)?;
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let (first, last) =
        range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let wanted = match host {
        "" => None,
        _ => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    if wanted.is_some_and(|(low, high)| high - low != last - first) && first != last {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    let proto = proto.to_lowercase();
    if !matches!(proto.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {}", protocol(inner).1));
    }
    for port in first..=last {
        let host_port = match wanted {
            None => String::new(),
            // One container port takes any free one of a range of the host's.
            Some((low, high)) if first == last && low != high => format!("{low}-{high}"),
            Some((low, _)) => (u32::from(low) + u32::from(port - first)).to_string(),
        };
        let key = format!("{port}/{proto}");
        exposed.insert(key.clone(), Nothing {});
        bindings.entry(key).or_default().push(PortBinding { host_ip: ip.clone(), host_port });
    }
    Ok(())
}

/// Adds the ports of one `--expose`.
pub fn expose(text: &str, exposed: &mut Exposed) -> Result<(), String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (ports, proto) = protocol(text);
    let (first, last) = range(ports).ok_or_else(|| {
        format!("invalid range format for --expose: {text}, error: {}", why(ports))
    })?;
    for port in first..=last {
        exposed.insert(format!("{port}/{proto}"), Nothing {});
    }
    Ok(())
}

fn why(ports: &str) -> String {
    match ports {
        "" => "empty string specified for ports".into(),
        _ => match ports.split_once('-') {
            Some((first, last)) if first.parse::<u16>().is_ok() && last.parse::<u16>().is_ok() => {
                format!("invalid range specified for port: {ports}")
            }
            _ => super::integer::short(ports).err().unwrap_or_default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let (mut bindings, mut exposed) = (Bindings::new(), Exposed::new());
        match publish(text, &mut bindings, &mut exposed) {
            Err(error) => error,
            Ok(()) => bindings
                .iter()
                .flat_map(|(key, list)| {
                    list.iter().map(move |b| format!("{}|{}>{key}", b.host_ip, b.host_port))
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("80", "|>80/tcp"),
            ("8080:80", "|8080>80/tcp"),
            ("127.0.0.1:8080:80/udp", "127.0.0.1|8080>80/udp"),
            ("127.0.0.1::80", "127.0.0.1|>80/tcp"),
            ("[::1]:8080:80", "::1|8080>80/tcp"),
            ("::1:8080:80", "::1|8080>80/tcp"),
            ("8000-8001:80-81", "|8000>80/tcp |8001>81/tcp"),
            ("8000-8010:80", "|8000-8010>80/tcp"),
            ("80-81", "|>80/tcp |>81/tcp"),
            ("published=8080,target=80,protocol=udp", "|8080>80/udp"),
            ("target=80", "|>80/tcp"),
            (
                "8000-8002:80-81",
                "invalid ranges specified for container and host Ports: 80-81 and 8000-8002",
            ),
            ("x:80", "invalid hostPort: x"),
            ("80:x", "invalid containerPort: x"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("80/icmp", "invalid proto: icmp"),
            ("8080:", "no port specified: 8080:<empty>"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn exposed_ranges() {
        let mut exposed = Exposed::new();
        expose("3000-3001/udp", &mut exposed).unwrap();
        expose("80", &mut exposed).unwrap();
        assert_eq!(exposed.keys().collect::<Vec<_>>(), ["3000/udp", "3001/udp", "80/tcp"]);
        assert!(expose("80:80", &mut exposed).is_err() && expose("a", &mut exposed).is_err());
    }
}
