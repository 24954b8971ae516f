//! Restart policies, and how a change is rolled out.

use skep_types::service::{Moving, UpdateState, UpdateStatus};
use skep_types::{
    FailureAction, NodeId, RestartCondition, RestartPolicy, TaskId, Timestamp, UpdateConfig,
    UpdateOrder, defaults,
};

use super::error::ConvertError;
use super::field::{CompactId, WireEnum, duration, duration_or, enumeration, wire_enum};
use crate::{state, swarmkit};

wire_enum!(RestartCondition = swarmkit::restart_policy::RestartCondition {
    None = None, OnFailure = OnFailure, Any = Any,
});
wire_enum!(FailureAction = swarmkit::update_config::FailureAction {
    Pause = Pause, Continue = Continue, Rollback = Rollback,
});
wire_enum!(UpdateOrder = swarmkit::update_config::UpdateOrder {
    StopFirst = StopFirst, StartFirst = StartFirst,
});
wire_enum!(UpdateState = swarmkit::update_status::UpdateState {
    Updating = Updating,
    Paused = Paused,
    Completed = Completed,
    RollbackStarted = RollbackStarted,
    RollbackPaused = RollbackPaused,
    RollbackCompleted = RollbackCompleted,
});

impl From<&RestartPolicy> for swarmkit::RestartPolicy {
    fn from(policy: &RestartPolicy) -> Self {
        Self {
            condition: policy.condition.number(),
            delay: Some(duration(policy.delay)),
            max_attempts: policy.max_attempts,
            window: Some(duration(policy.window)),
        }
    }
}

impl TryFrom<swarmkit::RestartPolicy> for RestartPolicy {
    type Error = ConvertError;

    fn try_from(message: swarmkit::RestartPolicy) -> Result<Self, ConvertError> {
        Ok(Self {
            condition: enumeration(message.condition, "condition")?,
            delay: duration_or(message.delay, defaults::RESTART_DELAY, "delay")?,
            max_attempts: message.max_attempts,
            window: duration_or(message.window, Default::default(), "window")?,
        })
    }
}

impl From<&UpdateConfig> for swarmkit::UpdateConfig {
    fn from(config: &UpdateConfig) -> Self {
        Self {
            parallelism: config.parallelism,
            delay: Some(duration(config.delay)),
            failure_action: config.failure_action.number(),
            monitor: Some(duration(config.monitor)),
            max_failure_ratio: config.max_failure_ratio,
            order: config.order.number(),
        }
    }
}

impl TryFrom<swarmkit::UpdateConfig> for UpdateConfig {
    type Error = ConvertError;

    fn try_from(message: swarmkit::UpdateConfig) -> Result<Self, ConvertError> {
        Ok(Self {
            parallelism: message.parallelism,
            delay: duration_or(message.delay, Default::default(), "delay")?,
            failure_action: enumeration(message.failure_action, "failure_action")?,
            monitor: duration_or(message.monitor, defaults::UPDATE_MONITOR, "monitor")?,
            max_failure_ratio: message.max_failure_ratio,
            order: enumeration(message.order, "order")?,
        })
    }
}

impl From<&UpdateStatus> for state::UpdateStatus {
    fn from(status: &UpdateStatus) -> Self {
        Self {
            state: status.state.number(),
            started_at_ns: status.started_at.0,
            completed_at_ns: status.completed_at.map(|at| at.0),
            message: status.message.clone(),
            moving: status
                .moving
                .iter()
                .map(|(task, moving)| state::Moving {
                    task_id: task.to_bytes(),
                    slot: moving.slot,
                    to_node_id: moving.to.to_bytes(),
                })
                .collect(),
        }
    }
}

impl TryFrom<state::UpdateStatus> for UpdateStatus {
    type Error = ConvertError;

    fn try_from(message: state::UpdateStatus) -> Result<Self, ConvertError> {
        Ok(Self {
            state: enumeration(message.state, "state")?,
            started_at: Timestamp(message.started_at_ns),
            completed_at: message.completed_at_ns.map(Timestamp),
            message: message.message,
            moving: message
                .moving
                .into_iter()
                .map(|it| {
                    let task = TaskId::from_bytes(&it.task_id, "moving.task_id")?;
                    let to = NodeId::from_bytes(&it.to_node_id, "moving.to_node_id")?;
                    Ok((task, Moving { slot: it.slot, to }))
                })
                .collect::<Result<_, ConvertError>>()?,
        })
    }
}
