//! Flags that `service create` and `service update` share, and what each does to a spec.
//!
//! Invariant: what no flag names stays as it was.

use clap::Args;
use skep_docker_api::json::{
    Driver, HealthConfig, RegistryAuth, ResourceRequirements, RestartPolicy, ServiceSpec,
    UpdateConfig,
};

use crate::commands::Session;
use crate::config::credentials;
use crate::failure::{Failure, Outcome};
use crate::values::words::{self, Words};
use crate::values::{amount, capability, duration, image, pairs};

#[derive(Debug, Args)]
pub struct Settings {
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// Credential spec for managed service account (Windows only)
    #[arg(long, value_name = "credential-spec", hide = true)]
    credential_spec: Option<String>,
    /// Endpoint mode (vip or dnsrr)
    #[arg(long, value_name = "string")]
    endpoint_mode: Option<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "command", value_parser = words::split, allow_hyphen_values = true)]
    entrypoint: Option<Words>,
    /// Command to run to check health
    #[arg(long, value_name = "string", allow_hyphen_values = true)]
    health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::positive)]
    health_interval: Option<i64>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int")]
    health_retries: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::positive)]
    health_start_interval: Option<i64>,
    /// Start period for the container to initialize before counting retries towards unstable (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::positive)]
    health_start_period: Option<i64>,
    /// Maximum time to allow one check to run (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::positive)]
    health_timeout: Option<i64>,
    /// Container hostname
    #[arg(long, value_name = "string")]
    hostname: Option<String>,
    /// Use an init inside each service container to forward signals and reap processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    pub init: Option<bool>,
    /// Service container isolation mode
    #[arg(long, value_name = "string", hide = true)]
    isolation: Option<String>,
    /// Limit CPUs
    #[arg(long, value_name = "decimal", value_parser = amount::nano_cpus)]
    limit_cpu: Option<i64>,
    /// Limit Memory
    #[arg(long, value_name = "bytes", value_parser = amount::bytes)]
    limit_memory: Option<i64>,
    /// Limit maximum number of processes (default 0 = unlimited)
    #[arg(long, value_name = "int")]
    limit_pids: Option<i64>,
    /// Logging driver for service
    #[arg(long, value_name = "string")]
    log_driver: Option<String>,
    /// Logging driver options
    #[arg(long, value_name = "list")]
    log_opt: Vec<String>,
    /// Number of job tasks to run concurrently (default equal to --replicas)
    #[arg(long, value_name = "uint")]
    pub max_concurrent: Option<u64>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    no_healthcheck: bool,
    /// Do not query the registry to resolve image digest and supported platforms
    #[arg(long)]
    pub no_resolve_image: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int", allow_hyphen_values = true)]
    oom_score_adj: Option<i64>,
    /// Mount the container's root filesystem as read only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    read_only: Option<bool>,
    /// Number of tasks
    #[arg(long, value_name = "uint", value_parser = count, allow_hyphen_values = true)]
    pub replicas: Option<u64>,
    /// Maximum number of tasks per node (default 0 = unlimited)
    #[arg(long, value_name = "uint")]
    pub replicas_max_per_node: Option<u64>,
    /// Reserve CPUs
    #[arg(long, value_name = "decimal", value_parser = amount::nano_cpus)]
    reserve_cpu: Option<i64>,
    /// Reserve Memory
    #[arg(long, value_name = "bytes", value_parser = amount::bytes)]
    reserve_memory: Option<i64>,
    /// Restart when condition is met ("none", "on-failure", "any")
    #[arg(long, value_name = "string")]
    restart_condition: Option<String>,
    /// Delay between restart attempts (ns|us|ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    restart_delay: Option<i64>,
    /// Maximum number of restarts before giving up
    #[arg(long, value_name = "uint")]
    restart_max_attempts: Option<u64>,
    /// Window used to evaluate the restart policy (ns|us|ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    restart_window: Option<i64>,
    /// Delay between task rollbacks (ns|us|ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    rollback_delay: Option<i64>,
    /// Action on rollback failure ("pause", "continue")
    #[arg(long, value_name = "string")]
    rollback_failure_action: Option<String>,
    /// Failure rate to tolerate during a rollback
    #[arg(long, value_name = "float")]
    rollback_max_failure_ratio: Option<f32>,
    /// Duration after each task rollback to monitor for failure (ns|us|ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    rollback_monitor: Option<i64>,
    /// Rollback order ("start-first", "stop-first")
    #[arg(long, value_name = "string")]
    rollback_order: Option<String>,
    /// Maximum number of tasks rolled back simultaneously (0 to roll back all at once)
    #[arg(long, value_name = "uint")]
    rollback_parallelism: Option<u64>,
    /// Time to wait before force killing a container (ns|us|ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    stop_grace_period: Option<i64>,
    /// Signal to stop the container
    #[arg(long, value_name = "string")]
    stop_signal: Option<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    tty: Option<bool>,
    /// Delay between updates (ns|us|ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    update_delay: Option<i64>,
    /// Action on update failure ("pause", "continue", "rollback")
    #[arg(long, value_name = "string")]
    update_failure_action: Option<String>,
    /// Failure rate to tolerate during an update
    #[arg(long, value_name = "float")]
    update_max_failure_ratio: Option<f32>,
    /// Duration after each task update to monitor for failure (ns|us|ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    update_monitor: Option<i64>,
    /// Update order ("start-first", "stop-first")
    #[arg(long, value_name = "string")]
    update_order: Option<String>,
    /// Maximum number of tasks updated simultaneously (0 to update all at once)
    #[arg(long, value_name = "uint")]
    update_parallelism: Option<u64>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Send registry authentication details to swarm agents
    #[arg(long)]
    with_registry_auth: bool,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
}

