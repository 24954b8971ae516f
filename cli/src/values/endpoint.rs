//! `--network` of a container: a name, or `name=…,alias=…,ip=…,mac-address=…`.

use skep_docker_api::json::Map;

use super::fields;

/// A network with what is wished of the container's place on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    pub target: String,
    pub aliases: Vec<String>,
    pub driver_opts: Map,
    pub links: Vec<String>,
    pub ip: String,
    pub ip6: String,
    pub link_local: Vec<String>,
    pub mac: String,
    pub gw_priority: i64,
}

/// Everything in the long form is lower case, values too: Docker's command line does so.
pub fn parse(text: &str) -> Result<Endpoint, String> {
    let mut endpoint = Endpoint::default();
    if !fields::is_long(text) {
        endpoint.target = text.into();
        return Ok(endpoint);
    }
    for field in fields::split(text)? {
        let lower = field.to_lowercase();
        let (key, value) = lower
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        let value = value.trim();
        match key.trim() {
            "name" => endpoint.target = value.into(),
            "alias" => endpoint.aliases.push(value.into()),
            "ip" => endpoint.ip = value.into(),
            "ip6" => endpoint.ip6 = value.into(),
            "mac-address" => endpoint.mac = value.into(),
            "link-local-ip" => endpoint.link_local.push(value.into()),
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or("invalid key value pair format in driver options")?;
                endpoint.driver_opts.insert(key.trim().into(), value.trim().into());
            }
            "gw-priority" => {
                endpoint.gw_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if endpoint.target.is_empty() {
        return Err("network name/id is not specified".into());
    }
    Ok(endpoint)
}

/// Whether a network is one that somebody made, and not a word for something else.
pub fn is_user_defined(target: &str) -> bool {
    !matches!(target, "" | "default" | "bridge" | "nat" | "host" | "none")
        && !target.starts_with("container:")
        && target != "container"
}

/// A MAC address as it is written: six or eight pairs, or four dotted groups of three.
pub fn is_mac(text: &str) -> bool {
    let hex = |part: &str, width: usize| {
        part.len() == width && part.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let groups = |by: char, width: usize, counts: &[usize]| {
        let parts: Vec<_> = text.split(by).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| hex(part, width))
    };
    groups(':', 2, &[6, 8, 20]) || groups('-', 2, &[6, 8, 20]) || groups('.', 4, &[3, 4, 10])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long() {
        assert_eq!(parse("front").unwrap().target, "front");
        let long = parse("name=Front,alias=db,alias=cache,ip=10.0.0.5,gw-priority=-1").unwrap();
        assert_eq!((long.target.as_str(), long.aliases.len()), ("front", 2));
        assert_eq!((long.ip.as_str(), long.gw_priority), ("10.0.0.5", -1));
        assert_eq!(parse("alias=x").unwrap_err(), "network name/id is not specified");
        assert_eq!(parse("name=a,nope=1").unwrap_err(), "invalid field key nope");
        assert!(is_user_defined("front") && !is_user_defined("container:x"));
        assert!(is_mac("92:d0:c6:0a:29:33") && is_mac("92d0.c60a.2933") && !is_mac("92:d0"));
    }
}
