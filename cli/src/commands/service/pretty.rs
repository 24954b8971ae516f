//! A service for reading: `skep service inspect --pretty`.

use std::fmt::Write;

use skep_docker_api::json::{ContainerSpec, Service, UpdateConfig};

use crate::commands::Session;
use crate::output::human::{ago, go_duration, memory};

pub async fn show(session: &Session, service: &Service) -> String {
    let mut networks = Vec::new();
    for network in &service.spec.task_template.networks {
        let found = session.client.network(&network.target).await;
        networks.push(found.map_or_else(|_| network.target.clone(), |network| network.name));
    }
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, service, &networks);
    out
}

fn rollout(out: &mut String, kind: &str, config: Option<&UpdateConfig>) -> std::fmt::Result {
    let Some(config) = config else { return Ok(()) };
    writeln!(out, "{kind}Config:\n Parallelism:\t{}", config.parallelism)?;
    if config.delay_ns > 0 {
        writeln!(out, " Delay:\t\t{}", go_duration(config.delay_ns))?;
    }
    writeln!(out, " On failure:\t{}", config.failure_action)?;
    if config.monitor_ns > 0 {
        writeln!(out, " Monitoring Period: {}", go_duration(config.monitor_ns))?;
    }
    writeln!(out, " Max failure ratio: {}", config.max_failure_ratio)?;
    writeln!(out, " {:<18} {}", format!("{kind} order:"), config.order)
}

/// The tabs and blanks are Docker's own: scripts cut at them.
fn write(out: &mut String, service: &Service, networks: &[String]) -> std::fmt::Result {
    let spec = &service.spec;
    let task = &spec.task_template;
    writeln!(out, "\nID:\t\t{}\nName:\t\t{}", service.id, spec.name)?;
    if !spec.labels.is_empty() {
        writeln!(out, "Labels:")?;
        for (key, value) in &spec.labels {
            let value = if value.is_empty() { String::new() } else { format!("={value}") };
            writeln!(out, " {key}{value}")?;
        }
    }
    write!(out, "Service Mode:")?;
    if spec.mode.global.is_some() {
        write!(out, "\tGlobal")?;
    } else if let Some(mode) = &spec.mode.replicated {
        write!(out, "\tReplicated")?;
        if let Some(replicas) = mode.replicas {
            write!(out, "\n Replicas:\t{replicas}")?;
        }
    }
    writeln!(out)?;
    if let Some(status) = service.update_status.as_ref().filter(|status| !status.state.is_empty()) {
        writeln!(out, "UpdateStatus:\n State:\t\t{}", status.state)?;
        if let Some(at) = &status.started_at {
            writeln!(out, " Started:\t{}", ago(at))?;
        }
        if let Some(at) = status.completed_at.as_ref().filter(|_| status.state == "completed") {
            writeln!(out, " Completed:\t{}", ago(at))?;
        }
        writeln!(out, " Message:\t{}", status.message)?;
    }
    writeln!(out, "Placement:")?;
    if let Some(placement) = &task.placement {
        if !placement.constraints.is_empty() {
            writeln!(out, " Constraints:\t[{}]", placement.constraints.join(" "))?;
        }
        let spread = placement.preferences.iter().flat_map(|one| &one.spread);
        let spread: Vec<_> = spread.map(|over| format!("spread={}", over.descriptor)).collect();
        if !spread.is_empty() {
            writeln!(out, " Preferences:   [{}]", spread.join(" "))?;
        }
        if placement.max_replicas > 0 {
            writeln!(out, " Max Replicas Per Node:   {}", placement.max_replicas)?;
        }
    }
    rollout(out, "Update", spec.update_config.as_ref())?;
    rollout(out, "Rollback", spec.rollback_config.as_ref())?;
    if let Some(container) = &task.container_spec {
        write_container(out, container)?;
    }
    if let Some(driver) = &task.log_driver {
        writeln!(out, "Log Driver:")?;
        if !driver.name.is_empty() {
            writeln!(out, " Name:\t\t{}", driver.name)?;
        }
        if !driver.options.is_empty() {
            writeln!(out, " LogOpts:")?;
            for (key, value) in &driver.options {
                writeln!(out, "  {key}:       {value}")?;
            }
        }
        writeln!(out)?;
    }
    write_resources(out, service)?;
    if !networks.is_empty() {
        writeln!(out, "Networks: {} ", networks.join(" "))?;
    }
    let mode = spec.endpoint_spec.as_ref().map_or("", |endpoint| endpoint.mode.as_str());
    writeln!(out, "Endpoint Mode:\t{mode}")?;
    if !service.endpoint.ports.is_empty() {
        write!(out, "Ports:")?;
        for port in &service.endpoint.ports {
            write!(
                out,
                "\n PublishedPort = {}\n  Protocol = {}",
                port.published_port, port.protocol
            )?;
            write!(
                out,
                "\n  TargetPort = {}\n  PublishMode = {}",
                port.target_port, port.publish_mode
            )?;
        }
        writeln!(out, " ")?;
    }
    if let Some(check) = task.container_spec.as_ref().and_then(|spec| spec.healthcheck.as_ref()) {
        writeln!(out, " Healthcheck:\n  Interval = {}", go_duration(check.interval_ns))?;
        writeln!(out, "  Retries = {}", check.retries)?;
        writeln!(out, "  StartPeriod =\t{}", go_duration(check.start_period_ns))?;
        writeln!(out, "  Timeout =\t{}", go_duration(check.timeout_ns))?;
        if !check.test.is_empty() {
            write!(out, "  Tests:")?;
            for word in &check.test {
                write!(out, "\n\t Test = {word}")?;
            }
            writeln!(out, " ")?;
        }
    }
    writeln!(out)
}

