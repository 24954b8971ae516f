//! A command that runs beside its test: on a terminal of its own, as a person at a keyboard has it,
//! or on pipes, as a script has it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::limits;

/// Killed when it is dropped.
pub struct Session {
    child: Child,
    input: Option<File>,
    seen: Arc<Mutex<Vec<u8>>>,
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Reads on in a thread that ends with what it reads.
fn collect(mut from: impl Read + Send + 'static, seen: &Arc<Mutex<Vec<u8>>>) {
    let seen = seen.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() as u64 > limits::OUTPUT_BYTES_MAX {
                return;
            }
            seen.extend_from_slice(&bytes[..count]);
        }
    });
}

impl Session {
    pub fn on_terminal(mut command: Command, rows: u16, columns: u16) -> Result<Self> {
        let ends =
            openpty(Some(&size(rows, columns)), None).context("failed to open a terminal")?;
        let clone = |end: &OwnedFd| end.try_clone().context("failed to share a terminal");
        let shown = format!("{command:?}");
        command
            .stdin(Stdio::from(clone(&ends.slave)?))
            .stdout(Stdio::from(clone(&ends.slave)?))
            .stderr(Stdio::from(clone(&ends.slave)?));
        // SAFETY: both calls are safe between fork and exec; descriptor 0 is the terminal.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| format!("failed to start {shown}"))?;
        // The command holds our copies of the terminal's other end: the reader would never see
        // the end of it.
        drop((command, ends.slave));
        let master = File::from(ends.master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        collect(master.try_clone().context("failed to share a terminal")?, &seen);
        Ok(Self { child, input: Some(master), seen })
    }

    /// What it says on standard output and standard error is seen as one text.
    pub fn on_pipes(mut command: Command) -> Result<Self> {
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {shown}"))?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().expect("stdout is piped"), &seen);
        collect(child.stderr.take().expect("stderr is piped"), &seen);
        let input = child.stdin.take().map(|input| File::from(OwnedFd::from(input)));
        Ok(Self { child, input, seen })
    }

    /// All that was shown so far.
    pub fn text(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen).into_owned()
    }

    pub fn send(&mut self, keys: &str) -> Result<()> {
        let input = self.input.as_mut().context("the input is closed")?;
        input.write_all(keys.as_bytes()).context("failed to type")
    }

    /// On pipes: the command reads the end of its input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = size(rows, columns);
        let input = self.input.as_ref().context("the input is closed")?;
        // SAFETY: the descriptor is open and the call reads one `winsize`.
        let done = unsafe { libc::ioctl(input.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        nix::errno::Errno::result(done).map(drop).context("failed to resize a terminal")
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("failed to read a child's id")?;
        kill(Pid::from_raw(pid), signal).context("failed to send a signal")
    }

    /// Waits until `wanted` was shown beyond the first `from` bytes; gives the place after it.
    pub fn expect(&self, wanted: &str, from: usize) -> Result<usize> {
        let deadline = Instant::now() + limits::SHOWN_WITHIN;
        loop {
            let text = self.text();
            if let Some(at) = text.get(from..).and_then(|rest| rest.find(wanted)) {
                return Ok(from + at + wanted.len());
            }
            if Instant::now() >= deadline {
                bail!("no {wanted:?} was shown within {:?}: {text:?}", limits::SHOWN_WITHIN);
            }
            std::thread::sleep(limits::LOOK_EVERY);
        }
    }

    /// The command's exit status; -1 where a signal ended it.
    pub fn wait(&mut self) -> Result<i32> {
        let deadline = Instant::now() + limits::SHOWN_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().context("failed to wait")? {
                return Ok(status.code().unwrap_or(-1));
            }
            if Instant::now() >= deadline {
                bail!("it still runs after {:?}: {:?}", limits::SHOWN_WITHIN, self.text());
            }
            std::thread::sleep(limits::LOOK_EVERY);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_sees_a_terminal_and_its_size() {
        let mut command = Command::new("sh");
        command.args(["-c", "test -t 0 && stty size; read line; echo got $line; exit 7"]);
        let mut session = Session::on_terminal(command, 33, 77).unwrap();
        let at = session.expect("33 77", 0).unwrap();
        session.send("bees\n").unwrap();
        session.expect("got bees", at).unwrap();
        assert_eq!(session.wait().unwrap(), 7);
    }

    #[test]
    fn a_command_on_pipes_reads_to_the_end_of_its_input() {
        let mut session = Session::on_pipes(Command::new("cat")).unwrap();
        session.send("bees").unwrap();
        session.expect("bees", 0).unwrap();
        session.close_input();
        assert_eq!(session.wait().unwrap(), 0);
    }
}
