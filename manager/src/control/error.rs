//! Why a request was refused: a code for programs, a text for users.

use skep_state::{Reason, Rejection};

/// What kind of refusal it is; the API turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    InvalidArgument,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    /// The object changed since the caller read it.
    OutOfSequence,
    /// Try again: leadership moved.
    Unavailable,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    pub code: Code,
    pub message: String,
}

impl ControlError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { code: Code::InvalidArgument, message: message.into() }
    }

    pub(super) fn precondition(message: impl Into<String>) -> Self {
        Self { code: Code::FailedPrecondition, message: message.into() }
    }

    pub(super) fn out_of_sequence(message: impl Into<String>) -> Self {
        Self { code: Code::OutOfSequence, message: message.into() }
    }

    pub(super) fn not_found(kind: &str, id: impl std::fmt::Display) -> Self {
        Self { code: Code::NotFound, message: format!("{kind} {id} not found") }
    }
}

impl From<skep_types::validate::Invalid> for ControlError {
    fn from(invalid: skep_types::validate::Invalid) -> Self {
        Self::invalid(invalid.to_string())
    }
}

impl From<Rejection> for ControlError {
    fn from(rejection: Rejection) -> Self {
        let code = match rejection.reason {
            Reason::StaleEpoch { .. } => Code::Unavailable,
            Reason::NotFound { .. } => Code::NotFound,
            Reason::IdTaken { .. } | Reason::NameTaken { .. } => Code::AlreadyExists,
            Reason::OutOfSequence { .. } => Code::OutOfSequence,
            Reason::Invalid(_) | Reason::VniRange(_) | Reason::PortTaken { .. } => {
                Code::InvalidArgument
            }
            // SwarmKit's: a network in use is a failed precondition, these are not.
            Reason::InUse { kind: "secret" | "config", .. } => Code::InvalidArgument,
            _ => Code::FailedPrecondition,
        };
        Self { code, message: rejection.to_string() }
    }
}
