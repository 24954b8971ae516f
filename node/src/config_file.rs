//! The daemon's options from its flags and from `daemon.json`, whose keys are Docker's.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value};
use skep_bridge::{AddressPool, DefaultBridge, NetworkOptions};
use skep_types::resources::GenericResource;

use crate::listen::{ApiConfig, ApiOptions};

/// Where the file is when nobody says otherwise.
pub const CONFIG_FILE: &str = "/etc/skep/daemon.json";

/// The keys that may stand in the file.
const KEYS: &[&str] = &[
    "bip",
    "bridge",
    "default-address-pools",
    "dns",
    "dns-opts",
    "dns-search",
    "fixed-cidr",
    "group",
    "hosts",
    "icc",
    "ip",
    "ip-forward",
    "iptables",
    "mtu",
    "node-generic-resources",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
    "tlsverify",
    "userns-remap",
];

/// Why the daemon's options are no options; the words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("unable to configure the daemon with file {file}: {reason}")]
    File { file: String, reason: String },
    #[error("{0}")]
    Value(String),
}

/// The file's keys. A file that is not there is as an empty one, unless it was asked for.
pub fn read(path: &Path, asked_for: bool) -> Result<Map<String, Value>, ConfigError> {
    let refuse = |reason: String| ConfigError::File { file: path.display().to_string(), reason };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
            return Ok(Map::new());
        }
        Err(error) => return Err(refuse(error.to_string())),
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
}

/// What flags and file say together: each key in one of the two.
pub fn together(
    flags: Map<String, Value>,
    file: Map<String, Value>,
    path: &Path,
) -> Result<Map<String, Value>, ConfigError> {
    let refuse = |reason: String| ConfigError::File { file: path.display().to_string(), reason };
    let unknown: Vec<&str> =
        file.keys().map(String::as_str).filter(|key| !KEYS.contains(key)).collect();
    if !unknown.is_empty() {
        return Err(refuse(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        )));
    }
    let both = |(key, value): (&String, &Value)| {
        let flag = flags.get(key)?;
        Some(format!("{key}: (from flag: {}, from file: {})", shown(flag), shown(value)))
    };
    let conflicts: Vec<String> = file.iter().filter_map(both).collect();
    if !conflicts.is_empty() {
        return Err(refuse(format!(
            "the following directives are specified both as a flag and in the configuration \
             file: {}",
            conflicts.join(", ")
        )));
    }
    Ok(flags.into_iter().chain(file).collect())
}

/// Where the API is served, and to whom.
pub fn api_options(keys: &Map<String, Value>) -> Result<ApiConfig, ConfigError> {
    let mut options = ApiOptions::default();
    for (key, value) in keys {
        let value = Given { key, value };
        match key.as_str() {
            "hosts" => options.hosts = value.texts()?,
            "group" => options.group = Some(value.text()?.to_owned()),
            "tls" => options.tls = Some(value.truth()?),
            "tlsverify" => options.tls_verify = Some(value.truth()?),
            "tlscacert" => options.ca = Some(value.text()?.into()),
            "tlscert" => options.certificate = Some(value.text()?.into()),
            "tlskey" => options.key = Some(value.text()?.into()),
            _ => {}
        }
    }
    ApiConfig::new(options).map_err(|error| ConfigError::Value(error.to_string()))
}

/// What the operator declares of the host: `gpu=UUID1`, `ssd=2`.
pub fn generic_resources(keys: &Map<String, Value>) -> Result<Vec<GenericResource>, ConfigError> {
    let key = "node-generic-resources";
    let Some(value) = keys.get(key) else { return Ok(Vec::new()) };
    let terms = Given { key, value }.texts()?;
    skep_types::generic::parse(terms.iter().map(String::as_str))
        .map_err(|error| ConfigError::Value(error.to_string()))
}

/// Whose ids containers get; empty where nobody says.
pub fn userns_remap(keys: &Map<String, Value>) -> Result<String, ConfigError> {
    let key = "userns-remap";
    match keys.get(key) {
        Some(value) => Ok(Given { key, value }.text()?.to_owned()),
        None => Ok(String::new()),
    }
}

/// What containers' networks on this host are told.
pub fn network_options(keys: &Map<String, Value>) -> Result<NetworkOptions, ConfigError> {
    let mut options = NetworkOptions::default();
    for (key, value) in keys {
        apply(&mut options, &Given { key, value })?;
    }
    if options.bip.is_some() && options.bridge != NetworkOptions::default().bridge {
        return Err(ConfigError::Value(
            "You specified -b & --bip, mutually exclusive options. Please specify only one".into(),
        ));
    }
    Ok(options)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        other => other.to_string(),
    }
}

/// A key with what was given for it.
struct Given<'a> {
    key: &'a str,
    value: &'a Value,
}

impl Given<'_> {
    fn wrong(&self) -> ConfigError {
        ConfigError::Value(format!("invalid value for {}: {}", self.key, shown(self.value)))
    }

    fn text(&self) -> Result<&str, ConfigError> {
        self.value.as_str().ok_or_else(|| self.wrong())
    }

    fn truth(&self) -> Result<bool, ConfigError> {
        self.value.as_bool().ok_or_else(|| self.wrong())
    }

    fn items(&self) -> Result<&[Value], ConfigError> {
        self.value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong())
    }

    fn texts(&self) -> Result<Vec<String>, ConfigError> {
        let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| self.wrong());
        self.items()?.iter().map(text).collect()
    }
}

