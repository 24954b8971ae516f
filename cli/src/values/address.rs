//! Where a manager listens. Addresses that only the daemon can judge (interfaces, names) pass as they are.

/// `host[:port]` with the swarm's port where none is said, as Docker's `--listen-addr` reads it.
pub fn listen(text: &str) -> Result<String, String> {
    const PORT: &str = "2377";
    let text = text.strip_prefix("tcp://").unwrap_or(text);
    let invalid = || format!("invalid bind address: {text}");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or_else(invalid)?;
            (format!("[{host}]"), tail.strip_prefix(':').unwrap_or(tail))
        }
        None if text.matches(':').count() > 1 => (format!("[{text}]"), ""),
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            (host.to_owned(), port)
        }
    };
    let host = if host.is_empty() { "0.0.0.0".into() } else { host };
    let port = if port.is_empty() { PORT } else { port };
    port.parse::<u16>().map_err(|_| invalid())?;
    Ok(format!("{host}:{port}"))
}

/// A network in CIDR form.
pub fn pool(text: &str) -> Result<String, String> {
    let invalid = || format!("invalid CIDR address: {text}");
    let (address, bits) = text.split_once('/').ok_or_else(invalid)?;
    let address: std::net::IpAddr = address.parse().map_err(|_| invalid())?;
    let bits: u8 = bits.parse().map_err(|_| invalid())?;
    if bits > if address.is_ipv4() { 32 } else { 128 } {
        return Err(invalid());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        for (text, expected) in [
            ("10.0.0.1", "10.0.0.1:2377"),
            ("eth0:4000", "eth0:4000"),
            ("", "0.0.0.0:2377"),
            ("[fd00::1]:1", "[fd00::1]:1"),
            ("fd00::1", "[fd00::1]:2377"),
        ] {
            assert_eq!(listen(text).as_deref(), Ok(expected));
        }
        assert!(listen("a:b").is_err());
        assert!(
            pool("10.0.0.0/8").is_ok() && pool("10.0.0.0").is_err() && pool("10.0.0.0/33").is_err()
        );
    }
}
