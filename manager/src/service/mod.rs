//! The gRPC services of a manager. Who may call what is decided before, in [`crate::gate`].

pub mod ca;
pub mod control;
pub mod dispatcher;
pub mod health;
pub mod logbroker;
pub mod membership;
pub mod overlay;
pub mod resource;

use tonic::Status;

use crate::proposer::ProposalError;
use crate::session_table::Refused;

/// What a refused transaction is to a caller over gRPC.
pub(crate) fn refused(error: ProposalError) -> Status {
    match error {
        ProposalError::NotLeader | ProposalError::Full | ProposalError::Unavailable(_) => {
            Status::unavailable(error.to_string())
        }
        ProposalError::Rejected(_) | ProposalError::Outrun(_) => Status::aborted(error.to_string()),
        ProposalError::TooLarge { .. } => Status::invalid_argument(error.to_string()),
    }
}

/// Agents register anew on either.
pub(crate) fn no_session(refused: Refused) -> Status {
    match refused {
        Refused::NotLeader => Status::unavailable(refused.to_string()),
        Refused::Session(_) => Status::invalid_argument(refused.to_string()),
    }
}
