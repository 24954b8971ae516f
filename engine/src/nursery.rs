//! The process that shims are forked from, as its daemon sees it.
//!
//! To execute the program for each container would link and relocate it each time, into memory that
//! is each process's own. Forks of one process share all that none of them changes.
//!
//! It ends with the daemon, or with a runtime that is dropped; its forks do not.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::defaults::{FORK_TIMEOUT, SHIM_NAME};
use crate::protocol::{Forked, NurseryConfig, Role};
use crate::sealed::{self, Program};
use crate::shim::terminal;

#[derive(Debug)]
pub struct Nursery {
    program: Program,
    config: NurseryConfig,
    /// None before the first fork, and after a conversation that went wrong.
    parent: Mutex<Option<Parent>>,
}

/// The process itself; killed when this is dropped.
#[derive(Debug)]
struct Parent {
    process: Child,
    socket: OwnedFd,
}

impl Drop for Parent {
    fn drop(&mut self) {
        // Gone already is as good. Its forks are on their own.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nursery {
    /// With its process's forks below this cgroup. There is none before it is needed.
    pub fn new(program: Program, cgroup_parent: PathBuf) -> Nursery {
        let config = NurseryConfig { cgroup_parent };
        Nursery { program, config, parent: Mutex::new(None) }
    }

    /// A fork with these as its standard input, output and errors, by a descriptor of it.
    /// Blocks for the time of a fork, the first time for that of an execve too.
    pub fn fork(&self, role: Role, streams: &[OwnedFd; 3]) -> io::Result<OwnedFd> {
        // Empty while a conversation is under way, whatever panicked in it.
        let mut place = self.parent.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was there may have been killed since: then another takes its place.
        if let Some(parent) = place.take()
            && let Ok(forked) = parent.ask(role, streams)
        {
            *place = Some(parent);
            return forked;
        }
        let parent = self.start()?;
        let forked = parent.ask(role, streams)?;
        *place = Some(parent);
        forked
    }

    fn start(&self) -> io::Result<Parent> {
        let config = serde_json::to_vec(&self.config)?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let process = Command::new(self.program.path())
            .arg0(SHIM_NAME)
            .stdin(Stdio::from(sealed::message(&[&config])?))
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::null())
            .env_clear()
            .current_dir("/")
            .spawn()?;
        Ok(Parent { process, socket })
    }
}

impl Parent {
    /// The outer error is the conversation's: nothing was forked, or nobody knows.
    fn ask(&self, role: Role, streams: &[OwnedFd; 3]) -> io::Result<io::Result<OwnedFd>> {
        terminal::send(&self.socket, &serde_json::to_vec(&role)?, streams)?;
        let mut polled = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(FORK_TIMEOUT).unwrap_or(PollTimeout::MAX);
        loop {
            match poll(&mut polled, timeout) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let mut bytes = [0; 256];
        let (length, descriptors) = terminal::receive(&self.socket, &mut bytes)?;
        match (serde_json::from_slice(&bytes[..length])?, descriptors.into_iter().next()) {
            (Forked::Done, Some(process)) => Ok(Ok(process)),
            (Forked::Failed { errno }, None) => Ok(Err(io::Error::from_raw_os_error(errno))),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
