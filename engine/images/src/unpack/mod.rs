//! Turns a layer's archive into a directory that overlayfs can stack.
//!
//! Whiteouts become character devices 0:0, opaque markers an attribute; everything else keeps its
//! owner, mode, times and attributes. It neither commits nor cleans up: the caller gives an empty
//! directory and throws it away on an error.

pub(crate) mod tree;
pub(crate) mod xattr;

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, makedev, mkdirat,
    mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};
use skep_idmap::IdMaps;

use self::tree::{InnerPath, Missing, Refusal, Tree};
use crate::digest::{Digest, Digester};
use crate::error::{Context, Error, Result};
use crate::limits::Limits;
use crate::owners;
use crate::tar_reader::{Kind, TarEntry, TarReader};

pub(crate) const WHITEOUT: &[u8] = b".wh.";
pub(crate) const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// AUFS kept its own books under such names; they mean nothing elsewhere.
const AUFS_BOOKS: &[u8] = b".wh..wh.";

/// A layer that was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// The digest of the archive itself, unpacked.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub size: u64,
}

/// Unpacks an archive that is no longer compressed into a directory that is empty and has its
/// owner.
pub(crate) fn unpack(
    archive: impl Read,
    into: &Path,
    limits: &Limits,
    ids: &IdMaps,
) -> Result<Unpacked> {
    let root = File::open(into).context(|| format!("open {}", into.display()))?;
    let mut hashing =
        Hashing { inner: archive, digester: Digester::default(), left: limits.layer_bytes };
    let mut unpacker =
        Unpacker { tree: Tree::new(root, ids.root()), size: 0, directories: Vec::new() };
    let mut reader = TarReader::new(&mut hashing);
    let mut entries = 0;
    loop {
        let mut entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) => return Err(Error::Archive(error.to_string())),
        };
        entries += 1;
        if entries > limits.layer_entries {
            let text = format!("more than {} entries in one layer", limits.layer_entries);
            return Err(Error::Archive(text));
        }
        owners::to_disk(&mut entry, ids)
            .map_err(|reason| refused(&entry, Refusal::Hostile(reason)))?;
        unpacker.take(&entry, &mut reader).map_err(|refusal| refused(&entry, refusal))?;
    }
    reader.drain().map_err(|error| Error::Archive(error.to_string()))?;
    unpacker.finish()?;
    Ok(Unpacked { diff_id: hashing.digester.finish(), size: unpacker.size })
}

/// The digest of an archive that is no longer compressed, without unpacking it.
pub(crate) fn diff_id(archive: impl Read, limits: &Limits) -> io::Result<Digest> {
    let mut hashing =
        Hashing { inner: archive, digester: Digester::default(), left: limits.layer_bytes };
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(hashing.digester.finish())
}

fn refused(entry: &TarEntry, refusal: Refusal) -> Error {
    let name = String::from_utf8_lossy(&entry.path).into_owned();
    match refusal {
        Refusal::Hostile(reason) => Error::Entry { entry: name, reason },
        // What the archive itself is to blame for is not the disk's fault.
        Refusal::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other
            ) =>
        {
            Error::Entry { entry: name, reason: error.to_string() }
        }
        Refusal::Io(source) => Error::Io { action: format!("unpack {name:?}"), source },
    }
}

/// Counts and hashes what passes, and stops a stream that does not end.
struct Hashing<R> {
    inner: R,
    digester: Digester,
    left: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the layer is larger than is allowed")
        })?;
        self.digester.update(&buffer[..read]);
        Ok(read)
    }
}

struct Unpacker {
    tree: Tree,
    size: u64,
    /// Times of directories are set last: what is put into them changes theirs.
    directories: Vec<(InnerPath, (i64, u32))>,
}

