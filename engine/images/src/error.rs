//! What can go wrong with images; the wording is Docker's where Docker has one.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::digest::{Digest, ParseDigestError};
use crate::reference::ParseReferenceError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel or the disk refused something.
    #[error("failed to {action}")]
    Io { action: String, source: io::Error },
    #[error("image store {} is in use by another process", .0.display())]
    Locked(PathBuf),
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
    #[error("No such image: {0}")]
    NoSuchImage(String),
    #[error("ambiguous image id prefix: {0}")]
    Ambiguous(String),
    /// Docker's wording for more than [`crate::LAYERS_MAX`] layers.
    #[error("max depth exceeded")]
    TooManyLayers,
    /// An archive that would reach out of its place, or that is none.
    #[error("refused archive entry {entry:?}: {reason}")]
    Entry { entry: String, reason: String },
    #[error("refused archive: {0}")]
    Archive(String),
    #[error("content does not match its digest: expected {expected}, got {got}")]
    Mismatch { expected: Digest, got: Digest },
    /// Docker's wording.
    #[error("layers from manifest don't match image configuration")]
    RootfsMismatch,
    #[error("invalid {what}: {reason}")]
    Invalid { what: String, reason: String },
    /// What stands in the store is not what was put there.
    #[error("image store is damaged: {0}")]
    Damaged(String),
    /// The image or content is needed elsewhere; the wording is Docker's.
    #[error("conflict: {0}")]
    Conflict(String),
    #[error("container {0} has no root filesystem")]
    NoSuchRootfs(String),
    #[error("container {0} has a root filesystem already")]
    RootfsExists(String),
    /// The registry said no, or could not be asked; the wording is Docker's where it is known.
    #[error("{0}")]
    Registry(String),
    /// A registry does not know a user.
    #[error("{0}")]
    Login(String),
    /// Nobody answered, or nobody who is trusted.
    #[error("failed to reach registry {domain}: {reason}")]
    Unreachable { domain: String, reason: String },
    /// It may go better later: after so long, if the registry says.
    #[error("{reason}")]
    Busy { reason: String, wait: Option<Duration> },
    #[error("lost the connection to the registry")]
    Interrupted { source: io::Error },
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoMatchingPlatform { platform: String },
    #[error(
        "image with reference {reference} was found but does not match the specified platform: wanted {wanted}, actual: {actual}"
    )]
    WrongPlatform { reference: String, wanted: String, actual: String },
}

/// Names what was being done when the kernel refused.
pub(crate) trait Context<T> {
    fn context(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { action: action(), source: source.into() })
    }
}
