//! Asks containers for their health, for as long as they run.

use std::collections::VecDeque;
use std::time::Duration;

use skep_agent_plan::{Health, HealthCheck, HealthStatus};
use skep_engine::{Container, Error, Exec};
use time::OffsetDateTime;

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

/// Asks for as long as the container runs. Each answer is told, and whether it changed the status;
/// who is told says whether to go on. Gives the last status.
pub async fn ask(
    container: &Container,
    check: &HealthCheck,
    mut tell: impl FnMut(&HealthReport, bool) -> bool,
) -> HealthStatus {
    let mut report = HealthReport::default();
    tell(&report, false);
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
        let now = report.health.status;
        if !tell(&report, now != before) {
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
