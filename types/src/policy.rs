//! How tasks are restarted and how a change of a service is rolled out.

use std::time::Duration;

use crate::defaults;

/// Which endings of a task call for a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestartCondition {
    None,
    OnFailure,
    #[default]
    Any,
}

/// When and how often a task that ended is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    pub condition: RestartCondition,
    pub delay: Duration,
    /// Zero: no limit.
    pub max_attempts: u64,
    /// The time in which attempts are counted; zero: for ever.
    pub window: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            condition: RestartCondition::Any,
            delay: defaults::RESTART_DELAY,
            max_attempts: 0,
            window: Duration::ZERO,
        }
    }
}

/// What happens when too many updated tasks fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailureAction {
    #[default]
    Pause,
    Continue,
    Rollback,
}

/// Which of the old and the new task of a slot goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpdateOrder {
    #[default]
    StopFirst,
    StartFirst,
}

/// How a new spec (or the one before it, in a rollback) reaches the tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateConfig {
    /// Slots changed at the same time; zero: all.
    pub parallelism: u64,
    /// Between two batches.
    pub delay: Duration,
    pub failure_action: FailureAction,
    /// How long a new task is watched for failure.
    pub monitor: Duration,
    /// Failures that are tolerated, as a share of the changed slots (0.0 to 1.0).
    pub max_failure_ratio: f32,
    pub order: UpdateOrder,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: defaults::UPDATE_PARALLELISM,
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            monitor: defaults::UPDATE_MONITOR,
            max_failure_ratio: 0.0,
            order: UpdateOrder::StopFirst,
        }
    }
}
