//! The text of a container's `/etc/resolv.conf`. Pure.

use std::net::IpAddr;

use crate::options::DnsOptions;

/// Docker's, where a host has no server that a container could reach.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// Whom a container asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    /// The embedded one, here.
    Embedded(IpAddr),
    /// The host's, or those that were chosen.
    Servers,
    /// The host's file as it is, but for what was chosen.
    Host,
}

/// The file, from the host's own and what was chosen for the container.
pub fn text(host: &str, dns: &DnsOptions, resolver: Resolver) -> String {
    let of_host = |key: &str| -> Vec<String> {
        let lines = host.lines().map(|line| line.split_whitespace());
        lines
            .filter_map(|mut words| (words.next() == Some(key)).then(|| words.map(str::to_owned)))
            .flatten()
            .collect()
    };
    let reachable = |text: &String| {
        let address = text.split('%').next().and_then(|it| it.parse::<IpAddr>().ok());
        resolver == Resolver::Host || address.is_some_and(|it| !it.is_loopback())
    };
    let mut servers: Vec<String> = match resolver {
        Resolver::Embedded(at) => vec![at.to_string()],
        _ if !dns.servers.is_empty() => dns.servers.iter().map(ToString::to_string).collect(),
        _ => of_host("nameserver").into_iter().filter(reachable).collect(),
    };
    if servers.is_empty() && resolver == Resolver::Servers {
        servers = FALLBACK.map(str::to_owned).to_vec();
    }
    let or_host = |chosen: &[String], key: &str| match chosen {
        [] => of_host(key),
        chosen => chosen.to_vec(),
    };
    // `--dns-search .` means none.
    let mut search = or_host(&dns.search, "search");
    search.retain(|it| it != ".");
    let mut options = or_host(&dns.options, "options");
    if matches!(resolver, Resolver::Embedded(_))
        && !options.iter().any(|it| it.starts_with("ndots:"))
    {
        options.push("ndots:0".to_owned());
    }
    let mut text = String::new();
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (key, words) in [("search", search), ("options", options)] {
        if !words.is_empty() {
            text.push_str(&format!("{key} {}\n", words.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_containers_are_told() {
        let host =
            "# by hand\nnameserver 127.0.0.53\nnameserver 192.168.0.1\nsearch lan\noptions edns0\n";
        let none = DnsOptions::default();
        let chosen = DnsOptions {
            servers: vec!["9.9.9.9".parse().unwrap()],
            search: vec![".".into()],
            options: vec!["ndots:2".into()],
        };
        let embedded = Resolver::Embedded("127.0.0.11".parse().unwrap());
        let check = |host, dns, resolver, expected| assert_eq!(text(host, dns, resolver), expected);
        check(host, &none, embedded, "nameserver 127.0.0.11\nsearch lan\noptions edns0 ndots:0\n");
        check(host, &chosen, embedded, "nameserver 127.0.0.11\noptions ndots:2\n");
        check(
            host,
            &none,
            Resolver::Servers,
            "nameserver 192.168.0.1\nsearch lan\noptions edns0\n",
        );
        check(host, &chosen, Resolver::Servers, "nameserver 9.9.9.9\noptions ndots:2\n");
        check(
            "nameserver ::1\n",
            &none,
            Resolver::Servers,
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\n",
        );
        check("nameserver ::1\n", &none, Resolver::Host, "nameserver ::1\n");
    }
}