fn write_container(out: &mut String, container: &ContainerSpec) -> std::fmt::Result {
    write!(out, "ContainerSpec:\n Image:\t\t{}", container.image)?;
    for (name, words) in [("Args", &container.args), ("Env", &container.env)] {
        if !words.is_empty() {
            write!(out, "\n {name}:\t\t{} ", words.join(" "))?;
        }
    }
    if !container.dir.is_empty() {
        write!(out, "\n Dir:\t\t{}", container.dir)?;
    }
    if let Some(init) = container.init {
        write!(out, "\n Init:\t\t{init}")?;
    }
    if !container.user.is_empty() {
        write!(out, "\n User: {}", container.user)?;
    }
    writeln!(out)?;
    let lists = [("Add", &container.capability_add), ("Drop", &container.capability_drop)];
    if lists.iter().any(|(_, list)| !list.is_empty()) {
        writeln!(out, "Capabilities:")?;
        for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
            writeln!(out, " {name}: {}", list.join(", "))?;
        }
    }
    if !container.sysctls.is_empty() {
        writeln!(out, "SysCtls:")?;
        for (key, value) in &container.sysctls {
            writeln!(out, " {key}: {value}")?;
        }
    }
    if !container.ulimits.is_empty() {
        writeln!(out, "Ulimits:")?;
        for limit in &container.ulimits {
            writeln!(out, " {}: {}:{}", limit.name, limit.soft, limit.hard)?;
        }
    }
    if !container.mounts.is_empty() {
        writeln!(out, "Mounts:")?;
        for mount in &container.mounts {
            writeln!(out, " Target:\t{}\n  Source:\t{}", mount.target, mount.source)?;
            writeln!(out, "  ReadOnly:\t{}\n  Type:\t\t{}", mount.read_only, mount.kind)?;
        }
    }
    if !container.configs.is_empty() {
        writeln!(out, "Configs:")?;
        for config in &container.configs {
            let target = config.file.as_ref().map_or("", |file| file.name.as_str());
            writeln!(out, " Target:\t{target}\n  Source:\t{}", config.config_name)?;
        }
    }
    if !container.secrets.is_empty() {
        writeln!(out, "Secrets:")?;
        for secret in &container.secrets {
            let target = secret.file.as_ref().map_or("", |file| file.name.as_str());
            writeln!(out, " Target:\t{target}\n  Source:\t{}", secret.secret_name)?;
        }
    }
    Ok(())
}

fn write_resources(out: &mut String, service: &Service) -> std::fmt::Result {
    let Some(resources) = &service.spec.task_template.resources else { return Ok(()) };
    writeln!(out, "Resources:")?;
    let amounts = |out: &mut String, cpus: i64, bytes: i64| {
        if cpus > 0 {
            writeln!(out, "  CPU:\t\t{}", cpus as f64 / 1e9)?;
        }
        if bytes > 0 {
            writeln!(out, "  Memory:\t{}", memory(bytes))?;
        }
        Ok(())
    };
    if let Some(kept) = &resources.reservations
        && (kept.nano_cpus > 0 || kept.memory_bytes > 0)
    {
        writeln!(out, " Reservations:")?;
        amounts(out, kept.nano_cpus, kept.memory_bytes)?;
    }
    if let Some(limits) = &resources.limits
        && (limits.nano_cpus > 0 || limits.memory_bytes > 0 || limits.pids > 0)
    {
        writeln!(out, " Limits:")?;
        amounts(out, limits.nano_cpus, limits.memory_bytes)?;
        if limits.pids > 0 {
            writeln!(out, "  PIDs:\t\t{}", limits.pids)?;
        }
    }
    Ok(())
}
