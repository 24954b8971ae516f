//! The daemon of a host: started, killed, started again. It is not restarted by itself: a test
//! wants to see it dead.

use std::fs::{self, OpenOptions};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::host::Host;
use crate::limits;
use crate::process::Process;
use crate::registry::{read_json, write_json};

const RECORD: &str = "daemon.json";

/// Its shell ends at once, so that the host's first process becomes the daemon's parent and reaps
/// it; a session of its own, so that it outlives whoever started it.
const LAUNCH: &str = "setsid \"$@\" </dev/null >&2 & echo $!";

impl Host {
    /// The daemon, if it was started and still runs.
    pub fn daemon(&self) -> Result<Option<Process>> {
        let daemon: Option<Process> = read_json(&self.dir().join(RECORD))?;
        Ok(daemon.filter(|daemon| daemon.alive()))
    }

    /// The end of the daemon's log.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(limits::LOG_TAIL_LINES)..].join("\n")
    }

    /// Start the daemon; return without waiting for it to answer.
    pub fn launch_daemon(&self) -> Result<()> {
        if self.daemon()?.is_some() {
            bail!("the daemon of {} runs already", self.name());
        }
        if !self.dir().join("bin/skep").exists() {
            bail!("{} was started without a daemon", self.name());
        }
        self.check_not_paused()?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .with_context(|| format!("failed to open {}", self.log().display()))?;
        let skep = format!("{}/skep", limits::BIN);
        let socket = format!("unix://{}", limits::SOCKET);
        let words =
            ["sh", "-c", LAUNCH, "sh", &skep, "daemon", "--data-root", limits::DATA_ROOT, "-H"];
        let words = words.into_iter().chain([socket.as_str()]).collect::<Vec<_>>();
        let output = self
            .enter(limits::DAEMON_LEAF, &words)?
            .stdin(Stdio::null())
            .stderr(log)
            .output()
            .with_context(|| format!("failed to start the daemon of {}", self.name()))?;
        let inner = String::from_utf8_lossy(&output.stdout);
        let daemon = match inner.trim().parse() {
            Ok(inner) => Process::inside(self.first_process()?, inner)?,
            Err(_) => None,
        };
        let Some(daemon) = daemon else {
            bail!("the daemon of {} ended at once; its log:\n{}", self.name(), self.log_tail());
        };
        write_json(&self.dir().join(RECORD), &daemon)
    }

    /// Wait until the daemon takes connections.
    pub(crate) fn wait_daemon(&self) -> Result<()> {
        let deadline = Instant::now() + limits::DAEMON_WITHIN;
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.daemon()?.is_none();
            if ended || Instant::now() >= deadline {
                let how = if ended { "has ended" } else { "does not answer" };
                bail!("the daemon of {} {how}; its log:\n{}", self.name(), self.log_tail());
            }
            std::thread::sleep(limits::LOOK_EVERY);
        }
        Ok(())
    }

    /// Start the daemon again and wait until it takes connections.
    pub fn start(&self) -> Result<()> {
        self.launch_daemon()?;
        self.wait_daemon()
    }

    /// Send the daemon alone a signal; containers stay. After SIGKILL it is gone on return; after
    /// others it does with them what it likes.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let daemon = self.daemon()?;
        let daemon = daemon.with_context(|| format!("no daemon runs on {}", self.name()))?;
        self.check_not_paused()?;
        daemon.signal(signal)?;
        if signal == Signal::SIGKILL {
            daemon.wait_gone(limits::GONE_WITHIN)?;
        }
        Ok(())
    }
}