impl Unpacker {
    fn take(&mut self, entry: &TarEntry, content: &mut impl Read) -> Result<(), Refusal> {
        let path = InnerPath::parse(&entry.path)?;
        let Some((parent, name)) = path.split() else {
            return match entry.kind {
                Kind::Directory => self.take_root(entry, path),
                _ => Err(Refusal::Hostile("the archive's root must be a directory".to_owned())),
            };
        };
        if parent.iter().any(|component| component.as_bytes().starts_with(AUFS_BOOKS)) {
            return Ok(());
        }
        let parent = self.tree.directory(parent, Missing::Make)?;
        match name.as_bytes() {
            OPAQUE_MARKER => return Ok(xattr::set(&parent, xattr::OPAQUE, b"y")?),
            bytes if bytes.starts_with(AUFS_BOOKS) => return Ok(()),
            bytes => {
                if let Some(deleted) = bytes.strip_prefix(WHITEOUT) {
                    return whiteout(&parent, OsStr::from_bytes(deleted));
                }
            }
        }
        let replaced = self.make_room(&parent, name, entry.kind)?;
        match entry.kind {
            Kind::Directory => {
                if replaced != Replaced::SameDirectory {
                    mkdirat(&parent, name, Mode::S_IRWXU)?;
                }
                let directory = tree::open_dir(&parent, name)?;
                dress_open(&directory, entry)?;
                // DEVIATION: for Docker the whiteout is forgotten here, and what lower layers have
                // in the directory shows through. The OCI's specification has it deleted.
                if replaced == Replaced::Whiteout {
                    xattr::set(&directory, xattr::OPAQUE, b"y")?;
                }
                self.directories.push((path.clone(), entry.mtime));
                Ok(())
            }
            Kind::HardLink => self.link(&parent, name, &entry.link),
            _ => {
                self.size += make(&parent, name, entry, content)?;
                Ok(())
            }
        }
    }

    fn take_root(&mut self, entry: &TarEntry, path: InnerPath) -> Result<(), Refusal> {
        dress_open(self.tree.root(), entry)?;
        self.directories.push((path, entry.mtime));
        Ok(())
    }

    /// Clears the place for an entry; a directory that comes twice stays.
    fn make_room(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        kind: Kind,
    ) -> Result<Replaced, Refusal> {
        let Some(there) = tree::stat(parent, name)? else { return Ok(Replaced::Nothing) };
        if kind == Kind::Directory && tree::kind(&there) == SFlag::S_IFDIR {
            return Ok(Replaced::SameDirectory);
        }
        tree::remove(parent, name)?;
        self.tree.forget();
        Ok(if tree::is_whiteout(&there) { Replaced::Whiteout } else { Replaced::Nothing })
    }

    fn link(&mut self, parent: &OwnedFd, name: &OsStr, target: &[u8]) -> Result<(), Refusal> {
        let shown = String::from_utf8_lossy(target).into_owned();
        let path = InnerPath::parse(target)
            .map_err(|_| Refusal::Hostile(format!("hard link to {shown:?} leads out")))?;
        let Some((directory, file)) = path.split() else {
            return Err(Refusal::Hostile("hard link to the archive's root".to_owned()));
        };
        let absent = || Refusal::Hostile(format!("hard link to {shown:?}, which is not there"));
        let directory = match self.tree.directory(directory, Missing::Refuse) {
            Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(absent());
            }
            result => result?,
        };
        match tree::stat(&directory, file)? {
            None => return Err(absent()),
            Some(stat) if tree::kind(&stat) == SFlag::S_IFDIR => {
                return Err(Refusal::Hostile(format!("hard link to the directory {shown:?}")));
            }
            Some(_) => {}
        }
        Ok(linkat(&directory, file, parent, name, AtFlags::empty())?)
    }

    fn finish(&mut self) -> Result<()> {
        // In the archive's order, so that the last word about a directory counts.
        for (path, mtime) in &self.directories {
            let directory = match self.tree.directory(path.components(), Missing::Refuse) {
                Ok(directory) => directory,
                // A later entry replaced it.
                Err(_) => continue,
            };
            futimens(&directory, &timespec(*mtime), &timespec(*mtime))
                .context(|| "set the times of a directory".to_owned())?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaced {
    Nothing,
    SameDirectory,
    Whiteout,
}

/// Marks a name as deleted in the layers below.
fn whiteout(parent: &OwnedFd, name: &OsStr) -> Result<(), Refusal> {
    if matches!(name.as_bytes(), b"" | b"." | b"..") {
        return Err(Refusal::Hostile("whiteout of no name".to_owned()));
    }
    match tree::stat(parent, name)? {
        None => Ok(mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), 0)?),
        // The layer brings the name anew, and a whiteout speaks of lower layers alone.
        Some(there) if tree::kind(&there) == SFlag::S_IFDIR => {
            Ok(xattr::set(tree::open_dir(parent, name)?, xattr::OPAQUE, b"y")?)
        }
        Some(_) => Ok(()),
    }
}

