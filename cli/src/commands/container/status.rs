//! A container's exit status as ours.

use skep_docker_api::ClientError;
use skep_docker_api::json::ContainerWaitResponse;

use crate::failure::{EXIT_USAGE, Failure, Outcome};

/// Silent: what there was to say, the container said.
pub fn exit(code: i64) -> Outcome {
    match code {
        0 => Ok(()),
        // A process's status has eight bits; of more the low ones are seen.
        code => Err(Failure::with_status((code & 0xff) as u8, "")),
    }
}

/// What waiting gave.
pub fn of(answer: Result<ContainerWaitResponse, ClientError>) -> Outcome {
    match answer {
        Ok(ContainerWaitResponse { error: Some(error), .. }) => Err(Failure::with_status(
            EXIT_USAGE,
            format!("Error waiting for container: {}", error.message),
        )),
        Ok(answer) => exit(answer.status_code),
        Err(error) => Err(Failure::with_status(
            EXIT_USAGE,
            format!("error waiting for container: {}", Failure::from(error)),
        )),
    }
}
