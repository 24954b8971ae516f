//! Ports in short syntax: `[[IP:][PUBLISHED]:]TARGET[/PROTOCOL]`, each a number or a range.

use std::net::IpAddr;

use super::{Context, PORTS_MAX, put};
use crate::error::{At, Problem};
use crate::node::{Map, Node};

/// What one text in short syntax says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortSpec {
    ip: Option<IpAddr>,
    target: (u16, u16),
    published: Option<(u16, u16)>,
    protocol: String,
}

fn number(text: &str) -> Option<u16> {
    // A sign is a number's to Rust, not a port's.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (number(start)?, number(end)?);
    (start <= end).then_some((start, end))
}

/// Reads short syntax; the message is Docker's.
pub(crate) fn parse(text: &str) -> Result<PortSpec, String> {
    let (rest, target) = text.rsplit_once(':').unwrap_or(("", text));
    let (ip, published) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (target, protocol) = target.split_once('/').unwrap_or((target, "tcp"));
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    if target.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let bare = ip.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(ip);
    let address = match bare {
        "" if ip.is_empty() => None,
        _ => Some(bare.parse().map_err(|_| format!("invalid IP address: {bare}"))?),
    };
    let container = range(target)
        .filter(|(start, _)| *start > 0)
        .ok_or_else(|| format!("invalid containerPort: {target}"))?;
    let host = match published {
        "" => None,
        _ => Some(range(published).ok_or_else(|| format!("invalid hostPort: {published}"))?),
    };
    // A range of published ports may stand for one target; ranges of two lengths do not pair up.
    if let Some(host) = host {
        let single = container.0 == container.1;
        if !single && host.1 - host.0 != container.1 - container.0 {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {target} and {published}"
            ));
        }
    }
    Ok(PortSpec { ip: address, target: container, published: host, protocol })
}

impl PortSpec {
    /// (target, published) pairs; zero for a published port that is left to the swarm.
    fn pairs(&self) -> Vec<(u16, u16)> {
        let (first, last) = self.target;
        match self.published {
            None => (first..=last).map(|target| (target, 0)).collect(),
            Some((from, to)) if first == last => (from..=to).map(|port| (first, port)).collect(),
            Some((from, to)) => (first..=last).zip(from..=to).collect(),
        }
    }
}

/// One entry of `ports`, as entries in long syntax.
pub(super) fn normal(node: &Node, context: &mut Context<'_>) -> Result<Vec<Node>, Problem> {
    let Some(text) = node.scalar() else {
        return long(node, context).map(|port| vec![port]);
    };
    let spec = parse(&text).map_err(|message| node.at.problem(message))?;
    let mut pairs = spec.pairs();
    // Docker's order: by the text of the target.
    pairs.sort_by_key(|(target, _)| target.to_string());
    count(node.at, pairs.len(), context)?;
    if let Some(ip) = spec.ip.filter(|ip| !ip.is_unspecified()) {
        context.warn(format!(
            "ignoring IP-address ({ip}) of port {text}: service will listen on '0.0.0.0'"
        ));
    }
    let port = |(target, published): (u16, u16)| {
        let mut map = Map::new();
        put(&mut map, "mode", Node::text(node.at, "ingress"));
        put(&mut map, "target", Node::int(node.at, target));
        put(&mut map, "published", Node::int(node.at, published));
        put(&mut map, "protocol", Node::text(node.at, spec.protocol.clone()));
        Node::map(node.at, map)
    };
    Ok(pairs.into_iter().map(port).collect())
}

fn count(at: At, more: usize, context: &mut Context<'_>) -> Result<(), Problem> {
    context.ports += more;
    if context.ports > PORTS_MAX {
        return Err(at.problem(format!("too many ports: expected at most {PORTS_MAX}")));
    }
    Ok(())
}

fn long(node: &Node, context: &mut Context<'_>) -> Result<Node, Problem> {
    count(node.at, 1, context)?;
    let mut map = Map::new();
    for (key, value) in node.entries() {
        let value = match key.as_str() {
            "published" | "target" => {
                let text = value.scalar().unwrap_or_default();
                let port = value.as_int().or_else(|| number(&text).map(i128::from));
                let port = port.filter(|port| (0..=65_535).contains(port));
                let port = port.ok_or_else(|| {
                    value.at.problem(format!("invalid {key} port: expected 0 to 65535, got {text}"))
                })?;
                Node::int(value.at, port)
            }
            "host_ip" => {
                let text = value.as_str().unwrap_or_default();
                let ip: Option<IpAddr> = text.parse().ok();
                if !text.is_empty() && !ip.is_some_and(|ip| ip.is_unspecified()) {
                    context.warn(format!(
                        "ignoring IP-address ({text}): service will listen on '0.0.0.0'"
                    ));
                }
                continue;
            }
            "mode" | "protocol" | "name" => value.clone(),
            // What speaks on a port is no matter for a stack.
            _ => continue,
        };
        put(&mut map, key, value);
    }
    if !map.contains_key("target") {
        return Err(node.at.problem("invalid port: a target is required"));
    }
    Ok(Node::map(node.at, map))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let got = parse(text).map(|spec| {
            let pairs: Vec<_> = spec.pairs().iter().map(|(t, p)| format!("{p}:{t}")).collect();
            let ip = spec.ip.map(|ip| format!("[{ip}]")).unwrap_or_default();
            format!("{ip}{}/{}", pairs.join(","), spec.protocol)
        });
        assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn every_form() {
        check("80", Ok("0:80/tcp"));
        check("80/udp", Ok("0:80/udp"));
        check("80/", Ok("0:80/tcp"));
        check("3000-3002", Ok("0:3000,0:3001,0:3002/tcp"));
        check("8080:80", Ok("8080:80/tcp"));
        check("8080:80/SCTP", Ok("8080:80/sctp"));
        check("9090-9091:8080-8081", Ok("9090:8080,9091:8081/tcp"));
        check("9090-9092:80", Ok("9090:80,9091:80,9092:80/tcp"));
        check("127.0.0.1:8001:8001", Ok("[127.0.0.1]8001:8001/tcp"));
        check("127.0.0.1::80", Ok("[127.0.0.1]0:80/tcp"));
        check("[::1]:80:80", Ok("[::1]80:80/tcp"));
        check("::1:80:80", Ok("[::1]80:80/tcp"));
        check("", Err("no port specified: <empty>"));
        check("80:", Err("no port specified: 80:<empty>"));
        check("abc", Err("invalid containerPort: abc"));
        check("0", Err("invalid containerPort: 0"));
        check("65536", Err("invalid containerPort: 65536"));
        check("+80", Err("invalid containerPort: +80"));
        check("x:80", Err("invalid hostPort: x"));
        check("90-80", Err("invalid containerPort: 90-80"));
        check("80/xyz", Err("invalid proto: xyz"));
        check("1.2.3:80:80", Err("invalid IP address: 1.2.3"));
        check("[]:80:80", Err("invalid IP address: "));
        check(
            "9090-9092:80-81",
            Err("invalid ranges specified for container and host Ports: 80-81 and 9090-9092"),
        );
    }
}
