//! The ports of this host that lead to a task's container, as they stand with it: what the node
//! chose is found again when the daemon starts again.

use serde::{Deserialize, Serialize};
use skep_engine::ContainerConfig;
use skep_types::service::{PortConfig, Protocol, PublishMode};

/// Where a container remembers its ports in host mode.
const PORTS: &str = "skep.host-ports";

/// A port as it stands with a container.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    protocol: String,
    target: u16,
    published: u16,
}

/// The annotation that keeps a task's ports; None where it has none.
pub fn annotation(ports: &[PortConfig]) -> Option<(String, String)> {
    let stored = |port: &PortConfig| Stored {
        name: port.name.clone(),
        protocol: port.protocol.word().to_owned(),
        target: port.target_port,
        published: port.published_port,
    };
    let stored: Vec<Stored> = ports.iter().map(stored).collect();
    let text = serde_json::to_string(&stored).expect("numbers and texts are serialized");
    (!stored.is_empty()).then(|| (PORTS.to_owned(), text))
}

/// The ports in host mode that a task's container was made with.
pub fn host_ports_of(container: &ContainerConfig) -> Vec<PortConfig> {
    let Some(text) = container.annotations.get(PORTS) else { return Vec::new() };
    let stored: Vec<Stored> = serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(container = container.id, %error, "its host ports are not known any more");
        Vec::new()
    });
    let port = |it: Stored| {
        Some(PortConfig {
            name: it.name,
            protocol: Protocol::of_word(&it.protocol)?,
            target_port: it.target,
            published_port: it.published,
            publish_mode: PublishMode::Host,
        })
    };
    stored.into_iter().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use skep_engine::config::Rootfs;

    use super::*;

    #[test]
    fn ports_stand_with_a_container() {
        let port = |protocol, target_port, published_port| PortConfig {
            name: format!("p{target_port}"),
            protocol,
            target_port,
            published_port,
            publish_mode: PublishMode::Host,
        };
        let mut container =
            ContainerConfig::new("id", Rootfs::Directory("/r".into()), vec!["true".to_owned()]);
        assert_eq!(annotation(&[]), None);
        assert_eq!(host_ports_of(&container), []);
        let ports = [
            port(Protocol::Tcp, 80, 32_768),
            port(Protocol::Udp, 53, 5353),
            port(Protocol::Sctp, 9, 60_999),
        ];
        container.annotations.extend(annotation(&ports));
        assert_eq!(host_ports_of(&container), ports);
    }
}
