//! A service's container: process, files, health, names.

use std::net::IpAddr;

use skep_types::container::{DnsConfig, HealthConfig, Ulimit};
use skep_types::{ContainerSpec, Payload};

use super::{Answer, duration, mount, nanos, privileges, references};
use crate::error::ApiError;
use crate::json;

pub(super) fn from_api(container: &json::ContainerSpec) -> Answer<ContainerSpec> {
    privileges::check(container)?;
    let dns = container.dns_config.clone().unwrap_or_default();
    let grace = container.stop_grace_period_ns;
    Ok(ContainerSpec {
        image: container.image.clone(),
        labels: container.labels.clone(),
        command: container.command.clone(),
        args: container.args.clone(),
        hostname: container.hostname.clone(),
        env: container.env.clone(),
        dir: container.dir.clone(),
        user: container.user.clone(),
        groups: container.groups.clone(),
        tty: container.tty,
        open_stdin: container.open_stdin,
        read_only: container.read_only,
        init: container.init,
        mounts: container.mounts.iter().map(mount::from_api).collect::<Answer<_>>()?,
        stop_signal: container.stop_signal.clone(),
        stop_grace_period: grace
            .map(|nanos| duration(nanos, "ContainerSpec: stop-grace-period"))
            .transpose()?,
        hosts: hosts_from_api(&container.hosts)?,
        dns: DnsConfig { nameservers: dns.nameservers, search: dns.search, options: dns.options },
        health: container.healthcheck.as_ref().map(health_from_api).transpose()?,
        secrets: container
            .secrets
            .iter()
            .map(references::secret_from_api)
            .collect::<Answer<_>>()?,
        configs: container
            .configs
            .iter()
            .map(references::config_from_api)
            .collect::<Answer<_>>()?,
        sysctls: container.sysctls.clone(),
        capability_add: container.capability_add.clone(),
        capability_drop: container.capability_drop.clone(),
        ulimits: container
            .ulimits
            .iter()
            .map(|limit| Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard })
            .collect(),
        oom_score_adj: oom_score(container.oom_score_adj)?,
        // It comes beside the document.
        registry_auth: Payload::default(),
    })
}

fn oom_score(score: i64) -> Answer<i32> {
    let within = i32::try_from(score).ok().filter(|score| (-1000..=1000).contains(score));
    within.ok_or_else(|| {
        ApiError::invalid(format!(
            "Invalid value {score}, range for oom score adj is [-1000, 1000]"
        ))
    })
}

fn health_from_api(health: &json::HealthConfig) -> Answer<HealthConfig> {
    let time =
        |nanos, what: &str| duration(nanos, &format!("ContainerSpec: {what} in HealthConfig"));
    if health.retries < 0 {
        return Err(ApiError::invalid("ContainerSpec: Retries in HealthConfig cannot be negative"));
    }
    Ok(HealthConfig {
        test: health.test.clone(),
        interval: time(health.interval_ns, "Interval")?,
        timeout: time(health.timeout_ns, "Timeout")?,
        retries: health.retries,
        start_period: time(health.start_period_ns, "StartPeriod")?,
        start_interval: time(health.start_interval_ns, "StartInterval")?,
    })
}

/// Checks the lines of `/etc/hosts` that the API has (`10.0.0.9 db database`); the vocabulary keeps them as they are.
fn hosts_from_api(lines: &[String]) -> Answer<Vec<String>> {
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().is_some_and(|word| word.parse::<IpAddr>().is_ok());
        if !address || words.next().is_none() {
            return Err(ApiError::invalid(format!(
                "ContainerSpec: invalid host {line:?}: expected an address and names"
            )));
        }
    }
    Ok(lines.to_vec())
}

pub(super) fn to_api(container: &ContainerSpec) -> json::ContainerSpec {
    let health = container.health.as_ref().map(|health| json::HealthConfig {
        test: health.test.clone(),
        interval_ns: nanos(health.interval),
        timeout_ns: nanos(health.timeout),
        start_period_ns: nanos(health.start_period),
        start_interval_ns: nanos(health.start_interval),
        retries: health.retries,
    });
    json::ContainerSpec {
        image: container.image.clone(),
        labels: container.labels.clone(),
        command: container.command.clone(),
        args: container.args.clone(),
        hostname: container.hostname.clone(),
        env: container.env.clone(),
        dir: container.dir.clone(),
        user: container.user.clone(),
        groups: container.groups.clone(),
        privileges: None,
        init: container.init,
        stop_signal: container.stop_signal.clone(),
        tty: container.tty,
        open_stdin: container.open_stdin,
        read_only: container.read_only,
        mounts: container.mounts.iter().map(mount::to_api).collect(),
        stop_grace_period_ns: container.stop_grace_period.map(nanos),
        healthcheck: health,
        hosts: container.hosts.clone(),
        dns_config: Some(json::DnsConfig {
            nameservers: container.dns.nameservers.clone(),
            search: container.dns.search.clone(),
            options: container.dns.options.clone(),
        }),
        secrets: container.secrets.iter().map(references::secret_to_api).collect(),
        configs: container.configs.iter().map(references::config_to_api).collect(),
        isolation: "default".to_owned(),
        sysctls: container.sysctls.clone(),
        capability_add: container.capability_add.clone(),
        capability_drop: container.capability_drop.clone(),
        ulimits: container
            .ulimits
            .iter()
            .map(|limit| json::Ulimit {
                name: limit.name.clone(),
                hard: limit.hard,
                soft: limit.soft,
            })
            .collect(),
        oom_score_adj: container.oom_score_adj.into(),
    }
}
