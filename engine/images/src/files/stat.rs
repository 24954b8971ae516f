//! What is at a path: `docker cp` asks this before it copies.

use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};
use time::OffsetDateTime;

use super::path::Asked;
use super::resolve::{follow, is_kernels, open_in};
use super::{FileError, RootDir, blocking};
use crate::unpack::tree::kind;

/// A file, directory, link or other thing in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The last component; `.` for a path that ends so, `/` for the root.
    pub name: String,
    pub size: u64,
    /// As stat(2) gives it: the kind of file and its permissions.
    pub mode: u32,
    pub mtime: OffsetDateTime,
    /// Of a symbolic link: where it leads in the end, as an absolute path in the container. Empty of
    /// anything else.
    pub link_target: String,
}

impl RootDir {
    /// Describes what is at a path. A symbolic link is described itself, unless the path ends with
    /// `/` or `/.`, which ask for what is behind it.
    pub async fn stat(&self, path: &str) -> Result<PathInfo, FileError> {
        let (root, asked) = (self.clone(), Asked::parse(path)?);
        blocking(move || Ok(look(&root, &asked)?.1)).await
    }
}

/// Opens a path to look at it alone, and describes it.
pub(super) fn look(root: &RootDir, asked: &Asked) -> Result<(OwnedFd, PathInfo), FileError> {
    let refused = |error: nix::Error| FileError::of(asked.text(), "look at", error);
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    let found = open_in(&root.dir, asked.relative().as_str(), flags).map_err(refused)?;
    let stat = fstat(&found).map_err(refused)?;
    // Of the kernel's own file systems only the place is the container's.
    if kind(&stat) != SFlag::S_IFDIR && is_kernels(&found).map_err(refused)? {
        return Err(FileError::Kernel { path: asked.text().to_owned() });
    }
    let link_target = match kind(&stat) {
        SFlag::S_IFLNK => follow(&root.dir, asked.components()).map_err(refused)?,
        _ => String::new(),
    };
    let info = PathInfo {
        name: asked.name().to_owned(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        mtime: time_of(&stat),
        link_target,
    };
    Ok((found, info))
}

fn time_of(stat: &FileStat) -> OffsetDateTime {
    let nanoseconds = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    // File systems hold times that no calendar does.
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