pub(crate) fn timespec((seconds, nanoseconds): (i64, u32)) -> TimeSpec {
    TimeSpec::new(seconds, i64::from(nanoseconds))
}

/// Makes what is neither a directory nor a hard link, in a place that is free; gives the bytes of
/// its content.
pub(crate) fn make(
    parent: &OwnedFd,
    name: &OsStr,
    entry: &TarEntry,
    content: &mut impl Read,
) -> Result<u64, Refusal> {
    let device = || makedev(entry.device.0.into(), entry.device.1.into());
    let (kind, device) = match entry.kind {
        Kind::File => {
            let flags = OFlag::O_CREAT
                | OFlag::O_EXCL
                | OFlag::O_WRONLY
                | OFlag::O_NOFOLLOW
                | OFlag::O_CLOEXEC;
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            let mut file = File::from(openat(parent, name, flags, mode)?);
            let bytes = io::copy(content, &mut file)?;
            file.flush()?;
            dress_open(&file, entry)?;
            futimens(&file, &timespec(entry.mtime), &timespec(entry.mtime))?;
            return Ok(bytes);
        }
        Kind::Symlink => {
            symlinkat(OsStr::from_bytes(&entry.link), parent, name)?;
            dress_closed(parent, name, entry)?;
            return Ok(0);
        }
        Kind::Character => (SFlag::S_IFCHR, device()),
        Kind::Block => (SFlag::S_IFBLK, device()),
        Kind::Fifo => (SFlag::S_IFIFO, 0),
        Kind::Directory | Kind::HardLink => unreachable!("the caller makes these itself"),
    };
    mknodat(parent, name, kind, Mode::S_IRUSR, device)?;
    dress_closed(parent, name, entry)?;
    Ok(0)
}

/// Owner before mode and attributes: a change of owner clears set-id bits and capabilities.
pub(crate) fn dress_open(file: impl std::os::fd::AsFd, entry: &TarEntry) -> Result<(), Refusal> {
    let file = file.as_fd();
    fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    fchmod(file, Mode::from_bits_truncate(entry.mode))?;
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| xattr::is_for_layers(name)) {
        let name = attribute(name)?;
        tolerate(xattr::set(file, &name, value))?;
    }
    Ok(())
}

/// The same for what cannot be opened without consequences.
fn dress_closed(parent: &OwnedFd, name: &OsStr, entry: &TarEntry) -> Result<(), Refusal> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if entry.kind != Kind::Symlink {
        let mode = Mode::from_bits_truncate(entry.mode);
        fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)?;
    }
    for (key, value) in entry.xattrs.iter().filter(|(key, _)| xattr::is_for_layers(key)) {
        let key = attribute(key)?;
        tolerate(xattr::set_at(parent, name, &key, value))?;
    }
    let time = timespec(entry.mtime);
    Ok(utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)?)
}

fn attribute(name: &str) -> Result<CString, Refusal> {
    CString::new(name).map_err(|_| Refusal::Hostile("attribute's name holds a NUL byte".to_owned()))
}

/// Attributes that the file system or kind of file cannot hold are left out, as Docker does.
fn tolerate(result: io::Result<()>) -> Result<(), Refusal> {
    match result {
        Err(error)
            if matches!(
                error.raw_os_error().map(Errno::from_raw),
                Some(Errno::ENOTSUP | Errno::EPERM)
            ) =>
        {
            tracing::debug!(%error, "left out an extended attribute");
            Ok(())
        }
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests;
