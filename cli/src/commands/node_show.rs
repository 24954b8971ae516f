//! A node for reading: `skep node inspect --pretty`.

use std::collections::BTreeMap;
use std::fmt::Write;

use skep_docker_api::json::{Map, Node, TlsInfo};

use crate::output::human::{capital, memory, moment};

pub fn pretty(node: &Node) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, node);
    out
}

fn labels(out: &mut String, title: &str, labels: &Map) -> std::fmt::Result {
    if labels.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}:")?;
    for (key, value) in labels {
        let value = if value.is_empty() { String::new() } else { format!("={value}") };
        writeln!(out, " - {key}{value}")?;
    }
    Ok(())
}

/// The tabs and blanks are Docker's own: scripts cut at them.
fn write(out: &mut String, node: &Node) -> std::fmt::Result {
    let Node { spec, description, status, .. } = node;
    writeln!(out, "ID:\t\t\t{}", node.id)?;
    if !spec.name.is_empty() {
        writeln!(out, "Name:\t\t\t{}", spec.name)?;
    }
    labels(out, "Labels", &spec.labels)?;
    writeln!(out, "Hostname:              \t{}", description.hostname)?;
    writeln!(out, "Joined at:             \t{}", moment(&node.created_at).to_lowercase())?;
    writeln!(out, "Status:\n State:\t\t\t{}", capital(&status.state))?;
    if !status.message.is_empty() {
        writeln!(out, " Message:              \t{}", capital(&status.message))?;
    }
    writeln!(out, " Availability:         \t{}", capital(&spec.availability))?;
    if !status.addr.is_empty() {
        writeln!(out, " Address:\t\t{}", status.addr)?;
    }
    if let Some(manager) = &node.manager_status {
        writeln!(out, "Manager Status:\n Address:\t\t{}", manager.addr)?;
        writeln!(out, " Raft Status:\t\t{}", capital(&manager.reachability))?;
        writeln!(out, " Leader:\t\t{}", if manager.leader { "Yes" } else { "No" })?;
    }
    writeln!(out, "Platform:\n Operating System:\t{}", description.platform.os)?;
    writeln!(out, " Architecture:\t\t{}", description.platform.architecture)?;
    let bytes = description.resources.memory_bytes;
    writeln!(out, "Resources:\n CPUs:\t\t\t{}", description.resources.nano_cpus / 1_000_000_000)?;
    writeln!(out, " Memory:\t\t{}", if bytes == 0 { String::new() } else { memory(bytes) })?;
    let mut plugins: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for plugin in &description.engine.plugins {
        plugins.entry(&plugin.kind).or_default().push(&plugin.name);
    }
    if !plugins.is_empty() {
        writeln!(out, "Plugins:")?;
        for (kind, names) in plugins {
            writeln!(out, " {kind}:\t\t{}", names.join(", "))?;
        }
    }
    writeln!(out, "Engine Version:\t\t{}", description.engine.engine_version)?;
    labels(out, "Engine Labels", &description.engine.labels)?;
    let tls = &description.tls_info;
    if *tls != TlsInfo::default() {
        writeln!(out, "TLS Info:\n TrustRoot:\n{}", tls.trust_root)?;
        writeln!(out, " Issuer Subject:\t{}", tls.cert_issuer_subject)?;
        writeln!(out, " Issuer Public Key:\t{}", tls.cert_issuer_public_key)?;
    }
    Ok(())
}
