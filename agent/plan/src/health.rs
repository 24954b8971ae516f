//! A container's health: when to ask, and what the answers come to. Docker's rules.

use std::time::Duration;

use skep_types::container::HealthConfig;

/// Docker's, where neither the service nor the image says otherwise.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u64 = 3;

/// What a container is asked. Made by [`HealthCheck::of`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The command and its arguments.
    pub command: Vec<String>,
    pub interval: Duration,
    /// A command that takes longer has failed.
    pub timeout: Duration,
    /// For so long after the start a failure does not count.
    pub start_period: Duration,
    /// How often to ask in that time.
    pub start_interval: Duration,
    /// So many failures in a row make a container unhealthy.
    pub retries: u64,
}

impl HealthCheck {
    /// What the service says, and the image where it says nothing. None: no check is asked for.
    pub fn of(service: Option<&HealthConfig>, image: Option<&HealthConfig>) -> Option<Self> {
        let either = |get: fn(&HealthConfig) -> Duration, default| {
            let given = [service, image].into_iter().flatten().map(get);
            given.into_iter().find(|it| !it.is_zero()).unwrap_or(default)
        };
        let tests = [service, image].into_iter().flatten().map(|it| &it.test[..]);
        let (kind, words) = tests.into_iter().find(|test| !test.is_empty())?.split_first()?;
        let command = match (kind.as_str(), words) {
            ("CMD", [_, ..]) => words.to_vec(),
            ("CMD-SHELL", [line, ..]) => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
            _ => return None,
        };
        let mut retries = [service, image].into_iter().flatten().map(|it| it.retries);
        let retries = retries.find(|it| *it > 0).and_then(|it| u64::try_from(it).ok());
        Some(Self {
            command,
            interval: either(|it| it.interval, INTERVAL),
            timeout: either(|it| it.timeout, TIMEOUT),
            start_period: either(|it| it.start_period, Duration::ZERO),
            start_interval: either(|it| it.start_interval, START_INTERVAL),
            retries: retries.unwrap_or(RETRIES),
        })
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthStatus {
    #[default]
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What the answers so far come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    pub status: HealthStatus,
    /// Failures since the last success.
    pub failing_streak: u64,
}

impl Health {
    /// How long after the last answer, or after the start, to ask again. `age` is the time since
    /// the container was started.
    pub fn wait(&self, check: &HealthCheck, age: Duration) -> Duration {
        let starting = self.status == HealthStatus::Starting && age < check.start_period;
        if starting { check.start_interval.min(check.interval) } else { check.interval }
    }

    /// Takes an answer in.
    pub fn answered(&mut self, check: &HealthCheck, passed: bool, age: Duration) {
        if passed {
            *self = Self { status: HealthStatus::Healthy, failing_streak: 0 };
            return;
        }
        if self.status == HealthStatus::Starting && age < check.start_period {
            return;
        }
        self.failing_streak += 1;
        if self.failing_streak >= check.retries {
            self.status = HealthStatus::Unhealthy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(test: &[&str], interval_s: u64, retries: i64) -> HealthConfig {
        HealthConfig {
            test: test.iter().map(|word| (*word).to_owned()).collect(),
            interval: Duration::from_secs(interval_s),
            retries,
            ..HealthConfig::default()
        }
    }

    #[test]
    fn a_service_goes_over_its_image() {
        let image = config(&["CMD", "probe", "-q"], 7, 5);
        let asked = HealthCheck::of(Some(&config(&[], 0, 2)), Some(&image)).unwrap();
        assert_eq!(asked.command, ["probe", "-q"]);
        assert_eq!((asked.interval, asked.retries), (Duration::from_secs(7), 2));
        assert_eq!((asked.timeout, asked.start_period), (TIMEOUT, Duration::ZERO));
        let shell = HealthCheck::of(Some(&config(&["CMD-SHELL", "a | b"], 0, 0)), Some(&image));
        assert_eq!(shell.unwrap().command, ["/bin/sh", "-c", "a | b"]);
    }

    #[test]
    fn no_check_is_asked_for() {
        let image = config(&["CMD", "probe"], 0, 0);
        for service in [&["NONE"][..], &["CMD"], &["CMD-SHELL"]] {
            assert_eq!(HealthCheck::of(Some(&config(service, 0, 0)), Some(&image)), None);
        }
        assert_eq!(HealthCheck::of(None, None), None);
        assert_eq!(HealthCheck::of(Some(&config(&[], 1, 1)), None), None);
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let check = HealthCheck::of(Some(&config(&["CMD", "probe"], 1, 2)), None).unwrap();
        let mut health = Health::default();
        let mut play = |passed| {
            health.answered(&check, passed, Duration::from_secs(60));
            (health.status, health.failing_streak)
        };
        assert_eq!(play(false), (HealthStatus::Starting, 1));
        assert_eq!(play(true), (HealthStatus::Healthy, 0));
        assert_eq!(play(false), (HealthStatus::Healthy, 1));
        assert_eq!(play(false), (HealthStatus::Unhealthy, 2));
        assert_eq!(play(true), (HealthStatus::Healthy, 0));
    }

    #[test]
    fn what_fails_while_it_starts_does_not_count() {
        let service = HealthConfig {
            start_period: Duration::from_secs(10),
            ..config(&["CMD", "probe"], 30, 1)
        };
        let check = HealthCheck::of(Some(&service), None).unwrap();
        let (early, late) = (Duration::from_secs(9), Duration::from_secs(10));
        let mut health = Health::default();
        assert_eq!(health.wait(&check, early), START_INTERVAL);
        health.answered(&check, false, early);
        assert_eq!(health, Health::default());
        // Once it was healthy, a failure counts.
        let mut up = health;
        up.answered(&check, true, early);
        up.answered(&check, false, early);
        assert_eq!(up.status, HealthStatus::Unhealthy);
        assert_eq!(health.wait(&check, late), check.interval);
        health.answered(&check, false, late);
        assert_eq!(health.status, HealthStatus::Unhealthy);
    }
}
