//! Unpacks an archive into a directory of a container, as `docker cp` sends it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fchmod, futimens, mkdirat};
use nix::unistd::{Gid, Uid, fchown, linkat};

use super::path::Asked;
use super::pipe::{Receiving, channel};
use super::resolve::{open_dir_in, open_in};
use super::{FileError, RootDir, finished};
use crate::compression;
use crate::limits::Limits;
use crate::owners;
use crate::tar_reader::{Kind, TarEntry, TarReader};
use crate::unpack::tree::{InnerPath, Missing, Refusal, kind, open_dir, remove, stat};
use crate::unpack::{dress_open, make, timespec};

/// Whose files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// How to unpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// A directory is not replaced by something else, nor something else by a directory.
    pub no_overwrite_dir_non_dir: bool,
    /// Who gets everything; None leaves to each the owner in the archive. Docker's `copyUIDGID`
    /// means the user that the container runs as, if it names one.
    pub owner: Option<Owner>,
}

impl RootDir {
    /// Unpacks a tar archive, plain or packed by gzip or zstd, into a directory that is there. What
    /// was unpacked before an error stays.
    pub async fn write(
        &self,
        path: &str,
        archive: impl Stream<Item = io::Result<Bytes>>,
        options: WriteOptions,
    ) -> Result<(), FileError> {
        let (root, asked) = (self.clone(), Asked::parse(path)?);
        let (sender, receiving) = channel();
        let mut work =
            tokio::task::spawn_blocking(move || unpack(&root, &asked, receiving, options));
        let pump = async move {
            let mut archive = std::pin::pin!(archive);
            while let Some(piece) = archive.next().await {
                // A thread that has given up says why itself.
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
        };
        // The archive may not end, and need not when it was refused.
        tokio::select! {
            result = &mut work => finished(result),
            () = pump => finished(work.await),
        }
    }
}

fn unpack(
    root: &RootDir,
    asked: &Asked,
    archive: Receiving,
    options: WriteOptions,
) -> Result<(), FileError> {
    let closed = |error: nix::Error| FileError::of(asked.text(), "open", error);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    drop(open_in(&root.dir, asked.relative().as_str(), flags).map_err(closed)?);
    let broken = |error: io::Error| FileError::Archive(error.to_string());
    let (_, stream) = compression::open(archive).map_err(broken)?;
    let mut reader = TarReader::new(stream);
    let mut unpacker = Unpacker {
        root,
        place: asked.components().iter().map(OsString::from).collect(),
        last: None,
        options,
        directories: Vec::new(),
    };
    let entries_max = Limits::default().layer_entries;
    let mut entries = 0;
    while let Some(mut entry) = reader.next_entry().map_err(broken)? {
        entries += 1;
        if entries > entries_max {
            return Err(FileError::Archive(format!("more than {entries_max} entries")));
        }
        if let Some(owner) = options.owner {
            (entry.uid, entry.gid) = (owner.uid, owner.gid);
        }
        owners::to_disk(&mut entry, &root.ids)
            .map_err(|reason| refused(&entry, hostile(reason)))?;
        unpacker.take(&entry, &mut reader)?;
    }
    // Whoever sends it is to see it taken whole.
    reader.drain().map_err(broken)?;
    unpacker.finish();
    Ok(())
}

struct Unpacker<'a> {
    root: &'a RootDir,
    /// The directory that is unpacked into.
    place: Vec<OsString>,
    /// The last directory, since archives go through one after another.
    last: Option<(Vec<OsString>, OwnedFd)>,
    options: WriteOptions,
    /// Times of directories are set last: what is put into them changes theirs.
    directories: Vec<(InnerPath, (i64, u32))>,
}

