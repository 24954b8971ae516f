//! Paths inside a root filesystem that somebody else filled: no symbolic link leads out of it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchownat};

/// A passwd or group file of more is not one.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A directory that paths are resolved below, as if it were `/`.
pub struct Root(OwnedFd);

impl Root {
    pub fn open(path: &Path) -> io::Result<Root> {
        Ok(Root(File::open(path)?.into()))
    }

    /// The file's text; empty if there is no such file. What is not UTF-8 is replaced.
    pub fn read(&self, path: &Path) -> io::Result<String> {
        let file = match self.open_below(path, libc::O_RDONLY | libc::O_NONBLOCK) {
            Ok(fd) => File::from(fd),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Makes a directory and those above it where they are missing, and gives them to an owner.
    pub fn make_directories(&self, path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
        let mut so_far = std::path::PathBuf::from("/");
        let mut parent = self.open_below(&so_far, libc::O_PATH | libc::O_DIRECTORY)?;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            so_far.push(name);
            parent = match self.open_below(&so_far, libc::O_PATH | libc::O_DIRECTORY) {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    mkdirat(parent.as_fd(), name, Mode::from_bits_truncate(0o755))?;
                    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                    fchownat(parent.as_fd(), name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                    self.open_below(&so_far, libc::O_PATH | libc::O_DIRECTORY)?
                }
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    fn open_below(&self, path: &Path, flags: libc::c_int) -> io::Result<OwnedFd> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: open_how is plain data; zero is valid for all of it.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = (flags | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
        // SAFETY: the descriptor is open, `path` is NUL-terminated, `how` is of the size given.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                self.0.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        let fd = Errno::result(fd)?;
        // SAFETY: the kernel has just given us this descriptor and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}
