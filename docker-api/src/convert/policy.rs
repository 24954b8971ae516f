//! Restart policies and update configurations.

use skep_types::{FailureAction, RestartCondition, RestartPolicy, UpdateConfig, UpdateOrder};

use super::{Answer, duration, nanos};
use crate::error::ApiError;
use crate::json;

pub(super) fn restart_from_api(policy: Option<&json::RestartPolicy>) -> Answer<RestartPolicy> {
    let defaults = RestartPolicy::default();
    let Some(policy) = policy else { return Ok(defaults) };
    let condition = match policy.condition.as_str() {
        "none" => RestartCondition::None,
        "on-failure" => RestartCondition::OnFailure,
        "any" | "" => RestartCondition::Any,
        other => return Err(ApiError::invalid(format!("invalid RestartCondition: {other:?}"))),
    };
    let given = |nanos: Option<i64>, what| nanos.map(|nanos| duration(nanos, what)).transpose();
    Ok(RestartPolicy {
        condition,
        delay: given(policy.delay_ns, "TaskSpec: restart-delay")?.unwrap_or(defaults.delay),
        max_attempts: policy.max_attempts.unwrap_or(0),
        window: given(policy.window_ns, "TaskSpec: restart-window")?.unwrap_or(defaults.window),
    })
}

pub(super) fn restart_to_api(policy: &RestartPolicy) -> json::RestartPolicy {
    let condition = match policy.condition {
        RestartCondition::None => "none",
        RestartCondition::OnFailure => "on-failure",
        RestartCondition::Any => "any",
    };
    json::RestartPolicy {
        condition: condition.to_owned(),
        delay_ns: Some(nanos(policy.delay)),
        max_attempts: Some(policy.max_attempts),
        window_ns: Some(nanos(policy.window)),
    }
}

pub(super) fn update_from_api(config: Option<&json::UpdateConfig>) -> Answer<UpdateConfig> {
    let defaults = UpdateConfig::default();
    let Some(config) = config else { return Ok(defaults) };
    let failure_action = match config.failure_action.as_str() {
        "pause" | "" => FailureAction::Pause,
        "continue" => FailureAction::Continue,
        "rollback" => FailureAction::Rollback,
        other => {
            return Err(ApiError::invalid(format!("unrecognized update failure action {other}")));
        }
    };
    let order = match config.order.as_str() {
        "stop-first" | "" => UpdateOrder::StopFirst,
        "start-first" => UpdateOrder::StartFirst,
        other => return Err(ApiError::invalid(format!("unrecognized update order {other}"))),
    };
    // Docker reads no monitor time as the default one: a zero cannot be told from an absence in the document.
    let monitor = match config.monitor_ns {
        0 => defaults.monitor,
        given => duration(given, "TaskSpec: update-monitor")?,
    };
    Ok(UpdateConfig {
        parallelism: config.parallelism,
        delay: duration(config.delay_ns, "TaskSpec: update-delay")?,
        failure_action,
        monitor,
        max_failure_ratio: config.max_failure_ratio,
        order,
    })
}

pub(super) fn update_to_api(config: &UpdateConfig) -> json::UpdateConfig {
    let failure_action = match config.failure_action {
        FailureAction::Pause => "pause",
        FailureAction::Continue => "continue",
        FailureAction::Rollback => "rollback",
    };
    let order = match config.order {
        UpdateOrder::StopFirst => "stop-first",
        UpdateOrder::StartFirst => "start-first",
    };
    json::UpdateConfig {
        parallelism: config.parallelism,
        delay_ns: nanos(config.delay),
        failure_action: failure_action.to_owned(),
        monitor_ns: nanos(config.monitor),
        max_failure_ratio: config.max_failure_ratio,
        order: order.to_owned(),
    }
}
