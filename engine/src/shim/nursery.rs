//! The process that shims are forked from.
//!
//! **Invariant:** it opens nothing and keeps nothing of a container: a fork knows what it is sent.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

use super::terminal;
use crate::cgroup::Hierarchies;
use crate::process;
use crate::protocol::{Forked, NurseryConfig, Role};

/// Forks what it is asked for. None in the process itself, when nobody is left to ask; in a fork,
/// what it is to be. Its standard streams are then its own.
pub fn main(mut input: File, socket: OwnedFd) -> io::Result<Option<Role>> {
    let mut config = Vec::new();
    input.read_to_end(&mut config)?;
    drop(input);
    let config: NurseryConfig = serde_json::from_slice(&config)?;
    prctl::set_name(c"skep-nursery")?;
    // What ends the daemon's group or session does not end this. Fails where the process leads a
    // group already, which is as good.
    let _ = setsid();
    // Forks are born where shims belong, which spares each of them the move.
    Hierarchies::find()?.join_shims(&config.cgroup_parent)?;

    let mut watched = SigSet::empty();
    watched.add(Signal::SIGCHLD);
    let before = watched.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let ended = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut message = [0; 256];
    loop {
        let mut polled = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [asked, ended_now] = polled.map(|it| it.any().unwrap_or(false));
        if ended_now {
            while let Ok(Some(_)) = ended.read_signal() {}
            while !matches!(
                waitpid(None, Some(WaitPidFlag::WNOHANG)),
                Ok(WaitStatus::StillAlive) | Err(_)
            ) {}
        }
        if !asked {
            continue;
        }
        let (length, streams) = terminal::receive(&socket, &mut message)?;
        if length == 0 {
            return Ok(None);
        }
        let role: Role = serde_json::from_slice(&message[..length])?;
        // SAFETY: this process has a single thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                drop((socket, ended));
                before.thread_set_mask()?;
                prctl::set_name(c"skep-shim")?;
                take(streams)?;
                return Ok(Some(role));
            }
            Ok(ForkResult::Parent { child }) => {
                drop(streams);
                // Not reaped yet, so the id is the fork's own.
                let process = process::open(child.as_raw())?.ok_or(io::ErrorKind::NotFound)?;
                terminal::send(&socket, &serde_json::to_vec(&Forked::Done)?, &[process])?;
            }
            Err(errno) => {
                let failed = Forked::Failed { errno: errno as i32 };
                terminal::send(&socket, &serde_json::to_vec(&failed)?, &[])?;
            }
        }
    }
}

/// Makes these the standard input, output and errors.
fn take(streams: Vec<OwnedFd>) -> io::Result<()> {
    let [input, output, errors] =
        <[OwnedFd; 3]>::try_from(streams).map_err(|_| io::ErrorKind::InvalidData)?;
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(errors)?;
    Ok(())
}
