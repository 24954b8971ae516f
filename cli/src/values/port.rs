//! `--publish`, short (`8080:80/tcp`, with ranges) and long (`published=8080,target=80,mode=host`).

use skep_docker_api::json::PortConfig;

use super::fields;

/// All ports that one flag names: a range is many.
#[derive(Debug, Clone)]
pub struct Ports(pub Vec<PortConfig>);

impl std::str::FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if fields::is_long(text) { long(text) } else { short(text) }.map(Self)
    }
}

fn long(text: &str) -> Result<Vec<PortConfig>, String> {
    let mut port =
        PortConfig { protocol: "tcp".into(), publish_mode: "ingress".into(), ..Default::default() };
    let number = |what: &str, value: &str| {
        value.parse::<u16>().map(u32::from).map_err(|_| {
            let why = match value.parse::<u64>() {
                Ok(_) => "value out of range",
                Err(_) => "invalid syntax",
            };
            format!("invalid {what} port ({value}): value must be an integer: {why}")
        })
    };
    for field in fields::split(text)? {
        let lower = field.to_lowercase();
        let (key, value) = lower
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field: {field}"))?;
        match (key, value) {
            ("protocol", "tcp" | "udp" | "sctp") => port.protocol = value.into(),
            ("protocol", _) => return Err(format!("invalid protocol value '{value}'")),
            ("mode", "ingress" | "host") => port.publish_mode = value.into(),
            ("mode", _) => {
                return Err(format!(
                    "invalid publish mode value ({value}): must be either 'ingress' or 'host'"
                ));
            }
            ("target", _) => port.target_port = number("target", value)?,
            ("published", _) => port.published_port = number("published", value)?,
            _ => return Err(format!("invalid field key: {key}")),
        }
    }
    if port.target_port == 0 {
        return Err("missing mandatory field 'target'".into());
    }
    Ok(vec![port])
}

fn range(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.parse::<u16>().ok().map(u32::from);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn short(text: &str) -> Result<Vec<PortConfig>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let (published, target) = match ports.rsplit_once(':') {
        Some((published, _)) if published.contains(':') => {
            return Err("hostip is not supported".into());
        }
        Some((published, target)) => (published, target),
        None => ("", ports),
    };
    if target.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let (first, last) = range(target)
        .filter(|(first, _)| *first > 0)
        .ok_or_else(|| format!("invalid containerPort: {target}"))?;
    let one = |published: u32, target: u32| PortConfig {
        protocol: protocol.clone(),
        target_port: target,
        published_port: published,
        publish_mode: "ingress".into(),
        ..Default::default()
    };
    if published.is_empty() {
        return Ok((first..=last).map(|target| one(0, target)).collect());
    }
    let (low, high) = range(published).ok_or_else(|| format!("invalid hostPort: {published}"))?;
    if high - low == last - first {
        return Ok((first..=last).map(|target| one(low + target - first, target)).collect());
    }
    if first != last {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {target} and {published}"
        ));
    }
    Ok((low..=high).map(|published| one(published, first)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match text.parse::<Ports>() {
            Err(error) => error,
            Ok(Ports(ports)) => ports
                .iter()
                .map(|p| {
                    format!(
                        "{}:{}/{}/{}",
                        p.published_port, p.target_port, p.protocol, p.publish_mode
                    )
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn both_forms() {
        for (text, expected) in [
            ("8080:80", "8080:80/tcp/ingress"),
            ("80/udp", "0:80/udp/ingress"),
            ("8080-8081:80-81", "8080:80/tcp/ingress 8081:81/tcp/ingress"),
            ("8080-8081:80", "8080:80/tcp/ingress 8081:80/tcp/ingress"),
            ("8080-8081:80-81/sctp", "8080:80/sctp/ingress 8081:81/sctp/ingress"),
            (
                "8080-8082:80-81",
                "invalid ranges specified for container and host Ports: 80-81 and 8080-8082",
            ),
            ("8082-8080:80", "invalid hostPort: 8082-8080"),
            (
                "published=8080-8082,target=80",
                "invalid published port (8080-8082): value must be an integer: invalid syntax",
            ),
            ("published=8080,target=80,mode=host,protocol=udp", "8080:80/udp/host"),
            ("target=80", "0:80/tcp/ingress"),
            ("published=80", "missing mandatory field 'target'"),
            ("127.0.0.1:80:80", "hostip is not supported"),
            ("80:x", "invalid containerPort: x"),
            ("70000:80", "invalid hostPort: 70000"),
            ("80/icmp", "invalid proto: icmp"),
            ("target=80,nope=1", "invalid field key: nope"),
            (
                "target=80,mode=nope",
                "invalid publish mode value (nope): must be either 'ingress' or 'host'",
            ),
            ("target=x", "invalid target port (x): value must be an integer: invalid syntax"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
