//! Requests on their way from a follower to the leader, and what became of them on the way back.

use skep_proto::convert::ConvertError;
use skep_proto::v1 as pb;
use skep_proto::v1::control_request::Request as Wire;
use skep_secrets::join_token::JoinToken;
use skep_types::Revision;

use super::{Code, ControlError, Request, Rotation};
use crate::execute::Done;

/// A request as a message.
pub fn encode(request: Request) -> pb::ControlRequest {
    let version = |revision: Revision| revision.0;
    let request = match request {
        Request::CreateService(spec) => {
            Wire::CreateService(pb::CreateService { spec: Some((&spec).into()) })
        }
        Request::UpdateService { id, revision, spec } => Wire::UpdateService(pb::UpdateService {
            id: id.to_string(),
            version: version(revision),
            spec: Some((&spec).into()),
        }),
        Request::RollbackService { id, revision } => Wire::RollbackService(pb::RollbackService {
            id: id.to_string(),
            version: version(revision),
        }),
        Request::RebalanceService { id, revision, tasks } => {
            Wire::RebalanceService(pb::RebalanceService {
                id: id.to_string(),
                version: version(revision),
                moves: tasks
                    .iter()
                    .map(|(task, to)| pb::TaskMove { task: task.to_string(), to: to.to_string() })
                    .collect(),
            })
        }
        Request::RemoveService(id) => Wire::RemoveService(pb::RemoveService { id: id.to_string() }),
        Request::CreateNetwork(spec) => {
            Wire::CreateNetwork(pb::CreateNetwork { spec: Some((&spec).into()) })
        }
        Request::RemoveNetwork(id) => Wire::RemoveNetwork(pb::RemoveNetwork { id: id.to_string() }),
        Request::CreateSecret(spec) => {
            Wire::CreateSecret(pb::CreateSecret { spec: Some((&spec).into()) })
        }
        Request::UpdateSecret { id, revision, spec } => Wire::UpdateSecret(pb::UpdateSecret {
            id: id.to_string(),
            version: version(revision),
            spec: Some((&spec).into()),
        }),
        Request::RemoveSecret(id) => Wire::RemoveSecret(pb::RemoveSecret { id: id.to_string() }),
        Request::CreateConfig(spec) => {
            Wire::CreateConfig(pb::CreateConfig { spec: Some((&spec).into()) })
        }
        Request::UpdateConfig { id, revision, spec } => Wire::UpdateConfig(pb::UpdateConfig {
            id: id.to_string(),
            version: version(revision),
            spec: Some((&spec).into()),
        }),
        Request::RemoveConfig(id) => Wire::RemoveConfig(pb::RemoveConfig { id: id.to_string() }),
        Request::UpdateNode { id, revision, spec } => Wire::UpdateNode(pb::UpdateNode {
            id: id.to_string(),
            version: version(revision),
            spec: Some((&spec).into()),
        }),
        Request::RemoveNode { id, force } => {
            Wire::RemoveNode(pb::RemoveNode { id: id.to_string(), force })
        }
        Request::UpdateCluster { revision, spec, rotate } => {
            Wire::UpdateCluster(pb::UpdateCluster {
                id: String::new(),
                version: version(revision),
                spec: Some((&spec).into()),
                rotate_worker_token: rotate.worker.is_some(),
                rotate_manager_token: rotate.manager.is_some(),
                rotate_unlock_key: false,
            })
        }
    };
    pb::ControlRequest { request: Some(request) }
}

