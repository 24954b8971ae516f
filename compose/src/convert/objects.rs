//! Networks, volumes, secrets and configs of a stack.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use skep_types::network::IpamConfig;
use skep_types::secret::Payload;
use skep_types::{Annotations, ConfigSpec, NetworkSpec, SecretSpec, validate};

use super::Scope;
use crate::error::{Error, Problem};
use crate::loader::Loader;
use crate::node::Node;
use crate::stack::StackVolume;

/// Docker: what a stack's networks are unless told otherwise.
const NETWORK_DRIVER: &str = "overlay";

/// Networks to make and names of those that have to be there; only what services are on.
pub(super) fn networks(
    scope: &Scope<'_>,
    used: &BTreeSet<String>,
) -> Result<(Vec<NetworkSpec>, Vec<String>), Problem> {
    let (mut networks, mut external) = (Vec::new(), Vec::new());
    for name in used {
        let node = scope.networks.get(name);
        let full = scope.name(name, node);
        match node {
            Some(node) if node.flag("external") => external.push(full),
            Some(node) => networks.push(
                network(full, node, scope)
                    .map_err(|problem| problem.within(&format!("network {name}")))?,
            ),
            None => networks.push(NetworkSpec {
                annotations: annotations(full, None, scope),
                driver: NETWORK_DRIVER.to_owned(),
                ..Default::default()
            }),
        }
    }
    Ok((networks, external))
}

fn annotations(name: String, node: Option<&Node>, scope: &Scope<'_>) -> Annotations {
    let labels = node.map(|node| node.pairs_of("labels")).unwrap_or_default();
    Annotations { name, labels: scope.namespace.labels(labels) }
}

fn network(name: String, node: &Node, scope: &Scope<'_>) -> Result<NetworkSpec, Problem> {
    let mut ipam = Vec::new();
    if let Some(given) = node.get("ipam") {
        let driver = given.text_of("driver");
        if !matches!(driver, "" | "default") {
            return Err(given.at.problem(format!("ipam driver {driver} is not supported")));
        }
        for pool in given.get("config").map(Node::items).unwrap_or_default() {
            ipam.push(pool_config(pool)?);
        }
    }
    let driver = match node.text_of("driver") {
        "" => NETWORK_DRIVER,
        given => given,
    };
    Ok(NetworkSpec {
        annotations: annotations(name, Some(node), scope),
        driver: driver.to_owned(),
        driver_options: node.pairs_of("driver_opts"),
        internal: node.flag("internal"),
        attachable: node.flag("attachable"),
        ingress: false,
        ipv6: node.flag("enable_ipv6"),
        ipam,
    })
}

fn pool_config(node: &Node) -> Result<IpamConfig, Problem> {
    fn read<T: std::str::FromStr>(node: &Node, key: &str) -> Result<Option<T>, Problem> {
        let Some(field) = node.get(key) else { return Ok(None) };
        let text = field.as_str().unwrap_or_default();
        let value = text.parse().map_err(|_| field.at.problem(format!("invalid {key}: {text}")))?;
        Ok(Some(value))
    }
    let subnet: Option<IpNet> = read(node, "subnet")?;
    Ok(IpamConfig {
        subnet: subnet.ok_or_else(|| node.at.problem("a subnet is required"))?,
        range: read(node, "ip_range")?,
        gateway: read(node, "gateway")?,
    })
}

pub(super) fn volumes(scope: &Scope<'_>) -> Vec<StackVolume> {
    let volume = |(name, node): (&String, &Node)| {
        let external = node.flag("external");
        let labels = node.pairs_of("labels");
        StackVolume {
            name: scope.name(name, Some(node)),
            external,
            driver: node.text_of("driver").to_owned(),
            options: node.pairs_of("driver_opts"),
            labels: if external { labels } else { scope.namespace.labels(labels) },
        }
    };
    scope.volumes.entries().map(volume).collect()
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Secrets to make and names of those that have to be there.
pub(super) fn secrets(
    scope: &Scope<'_>,
    loader: &dyn Loader,
    lookup: Lookup<'_>,
) -> Result<(Vec<SecretSpec>, Vec<String>), Problem> {
    let (payloads, external) = payloads("secret", &scope.secrets, scope, loader, lookup)?;
    let spec = |(annotations, data, template)| SecretSpec { annotations, data, template };
    Ok((payloads.into_iter().map(spec).collect(), external))
}

/// Configs to make and names of those that have to be there.
pub(super) fn configs(
    scope: &Scope<'_>,
    loader: &dyn Loader,
    lookup: Lookup<'_>,
) -> Result<(Vec<ConfigSpec>, Vec<String>), Problem> {
    let (payloads, external) = payloads("config", &scope.configs, scope, loader, lookup)?;
    let spec = |(annotations, data, template)| ConfigSpec { annotations, data, template };
    Ok((payloads.into_iter().map(spec).collect(), external))
}

/// What is made, with whether it is a template; and names of what has to be there.
type Payloads = (Vec<(Annotations, Payload, bool)>, Vec<String>);

fn payloads(
    kind: &str,
    section: &Node,
    scope: &Scope<'_>,
    loader: &dyn Loader,
    lookup: Lookup<'_>,
) -> Result<Payloads, Problem> {
    let (mut payloads, mut external) = (Vec::new(), Vec::new());
    for (name, node) in section.entries() {
        let full = scope.name(name, Some(node));
        if node.flag("external") {
            external.push(full);
            continue;
        }
        let data = payload(kind, name, node, loader, lookup)?;
        let annotations = annotations(full, Some(node), scope);
        let sized = match kind {
            "secret" => validate::secret_data(&data),
            _ => validate::config_data(&data),
        };
        sized
            .and_then(|()| validate::secret_name(&annotations.name))
            .and_then(|()| validate::labels(&annotations.labels))
            .map_err(|error| node.at.problem(format!("{kind} {name}: {error}")))?;
        let template = match node.text_of("template_driver") {
            "" => false,
            "golang" => true,
            other => {
                let message = format!("{kind} {name}: template driver {other} is not supported");
                return Err(node.at.problem(message));
            }
        };
        payloads.push((annotations, Payload(Arc::from(data)), template));
    }
    Ok((payloads, external))
}

fn payload(
    kind: &str,
    name: &str,
    node: &Node,
    loader: &dyn Loader,
    lookup: Lookup<'_>,
) -> Result<Vec<u8>, Problem> {
    if let Some(file) = node.get("file") {
        let path = Path::new(file.as_str().unwrap_or_default());
        return loader.read(path).map_err(|source| {
            let what = format!("file of {kind} {name}:");
            Error::Read { what, path: path.to_owned(), source }.into()
        });
    }
    if let Some(variable) = node.get("environment") {
        let variable_name = variable.as_str().unwrap_or_default();
        return lookup(variable_name).map(String::into_bytes).ok_or_else(|| {
            variable.at.problem(format!(
                "environment variable {variable_name:?} required by {kind} {name:?} is not set"
            ))
        });
    }
    Ok(node.text_of("content").as_bytes().to_vec())
}
