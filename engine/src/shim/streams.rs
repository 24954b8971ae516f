//! The shim's ends of a container's streams: two pipes out and perhaps one in, or one terminal for
//! all three.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{read, write};

use super::terminal;
use crate::defaults::INPUT_BYTES_MAX;
use crate::logs::{Lines, Stdio};

/// What creating a container leaves to the shim.
pub struct Streams {
    /// None: the container takes no input.
    pub input: Option<OwnedFd>,
    pub outputs: Vec<(Stdio, OwnedFd)>,
    pub terminal: bool,
}

/// One of the container's outputs.
pub struct Output {
    pub stdio: Stdio,
    /// None at its end.
    pub from: Option<OwnedFd>,
    pub lines: Lines,
}

/// What a look at an output has brought.
pub enum Read {
    Bytes(usize),
    NothingYet,
    End,
}

impl Output {
    pub fn new(stdio: Stdio, from: OwnedFd) -> io::Result<Output> {
        fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Output { stdio, from: Some(from), lines: Lines::default() })
    }

    /// A terminal without processes is an error, which is its end.
    pub fn read(&self, buffer: &mut [u8]) -> Read {
        let Some(from) = &self.from else { return Read::End };
        match read(from, buffer) {
            Ok(0) => Read::End,
            Ok(length) => Read::Bytes(length),
            Err(Errno::EAGAIN | Errno::EINTR) => Read::NothingYet,
            Err(_) => Read::End,
        }
    }
}

/// The container's standard input, with what it has not taken yet.
///
/// **Invariant:** at most [`INPUT_BYTES_MAX`] bytes wait, but for what came with a request.
pub struct Input {
    to: Option<OwnedFd>,
    terminal: bool,
    /// Ends with the first client.
    once: bool,
    ending: bool,
    waiting: VecDeque<u8>,
}

impl Input {
    pub fn new(to: Option<OwnedFd>, terminal: bool, once: bool) -> io::Result<Input> {
        if let Some(to) = &to {
            fcntl(to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Input { to, terminal, once, ending: false, waiting: VecDeque::new() })
    }

    /// How much it takes now. Once it has ended, it takes all and throws it away.
    pub fn room(&self) -> usize {
        INPUT_BYTES_MAX.saturating_sub(self.waiting.len())
    }

    /// What to watch for room in the container.
    pub fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.to.is_some() && !self.ending {
            self.waiting.extend(bytes);
            self.write();
        }
    }

    /// A client that was attached to it has ended.
    pub fn client_ended(&mut self) {
        // A terminal's input has no end, only a character that says so.
        if self.once && !self.terminal {
            self.ending = true;
            self.write();
        }
    }

    /// Hands over what the container takes.
    pub fn write(&mut self) {
        let Some(to) = &self.to else { return };
        while !self.waiting.is_empty() {
            match write(to, self.waiting.as_slices().0) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // Nobody reads it any more.
                Err(_) => {
                    self.ending = true;
                    self.waiting.clear();
                }
            }
        }
        self.waiting = VecDeque::new();
        if self.ending {
            self.to = None;
        }
    }

    /// A container without a terminal has no size either, as in Docker.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        match &self.to {
            Some(master) if self.terminal => terminal::resize(master, rows, columns),
            _ => Ok(()),
        }
    }
}