/// A message as a request; `fresh` draws a join token for this swarm's root.
///
/// # Errors
/// What is missing or malformed in it.
pub fn decode(
    message: pb::ControlRequest,
    fresh: impl Fn() -> JoinToken,
) -> Result<Request, ControlError> {
    let request = message.request.ok_or_else(|| ControlError::invalid("empty request"))?;
    let revision = Revision;
    Ok(match request {
        Wire::CreateService(it) => Request::CreateService(part(it.spec)?),
        Wire::UpdateService(it) => Request::UpdateService {
            id: id(&it.id)?,
            revision: revision(it.version),
            spec: part(it.spec)?,
        },
        Wire::RollbackService(it) => {
            Request::RollbackService { id: id(&it.id)?, revision: revision(it.version) }
        }
        Wire::RebalanceService(it) => Request::RebalanceService {
            id: id(&it.id)?,
            revision: revision(it.version),
            tasks: it
                .moves
                .iter()
                .map(|it| Ok((id(&it.task)?, id(&it.to)?)))
                .collect::<Result<_, ControlError>>()?,
        },
        Wire::RemoveService(it) => Request::RemoveService(id(&it.id)?),
        Wire::CreateNetwork(it) => Request::CreateNetwork(part(it.spec)?),
        Wire::RemoveNetwork(it) => Request::RemoveNetwork(id(&it.id)?),
        Wire::CreateSecret(it) => Request::CreateSecret(part(it.spec)?),
        Wire::UpdateSecret(it) => Request::UpdateSecret {
            id: id(&it.id)?,
            revision: revision(it.version),
            spec: part(it.spec)?,
        },
        Wire::RemoveSecret(it) => Request::RemoveSecret(id(&it.id)?),
        Wire::CreateConfig(it) => Request::CreateConfig(part(it.spec)?),
        Wire::UpdateConfig(it) => Request::UpdateConfig {
            id: id(&it.id)?,
            revision: revision(it.version),
            spec: part(it.spec)?,
        },
        Wire::RemoveConfig(it) => Request::RemoveConfig(id(&it.id)?),
        Wire::UpdateNode(it) => Request::UpdateNode {
            id: id(&it.id)?,
            revision: revision(it.version),
            spec: part(it.spec)?,
        },
        Wire::RemoveNode(it) => Request::RemoveNode { id: id(&it.id)?, force: it.force },
        Wire::UpdateCluster(it) if it.rotate_unlock_key => {
            let version = it.version;
            return Err(ControlError::precondition(format!(
                "unlock keys are not supported yet: swarm of version {version} is not locked"
            )));
        }
        Wire::UpdateCluster(it) => Request::UpdateCluster {
            revision: revision(it.version),
            spec: part(it.spec)?,
            rotate: Rotation {
                worker: it.rotate_worker_token.then(&fresh),
                manager: it.rotate_manager_token.then(&fresh),
            },
        },
    })
}

/// What became of a request, as a message.
pub fn encode_reply(outcome: Result<Done, ControlError>) -> pb::ControlReply {
    use pb::control_reply::Result as Reply;
    let result = match outcome {
        Ok(done) => Reply::Success(pb::ControlSuccess {
            id: done.id,
            version: 0,
            applied_index: done.index,
            warnings: Vec::new(),
        }),
        Err(error) => Reply::Error(pb::ControlError {
            code: code_to_wire(error.code).into(),
            message: error.message,
        }),
    };
    pb::ControlReply { result: Some(result) }
}

/// The reverse of [`encode_reply`].
pub fn decode_reply(reply: pb::ControlReply) -> Result<Done, ControlError> {
    use pb::control_reply::Result as Reply;
    match reply.result {
        Some(Reply::Success(done)) => Ok(Done { id: done.id, index: done.applied_index }),
        Some(Reply::Error(error)) => {
            Err(ControlError { code: code_from_wire(error.code()), message: error.message })
        }
        None => Err(ControlError {
            code: Code::Unavailable,
            message: "empty answer of the leader".to_owned(),
        }),
    }
}

fn code_to_wire(code: Code) -> pb::control_error::Code {
    use pb::control_error::Code as Wire;
    match code {
        Code::InvalidArgument => Wire::InvalidArgument,
        Code::NotFound => Wire::NotFound,
        Code::AlreadyExists => Wire::AlreadyExists,
        Code::FailedPrecondition => Wire::FailedPrecondition,
        Code::OutOfSequence => Wire::OutOfSequence,
        Code::Unavailable => Wire::Unavailable,
    }
}

fn code_from_wire(code: pb::control_error::Code) -> Code {
    use pb::control_error::Code as Wire;
    match code {
        Wire::InvalidArgument => Code::InvalidArgument,
        Wire::NotFound => Code::NotFound,
        Wire::AlreadyExists => Code::AlreadyExists,
        Wire::FailedPrecondition | Wire::PermissionDenied => Code::FailedPrecondition,
        Wire::OutOfSequence => Code::OutOfSequence,
        Wire::Unknown | Wire::ResourceExhausted | Wire::Unavailable | Wire::Internal => {
            Code::Unavailable
        }
    }
}

fn part<M, T: TryFrom<M, Error = ConvertError>>(message: Option<M>) -> Result<T, ControlError> {
    let message = message.ok_or_else(|| ControlError::invalid("request without a spec"))?;
    T::try_from(message).map_err(|error| ControlError::invalid(error.to_string()))
}

fn id<I: std::str::FromStr<Err = skep_types::ParseIdError>>(text: &str) -> Result<I, ControlError> {
    text.parse().map_err(|error: skep_types::ParseIdError| ControlError::invalid(error.to_string()))
}
