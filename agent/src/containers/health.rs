//! Asks running containers for their health, by a command inside each.
//!
//! What is asked stands with the container, so a daemon that starts again asks on; what was
//! answered does not, and is asked anew.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skep_agent_plan::{Health, HealthCheck, HealthStatus};
use skep_engine::{Container, ContainerConfig, Error, Exec};
use skep_types::TaskId;
use time::OffsetDateTime;

/// Where a container remembers its check.
const CHECK: &str = "skep.health-check";
/// Docker's: so many answers are shown, and so much of each.
const ANSWERS_MAX: usize = 5;
const OUTPUT_BYTES_MAX: usize = 4096;
/// Docker's exit code of a command that could not be run or took too long.
const NO_ANSWER: i32 = -1;

/// One answer, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub began: OffsetDateTime,
    pub ended: OffsetDateTime,
    pub exit_code: i32,
    pub output: String,
}

/// What is known of a container's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthReport {
    pub health: Health,
    /// The newest last.
    pub answers: VecDeque<Answer>,
}

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

    fn set(&self, task: TaskId, report: &HealthReport) {
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

/// Asks for as long as the container runs; `changed` is told of each new status. Gives the last one:
/// that of a container that has ended, or unhealthy, and then it is for the caller to end it.
pub async fn ask(
    task: TaskId,
    container: &Container,
    check: &HealthCheck,
    reports: &HealthReports,
    changed: impl Fn(),
) -> HealthStatus {
    let mut report = HealthReport::default();
    reports.set(task, &report);
    let started = container.state().await.ok().and_then(|state| state.started_at);
    let started = started.unwrap_or_else(OffsetDateTime::now_utc);
    let age = || Duration::try_from(OffsetDateTime::now_utc() - started).unwrap_or_default();
    loop {
        tokio::time::sleep(report.health.wait(check, age())).await;
        let Some(answer) = probe(container, check).await else {
            return report.health.status;
        };
        let before = report.health.status;
        report.health.answered(check, answer.exit_code == 0, age());
        if report.answers.len() == ANSWERS_MAX {
            report.answers.pop_front();
        }
        report.answers.push_back(answer);
        reports.set(task, &report);
        let now = report.health.status;
        if now != before {
            tracing::info!(%task, health = now.name(), "the health of a container changed");
            changed();
        }
        if now == HealthStatus::Unhealthy {
            return now;
        }
    }
}

/// None where the container runs no more.
async fn probe(container: &Container, check: &HealthCheck) -> Option<Answer> {
    let began = OffsetDateTime::now_utc();
    let exec =
        Exec { args: check.command.clone(), output_bytes_max: OUTPUT_BYTES_MAX, ..Exec::default() };
    let (exit_code, output) = match tokio::time::timeout(check.timeout, container.exec(exec)).await
    {
        Ok(Ok(ended)) => (ended.exit_code, String::from_utf8_lossy(&ended.output).into_owned()),
        Ok(Err(Error::NotRunning(_) | Error::NoSuchContainer(_))) => return None,
        Ok(Err(error)) => (NO_ANSWER, error.to_string()),
        // The command ended with its future.
        Err(_) => (NO_ANSWER, format!("Health check exceeded timeout ({:?})", check.timeout)),
    };
    Some(Answer { began, ended: OffsetDateTime::now_utc(), exit_code, output })
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
