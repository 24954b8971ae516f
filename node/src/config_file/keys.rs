//! Every key that Docker's file may have (28.2): which are done, and why the others are not.
//!
//! Invariant: no key of Docker's is passed over. A key that is not done is refused by its name,
//! unless it says what is so anyway.

use serde_json::{Map, Value};

use super::given::shown;

/// Keys that are read elsewhere in this module.
const DONE: &[&str] = &[
    "allow-service-privileges",
    "bip",
    "bridge",
    "cdi-spec-dirs",
    "certs-dir",
    "cgroup-parent",
    "data-root",
    "debug",
    "default-address-pools",
    "default-cgroupns-mode",
    "default-ipc-mode",
    "default-network-opts",
    "default-runtime",
    "default-shm-size",
    "default-ulimits",
    "dns",
    "dns-opts",
    "dns-search",
    "exec-opts",
    "exec-root",
    "experimental",
    "features",
    "fixed-cidr",
    "fixed-cidr-v6",
    "group",
    "host-gateway-ip",
    "hosts",
    "http-proxy",
    "https-proxy",
    "icc",
    "image-cleanup",
    "init",
    "insecure-registries",
    "ip",
    "ip-forward",
    "ip-masq",
    "iptables",
    "ipv6",
    "labels",
    "log-driver",
    "log-format",
    "log-level",
    "log-opts",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "metrics-addr",
    "mtu",
    "no-new-privileges",
    "no-proxy",
    "node-generic-resources",
    "pidfile",
    "proxies",
    "raw-logs",
    "registry-mirrors",
    "seccomp-profile",
    "shutdown-timeout",
    "swarm-default-advertise-addr",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
    "tlsverify",
    "userland-proxy",
    "userns-remap",
];