/// A number of tasks, refused in Go's words: everybody mistypes this one.
fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
}

/// SwarmKit's defaults of an update, which stand where one flag of the group is given and the others are not.
fn rollout() -> UpdateConfig {
    UpdateConfig {
        parallelism: 1,
        monitor_ns: 5_000_000_000,
        failure_action: "pause".into(),
        order: "stop-first".into(),
        ..Default::default()
    }
}

/// SwarmKit's defaults of a restart policy.
fn restart() -> RestartPolicy {
    RestartPolicy {
        condition: "any".into(),
        delay_ns: Some(5_000_000_000),
        max_attempts: Some(0),
        window_ns: None,
    }
}

/// A task's resources with both halves there, as Docker sends them.
fn needs(spec: &mut ServiceSpec) -> &mut ResourceRequirements {
    let resources = spec.task_template.resources.get_or_insert_default();
    resources.limits.get_or_insert_default();
    resources.reservations.get_or_insert_default();
    resources
}

/// Puts a flag's value where it belongs.
fn set<T: Clone>(place: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        *place = value.clone();
    }
}

/// What this user logs in with where a service's image comes from.
pub fn login_for(session: &Session, spec: &ServiceSpec) -> Outcome<Option<RegistryAuth>> {
    let container = spec.task_template.container_spec.as_ref();
    let image = container.map_or("", |container| &container.image);
    credentials::for_image(&session.config, &image::full(image))
}

impl Settings {
    pub fn apply(&self, spec: &mut ServiceSpec) -> Outcome {
        if self.credential_spec.is_some() {
            return Err(Failure::new("--credential-spec is not supported: it is for Windows only"));
        }
        if self.isolation.as_deref().is_some_and(|mode| !matches!(mode, "" | "default")) {
            return Err(Failure::new("--isolation is not supported: it is for Windows only"));
        }
        self.container(spec)?;
        self.resources(spec);
        self.policies(spec);
        if let Some(mode) = &self.endpoint_mode {
            spec.endpoint_spec.get_or_insert_default().mode = mode.to_lowercase();
        }
        if let Some(most) = self.replicas_max_per_node {
            spec.task_template.placement.get_or_insert_default().max_replicas = most;
        }
        if let Some(name) = self.log_driver.as_ref().filter(|name| !name.is_empty()) {
            let options = pairs::map(&self.log_opt);
            spec.task_template.log_driver = Some(Driver { name: name.clone(), options });
        }
        Ok(())
    }

    /// The login for the image's registry, where it is to be sent along.
    pub fn registry_auth(
        &self,
        session: &Session,
        spec: &ServiceSpec,
    ) -> Outcome<Option<RegistryAuth>> {
        if self.with_registry_auth { login_for(session, spec) } else { Ok(None) }
    }

    fn container(&self, spec: &mut ServiceSpec) -> Outcome {
        let container = spec.task_template.container_spec.get_or_insert_default();
        if let Some(Words(words)) = &self.entrypoint {
            container.command = words.clone();
        }
        set(&mut container.dir, &self.workdir);
        set(&mut container.user, &self.user);
        set(&mut container.hostname, &self.hostname);
        set(&mut container.stop_signal, &self.stop_signal);
        set(&mut container.tty, &self.tty);
        set(&mut container.read_only, &self.read_only);
        set(&mut container.oom_score_adj, &self.oom_score_adj);
        container.init = self.init.or(container.init);
        container.stop_grace_period_ns = self.stop_grace_period.or(container.stop_grace_period_ns);
        if !self.cap_add.is_empty() || !self.cap_drop.is_empty() {
            let have = (container.capability_add.as_slice(), container.capability_drop.as_slice());
            (container.capability_add, container.capability_drop) =
                capability::updated(have, &self.cap_add, &self.cap_drop);
        }
        self.health(&mut container.healthcheck)
    }

