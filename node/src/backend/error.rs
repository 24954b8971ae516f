//! What went wrong in the swarm, as the API says it.

use skep_docker_api::{ApiError, Kind};
use skep_manager::control::{Code, ControlError};
use skep_types::error_chain;

use crate::swarm::SwarmError;

pub fn control(error: ControlError) -> ApiError {
    // Docker's daemon shows the code of its managers' answers; tools look for these words.
    let (kind, code) = match error.code {
        Code::InvalidArgument => (Kind::InvalidParameter, "InvalidArgument"),
        Code::NotFound => (Kind::NotFound, "NotFound"),
        Code::AlreadyExists => (Kind::Conflict, "AlreadyExists"),
        Code::FailedPrecondition => (Kind::InvalidParameter, "FailedPrecondition"),
        Code::OutOfSequence => (Kind::System, "Unknown"),
        Code::Unavailable => (Kind::Unavailable, "Unknown"),
    };
    let message = match error.code {
        // So that `docker` can tell a change of another's from everything else.
        Code::OutOfSequence => "update out of sequence".to_owned(),
        _ => error.message,
    };
    ApiError::new(kind, format!("rpc error: code = {code} desc = {message}"))
}

pub fn swarm(error: SwarmError) -> ApiError {
    let text = error_chain(&error);
    match error {
        SwarmError::AlreadyMember => ApiError::already_in_swarm(),
        SwarmError::NotMember => ApiError::unavailable("This node is not part of a swarm"),
        SwarmError::Address(_) => ApiError::invalid(text),
        SwarmError::Enroll(crate::swarm::enroll::EnrollError::Token(_)) => ApiError::invalid(text),
        SwarmError::Refused(_) | SwarmError::JoinTimeout => ApiError::unavailable(text),
        _ => ApiError::system(text),
    }
}
