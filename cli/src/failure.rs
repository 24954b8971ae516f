//! Why a command did not do what it was asked, in the words and with the exit status its user sees.
//!
//! Invariant: a failure says one thing on standard error and never repeats what was already printed.

use skep_docker_api::ClientError;

/// What the process exits with where nothing else is said (Docker's value).
pub const EXIT_FAILURE: u8 = 1;
/// The exit status of a wrong flag (Docker's value).
pub const EXIT_USAGE: u8 = 125;
/// The exit status of a template that does not parse (Docker's value).
pub const EXIT_TEMPLATE: u8 = 64;
/// What a shell reports for a process that wrote to a closed pipe: 128 and SIGPIPE.
pub const EXIT_PIPE: u8 = 141;

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub message: String,
    pub status: u8,
}

pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: EXIT_FAILURE }
    }

    pub fn with_status(status: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), status }
    }

    /// Several failures of one command, each on a line; none is success.
    pub fn join(failures: Vec<Failure>) -> Outcome {
        let Some(status) = failures.first().map(|failure| failure.status) else { return Ok(()) };
        let lines: Vec<_> = failures.into_iter().map(|failure| failure.message).collect();
        Err(Self { message: lines.join("\n"), status })
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = match &error {
            // The API speaks to the docker command line too; to our user its commands are ours.
            ClientError::Daemon { .. } => error.to_string().replace("\"docker ", "\"skep "),
            _ => chain(&error),
        };
        Self::new(message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Whoever read us has what they wanted.
            std::io::ErrorKind::BrokenPipe => Self::with_status(EXIT_PIPE, ""),
            _ => Self::new(format!("failed to write output: {error}")),
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    // A connection refused or missing says no more than the sentence about the daemon.
    while let Some(next) = cause {
        let quiet = next.downcast_ref::<std::io::Error>().is_some_and(|io| {
            matches!(
                io.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            )
        });
        if !quiet {
            text.push_str(&format!(": {next}"));
        }
        cause = next.source();
    }
    text
}