    fn health(&self, check: &mut Option<HealthConfig>) -> Outcome {
        let times = [
            self.health_interval,
            self.health_timeout,
            self.health_start_period,
            self.health_start_interval,
            self.health_retries,
        ];
        let said = self.health_cmd.is_some() || times.iter().any(Option::is_some);
        if self.no_healthcheck {
            if said {
                return Err(Failure::new("--no-healthcheck conflicts with --health-* options"));
            }
            *check = Some(HealthConfig { test: vec!["NONE".into()], ..Default::default() });
        } else if said {
            let check = check.get_or_insert_default();
            if check.test.first().is_some_and(|word| word == "NONE") {
                check.test.clear();
            }
            set(&mut check.interval_ns, &self.health_interval);
            set(&mut check.timeout_ns, &self.health_timeout);
            set(&mut check.start_period_ns, &self.health_start_period);
            // DEVIATION: Docker forgets it in an update.
            set(&mut check.start_interval_ns, &self.health_start_interval);
            set(&mut check.retries, &self.health_retries);
            match self.health_cmd.as_deref() {
                None => {}
                Some("") => check.test.clear(),
                Some(command) => check.test = vec!["CMD-SHELL".into(), command.into()],
            }
        }
        Ok(())
    }

    fn resources(&self, spec: &mut ServiceSpec) {
        if self.limit_cpu.is_some() || self.limit_memory.is_some() || self.limit_pids.is_some() {
            let limits = needs(spec).limits.get_or_insert_default();
            set(&mut limits.nano_cpus, &self.limit_cpu);
            set(&mut limits.memory_bytes, &self.limit_memory);
            set(&mut limits.pids, &self.limit_pids);
        }
        if self.reserve_cpu.is_some() || self.reserve_memory.is_some() {
            let reservations = needs(spec).reservations.get_or_insert_default();
            set(&mut reservations.nano_cpus, &self.reserve_cpu);
            set(&mut reservations.memory_bytes, &self.reserve_memory);
        }
    }

    fn policies(&self, spec: &mut ServiceSpec) {
        if self.restart_condition.is_some()
            || self.restart_delay.is_some()
            || self.restart_max_attempts.is_some()
            || self.restart_window.is_some()
        {
            let policy = spec.task_template.restart_policy.get_or_insert_with(restart);
            set(&mut policy.condition, &self.restart_condition);
            policy.delay_ns = self.restart_delay.or(policy.delay_ns);
            policy.max_attempts = self.restart_max_attempts.or(policy.max_attempts);
            policy.window_ns = self.restart_window.or(policy.window_ns);
        }
        Rollout {
            parallelism: self.update_parallelism,
            delay: self.update_delay,
            monitor: self.update_monitor,
            action: &self.update_failure_action,
            ratio: self.update_max_failure_ratio,
            order: &self.update_order,
        }
        .apply(&mut spec.update_config);
        Rollout {
            parallelism: self.rollback_parallelism,
            delay: self.rollback_delay,
            monitor: self.rollback_monitor,
            action: &self.rollback_failure_action,
            ratio: self.rollback_max_failure_ratio,
            order: &self.rollback_order,
        }
        .apply(&mut spec.rollback_config);
    }
}

/// One group of flags, for updates or for rollbacks.
struct Rollout<'a> {
    parallelism: Option<u64>,
    delay: Option<i64>,
    monitor: Option<i64>,
    action: &'a Option<String>,
    ratio: Option<f32>,
    order: &'a Option<String>,
}

impl Rollout<'_> {
    fn apply(&self, config: &mut Option<UpdateConfig>) {
        let said = self.parallelism.is_some()
            || self.delay.is_some()
            || self.monitor.is_some()
            || self.action.is_some()
            || self.ratio.is_some()
            || self.order.is_some();
        if said {
            let config = config.get_or_insert_with(rollout);
            set(&mut config.parallelism, &self.parallelism);
            set(&mut config.delay_ns, &self.delay);
            set(&mut config.monitor_ns, &self.monitor);
            set(&mut config.failure_action, self.action);
            set(&mut config.max_failure_ratio, &self.ratio);
            set(&mut config.order, self.order);
        }
    }
}
