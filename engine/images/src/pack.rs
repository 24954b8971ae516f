//! Puts what stands on disk into a tar archive: kinds, owners, times, attributes, hard links.
//!
//! Sockets are left out, for an archive cannot hold them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, minor};
use skep_idmap::IdMaps;

use crate::owners;
use crate::tar_reader::{Kind, TarEntry};
use crate::tar_writer::TarWriter;
use crate::unpack::tree::kind;
use crate::unpack::xattr;

/// An archive of files.
pub(crate) struct Packer<'a, W> {
    writer: TarWriter<W>,
    /// How the files' owners stand on disk.
    ids: &'a IdMaps,
    /// Files with several names, by device and inode, with the name that has the content.
    seen: HashMap<(u64, u64), Vec<u8>>,
}

impl<'a, W: Write> Packer<'a, W> {
    pub(crate) fn new(out: W, ids: &'a IdMaps) -> Self {
        Self { writer: TarWriter::new(out), ids, seen: HashMap::new() }
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        self.writer.finish()
    }

    /// Adds a child of a directory, or the directory itself as `.`, under a path of the archive.
    /// What is in a directory is not added. What has gone meanwhile is passed over.
    pub(crate) fn add(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        stat: &FileStat,
        path: Vec<u8>,
    ) -> io::Result<()> {
        match self.try_add(parent, name, stat, path) {
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
            result => result,
        }
    }

    /// An empty file that says something by its name.
    pub(crate) fn mark(&mut self, path: Vec<u8>) -> io::Result<()> {
        let entry = TarEntry {
            path,
            link: Vec::new(),
            kind: Kind::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            device: (0, 0),
            xattrs: Vec::new(),
            size: 0,
        };
        self.writer.append(&entry, &mut io::empty())
    }

    fn try_add(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        stat: &FileStat,
        path: Vec<u8>,
    ) -> io::Result<()> {
        let entry_kind = match kind(stat) {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Symlink,
            SFlag::S_IFCHR => Kind::Character,
            SFlag::S_IFBLK => Kind::Block,
            SFlag::S_IFIFO => Kind::Fifo,
            _ => return Ok(()),
        };
        let mut entry = described(stat, entry_kind, path);
        let several = entry_kind != Kind::Directory && stat.st_nlink > 1;
        let inode = several.then_some((stat.st_dev, stat.st_ino));
        if let Some(first) = inode.and_then(|inode| self.seen.get(&inode)) {
            entry.link.clone_from(first);
            entry.kind = Kind::HardLink;
            owners::from_disk(&mut entry, self.ids);
            return self.writer.append(&entry, &mut io::empty());
        }
        for attribute in xattr::list_at(parent, name)? {
            if xattr::is_for_layers(&attribute)
                && let Some(value) = xattr::get_at(parent, name, &attribute)?
            {
                entry.xattrs.push((attribute, value));
            }
        }
        owners::from_disk(&mut entry, self.ids);
        match entry_kind {
            Kind::File => {
                // Should a pipe have taken its place, opening it must not wait for a writer.
                let flags = OFlag::O_RDONLY
                    | OFlag::O_NOFOLLOW
                    | OFlag::O_NONBLOCK
                    | OFlag::O_NOCTTY
                    | OFlag::O_CLOEXEC;
                let mut file = match openat(parent, name, flags, Mode::empty()) {
                    Ok(file) => File::from(file),
                    Err(Errno::ELOOP) => return Ok(()),
                    Err(errno) => return Err(errno.into()),
                };
                let now = fstat(&file)?;
                if kind(&now) != SFlag::S_IFREG {
                    return Ok(());
                }
                entry.size = u64::try_from(now.st_size).unwrap_or(0);
                self.writer.append(&entry, &mut file)?;
            }
            Kind::Symlink => {
                entry.link = readlinkat(parent, name)?.as_bytes().to_vec();
                self.writer.append(&entry, &mut io::empty())?;
            }
            _ => self.writer.append(&entry, &mut io::empty())?,
        }
        if let Some(inode) = inode {
            self.seen.insert(inode, entry.path);
        }
        Ok(())
    }
}

fn described(stat: &FileStat, kind: Kind, path: Vec<u8>) -> TarEntry {
    let part = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
    let device = match kind {
        Kind::Character | Kind::Block => (part(major(stat.st_rdev)), part(minor(stat.st_rdev))),
        _ => (0, 0),
    };
    TarEntry {
        path,
        link: Vec::new(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, 0),
        device,
        xattrs: Vec::new(),
        size: 0,
    }
}
