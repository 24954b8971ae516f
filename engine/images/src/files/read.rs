//! Archives of what is in a container: of one path for `docker cp`, of everything for
//! `docker export`.

use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstat, fstatat};

use super::path::Asked;
use super::pipe::{ArchiveStream, stream};
use super::resolve::{is_kernels, open_dir_in};
use super::stat::{PathInfo, look};
use super::{FileError, RootDir, blocking};
use crate::pack::Packer;
use crate::unpack::tree::kind;
use crate::walk::{Found, Next, walk};

/// What is to be packed; it is opened already.
enum Source {
    /// A directory, and what stands before the names of what is in it.
    Directory { dir: OwnedFd, name: String },
    /// Anything else, in its directory.
    Other { parent: OwnedFd, name: String },
}

impl RootDir {
    /// Describes what is at a path and gives it as a tar archive, as `docker cp` expects it: a file
    /// by its own name; a directory by its own name with all that is in it, or as `.` if the path
    /// ends so. Volumes are followed into; what the kernel shows of itself, as in `/proc`, is not.
    pub async fn read(&self, path: &str) -> Result<(PathInfo, ArchiveStream), FileError> {
        let (root, asked) = (self.clone(), Asked::parse(path)?);
        let (info, source) = blocking(move || open(&root, &asked)).await?;
        let ids = self.ids.clone();
        let archive = stream(move |out| {
            let mut packer = Packer::new(out, &ids);
            match source {
                Source::Directory { dir, name } => pack_directory(&mut packer, dir, &name)?,
                Source::Other { parent, name } => {
                    let name = OsStr::new(&name);
                    let stat = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                    // Should a directory have come there, the archive has it, empty.
                    packer.add(&parent, name, &stat, name.as_bytes().to_vec())?;
                }
            }
            packer.finish()
        });
        Ok((info, archive))
    }

    /// Everything in the root as a tar archive, as `docker export` gives it.
    ///
    /// What is mounted below the root is left out: of a directory the place remains, a file is not
    /// there at all. So that nothing is covered, give it the place where the store mounted the root
    /// filesystem rather than a container's own view.
    pub fn export(&self) -> ArchiveStream {
        let root = self.clone();
        stream(move |out| {
            let mut packer = Packer::new(out, &root.ids);
            walk(open_dir_in(&root.dir, ".")?, &mut |found| {
                let mounted = is_mount(found)?;
                if mounted && found.dir.is_none() {
                    return Ok(Next::Pass);
                }
                packer.add(found.parent, found.name, found.stat, found.path.to_vec())?;
                Ok(if mounted { Next::Pass } else { Next::Descend })
            })?;
            packer.finish()
        })
    }
}

fn open(root: &RootDir, asked: &Asked) -> Result<(PathInfo, Source), FileError> {
    let (_, info) = look(root, asked)?;
    let refused = |error: nix::Error| FileError::of(asked.text(), "open", error);
    let source = match asked.split() {
        Some((parent, name))
            if SFlag::from_bits_truncate(info.mode) & SFlag::S_IFMT != SFlag::S_IFDIR =>
        {
            let parent = open_dir_in(&root.dir, parent.as_str()).map_err(refused)?;
            Source::Other { parent, name: name.to_owned() }
        }
        _ => {
            let dir = open_dir_in(&root.dir, asked.relative().as_str()).map_err(refused)?;
            Source::Directory { dir, name: asked.name().to_owned() }
        }
    };
    Ok((info, source))
}

fn pack_directory(
    packer: &mut Packer<'_, impl io::Write>,
    dir: OwnedFd,
    name: &str,
) -> io::Result<()> {
    // Docker's names in the root begin with its slash.
    let prefix = name.trim_end_matches('/');
    packer.add(&dir, OsStr::new("."), &fstat(&dir)?, prefix.as_bytes().to_vec())?;
    if is_kernels(&dir)? {
        return Ok(());
    }
    let device = fstat(&dir)?.st_dev;
    walk(dir, &mut |found| {
        let path = [prefix.as_bytes(), b"/", found.path].concat();
        packer.add(found.parent, found.name, found.stat, path)?;
        match found.dir {
            // It can only begin where another file system does.
            Some(dir) if found.stat.st_dev != device && is_kernels(dir)? => Ok(Next::Pass),
            _ => Ok(Next::Descend),
        }
    })
}

/// Whether something is mounted there.
///
/// Device numbers would not tell: an overlay shows those of its layers for files.
fn is_mount(found: &Found<'_>) -> io::Result<bool> {
    let (parent, name) = (found.parent.as_raw_fd(), CString::new(found.name.as_bytes())?);
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the descriptor is open, the name lives through the call, and the kernel writes no
    // more than the structure, for which zeroes are valid.
    let answer = unsafe {
        if libc::statx(parent, name.as_ptr(), flags, libc::STATX_TYPE, answer.as_mut_ptr()) != 0 {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::NotFound => Ok(false),
                error => Err(error),
            };
        }
        answer.assume_init()
    };
    let mount = libc::STATX_ATTR_MOUNT_ROOT as u64;
    if answer.stx_attributes_mask & mount != 0 {
        return Ok(answer.stx_attributes & mount != 0);
    }
    // Before Linux 5.8; directories of an overlay all have its own number.
    Ok(kind(found.stat) == SFlag::S_IFDIR && found.stat.st_dev != fstat(found.parent)?.st_dev)
}
