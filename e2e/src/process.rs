//! One process, told apart from a later one with the same number.
//!
//! **Invariant:** a signal reaches the process that was meant, or none: the identity is checked
//! while a pidfd holds the number.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As the machine numbers it.
    pub pid: i32,
    /// When it started, in clock ticks since boot: field 22 of proc(5)'s `stat`.
    pub started: u64,
}

/// Of `/proc/PID/stat`: state and start. None where there is no such process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name comes in brackets and may itself hold brackets and blanks.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.nth(18)?.parse().ok()?))
}

impl Process {
    pub fn find(pid: i32) -> Option<Self> {
        stat(pid).map(|(_, started)| Self { pid, started })
    }

    pub fn current() -> Result<Self> {
        let pid = i32::try_from(std::process::id()).context("failed to read own process id")?;
        Self::find(pid).context("failed to read own start time")
    }

    /// What runs in the pid namespace of `first` under the number `inner` there.
    pub fn inside(first: Self, inner: i32) -> Result<Option<Self>> {
        Ok(Self::all_inside(first, &BTreeSet::from([inner]))?.pop())
    }

    /// What runs in the pid namespace of `first` under these numbers there.
    pub fn all_inside(first: Self, inner: &BTreeSet<i32>) -> Result<Vec<Self>> {
        let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/pid")).map(|m| m.ino());
        let wanted = namespace(&first.pid.to_string())
            .with_context(|| format!("failed to read the pid namespace of {}", first.pid))?;
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").context("failed to list processes")?.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let last = numbers.and_then(|line| line.split_whitespace().last());
            if last.and_then(|number| number.parse().ok()).is_some_and(|it| inner.contains(&it))
                && namespace(&pid.to_string()).ok() == Some(wanted)
            {
                found.extend(Self::find(pid));
            }
        }
        Ok(found)
    }

    /// False for one that has ended and only waits for its parent to notice.
    pub fn alive(self) -> bool {
        stat(self.pid)
            .is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// None where it is gone.
    pub fn pidfd(self) -> Result<Option<OwnedFd>> {
        Ok(self.handle()?.filter(|_| self.alive()))
    }

    /// Of one that has ended, too, until its parent has noticed.
    fn handle(self) -> Result<Option<OwnedFd>> {
        // SAFETY: the call takes two integers; a number that is not negative is a new descriptor
        // that nobody else owns.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) };
        if fd < 0 {
            return match Errno::last() {
                Errno::ESRCH => Ok(None),
                error => Err(error).with_context(|| format!("failed to open process {}", self.pid)),
            };
        }
        // SAFETY: as above.
        let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("descriptors are ints")) };
        let same = stat(self.pid).is_some_and(|(_, started)| started == self.started);
        Ok(same.then_some(fd))
    }

    /// False where it was gone already.
    pub fn signal(self, signal: Signal) -> Result<bool> {
        let Some(fd) = self.pidfd()? else { return Ok(false) };
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and a null siginfo is allowed: as kill(2).
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal as i32, none, 0)
        };
        match Errno::result(sent) {
            Ok(_) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(error) => {
                Err(error).with_context(|| format!("failed to send {signal} to {}", self.pid))
            }
        }
    }

    /// Until its last thread has ended: before that its sockets may still take connections, though its
    /// first thread be gone. Of the first process of a pid namespace this means that all others are gone
    /// too.
    pub fn wait_gone(self, within: Duration) -> Result<()> {
        let Some(fd) = self.handle()? else { return Ok(()) };
        let timeout = PollTimeout::try_from(within).context("failed to wait: bad duration")?;
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, timeout) {
                Ok(0) => bail!("process {} is still there after {within:?}", self.pid),
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("failed to wait for a process"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        let me = Process::current().unwrap();
        assert!(me.alive());
        let other = Process { started: me.started + 1, ..me };
        assert!(!other.alive());
        assert!(!other.signal(Signal::SIGKILL).unwrap(), "nobody was hit");
    }

    #[test]
    fn a_signal_ends_it_and_the_end_is_seen() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::find(child.id() as i32).unwrap();
        assert!(process.wait_gone(Duration::from_millis(1)).is_err(), "it runs");
        assert!(process.signal(Signal::SIGKILL).unwrap());
        process.wait_gone(Duration::from_secs(10)).unwrap();
        assert!(!process.alive(), "a zombie is not alive");
        child.wait().unwrap();
        assert!(!process.signal(Signal::SIGKILL).unwrap());
    }
}
