//! Who holds a lock file. A lock of fcntl(2) belongs to a process, not to a descriptor that its
//! children would inherit; the kernel drops it at the process's end and tells its holder's id.
//!
//! **Invariant:** a process opens a lock file at most once; closing any descriptor of the file would
//! drop the lock.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// A lock that is held as long as this lives.
#[derive(Debug)]
pub struct Held(File);

/// Takes the lock; None if another process has it.
pub fn take(path: &Path) -> io::Result<Option<Held>> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    match fcntl(&file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(Some(Held(file))),
        Err(Errno::EACCES | Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the file behind `held` is still the one at this path, and not one that was removed
/// before the lock was had.
pub fn still_at(held: &Held, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (held.0.metadata(), path.metadata()) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

/// The process that holds the lock, if any other does.
pub fn holder(path: &Path) -> io::Result<Option<i32>> {
    let file = match File::options().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open and `lock` is a valid flock that the kernel fills.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) };
    Errno::result(answer)?;
    let held = i32::from(lock.l_type) != libc::F_UNLCK;
    Ok(held.then_some(lock.l_pid).filter(|pid| *pid > 0))
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
