//! Files in a container's root: described, read as an archive, written from one.
//!
//! It takes a root that is there already: where a container's root filesystem is mounted, or
//! `/proc/PID/root` for what a running container itself sees, its volumes included. Names and words
//! for the user are the caller's.
//!
//! **Invariant:** nothing outside the root is opened, made, changed or removed, whatever names and
//! links an archive or the container brings, also while the container changes them. The kernel
//! resolves paths with the root as `/` (openat2, Linux 5.6); on a kernel without it, all of this is
//! refused rather than done less safely.

mod assemble;
mod path;
pub(crate) mod pipe;
mod read;
mod resolve;
mod stat;
mod write;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use skep_idmap::IdMaps;

pub use self::assemble::Bind;
pub use self::pipe::ArchiveStream;
pub use self::stat::PathInfo;
pub use self::write::{Owner, WriteOptions};

/// What can go wrong with files in a container.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{path}: no such file or directory")]
    NotFound { path: String },
    #[error("{path}: not a directory")]
    NotDirectory { path: String },
    /// What stands in `/proc` and the like is the kernel's; Docker does not copy it either.
    #[error("{path}: it is the kernel's and no file of the container")]
    Kernel { path: String },
    #[error("invalid path {path:?}: {reason}")]
    InvalidPath { path: String, reason: &'static str },
    /// Docker's wording.
    #[error("cannot overwrite directory {there:?} with non-directory {entry:?}")]
    DirectoryInTheWay { there: String, entry: String },
    /// Docker's wording.
    #[error("cannot overwrite non-directory {there:?} with directory {entry:?}")]
    NoDirectoryInTheWay { there: String, entry: String },
    #[error("{path}: read-only file system")]
    ReadOnly { path: String },
    /// An entry that would reach out of the container, or cannot have its place.
    #[error("refused archive entry {entry:?}: {reason}")]
    Entry { entry: String, reason: String },
    #[error("refused archive: {0}")]
    Archive(String),
    #[error(
        "the kernel has no openat2, without which paths cannot be kept in a container: Linux 5.6 is needed"
    )]
    NoOpenat2,
    #[error("failed to {action}")]
    Io { action: String, source: io::Error },
}

impl FileError {
    /// What the kernel's refusal of a path means.
    fn of(path: &str, action: &str, error: impl Into<io::Error>) -> Self {
        let path = path.to_owned();
        let source = error.into();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) => Self::NotFound { path },
            Some(Errno::ENOTDIR) => Self::NotDirectory { path },
            Some(Errno::EROFS) => Self::ReadOnly { path },
            Some(Errno::ENOSYS) => Self::NoOpenat2,
            // The kernel's own links are among those that are not followed.
            Some(Errno::ELOOP) => Self::InvalidPath { path, reason: "it leads over links too far" },
            Some(Errno::ENAMETOOLONG) => Self::InvalidPath { path, reason: "a name is too long" },
            _ => Self::Io { action: format!("{action} {path}"), source },
        }
    }
}

/// The root directory of a container; clones share it.
#[derive(Debug, Clone)]
pub struct RootDir {
    dir: Arc<OwnedFd>,
    /// How its files' owners stand on disk.
    ids: IdMaps,
    /// Keeps alive what [`RootDir::assemble`] mounted.
    _namespace: Option<Arc<OwnedFd>>,
}

impl RootDir {
    /// Opens a directory of the host as a root.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(path, flags, Mode::empty())
            .map_err(|errno| FileError::of(&path.display().to_string(), "open", errno))?;
        Ok(dir.into())
    }

    /// With archives that name owners as a container of these maps does.
    pub fn with_ids(self, ids: &IdMaps) -> Self {
        Self { ids: ids.clone(), ..self }
    }
}

impl From<OwnedFd> for RootDir {
    fn from(dir: OwnedFd) -> Self {
        Self { dir: Arc::new(dir), ids: IdMaps::default(), _namespace: None }
    }
}

/// Runs what blocks on the disk where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    finished(tokio::task::spawn_blocking(work).await)
}

fn finished<T>(
    result: Result<Result<T, FileError>, tokio::task::JoinError>,
) -> Result<T, FileError> {
    match result {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(FileError::Io {
                action: "finish: the runtime is shutting down".to_owned(),
                source: io::Error::other(error),
            }),
        },
    }
}
