//! Names and addresses of hosts in flags.

use std::net::IpAddr;

pub fn address(text: &str) -> Result<String, String> {
    let address: Result<IpAddr, _> = text.trim().parse();
    address
        .map(|ip| ip.to_string())
        .map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// `host:ip` or `host=ip`; the address is kept as written, without brackets.
pub fn mapping(text: &str) -> Result<String, String> {
    let (name, ip) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, ip)| !name.is_empty() && !name.contains(':') && !ip.is_empty())
        .ok_or_else(|| format!("bad format for add-host: {text:?}"))?;
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {bare:?}"));
    }
    Ok(format!("{name}:{bare}"))
}

/// `host:ip` as a spec has it: a line of `/etc/hosts`.
pub fn line(text: &str) -> String {
    let (name, ip) = text.split_once(':').unwrap_or((text, ""));
    format!("{ip} {name}")
}

/// A domain to search in; a dot alone means none.
pub fn search(text: &str) -> Result<String, String> {
    let text = text.trim();
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let fits = text == "."
        || (text.len() < 255
            && text.chars().any(char::is_alphabetic)
            && text.trim_end_matches('.').split('.').all(label));
    if fits { Ok(text.into()) } else { Err(format!("{text} is not a valid domain")) }
}

/// `container[:alias]`, kept as written.
pub fn link(text: &str) -> Result<String, String> {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [""] => Err("empty string specified for links".into()),
        [_] | [_, _] => Ok(text.into()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        assert_eq!(mapping("db:10.0.0.1").as_deref(), Ok("db:10.0.0.1"));
        assert_eq!(mapping("db=[::1]").as_deref(), Ok("db:::1"));
        assert_eq!(mapping("db:::1").as_deref(), Ok("db:::1"));
        assert_eq!(mapping("gw:host-gateway").as_deref(), Ok("gw:host-gateway"));
        assert!(mapping("db").is_err() && mapping("db:x").is_err() && mapping(":1.2.3.4").is_err());
        assert!(search("example.com").is_ok() && search(".").is_ok() && search("-a").is_err());
        assert!(link("db:x").is_ok() && link("a:b:c").is_err() && link("").is_err());
    }
}
