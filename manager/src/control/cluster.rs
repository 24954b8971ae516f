//! The swarm itself: its settings, and fresh join tokens.

use std::sync::Arc;
use std::time::Duration;

use skep_state::{Change, State};
use skep_types::{Cluster, ClusterSpec, Revision, defaults, down_grace, validate};

use super::{ControlError, Plan, Rotation, plan};

/// SwarmKit: a shorter period would drown the managers in heartbeats.
const HEARTBEAT_PERIOD_MIN: Duration = Duration::from_secs(1);

pub fn update(
    state: &State,
    revision: Revision,
    spec: ClusterSpec,
    rotate: &Rotation,
) -> Result<Plan, ControlError> {
    let cluster = state.cluster().ok_or_else(|| ControlError::not_found("cluster", "default"))?;
    check(&spec)?;
    if spec.annotations.name != cluster.spec.annotations.name {
        return Err(ControlError::invalid("expected cluster name to be \"default\""));
    }
    let mut changed = Cluster::clone(cluster);
    changed.meta.revision = revision;
    changed.spec = spec;
    let tokens = &mut changed.root_ca.join_tokens;
    if let Some(token) = &rotate.worker {
        tokens.worker = token.render().to_string();
    }
    if let Some(token) = &rotate.manager {
        tokens.manager = token.render().to_string();
    }
    Ok(plan(cluster.id, Change::Update(Arc::new(changed))))
}

/// What a swarm's settings must hold, at its making too.
pub fn check(spec: &ClusterSpec) -> Result<(), ControlError> {
    validate::labels(&spec.annotations.labels)?;
    down_grace::asked(&spec.annotations.labels)
        .map_err(|error| ControlError::invalid(error.to_string()))?;
    if spec.cert_expiry < defaults::CERT_EXPIRY_MIN {
        let minimum = defaults::CERT_EXPIRY_MIN.as_secs() / 3600;
        return Err(ControlError::invalid(format!(
            "minimum certificate expiry time is: {minimum}h0m0s"
        )));
    }
    if spec.heartbeat_period < HEARTBEAT_PERIOD_MIN {
        return Err(ControlError::invalid("heartbeat time period is too short: minimum is 1s"));
    }
    if spec.autolock {
        return Err(ControlError::precondition(
            "autolock is not supported yet: managers cannot be locked",
        ));
    }
    Ok(())
}
