//! What users ask for, turned into actions on the state, or refused with Docker's words.
//!
//! Nothing here is written or sent: a [`Plan`] goes to the proposer. Uniqueness is `apply`'s to
//! enforce; its rejections come back through [`ControlError`].

mod cluster;
mod error;
mod networks;
mod nodes;
mod payloads;
mod rebalance;
mod services;
pub(crate) mod wire;

use std::collections::BTreeMap;

use skep_secrets::join_token::JoinToken;
use skep_state::{Action, Change, State};
use skep_types::{
    ClusterSpec, ConfigId, ConfigSpec, NetworkId, NetworkSpec, NodeId, NodeSpec, Revision,
    SecretId, SecretSpec, Service, ServiceId, ServiceSpec, TaskId, Timestamp,
};

pub use cluster::check as check_cluster;
pub use error::{Code, ControlError};
pub(crate) use rebalance::moves;

/// A change that a user asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    CreateService(ServiceSpec),
    UpdateService {
        id: ServiceId,
        revision: Revision,
        spec: ServiceSpec,
    },
    /// Back to the spec before the last change.
    RollbackService {
        id: ServiceId,
        revision: Revision,
    },
    /// Tasks of a replicated service leave their nodes for these, as an update would have them.
    RebalanceService {
        id: ServiceId,
        revision: Revision,
        tasks: BTreeMap<TaskId, NodeId>,
    },
    RemoveService(ServiceId),
    CreateNetwork(NetworkSpec),
    RemoveNetwork(NetworkId),
    CreateSecret(SecretSpec),
    /// Only labels may change.
    UpdateSecret {
        id: SecretId,
        revision: Revision,
        spec: SecretSpec,
    },
    RemoveSecret(SecretId),
    CreateConfig(ConfigSpec),
    /// Only labels may change.
    UpdateConfig {
        id: ConfigId,
        revision: Revision,
        spec: ConfigSpec,
    },
    RemoveConfig(ConfigId),
    UpdateNode {
        id: NodeId,
        revision: Revision,
        spec: NodeSpec,
    },
    RemoveNode {
        id: NodeId,
        force: bool,
    },
    UpdateCluster {
        revision: Revision,
        spec: ClusterSpec,
        /// Tokens that take the place of those that stand.
        rotate: Rotation,
    },
}

/// Join tokens that are made anew; each was drawn outside.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rotation {
    pub worker: Option<JoinToken>,
    pub manager: Option<JoinToken>,
}

/// What a request becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The id of the object that is made or changed, as users see it.
    pub id: String,
    pub actions: Vec<Action>,
}

/// Decides a request on a view of the state; `now` is the leader's time, `fresh` are 128 random bits for an object's id.
///
/// # Errors
/// The request is wrong in itself, or does not fit the view.
pub fn decide(
    state: &State,
    request: Request,
    now: Timestamp,
    fresh: u128,
) -> Result<Plan, ControlError> {
    match request {
        Request::CreateService(spec) => services::create(state, spec, ServiceId::new(fresh), now),
        Request::UpdateService { id, revision, spec } => {
            services::update(state, id, revision, spec, now)
        }
        Request::RollbackService { id, revision } => services::rollback(state, id, revision, now),
        Request::RebalanceService { id, revision, tasks } => {
            rebalance::decide(state, id, revision, &tasks, now)
        }
        Request::RemoveService(id) => {
            services::find(state, id)?;
            Ok(plan(id, Change::<Service>::Remove(id, None)))
        }
        Request::CreateNetwork(spec) => networks::create(state, spec, NetworkId::new(fresh)),
        Request::RemoveNetwork(id) => networks::remove(state, id),
        Request::CreateSecret(spec) => payloads::create_secret(spec, SecretId::new(fresh)),
        Request::UpdateSecret { id, revision, spec } => {
            payloads::update_secret(state, id, revision, spec)
        }
        Request::RemoveSecret(id) => payloads::remove_secret(state, id),
        Request::CreateConfig(spec) => payloads::create_config(spec, ConfigId::new(fresh)),
        Request::UpdateConfig { id, revision, spec } => {
            payloads::update_config(state, id, revision, spec)
        }
        Request::RemoveConfig(id) => payloads::remove_config(state, id),
        Request::UpdateNode { id, revision, spec } => nodes::update(state, id, revision, spec),
        Request::RemoveNode { id, force } => nodes::remove(state, id, force),
        Request::UpdateCluster { revision, spec, rotate } => {
            cluster::update(state, revision, spec, &rotate)
        }
    }
}

fn plan(id: impl ToString, action: impl Into<Action>) -> Plan {
    Plan { id: id.to_string(), actions: vec![action.into()] }
}
