//! Stops all processes of a container where they are, and lets them go on.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::Instant;

use super::Hierarchies;
use crate::defaults::{FREEZE_TIMEOUT, POLL_INTERVAL};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Frozen,
    Thawed,
}

impl Hierarchies {
    /// Whether all of its processes are stopped. What is not there is not frozen.
    pub fn frozen(&self, cgroup: &Path) -> io::Result<bool> {
        let Some(directory) = self.directory("freezer", cgroup) else { return Ok(false) };
        let (file, frozen) = match self.unified() {
            true => ("cgroup.events", "frozen 1"),
            false => ("freezer.state", "FROZEN"),
        };
        match fs::read_to_string(directory.join(file)) {
            Ok(text) => Ok(text.lines().any(|line| line == frozen)),
            Err(error) if gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stops them all. On an error none is stopped.
    pub fn freeze(&self, cgroup: &Path) -> io::Result<()> {
        let deadline = Instant::now() + FREEZE_TIMEOUT;
        loop {
            // Written again each time: a version 1 freezer misses processes that fork meanwhile.
            self.set(cgroup, State::Frozen)?;
            if self.frozen(cgroup)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.set(cgroup, State::Thawed)?;
                let message = "a process of the container cannot be stopped now";
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Lets them go on. What is not there is fine.
    pub fn thaw(&self, cgroup: &Path) -> io::Result<()> {
        match self.set(cgroup, State::Thawed) {
            Err(error) if gone(&error) => Ok(()),
            thawed => thawed,
        }
    }

    fn set(&self, cgroup: &Path, state: State) -> io::Result<()> {
        let Some(directory) = self.directory("freezer", cgroup) else {
            return Err(io::Error::new(ErrorKind::Unsupported, "this host has no freezer cgroup"));
        };
        match (self.unified(), state) {
            (true, State::Frozen) => fs::write(directory.join("cgroup.freeze"), "1"),
            (true, State::Thawed) => fs::write(directory.join("cgroup.freeze"), "0"),
            (false, State::Frozen) => fs::write(directory.join("freezer.state"), "FROZEN"),
            (false, State::Thawed) => fs::write(directory.join("freezer.state"), "THAWED"),
        }
    }
}

/// An open file of a cgroup that was removed says ENODEV.
fn gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}
