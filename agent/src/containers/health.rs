//! The health of tasks' containers: what is known of each, and the checks that stand with them.
//!
//! A daemon that starts again asks on; what was answered before is not kept, and is asked anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skep_agent_plan::HealthCheck;
use skep_containers::HealthReport;
use skep_engine::ContainerConfig;
use skep_types::TaskId;

/// Where a container remembers its check.
const CHECK: &str = "skep.health-check";

/// What is known of all containers that are asked; bounded by the node's tasks.
#[derive(Debug, Default)]
pub struct HealthReports(Mutex<HashMap<TaskId, Arc<HealthReport>>>);

impl HealthReports {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, Arc<HealthReport>>> {
        // Each entry is replaced whole, whatever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None where there is no check.
    pub fn get(&self, task: TaskId) -> Option<Arc<HealthReport>> {
        self.all().get(&task).cloned()
    }

    pub fn forget(&self, task: TaskId) {
        self.all().remove(&task);
    }

    pub fn set(&self, task: TaskId, report: &HealthReport) {
        self.all().insert(task, Arc::new(report.clone()));
    }
}

/// A check as it stands with a container.
#[derive(Serialize, Deserialize)]
struct Stored {
    command: Vec<String>,
    interval_ms: u64,
    timeout_ms: u64,
    start_period_ms: u64,
    start_interval_ms: u64,
    retries: u64,
}

/// The annotation that keeps a check.
pub fn annotation(check: &HealthCheck) -> (String, String) {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let stored = Stored {
        command: check.command.clone(),
        interval_ms: ms(check.interval),
        timeout_ms: ms(check.timeout),
        start_period_ms: ms(check.start_period),
        start_interval_ms: ms(check.start_interval),
        retries: check.retries,
    };
    (CHECK.to_owned(), serde_json::to_string(&stored).expect("a check is plain data"))
}

/// The check of a container, if it has one.
pub fn check_of(container: &ContainerConfig) -> Option<HealthCheck> {
    let stored = serde_json::from_str::<Stored>(container.annotations.get(CHECK)?).ok()?;
    Some(HealthCheck {
        command: stored.command,
        interval: Duration::from_millis(stored.interval_ms),
        timeout: Duration::from_millis(stored.timeout_ms),
        start_period: Duration::from_millis(stored.start_period_ms),
        start_interval: Duration::from_millis(stored.start_interval_ms),
        retries: stored.retries,
    })
}

#[cfg(test)]
mod tests {
    use skep_engine::config::Rootfs;

    use super::*;

    #[test]
    fn a_check_comes_back_from_where_it_was_kept() {
        let check = HealthCheck {
            command: vec!["probe".into(), "-q \"x\"".into()],
            interval: Duration::from_millis(1500),
            timeout: Duration::from_secs(3),
            start_period: Duration::ZERO,
            start_interval: Duration::from_secs(5),
            retries: 3,
        };
        let rootfs = Rootfs::Directory("/".into());
        let mut config = ContainerConfig::new("c", rootfs, vec!["true".into()]);
        assert_eq!(check_of(&config), None);
        config.annotations.extend([annotation(&check)]);
        assert_eq!(check_of(&config), Some(check));
    }
}
