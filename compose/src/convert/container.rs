//! What a service's containers are: process, environment, health check, limits of the kernel's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use skep_types::ContainerSpec;
use skep_types::container::{DnsConfig, HealthConfig, Ulimit};
use skep_types::privilege;
use skep_types::service::LogDriver;

use super::{Scope, mounts};
use crate::error::Problem;
use crate::node::Node;
use crate::units;

pub(super) fn container(
    name: &str,
    node: &Node,
    scope: &mut Scope<'_>,
) -> Result<ContainerSpec, Problem> {
    let (capability_add, capability_drop) =
        capabilities(&node.texts_of("cap_add"), &node.texts_of("cap_drop"));
    Ok(ContainerSpec {
        image: node.text_of("image").to_owned(),
        labels: scope.namespace.labels(labels(node)?),
        command: node.texts_of("entrypoint"),
        args: node.texts_of("command"),
        hostname: node.text_of("hostname").to_owned(),
        env: environment(node),
        dir: node.text_of("working_dir").to_owned(),
        user: node.text_of("user").to_owned(),
        groups: node.texts_of("group_add"),
        tty: node.flag("tty"),
        open_stdin: node.flag("stdin_open"),
        read_only: node.flag("read_only"),
        init: node.get("init").and_then(Node::as_bool),
        mounts: mounts::mounts(name, node, scope)?,
        stop_signal: node.text_of("stop_signal").to_owned(),
        stop_grace_period: node.get("stop_grace_period").map(duration).transpose()?,
        hosts: hosts(node),
        dns: dns(node)?,
        health: node.get("healthcheck").map(health).transpose()?,
        secrets: Vec::new(),
        configs: Vec::new(),
        sysctls: node.pairs_of("sysctls"),
        capability_add,
        capability_drop,
        ulimits: ulimits(node)?,
        ..ContainerSpec::default()
    })
}

/// The service's own, and those that ask a node's operator for devices and privileges.
///
/// DEVIATION: Docker's stacks take both and ignore them.
fn labels(node: &Node) -> Result<BTreeMap<String, String>, Problem> {
    let mut labels = node.pairs_of("labels");
    if node.flag("privileged") {
        labels.insert(privilege::PRIVILEGED.to_owned(), "true".to_owned());
    }
    let devices = node.texts_of("devices");
    if devices.iter().any(|device| device.contains(',')) {
        return Err(node.at.problem("a device of a service cannot have a comma"));
    }
    if !devices.is_empty() {
        labels.insert(privilege::DEVICES.to_owned(), devices.join(","));
    }
    match privilege::of(&labels) {
        Ok(_) => Ok(labels),
        Err(error) => {
            let at = node.get("devices").map_or(&node.at, |it| &it.at);
            Err(at.problem(error.to_string()))
        }
    }
}

/// A duration in the one form.
pub(super) fn duration(node: &Node) -> Result<Duration, Problem> {
    let text = node.as_str().unwrap_or_default();
    units::duration(text).map_err(|message| node.at.problem(message))
}

/// `NAME=value`, or the name alone, sorted.
fn environment(node: &Node) -> Vec<String> {
    let entries = node.get("environment").into_iter().flat_map(Node::entries);
    let line = |(name, value): (&String, &Node)| match value.scalar() {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    let mut lines: Vec<_> = entries.map(line).collect();
    lines.sort();
    lines
}

/// `address host`, as SwarmKit and Docker's API have it, for each `host:address`.
fn hosts(node: &Node) -> Vec<String> {
    let texts = node.texts_of("extra_hosts");
    let pairs = texts.iter().filter_map(|text| text.split_once(':'));
    pairs.map(|(host, address)| format!("{address} {host}")).collect()
}

fn dns(node: &Node) -> Result<DnsConfig, Problem> {
    let servers = node.get("dns").map(Node::items).unwrap_or_default();
    for server in servers {
        let text = server.as_str().unwrap_or_default();
        if text.parse::<IpAddr>().is_err() {
            return Err(server
                .at
                .problem(format!("invalid DNS server: {text} is not an IP address")));
        }
    }
    Ok(DnsConfig {
        nameservers: node.texts_of("dns"),
        search: node.texts_of("dns_search"),
        options: node.texts_of("dns_opt"),
    })
}

fn health(node: &Node) -> Result<HealthConfig, Problem> {
    let test = node.texts_of("test");
    if node.flag("disable") {
        if !test.is_empty() {
            return Err(node.at.problem("test and disable can't be set at the same time"));
        }
        return Ok(HealthConfig { test: vec!["NONE".to_owned()], ..Default::default() });
    }
    let time = |key| node.get(key).map(duration).transpose().map(Option::unwrap_or_default);
    let retries = node.get("retries").and_then(Node::as_int).unwrap_or(0);
    Ok(HealthConfig {
        test,
        interval: time("interval")?,
        timeout: time("timeout")?,
        retries: i64::try_from(retries).unwrap_or(i64::MAX),
        start_period: time("start_period")?,
        start_interval: time("start_interval")?,
    })
}

pub(super) fn log_driver(node: &Node) -> Option<LogDriver> {
    let logging = node.get("logging")?;
    let name = logging.text_of("driver").to_owned();
    let options = logging.pairs_of("options");
    (!name.is_empty() || !options.is_empty()).then_some(LogDriver { name, options })
}

fn ulimits(node: &Node) -> Result<Vec<Ulimit>, Problem> {
    let mut ulimits = Vec::new();
    for (name, limit) in node.get("ulimits").into_iter().flat_map(Node::entries) {
        let number = |node: &Node| {
            let number = node.as_int().and_then(|number| i64::try_from(number).ok());
            number.ok_or_else(|| node.at.problem(format!("ulimit {name} is out of range")))
        };
        let part = |key| number(limit.get(key).unwrap_or(limit));
        let (soft, hard) = (part("soft")?, part("hard")?);
        // -1 is no limit.
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(limit.at.problem(format!(
                "ulimit {name}: soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        ulimits.push(Ulimit { name: name.clone(), soft, hard });
    }
    Ok(ulimits)
}

/// Capabilities in one spelling, without doubles; what is added is not dropped too.
fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let set = |names: &[String]| -> BTreeSet<String> {
        let spelled = names.iter().map(|name| {
            let name = name.trim().to_ascii_uppercase();
            match name.as_str() {
                "ALL" | "RESET" => name,
                _ if name.starts_with("CAP_") => name,
                _ => format!("CAP_{name}"),
            }
        });
        let names: BTreeSet<_> = spelled.filter(|name| name != "RESET").collect();
        if names.contains("ALL") { BTreeSet::from(["ALL".to_owned()]) } else { names }
    };
    let (add, drop) = (set(add), set(drop));
    let drop = drop.difference(&add).cloned().collect();
    (add.into_iter().collect(), drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_in_one_spelling() {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        for (add, drop, expected_add, expected_drop) in [
            (&["net_admin", "CAP_NET_ADMIN"][..], &[][..], &["CAP_NET_ADMIN"][..], &[][..]),
            (&["ALL", "chown"], &["chown", "kill"], &["ALL"], &["CAP_CHOWN", "CAP_KILL"]),
            (&["chown"], &["ALL"], &["CAP_CHOWN"], &["ALL"]),
            (&["chown"], &["chown"], &["CAP_CHOWN"], &[]),
            (&["RESET"], &["reset"], &[], &[]),
        ] {
            let got = capabilities(&list(add), &list(drop));
            assert_eq!(got, (list(expected_add), list(expected_drop)));
        }
    }
}