/// What a value may be that says no more than is so anyway.
#[derive(Clone, Copy)]
enum Unless {
    Never,
    /// Nothing, an empty list, an empty map, an empty text, `false` or zero.
    Empty,
    True,
    Text(&'static str),
}

/// Keys of Docker's that are not done, what they may say all the same, and why no more.
const REFUSED: &[(&str, Unless, &str)] = &[
    ("allow-direct-routing", Unless::Empty, "packets from elsewhere reach published ports alone"),
    (
        "allow-nondistributable-artifacts",
        Unless::Empty,
        "layers that may not be distributed are never pushed",
    ),
    ("api-cors-header", Unless::Empty, "Docker has given it up, and browsers are not served"),
    ("authorization-plugins", Unless::Empty, "there are no plugins; clients are told apart by TLS"),
    ("bip6", Unless::Empty, "use fixed-cidr-v6: the bridge has its first address"),
    ("bridge-accept-fwmark", Unless::Empty, "packets are not told apart by marks"),
    ("builder", Unless::Empty, "images are not built by this daemon"),
    ("cluster-advertise", Unless::Empty, "Docker has given it up: use swarm init --advertise-addr"),
    (
        "cluster-store",
        Unless::Empty,
        "Docker has given it up: networks of many hosts are a swarm's",
    ),
    ("cluster-store-opts", Unless::Empty, "Docker has given it up: see cluster-store"),
    ("containerd", Unless::Empty, "containers do not run under containerd"),
    ("containerd-namespace", Unless::Empty, "containers do not run under containerd"),
    ("containerd-plugin-namespace", Unless::Empty, "containers do not run under containerd"),
    ("cpu-rt-period", Unless::Empty, "the containers' parent cgroup is given no realtime"),
    ("cpu-rt-runtime", Unless::Empty, "the containers' parent cgroup is given no realtime"),
    ("cri-containerd", Unless::Empty, "containers do not run under containerd"),
    ("default-gateway", Unless::Empty, "containers leave through their bridge: use bip"),
    ("default-gateway-v6", Unless::Empty, "containers leave through their bridge"),
    ("deprecated-key-path", Unless::Empty, "the engine's id is no key"),
    ("firewall-backend", Unless::Text("nftables"), "packet rules are nftables' alone"),
    ("graph", Unless::Never, "Docker has given it up: use data-root"),
    ("host-gateway-ips", Unless::Empty, "use host-gateway-ip"),
    ("init-path", Unless::Empty, "the init of containers is built in"),
    ("ip-forward-no-drop", Unless::True, "what the host forwards for others is not dropped"),
    ("ip6tables", Unless::True, "rules for IPv6 go with those for IPv4: use iptables"),
    (
        "live-restore",
        Unless::True,
        "it cannot be switched off: containers always go on without the daemon",
    ),
    ("network-control-plane-mtu", Unless::Empty, "there is no gossip among networks"),
    ("network-diagnostic-port", Unless::Empty, "there is no gossip among networks"),
    ("no-pivot-root", Unless::Empty, "Docker has given it up"),
    ("oom-score-adjust", Unless::Empty, "Docker has given it up: let the service manager set it"),
    ("rootless", Unless::Empty, "the daemon needs root"),
    (
        "runtimes",
        Unless::Empty,
        "there is one runtime, runc by name, and containers cannot choose another",
    ),
    ("selinux-enabled", Unless::Empty, "SELinux labels are not set"),
    ("storage-driver", Unless::Text("overlay2"), "the one storage driver is overlay2"),
    ("storage-opts", Unless::Empty, "overlay2 has no options here"),
    ("userland-proxy-path", Unless::Empty, "the proxy is built in"),
];

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

/// Refuses what is no key, and what is not done.
pub fn check(given: &Map<String, Value>) -> Result<(), String> {
    let refusal = |key: &str| REFUSED.iter().find(|(name, _, _)| *name == key);
    let unknown: Vec<&str> = given
        .keys()
        .map(String::as_str)
        .filter(|key| !DONE.contains(key) && refusal(key).is_none())
        .collect();
    if !unknown.is_empty() {
        return Err(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        ));
    }
    for (key, value) in given {
        let Some((_, unless, why)) = refusal(key) else { continue };
        let is_so = match unless {
            Unless::Never => false,
            Unless::Empty => is_empty(value),
            Unless::True => *value == Value::Bool(true),
            Unless::Text(text) => is_empty(value) || value.as_str() == Some(text),
        };
        if !is_so {
            return Err(format!("{key}: {} is not supported: {why}", shown(value)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(key: &str, value: Value) -> Option<String> {
        check(&Map::from_iter([(key.to_owned(), value)])).err()
    }

    #[test]
    fn keys_are_done_or_refused_by_name() {
        assert_eq!(said("icc", json!(false)), None);
        let expected = "the following directives don't match any configuration option: nonsense";
        assert_eq!(said("nonsense", json!(1)).as_deref(), Some(expected));
        assert_eq!(said("storage-driver", json!("overlay2")), None);
        assert_eq!(
            said("storage-driver", json!("btrfs")).as_deref(),
            Some("storage-driver: btrfs is not supported: the one storage driver is overlay2")
        );
        assert_eq!(said("live-restore", json!(true)), None);
        assert!(said("live-restore", json!(false)).unwrap().contains("always go on"));
        assert_eq!(said("selinux-enabled", json!(false)), None);
        assert!(said("selinux-enabled", json!(true)).is_some());
        assert_eq!(said("runtimes", json!({})), None);
        assert!(said("runtimes", json!({"kata": {"path": "kata"}})).is_some());
        for (key, unless, why) in REFUSED {
            assert!(!DONE.contains(key), "{key} is done");
            assert!(!why.is_empty(), "{key}");
            let wrong = said(key, json!(["other"])).unwrap();
            assert!(wrong.starts_with(&format!("{key}: ")) && wrong.ends_with(why), "{wrong}");
            if matches!(unless, Unless::Empty) {
                assert_eq!(said(key, json!("")), None, "{key}");
            }
        }
    }
}
