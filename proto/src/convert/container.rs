//! What a task's container is made from.

use skep_types::container::{DnsConfig, HealthConfig, Ulimit};
use skep_types::{ContainerSpec, Payload};

use super::error::ConvertError;
use super::field::{
    absent, duration, duration_of, duration_or, list, messages, narrow, optional, or_default,
};
use super::payload::payload;
use crate::swarmkit;
use crate::swarmkit::container_spec;

impl From<&HealthConfig> for swarmkit::HealthConfig {
    fn from(health: &HealthConfig) -> Self {
        // SwarmKit counts in 32 bits; a check that may fail more often than that never gives up.
        let retries = health.retries.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        Self {
            test: health.test.clone(),
            interval: Some(duration(health.interval)),
            timeout: Some(duration(health.timeout)),
            retries: i32::try_from(retries).expect("clamped to 32 bits"),
            start_period: Some(duration(health.start_period)),
            start_interval: Some(duration(health.start_interval)),
        }
    }
}

impl TryFrom<swarmkit::HealthConfig> for HealthConfig {
    type Error = ConvertError;

    fn try_from(message: swarmkit::HealthConfig) -> Result<Self, ConvertError> {
        let or_image = |field, name| duration_or(field, Default::default(), name);
        Ok(Self {
            test: message.test,
            interval: or_image(message.interval, "interval")?,
            timeout: or_image(message.timeout, "timeout")?,
            retries: i64::from(message.retries),
            start_period: or_image(message.start_period, "start_period")?,
            start_interval: or_image(message.start_interval, "start_interval")?,
        })
    }
}

impl From<&DnsConfig> for container_spec::DnsConfig {
    fn from(dns: &DnsConfig) -> Self {
        Self {
            nameservers: dns.nameservers.clone(),
            search: dns.search.clone(),
            options: dns.options.clone(),
        }
    }
}

impl TryFrom<container_spec::DnsConfig> for DnsConfig {
    type Error = ConvertError;

    fn try_from(message: container_spec::DnsConfig) -> Result<Self, ConvertError> {
        Ok(Self {
            nameservers: message.nameservers,
            search: message.search,
            options: message.options,
        })
    }
}

impl From<&Ulimit> for container_spec::Ulimit {
    fn from(limit: &Ulimit) -> Self {
        Self { name: limit.name.clone(), soft: limit.soft, hard: limit.hard }
    }
}

impl TryFrom<container_spec::Ulimit> for Ulimit {
    type Error = ConvertError;

    fn try_from(message: container_spec::Ulimit) -> Result<Self, ConvertError> {
        Ok(Self { name: message.name, soft: message.soft, hard: message.hard })
    }
}

/// What is no text cannot be a login: it is not sent.
fn registry_auth(auth: &Payload) -> Option<container_spec::PullOptions> {
    let registry_auth = std::str::from_utf8(&auth.0).ok().filter(|text| !text.is_empty())?;
    Some(container_spec::PullOptions { registry_auth: registry_auth.to_owned() })
}

impl From<&ContainerSpec> for swarmkit::ContainerSpec {
    fn from(spec: &ContainerSpec) -> Self {
        Self {
            image: spec.image.clone(),
            labels: spec.labels.clone(),
            command: spec.command.clone(),
            args: spec.args.clone(),
            env: spec.env.clone(),
            dir: spec.dir.clone(),
            user: spec.user.clone(),
            mounts: messages(&spec.mounts),
            stop_grace_period: spec.stop_grace_period.map(duration),
            pull_options: registry_auth(&spec.registry_auth),
            groups: spec.groups.clone(),
            secrets: messages(&spec.secrets),
            tty: spec.tty,
            hostname: spec.hostname.clone(),
            dns_config: Some((&spec.dns).into()),
            healthcheck: spec.health.as_ref().map(Into::into),
            hosts: spec.hosts.clone(),
            open_stdin: spec.open_stdin,
            read_only: spec.read_only,
            stop_signal: spec.stop_signal.clone(),
            configs: messages(&spec.configs),
            privileges: None,
            init: spec.init,
            isolation: container_spec::Isolation::Default as i32,
            // The task's limits have it: `service` puts it here.
            pids_limit: 0,
            sysctls: spec.sysctls.clone(),
            capability_add: spec.capability_add.clone(),
            capability_drop: spec.capability_drop.clone(),
            ulimits: messages(&spec.ulimits),
            oom_score_adj: spec.oom_score_adj.into(),
        }
    }
}

impl TryFrom<swarmkit::ContainerSpec> for ContainerSpec {
    type Error = ConvertError;

    fn try_from(message: swarmkit::ContainerSpec) -> Result<Self, ConvertError> {
        absent(message.privileges.is_none(), "a change of privileges", "privileges")?;
        absent(message.isolation == 0, "isolation", "isolation")?;
        let grace = message.stop_grace_period;
        Ok(Self {
            image: message.image,
            labels: message.labels,
            command: message.command,
            args: message.args,
            hostname: message.hostname,
            env: message.env,
            dir: message.dir,
            user: message.user,
            groups: message.groups,
            tty: message.tty,
            open_stdin: message.open_stdin,
            read_only: message.read_only,
            init: message.init,
            mounts: list(message.mounts, "mounts")?,
            stop_signal: message.stop_signal,
            stop_grace_period: grace.map(|it| duration_of(it, "stop_grace_period")).transpose()?,
            hosts: message.hosts,
            dns: or_default(message.dns_config, "dns_config")?,
            health: optional(message.healthcheck, "healthcheck")?,
            secrets: list(message.secrets, "secrets")?,
            configs: list(message.configs, "configs")?,
            sysctls: message.sysctls,
            capability_add: message.capability_add,
            capability_drop: message.capability_drop,
            ulimits: list(message.ulimits, "ulimits")?,
            oom_score_adj: narrow(message.oom_score_adj, "an OOM score", "oom_score_adj")?,
            registry_auth: payload(
                message.pull_options.unwrap_or_default().registry_auth.into_bytes(),
            ),
        })
    }
}
