//! Goes through a directory tree by descriptors, as it stands, in the order of names.
//!
//! **Invariant:** nothing outside the tree is looked at, whatever a container does to it meanwhile:
//! each step opens one component of its parent and follows no link.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};

use crate::limits::PATH_DEPTH_MAX;
use crate::unpack::tree::{kind, open_dir};

/// Something in the tree.
pub(crate) struct Found<'a> {
    pub parent: &'a OwnedFd,
    pub name: &'a OsStr,
    /// From the tree's root, without a slash in front.
    pub path: &'a [u8],
    /// What is in the root has 1.
    pub depth: usize,
    pub stat: &'a FileStat,
    /// The directory, if it is one.
    pub dir: Option<&'a OwnedFd>,
}

/// What to do with a directory that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Descend,
    Pass,
}

struct Level {
    dir: OwnedFd,
    /// The last comes first.
    names: Vec<OsString>,
    path_bytes: usize,
}

impl Level {
    fn open(dir: OwnedFd, path_bytes: usize) -> io::Result<Self> {
        let mut names = names(&dir)?;
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self { dir, names, path_bytes })
    }
}

/// What is in a directory, in no order.
pub(crate) fn names(dir: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(open_dir(dir, OsStr::new("."))?)?.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Visits everything below a directory, a directory before what is in it. What goes away meanwhile
/// is passed over.
pub(crate) fn walk(
    root: OwnedFd,
    visit: &mut dyn FnMut(&Found<'_>) -> io::Result<Next>,
) -> io::Result<()> {
    let mut levels = vec![Level::open(root, 0)?];
    let mut path = Vec::new();
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            levels.pop();
            continue;
        };
        path.truncate(level.path_bytes);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        let named = |error: io::Error| {
            let text = format!("{}: {error}", String::from_utf8_lossy(&path));
            io::Error::new(error.kind(), text)
        };
        let depth = levels.len();
        let level = &levels[depth - 1];
        let Some((stat, dir)) = look(&level.dir, &name).map_err(named)? else { continue };
        let found = Found {
            parent: &level.dir,
            name: &name,
            path: &path,
            depth,
            stat: &stat,
            dir: dir.as_ref(),
        };
        let next = visit(&found).map_err(named)?;
        if let (Next::Descend, Some(dir)) = (next, dir) {
            // One descriptor a level; a deeper tree could not be unpacked again either.
            if depth >= PATH_DEPTH_MAX {
                let text = format!("the tree is deeper than {PATH_DEPTH_MAX}");
                return Err(named(io::Error::other(text)));
            }
            levels.push(Level::open(dir, path.len()).map_err(named)?);
        }
    }
    Ok(())
}

/// A child, opened if it is a directory; None, if it went away.
fn look(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<(FileStat, Option<OwnedFd>)>> {
    let stat = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if kind(&stat) != SFlag::S_IFDIR {
        return Ok(Some((stat, None)));
    }
    match open_dir(parent, name) {
        Ok(dir) => Ok(Some((fstat(&dir)?, Some(dir)))),
        // It was replaced since.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
