//! What containers' networks on this host are told.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value};
use skep_bridge::{AddressPool, DefaultBridge, NetworkOptions};

use super::ConfigError;
use super::given::{Given, parse};

/// All of them.
///
/// # Errors
/// A value that is none, or two that exclude one another.
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
        "ipv6" => options.ipv6 = truth()?,
        "fixed-cidr-v6" => options.fixed_cidr_v6 = Some(parse::<Ipv6Net>(key, text()?)?.trunc()),
        "ip-masq" => options.masquerade = truth()?,
        "userland-proxy" => options.userland_proxy = truth()?,
        "default-network-opts" => {
            for (driver, opts) in given.maps()? {
                // No other driver on this host has options.
                if driver != "bridge" && !opts.is_empty() {
                    return Err(ConfigError::Value(format!(
                        "invalid value for {key}: options of driver {driver} are not supported"
                    )));
                }
                options.default_opts.extend(opts);
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
