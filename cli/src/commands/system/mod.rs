//! `skep system`, `skep version` and `skep info`: both ends of the conversation.

mod dial;
pub mod events;
mod usage;

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::json;
use skep_docker_api::json::{ComponentVersion, Info, Version, Whole};
use skep_docker_api::{ClientError, defaults};
use skep_template::{Mode, Template};

use super::{Session, prune};
use crate::failure::{Failure, Outcome};
use crate::output::human::{duration, memory};
use crate::output::{inspect, line, print, tabs, warn};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show docker disk usage
    Df(usage::DfArgs),
    /// Proxy the stdio stream to the daemon connection. Should not be invoked manually.
    #[command(hide = true)]
    DialStdio,
    /// Get real time events from the server
    Events(events::EventsArgs),
    /// Display system-wide information
    Info(InfoArgs),
    /// Remove unused data
    Prune(prune::SystemPruneArgs),
}

pub async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Df(args) => usage::run(session, args).await,
        Command::DialStdio => dial::run(session).await,
        Command::Events(args) => events::run(session, args).await,
        Command::Info(args) => info(session, args).await,
        Command::Prune(args) => prune::system(session, args).await,
    }
}

#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn engine(server: &Version) -> Option<&ComponentVersion> {
    server.components.iter().find(|component| component.name == "Engine")
}

pub async fn version(session: &Session, args: VersionArgs) -> Outcome {
    let template = match args.format.as_deref().unwrap_or_default() {
        "" => None,
        "json" => Some(Template::parse("{{json .}}")?),
        text => Some(Template::parse(text)?),
    };
    let server = session.client.version().await;
    let (os, arch) = (std::env::consts::OS, go_arch(std::env::consts::ARCH));
    let spoken = session.client.api_version();
    let text = match template {
        Some(template) => {
            let document = json!({
                "Client": {
                    "Version": VERSION, "ApiVersion": spoken, "APIVersion": spoken,
                    "DefaultAPIVersion": defaults::API_VERSION, "Os": os, "Arch": arch, "Context": session.context,
                },
                "Server": server.as_ref().ok().map(Whole::whole),
            });
            format!("{}\n", template.render(&document, Mode::Row)?)
        }
        None => {
            let shown = match spoken {
                defaults::API_VERSION => spoken.to_owned(),
                other => format!("{other} (downgraded from {})", defaults::API_VERSION),
            };
            let mut text = format!(
                "Client:\n Version:\t{VERSION}\n API version:\t{shown}\n OS/Arch:\t{os}/{arch}\n Context:\t{}\n",
                session.context
            );
            if let Ok(server) = &server {
                text.push_str(&server_text(server));
            }
            tabs::align(&text, tabs::VERSION)
        }
    };
    print(&text)?;
    server?;
    Ok(())
}

fn server_text(server: &Version) -> String {
    let mut text = match server.platform.name.as_str() {
        "" => "\nServer:\n".to_owned(),
        name => format!("\nServer: {name}\n"),
    };
    let version = engine(server).map_or(&server.version, |engine| &engine.version);
    let mut add = |name: &str, value: String| text.push_str(&format!("  {name}:\t{value}\n"));
    add("Version", version.clone());
    add(
        "API version",
        format!("{} (minimum version {})", server.api_version, server.min_api_version),
    );
    for (name, value) in [("Git commit", &server.git_commit), ("Built", &server.build_time)] {
        if !value.is_empty() {
            add(name, value.clone());
        }
    }
    add("OS/Arch", format!("{}/{}", server.os, server.arch));
    add("Experimental", server.experimental.to_string());
    let at = text.find("  Version:").unwrap_or(text.len());
    text.insert_str(at, " Engine:\n");
    for component in server.components.iter().filter(|component| component.name != "Engine") {
        text.push_str(&format!(" {}:\n  Version:\t{}\n", component.name, component.version));
        for (key, value) in &component.details {
            text.push_str(&format!("  {key}:\t{value}\n"));
        }
    }
    text
}

