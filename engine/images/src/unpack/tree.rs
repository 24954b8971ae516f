//! A directory tree under construction, touched only through descriptors.
//!
//! **Invariant:** nothing outside the root is opened, made, changed or removed, whatever names and
//! links an archive brings. Each step opens one component and follows no link; links on the way
//! are resolved here, with the root as `/`, as the container would see them.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::xattr;
use crate::limits::{LINK_HOPS_MAX, PATH_DEPTH_MAX};

/// Why an entry cannot have its place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Hostile(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

fn hostile<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Hostile(reason.into()))
}

/// A path inside the tree: no empty, `.` or `..` component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct InnerPath(Vec<OsString>);

impl InnerPath {
    /// Reads an archive's name. A leading slash means the tree's root, as for Docker (there are
    /// image builders that write names so); `..` may not lead out.
    pub(crate) fn parse(name: &[u8]) -> Result<Self, Refusal> {
        let mut components = Vec::new();
        if name.contains(&0) {
            return hostile("the name holds a NUL byte");
        }
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    if components.pop().is_none() {
                        return hostile("the name leads out of the archive's root");
                    }
                }
                _ => components.push(OsString::from_vec(component.to_vec())),
            }
        }
        if components.len() > PATH_DEPTH_MAX {
            return hostile(format!("the name has more than {PATH_DEPTH_MAX} components"));
        }
        Ok(Self(components))
    }

    /// The directory and the name in it; None for the root.
    pub(crate) fn split(&self) -> Option<(&[OsString], &OsStr)> {
        self.0.split_last().map(|(last, parent)| (parent, last.as_os_str()))
    }

    pub(crate) fn components(&self) -> &[OsString] {
        &self.0
    }
}

/// Whether directories that are missing on the way are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Refuse,
}

/// What overlayfs takes as "this is deleted": a character device 0:0.
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// A child of a directory, not what it may point to; None, if there is none.
pub(crate) fn stat(dir: impl AsFd, name: &OsStr) -> Result<Option<FileStat>, Refusal> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a child that is a directory; a link is none.
pub(crate) fn open_dir(dir: impl AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    openat(dir, name, flags, Mode::empty())
}

/// Removes a child and all below it; links are removed, not followed.
pub(crate) fn remove(dir: impl AsFd, name: &OsStr) -> Result<(), Refusal> {
    match unlinkat(dir.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) => {}
        result => return Ok(result?),
    }
    // The standard library's removal walks by descriptors and follows nothing; the way to its
    // start leads through ours.
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    Ok(std::fs::remove_dir_all(PathBuf::from(OsString::from_vec(path)))?)
}

/// The tree; it remembers the last directory, since archives go through one after another.
pub(crate) struct Tree {
    root: OwnedFd,
    /// Who gets directories that the archive implies: user and group.
    owner: (u32, u32),
    last: Option<(Vec<OsString>, OwnedFd)>,
}

impl Tree {
    pub(crate) fn new(root: File, owner: (u32, u32)) -> Self {
        Self { root: root.into(), owner, last: None }
    }

    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Forgets what was remembered; to be called when a directory may have gone or moved.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// The directory at a path.
    pub(crate) fn directory(
        &mut self,
        path: &[OsString],
        missing: Missing,
    ) -> Result<OwnedFd, Refusal> {
        if let Some((known, directory)) = &self.last
            && known == path
        {
            return Ok(directory.try_clone()?);
        }
        let directory = self.walk(path, missing)?;
        self.last = Some((path.to_vec(), directory.try_clone()?));
        Ok(directory)
    }

    fn walk(&mut self, path: &[OsString], missing: Missing) -> Result<OwnedFd, Refusal> {
        let mut at = self.root.try_clone()?;
        let mut depth = 0usize;
        let mut hops = 0;
        let mut rest: VecDeque<OsString> = path.iter().cloned().collect();
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                // DEVIATION: Docker unpacks in a chroot, where the root is its own parent. An entry
                // below a link that climbs higher than that was made to escape, and is refused.
                let Some(up) = depth.checked_sub(1) else {
                    return hostile("a link on the way leads out of the archive's root");
                };
                depth = up;
                // A directory that was entered by its name has its real parent as `..`.
                at = open_dir(&at, OsStr::new(".."))?;
                continue;
            }
            match open_dir(&at, &name) {
                Ok(next) => {
                    at = next;
                    depth += 1;
                }
                Err(Errno::ENOENT) if missing == Missing::Make => {
                    at = make_dir(&at, &name, self.owner)?;
                    depth += 1;
                }
                Err(Errno::ELOOP | Errno::ENOTDIR) => {
                    let found = stat(&at, &name)?;
                    match found.as_ref().map(kind) {
                        Some(SFlag::S_IFLNK) => {
                            hops += 1;
                            if hops > LINK_HOPS_MAX {
                                return hostile("too many links on the way");
                            }
                            let target = readlinkat(&at, name.as_os_str())?;
                            if target.as_bytes().starts_with(b"/") {
                                at = self.root.try_clone()?;
                                depth = 0;
                            }
                            let steps = target.as_bytes().split(|byte| *byte == b'/');
                            for step in steps.rev().filter(|step| !matches!(*step, b"" | b".")) {
                                rest.push_front(OsStr::from_bytes(step).to_owned());
                            }
                        }
                        // The layer deleted what was there below and now makes it anew.
                        _ if missing == Missing::Make
                            && found.as_ref().is_some_and(is_whiteout) =>
                        {
                            remove(&at, &name)?;
                            at = make_dir(&at, &name, self.owner)?;
                            xattr::set(&at, xattr::OPAQUE, b"y")?;
                            depth += 1;
                        }
                        _ => {
                            return hostile(format!(
                                "{} on the way is not a directory",
                                name.to_string_lossy()
                            ));
                        }
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
            if depth > PATH_DEPTH_MAX || rest.len() > 2 * PATH_DEPTH_MAX {
                return hostile(format!("the tree is deeper than {PATH_DEPTH_MAX}"));
            }
        }
        Ok(at)
    }
}

/// A directory that the archive implies but does not bring: Docker's mode for these.
pub(crate) fn make_dir(
    parent: &OwnedFd,
    name: &OsStr,
    (uid, gid): (u32, u32),
) -> Result<OwnedFd, Refusal> {
    mkdirat(parent, name, Mode::S_IRWXU)?;
    let made = open_dir(parent, name)?;
    fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fchmod(&made, Mode::from_bits_truncate(0o755))?;
    Ok(made)
}
