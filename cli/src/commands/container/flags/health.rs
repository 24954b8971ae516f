//! Flags about the check of a container's health.

use clap::Args;
use skep_docker_api::json::HealthConfig;

use super::refuse;
use crate::failure::Outcome;
use crate::values::{duration, integer};

#[derive(Debug, Args)]
pub struct HealthFlags {
    /// Command to run to check health
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    health_cmd: String,
    /// Time between running the check (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    health_interval: Option<i64>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int", value_parser = integer::signed)]
    health_retries: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    health_start_interval: Option<i64>,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    health_start_period: Option<i64>,
    /// Maximum time to allow one check to run (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    health_timeout: Option<i64>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthFlags {
    /// None where no flag says anything: the image's check stands.
    pub fn config(&self) -> Outcome<Option<HealthConfig>> {
        let numbers = [
            ("health-interval", self.health_interval),
            ("health-timeout", self.health_timeout),
            ("health-retries", self.health_retries),
            ("health-start-period", self.health_start_period),
            ("health-start-interval", self.health_start_interval),
        ]
        .map(|(name, number)| (name, number.unwrap_or(0)));
        let said = !self.health_cmd.is_empty() || numbers.iter().any(|(_, number)| *number != 0);
        if self.no_healthcheck {
            if said {
                return refuse("--no-healthcheck conflicts with --health-* options");
            }
            return Ok(Some(HealthConfig { test: vec!["NONE".into()], ..Default::default() }));
        }
        if !said {
            return Ok(None);
        }
        if let Some((name, _)) = numbers.iter().find(|(_, number)| *number < 0) {
            return refuse(format!("--{name} cannot be negative"));
        }
        let test = match self.health_cmd.as_str() {
            "" => Vec::new(),
            command => vec!["CMD-SHELL".into(), command.into()],
        };
        let [interval_ns, timeout_ns, retries, start_period_ns, start_interval_ns] =
            numbers.map(|(_, number)| number);
        Ok(Some(HealthConfig {
            test,
            interval_ns,
            timeout_ns,
            retries,
            start_period_ns,
            start_interval_ns,
        }))
    }
}