/// Go's name of a processor, which Docker shows.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub async fn info(session: &Session, args: InfoArgs) -> Outcome {
    let (context, debug) = (&session.context, session.debug);
    let client = json!({ "Version": VERSION, "Context": context, "Debug": debug, "Plugins": [] });
    match args.format.as_deref().unwrap_or_default() {
        "" => {}
        format => {
            let template = Template::parse(if format == "json" { "{{json .}}" } else { format })?;
            let info = session.client.info().await?;
            let document = inspect::value(&info).with("ClientInfo", &client);
            return line(document.render(&template)?);
        }
    }
    print(&format!(
        "Client:\n Version:    {VERSION}\n Context:    {context}\n Debug Mode: {debug}\n\nServer:\n"
    ))?;
    match session.client.info().await {
        Ok(info) => {
            let mut text = String::new();
            // Writing to a string does not fail.
            let _ = write_info(&mut text, &info);
            print(&text)?;
            info.warnings.iter().flatten().for_each(warn);
            Ok(())
        }
        Err(error @ ClientError::Connect { .. }) => Err(error.into()),
        Err(error) => {
            warn(format!("ERROR: {}", Failure::from(error)));
            Err(Failure::new("errors pretty printing info"))
        }
    }
}

fn write_info(out: &mut String, info: &Info) -> std::fmt::Result {
    writeln!(out, " Containers: {}", info.containers)?;
    writeln!(out, "  Running: {}", info.containers_running)?;
    writeln!(out, "  Paused: {}", info.containers_paused)?;
    writeln!(out, "  Stopped: {}", info.containers_stopped)?;
    writeln!(out, " Images: {}", info.images)?;
    some(out, " Server Version", &info.server_version)?;
    some(out, " Storage Driver", &info.driver)?;
    for (name, value) in &info.driver_status {
        writeln!(out, "  {name}: {value}")?;
    }
    some(out, " Logging Driver", &info.logging_driver)?;
    some(out, " Cgroup Driver", &info.cgroup_driver)?;
    some(out, " Cgroup Version", &info.cgroup_version)?;
    writeln!(out, " Plugins:\n  Volume: {}", info.plugins.volume.join(" "))?;
    writeln!(out, "  Network: {}", info.plugins.network.join(" "))?;
    if !info.plugins.authorization.is_empty() {
        writeln!(out, "  Authorization: {}", info.plugins.authorization.join(" "))?;
    }
    writeln!(out, "  Log: {}", info.plugins.log.join(" "))?;
    if !info.cdi_spec_dirs.is_empty() {
        writeln!(out, " CDI spec directories:")?;
        for directory in &info.cdi_spec_dirs {
            writeln!(out, "  {directory}")?;
        }
    }
    if !info.discovered_devices.is_empty() {
        writeln!(out, " Discovered Devices:")?;
        for device in &info.discovered_devices {
            writeln!(out, "  {}: {}", device.source, device.id)?;
        }
    }
    writeln!(out, " Swarm: {}", info.swarm.local_node_state)?;
    write_swarm(out, info)?;
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    some(out, " Runtimes", &runtimes.join(" "))?;
    some(out, " Default Runtime", &info.default_runtime)?;
    some(out, " Init Binary", &info.init_binary)?;
    some(out, " containerd version", &info.containerd_commit.id)?;
    some(out, " runc version", &info.runc_commit.id)?;
    some(out, " init version", &info.init_commit.id)?;
    if !info.security_options.is_empty() {
        writeln!(out, " Security Options:")?;
        for option in &info.security_options {
            let mut parts = option.split(',');
            let name = parts.next().unwrap_or_default();
            writeln!(out, "  {}", name.strip_prefix("name=").unwrap_or(name))?;
            for profile in parts.filter_map(|part| part.strip_prefix("profile=")) {
                writeln!(out, "   Profile: {profile}")?;
            }
        }
    }
    some(out, " Kernel Version", &info.kernel_version)?;
    some(out, " Operating System", &info.operating_system)?;
    some(out, " OSType", &info.os_type)?;
    some(out, " Architecture", &info.architecture)?;
    writeln!(out, " CPUs: {}", info.ncpu)?;
    writeln!(out, " Total Memory: {}", memory(i64::try_from(info.mem_total).unwrap_or(i64::MAX)))?;
    some(out, " Name", &info.name)?;
    some(out, " ID", &info.id)?;
    writeln!(out, " Docker Root Dir: {}", info.docker_root_dir)?;
    writeln!(out, " Debug Mode: {}", info.debug)?;
    some(out, " HTTP Proxy", &info.http_proxy)?;
    some(out, " HTTPS Proxy", &info.https_proxy)?;
    some(out, " No Proxy", &info.no_proxy)?;
    if !info.labels.is_empty() {
        writeln!(out, " Labels:")?;
        for label in &info.labels {
            writeln!(out, "  {label}")?;
        }
    }
    writeln!(out, " Experimental: {}", info.experimental_build)?;
    if let Some(registries) = &info.registry_config {
        writeln!(out, " Insecure Registries:")?;
        for registry in registries.index_configs.values().filter(|it| !it.secure) {
            writeln!(out, "  {}", registry.name)?;
        }
        for network in &registries.insecure_cidrs {
            writeln!(out, "  {network}")?;
        }
        if let Some(mirrors) = registries.mirrors.as_ref().filter(|it| !it.is_empty()) {
            writeln!(out, " Registry Mirrors:")?;
            for mirror in mirrors {
                writeln!(out, "  {mirror}")?;
            }
        }
    }
    writeln!(out, " Live Restore Enabled: {}", info.live_restore_enabled)?;
    if !info.default_address_pools.is_empty() {
        writeln!(out, " Default Address Pools:")?;
        for pool in &info.default_address_pools {
            writeln!(out, "   Base: {}, Size: {}", pool.base, pool.size)?;
        }
    }
    writeln!(out)
}

