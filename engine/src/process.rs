//! A process by a descriptor, which no recycled process id can mislead.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Opens a process; None if there is none of this id.
pub fn open(pid: i32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: the call takes two integers; a non-negative result is a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match Errno::result(fd) {
        // SAFETY: the kernel has just given us this descriptor and nobody else has it.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        Err(Errno::ESRCH | Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends a signal; false if the process is gone.
pub fn kill(process: &OwnedFd, signal: i32) -> io::Result<bool> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open; a null siginfo is allowed and means kill(2)'s.
    let sent =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) };
    match Errno::result(sent) {
        Ok(_) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits until the process has ended.
pub async fn ended(process: OwnedFd) -> io::Result<()> {
    // SAFETY: an owned descriptor is open as long as it lives, and always the same one.
    let watched = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
    let watched = watched.map_err(|error| error.into_parts().1)?;
    // Readable once the process has ended; it stays so.
    watched.readable().await.map(drop)
}

/// Waits until the process has ended; false if time ran out.
pub fn wait(process: &OwnedFd, timeout: Duration) -> io::Result<bool> {
    let mut polled = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut polled, timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A process that is killed when this is dropped; gone already is as good.
#[derive(Debug)]
pub struct Killed(pub OwnedFd);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = kill(&self.0, libc::SIGKILL);
    }
}