fn apply(options: &mut NetworkOptions, given: &Given<'_>) -> Result<(), ConfigError> {
    let Given { key, value } = *given;
    let wrong = || given.wrong();
    let text = || given.text();
    let truth = || given.truth();
    let texts = || given.texts();
    match key {
        "bridge" => {
            options.bridge = match text()? {
                "" => NetworkOptions::default().bridge,
                "none" => DefaultBridge::None,
                name => DefaultBridge::Given(name.to_owned()),
            }
        }
        "bip" => options.bip = Some(parse::<Ipv4Net>(key, text()?)?),
        "fixed-cidr" => options.fixed_cidr = Some(parse::<Ipv4Net>(key, text()?)?.trunc()),
        "ip" => options.bind = parse::<IpAddr>(key, text()?)?,
        "mtu" => {
            let mtu = value.as_u64().and_then(|it| u32::try_from(it).ok()).ok_or_else(wrong)?;
            // As in Docker, zero is the default.
            if mtu != 0 {
                options.mtu = mtu;
            }
        }
        "icc" => options.icc = truth()?,
        "ip-forward" => options.ip_forward = truth()?,
        "iptables" => options.iptables = truth()?,
        "dns" => {
            let servers = texts()?;
            options.dns.servers =
                servers.iter().map(|it| parse(key, it)).collect::<Result<_, _>>()?;
        }
        "dns-search" => options.dns.search = texts()?,
        "dns-opts" => options.dns.options = texts()?,
        "default-address-pools" => {
            options.pools = given.items()?.iter().map(pool).collect::<Result<_, _>>()?;
        }
        // Another room's.
        _ => {}
    }
    Ok(())
}

fn parse<T>(key: &str, text: &str) -> Result<T, ConfigError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|error| ConfigError::Value(format!("invalid value for {key}: {text}: {error}")))
}

fn pool(value: &Value) -> Result<AddressPool, ConfigError> {
    let wrong = || ConfigError::Value(format!("invalid default address pool: {value}"));
    let base: IpNet = parse("base", value.get("base").and_then(Value::as_str).ok_or_else(wrong)?)?;
    let size = value.get("size").and_then(Value::as_u64).and_then(|it| u8::try_from(it).ok());
    match size {
        Some(size) if base.prefix_len() <= size && size <= base.max_prefix_len() => {
            Ok(AddressPool { base: base.trunc(), size })
        }
        _ => Err(wrong()),
    }
}

/// `base=CIDR,size=BITS`, as the flag has it, as the file has it.
pub fn pool_of_flag(text: &str) -> Result<Value, String> {
    let mut pool = Map::new();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("base", base)) => pool.insert("base".into(), base.into()),
            Some(("size", size)) => {
                let size: u8 = size.parse().map_err(|_| format!("invalid size value: {size}"))?;
                pool.insert("size".into(), size.into())
            }
            _ => return Err(format!("unexpected key '{part}' in '{text}'")),
        };
    }
    if pool.len() != 2 {
        return Err("the default address pool needs a base and a size".to_owned());
    }
    Ok(pool.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(flags: Value, file: Value, expected: Result<(u32, bool), &str>) {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let keys = together(map(flags), map(file), Path::new(CONFIG_FILE));
        let options = keys.and_then(|keys| network_options(&keys));
        let options = options.map(|it| (it.mtu, it.icc)).map_err(|error| error.to_string());
        assert_eq!(options, expected.map_err(str::to_owned));
    }

    #[test]
    fn flags_and_file_together() {
        check(json!({}), json!({}), Ok((1500, true)));
        check(json!({ "mtu": 1400 }), json!({ "icc": false }), Ok((1400, false)));
        check(
            json!({ "mtu": 1400, "dns": ["9.9.9.9", "1.1.1.1"] }),
            json!({ "dns": ["8.8.8.8"] }),
            Err("unable to configure the daemon with file /etc/skep/daemon.json: the following \
                 directives are specified both as a flag and in the configuration file: dns: \
                 (from flag: [9.9.9.9 1.1.1.1], from file: [8.8.8.8])"),
        );
        check(
            json!({}),
            json!({ "nonsense": 1 }),
            Err("unable to configure the daemon with file /etc/skep/daemon.json: the following \
                 directives don't match any configuration option: nonsense"),
        );
        check(
            json!({ "hosts": ["unix:///a.sock", "tcp://0.0.0.0:1"] }),
            json!({ "hosts": ["unix:///b.sock"] }),
            Err("unable to configure the daemon with file /etc/skep/daemon.json: the following \
                 directives are specified both as a flag and in the configuration file: hosts: \
                 (from flag: [unix:///a.sock tcp://0.0.0.0:1], from file: [unix:///b.sock])"),
        );
        check(json!({ "mtu": "x" }), json!({}), Err("invalid value for mtu: x"));
        check(
            json!({ "bip": "10.0.0.1/24", "bridge": "br9" }),
            json!({}),
            Err("You specified -b & --bip, mutually exclusive options. Please specify only one"),
        );
    }
}
