//! What a container changed in its root filesystem, as `docker diff` shows it.
//!
//! Told by the overlay's upper directory against the layers below it, whether the overlay is
//! mounted or not.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::FileStat;

use crate::error::{Context, Result};
use crate::rootfs::Rootfs;
use crate::store::{Inner, Store};
use crate::unpack::tree::{is_whiteout, stat};
use crate::unpack::xattr;
use crate::walk::{Found, Next, walk};

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Modified,
    Added,
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute, in the container; bytes that are not UTF-8 are replaced.
    pub path: String,
    pub kind: ChangeKind,
}

impl Store {
    /// What a container changed, by path. A directory in which something changed is changed itself.
    pub async fn changes(&self, container: &str) -> Result<Vec<Change>> {
        let rootfs = self.rootfs(container).await?;
        self.blocking(move |_| {
            changes(&rootfs)
                .context(|| format!("compare the files of container {}", rootfs.container))
        })
        .await
    }
}

impl Inner {
    /// The directory that a container writes into.
    pub(crate) fn open_upper(&self, rootfs: &Rootfs) -> Result<OwnedFd> {
        let upper = self.root.join(&rootfs.overlay.upper);
        let dir = File::open(&upper).context(|| format!("open {}", upper.display()))?;
        Ok(dir.into())
    }
}

/// What the layers below hold of one directory.
struct Below {
    /// The layers' directories that are merged there, the topmost first.
    dirs: Vec<PathBuf>,
    /// The upper directory hides them.
    hidden: bool,
}

fn changes(rootfs: &Rootfs) -> io::Result<Vec<Change>> {
    let overlay = &rootfs.overlay;
    let lowers = overlay.lower.iter().map(|layer| overlay.base.join(layer)).collect();
    let upper: OwnedFd = File::open(overlay.base.join(&overlay.upper))?.into();
    let mut changed = Changed::default();
    // What is below each directory on the way to the entry at hand.
    let mut way = vec![Below { dirs: lowers, hidden: false }];
    walk(upper, &mut |found| {
        way.truncate(found.depth);
        let parent = &way[found.depth - 1];
        let there = parent.child(found.name)?;
        if is_whiteout(found.stat) {
            // One that covers nothing is overlayfs' own business.
            if there.is_some() {
                changed.insert(found.path, ChangeKind::Deleted);
            }
            return Ok(Next::Pass);
        }
        let Some((metadata, dirs)) = there else {
            changed.insert(found.path, ChangeKind::Added);
            way.push(Below { dirs: Vec::new(), hidden: false });
            return Ok(Next::Descend);
        };
        // A directory is copied up for what is in it, and then is the same as before.
        if !(found.dir.is_some() && metadata.is_dir() && is_same(found.stat, &metadata)) {
            changed.insert(found.path, ChangeKind::Modified);
        }
        if let Some(dir) = found.dir {
            let hidden = parent.hidden || is_opaque(found)?;
            let below = Below { dirs, hidden };
            if hidden {
                for name in below.names()? {
                    if stat(dir, &name).map_err(io::Error::other)?.is_none() {
                        let path = [found.path, b"/", name.as_bytes()].concat();
                        changed.insert(&path, ChangeKind::Deleted);
                    }
                }
            }
            way.push(below);
        }
        Ok(Next::Descend)
    })?;
    Ok(changed.into_list())
}

#[derive(Default)]
struct Changed(BTreeMap<Vec<u8>, ChangeKind>);

impl Changed {
    /// Notes a change, and that its parents hold one.
    fn insert(&mut self, path: &[u8], kind: ChangeKind) {
        for (at, byte) in path.iter().enumerate() {
            if *byte == b'/' {
                self.0.entry(path[..at].to_vec()).or_insert(ChangeKind::Modified);
            }
        }
        self.0.insert(path.to_vec(), kind);
    }

    fn into_list(self) -> Vec<Change> {
        let change = |(path, kind): (Vec<u8>, ChangeKind)| Change {
            path: format!("/{}", String::from_utf8_lossy(&path)),
            kind,
        };
        self.0.into_iter().map(change).collect()
    }
}

impl Below {
    /// What the layers show under a name, and the directories that are merged there, if it is one.
    ///
    /// Layers are this store's own, and each directory here was seen to be one: paths lead nowhere
    /// else.
    fn child(&self, name: &OsStr) -> io::Result<Option<(Metadata, Vec<PathBuf>)>> {
        let mut shown = None;
        let mut dirs = Vec::new();
        for dir in &self.dirs {
            let path = dir.join(name);
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
                break;
            }
            let is_dir = metadata.is_dir();
            // A file below a directory is hidden by it.
            if !is_dir && shown.is_some() {
                break;
            }
            shown.get_or_insert(metadata);
            if !is_dir {
                break;
            }
            let opaque = is_opaque_layer(&path)?;
            dirs.push(path);
            if opaque {
                break;
            }
        }
        Ok(shown.map(|metadata| (metadata, dirs)))
    }

    /// All names that the layers show in the directory.
    fn names(&self) -> io::Result<BTreeSet<OsString>> {
        let mut all = BTreeSet::new();
        for dir in &self.dirs {
            for entry in fs::read_dir(dir)? {
                all.insert(entry?.file_name());
            }
        }
        let mut shown = BTreeSet::new();
        for name in all {
            if self.child(&name)?.is_some() {
                shown.insert(name);
            }
        }
        Ok(shown)
    }
}

/// Whether a directory of the upper directory hides what is below it.
pub(crate) fn is_opaque(found: &Found<'_>) -> io::Result<bool> {
    let name = xattr::OPAQUE.to_str().expect("the attribute's name is ASCII");
    Ok(xattr::get_at(found.parent, found.name, name)?.is_some_and(|value| value == b"y"))
}

fn is_opaque_layer(dir: &Path) -> io::Result<bool> {
    let name = xattr::OPAQUE.to_str().expect("the attribute's name is ASCII");
    let opened: OwnedFd = File::open(dir)?.into();
    Ok(xattr::get_at(&opened, OsStr::new("."), name)?.is_some_and(|value| value == b"y"))
}

/// Directories whose own description is the same; their sizes are the file system's.
fn is_same(upper: &FileStat, lower: &Metadata) -> bool {
    (upper.st_mode, upper.st_uid, upper.st_gid) == (lower.mode(), lower.uid(), lower.gid())
        && (upper.st_mtime, upper.st_mtime_nsec) == (lower.mtime(), lower.mtime_nsec())
}