impl Unpacker<'_> {
    fn take(&mut self, entry: &TarEntry, content: &mut impl Read) -> Result<(), FileError> {
        let path = InnerPath::parse(&entry.path).map_err(|refusal| refused(entry, refusal))?;
        let Some((parent, name)) = path.split() else {
            return match entry.kind {
                // The directory that is unpacked into stays as it is, as for Docker.
                Kind::Directory => Ok(()),
                _ => Err(refused(entry, hostile("the archive's root must be a directory"))),
            };
        };
        let parent =
            self.directory(parent, Missing::Make).map_err(|refusal| refused(entry, refusal))?;
        let there = stat(&parent, name).map_err(|refusal| refused(entry, refusal))?;
        let is_dir = there.as_ref().map(|there| kind(there) == SFlag::S_IFDIR);
        if self.options.no_overwrite_dir_non_dir {
            let there = format!("/{}", self.place(path.components()).display());
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            match (is_dir, entry.kind) {
                (Some(false), Kind::Directory) => {
                    return Err(FileError::NoDirectoryInTheWay { there, entry: name });
                }
                (None, _) | (Some(true), Kind::Directory) | (Some(false), _) => {}
                (Some(true), _) => return Err(FileError::DirectoryInTheWay { there, entry: name }),
            }
        }
        self.put(entry, content, (&path, &parent, name), is_dir)
            .map_err(|refusal| refused(entry, refusal))
    }

    /// Puts an entry in its place: a path, which is a name in a directory. `is_dir` says what is
    /// there, if anything is.
    fn put(
        &mut self,
        entry: &TarEntry,
        content: &mut impl Read,
        (path, parent, name): (&InnerPath, &OwnedFd, &OsStr),
        is_dir: Option<bool>,
    ) -> Result<(), Refusal> {
        let stays = is_dir == Some(true) && entry.kind == Kind::Directory;
        if is_dir.is_some() && !stays {
            remove(parent, name)?;
            self.last = None;
        }
        match entry.kind {
            Kind::Directory => {
                if !stays {
                    mkdirat(parent, name, Mode::S_IRWXU)?;
                }
                dress_open(open_dir(parent, name)?, entry)?;
                self.directories.push((path.clone(), entry.mtime));
                Ok(())
            }
            Kind::HardLink => self.link(parent, name, &entry.link),
            _ => make(parent, name, entry, content).map(drop),
        }
    }

    fn finish(mut self) {
        for (path, mtime) in std::mem::take(&mut self.directories) {
            // A later entry, or the container, may have replaced it: then there is nothing to set.
            if let Ok(directory) = self.directory(path.components(), Missing::Refuse) {
                let _ = futimens(&directory, &timespec(mtime), &timespec(mtime));
            }
        }
    }

    /// A path below the place, from the root.
    fn place(&self, path: &[OsString]) -> PathBuf {
        let mut whole: PathBuf = self.place.iter().chain(path).collect();
        if whole.as_os_str().is_empty() {
            whole.push(".");
        }
        whole
    }

    /// The directory at a path below the place; links on the way are followed in the container.
    fn directory(&mut self, path: &[OsString], missing: Missing) -> Result<OwnedFd, Refusal> {
        if let Some((known, directory)) = &self.last
            && known == path
        {
            return Ok(directory.try_clone()?);
        }
        let whole = self.place(path);
        let directory = match (open_dir_in(&self.root.dir, whole.as_path()), path.split_last()) {
            (Ok(directory), _) => directory,
            (Err(Errno::ENOENT), Some((name, parent))) if missing == Missing::Make => {
                let parent = self.directory(parent, missing)?;
                make_dir(&parent, name, self.root.ids.root())?;
                open_dir(&parent, name)?
            }
            (Err(Errno::ENOTDIR), _) => return Err(hostile("what is on the way is no directory")),
            (Err(Errno::ELOOP), _) => return Err(hostile("too many links on the way")),
            (Err(errno), _) => return Err(errno.into()),
        };
        self.last = Some((path.to_vec(), directory.try_clone()?));
        Ok(directory)
    }

    fn link(&mut self, parent: &OwnedFd, name: &OsStr, target: &[u8]) -> Result<(), Refusal> {
        let shown = String::from_utf8_lossy(target).into_owned();
        let path = InnerPath::parse(target)
            .map_err(|_| hostile(format!("hard link to {shown:?} leads out")))?;
        let Some((directory, file)) = path.split() else {
            return Err(hostile("hard link to the archive's root"));
        };
        let absent = || hostile(format!("hard link to {shown:?}, which is not there"));
        let directory = match self.directory(directory, Missing::Refuse) {
            Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(absent());
            }
            result => result?,
        };
        match stat(&directory, file)? {
            None => Err(absent()),
            Some(stat) if kind(&stat) == SFlag::S_IFDIR => {
                Err(hostile(format!("hard link to the directory {shown:?}")))
            }
            // A link there is not followed, but gets another name.
            Some(_) => Ok(linkat(&directory, file, parent, name, AtFlags::empty())?),
        }
    }
}

fn hostile(reason: impl Into<String>) -> Refusal {
    Refusal::Hostile(reason.into())
}

/// A directory that the archive implies but does not bring: Docker's mode for these.
fn make_dir(parent: &OwnedFd, name: &OsStr, (uid, gid): (u32, u32)) -> Result<(), Refusal> {
    match mkdirat(parent, name, Mode::S_IRWXU) {
        Err(Errno::EEXIST) => return Err(hostile("a link on the way leads nowhere")),
        result => result?,
    }
    let made = open_dir(parent, name)?;
    fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    Ok(fchmod(made, Mode::from_bits_truncate(0o755))?)
}

fn refused(entry: &TarEntry, refusal: Refusal) -> FileError {
    let name = String::from_utf8_lossy(&entry.path).into_owned();
    match refusal {
        Refusal::Hostile(reason) => FileError::Entry { entry: name, reason },
        Refusal::Io(source) => match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EROFS) => FileError::ReadOnly { path: name },
            Some(Errno::ENOSYS) => FileError::NoOpenat2,
            // What stands there, or the archive's own words, are to blame, and not the disk.
            Some(errno @ (Errno::ELOOP | Errno::ENAMETOOLONG | Errno::EXDEV | Errno::EEXIST)) => {
                FileError::Entry { entry: name, reason: errno.desc().to_owned() }
            }
            Some(_) => FileError::Io { action: format!("unpack {name:?}"), source },
            // What the kernel did not say the archive is to blame for.
            None => FileError::Entry { entry: name, reason: source.to_string() },
        },
    }
}