fn some(out: &mut String, name: &str, value: &str) -> std::fmt::Result {
    if value.is_empty() { Ok(()) } else { writeln!(out, "{name}: {value}") }
}

fn write_swarm(out: &mut String, info: &Info) -> std::fmt::Result {
    let swarm = &info.swarm;
    if matches!(swarm.local_node_state.as_str(), "" | "inactive" | "locked") {
        return Ok(());
    }
    writeln!(out, "  NodeID: {}", swarm.node_id)?;
    some(out, "  Error", &swarm.error)?;
    writeln!(out, "  Is Manager: {}", swarm.control_available)?;
    let told =
        swarm.control_available && swarm.error.is_empty() && swarm.local_node_state != "error";
    if let Some(cluster) = swarm.cluster.as_ref().filter(|_| told) {
        let spec = &cluster.spec;
        writeln!(out, "  ClusterID: {}", cluster.id)?;
        writeln!(out, "  Managers: {}", swarm.managers)?;
        writeln!(out, "  Nodes: {}", swarm.nodes)?;
        if !cluster.default_addr_pool.is_empty() {
            writeln!(out, "  Default Address Pool: {}  ", cluster.default_addr_pool.join("  "))?;
            writeln!(out, "  SubnetSize: {}", cluster.subnet_size)?;
        }
        if cluster.data_path_port > 0 {
            writeln!(out, "  Data Path Port: {}", cluster.data_path_port)?;
        }
        let history = spec.orchestration.task_history_retention_limit.unwrap_or(0);
        writeln!(out, "  Orchestration:\n   Task History Retention Limit: {history}")?;
        writeln!(out, "  Raft:\n   Snapshot Interval: {}", spec.raft.snapshot_interval)?;
        if let Some(kept) = spec.raft.keep_old_snapshots {
            writeln!(out, "   Number of Old Snapshots to Retain: {kept}")?;
        }
        writeln!(out, "   Heartbeat Tick: {}", spec.raft.heartbeat_tick)?;
        writeln!(out, "   Election Tick: {}", spec.raft.election_tick)?;
        let heartbeat = duration(spec.dispatcher.heartbeat_period_ns.into());
        writeln!(out, "  Dispatcher:\n   Heartbeat Period: {heartbeat}")?;
        let expiry = duration(spec.ca_config.node_cert_expiry_ns.into());
        writeln!(out, "  CA Configuration:\n   Expiry Duration: {expiry}")?;
        writeln!(out, "   Force Rotate: {}", spec.ca_config.force_rotate)?;
        writeln!(out, "  Autolock Managers: {}", spec.encryption_config.auto_lock_managers)?;
        writeln!(out, "  Root Rotation In Progress: {}", cluster.root_rotation_in_progress)?;
    }
    writeln!(out, "  Node Address: {}", swarm.node_addr)?;
    let mut managers: Vec<_> =
        swarm.remote_managers.iter().flatten().map(|peer| &peer.addr).collect();
    managers.sort();
    if !managers.is_empty() {
        writeln!(out, "  Manager Addresses:")?;
        for address in managers {
            writeln!(out, "   {address}")?;
        }
    }
    Ok(())
}
