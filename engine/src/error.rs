//! What can go wrong between the daemon and its containers.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("failed to {operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to read the record {}", path.display())]
    Record {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("failed to {operation} for container {id}")]
    Container {
        operation: &'static str,
        id: String,
        #[source]
        source: io::Error,
    },
    /// The configuration asks for what cannot be; nothing was changed.
    #[error("invalid container configuration: {0}")]
    Invalid(String),
    #[error("{0}")]
    Unsupported(&'static str),
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    #[error("container {0} already exists")]
    Exists(String),
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("container {0} is already paused")]
    AlreadyPaused(String),
    #[error("container {0} is not paused")]
    NotPaused(String),
    #[error("container {0} is already started")]
    AlreadyStarted(String),
    #[error("container {0} is running: stop the container before removing it")]
    Running(String),
    /// The shim could not make or start the container; the message is Docker's where it has one.
    #[error("{message}")]
    Failed {
        message: String,
        /// 126 or 127 where the command is to blame, as `docker run` exits.
        exit_code: Option<i32>,
    },
    #[error("timed out waiting for {what} of container {id}")]
    Timeout { what: &'static str, id: String },
    #[error("state directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { operation, path, source }
    }
}
