//! Runs a command in a running container and takes its output, within a bound.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;

use crate::attach::{AttachOptions, Attached};
use crate::container::Container;
use crate::defaults::{EXEC_DRAIN_TIMEOUT, EXEC_NAME, MESSAGE_BYTES_MAX, SHIM_NAME};
use crate::error::{Error, Result};
use crate::protocol::{ExecReport, ExecRequest};
use crate::sealed;

/// What to run. The container's own environment, directory and user hold where nothing is said.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    pub args: Vec<String>,
    /// `NAME=value`, over the container's.
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    /// Output beyond this is thrown away.
    pub output_bytes_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    pub exit_code: i32,
    /// Both outputs, as they came.
    pub output: Vec<u8>,
    pub truncated: bool,
}

/// A command that somebody may be attached to.
#[derive(Debug, Clone, Default)]
pub struct ExecConfig {
    pub args: Vec<String>,
    /// `NAME=value`, over the container's.
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    pub privileged: bool,
    pub tty: bool,
    /// The streams that somebody will read or write.
    pub attach: AttachOptions,
    /// Rows and columns of its terminal.
    pub console: Option<(u16, u16)>,
}

/// A command that runs in a container. It does not end when this is dropped.
#[derive(Debug)]
pub struct ExecSession {
    pid: i32,
}

/// A command's terminal, if it has one.
#[derive(Debug, Clone)]
pub struct Terminal;

impl Terminal {
    pub fn resize(&self, _rows: u16, _columns: u16) -> Result<()> {
        Err(Error::Unsupported("terminals (tty) are not supported yet"))
    }
}

impl ExecSession {
    /// As the host counts.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn terminal(&self) -> Option<Terminal> {
        None
    }

    /// Its streams; None the second time.
    pub fn attached(&mut self) -> Option<Attached> {
        None
    }

    /// Its exit code. Cancelling it loses nothing.
    pub async fn wait(&mut self) -> Result<i32> {
        Err(Error::Unsupported("commands with streams are not supported yet"))
    }
}

/// Runs it to its end. Dropping the future kills the command.
pub(crate) async fn run(container: &Container, exec: Exec, pid: i32) -> Result<ExecOutput> {
    let failed = |operation| {
        let id = container.id().to_owned();
        move |source| Error::Container { operation, id, source }
    };
    let request = ExecRequest {
        pid,
        lock: container.places().lock(),
        cgroup: container.cgroup(),
        config: container.config().clone(),
        args: exec.args,
        env: exec.env,
        cwd: exec.cwd,
        user: exec.user,
    };
    let bytes = serde_json::to_vec(&request)
        .map_err(|source| Error::Record { path: container.places().config(), source })?;
    let input: OwnedFd = sealed::message(&[&bytes]).map_err(failed("pass the command"))?;
    let (output, output_writer) = std::io::pipe().map_err(failed("make a pipe"))?;
    let (report, report_writer) = std::io::pipe().map_err(failed("make a pipe"))?;
    let mut command = Command::new(container.program());
    command
        .arg0(SHIM_NAME)
        .arg(EXEC_NAME)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output_writer))
        .stderr(Stdio::from(report_writer))
        .env_clear()
        .current_dir("/")
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(failed("run a command"))?;
    // The parent's ends of the pipes go with it.
    drop(command);
    let mut output =
        pipe::Receiver::from_owned_fd(output.into()).map_err(failed("hear from a command"))?;
    let report =
        pipe::Receiver::from_owned_fd(report.into()).map_err(failed("hear from a command"))?;

    let mut taken = Taken { bytes: Vec::new(), max: exec.output_bytes_max, truncated: false };
    let mut told = Vec::new();
    let mut report = report.take(MESSAGE_BYTES_MAX as u64);
    {
        let ended = report.read_to_end(&mut told);
        tokio::pin!(ended);
        let mut open = true;
        loop {
            tokio::select! {
                ended = &mut ended => {
                    ended.map_err(failed("hear from a command"))?;
                    break;
                }
                read = taken.read(&mut output), if open => open = read.unwrap_or(false),
            }
        }
        // What the command has left in the background may hold the pipe for ever.
        while open {
            let read = timeout(EXEC_DRAIN_TIMEOUT, taken.read(&mut output)).await;
            open = matches!(read, Ok(Ok(true)));
        }
    }
    child.wait().await.map_err(failed("wait for a command"))?;
    // Why it could not be run comes before the code it then ended with.
    let mut reports = serde_json::Deserializer::from_slice(&told).into_iter::<ExecReport>();
    match reports.next() {
        Some(Ok(ExecReport::Ended { ended })) => {
            Ok(ExecOutput { exit_code: ended, output: taken.bytes, truncated: taken.truncated })
        }
        Some(Ok(ExecReport::Failed(failure))) => {
            Err(Error::Failed { message: failure.message, exit_code: failure.exit_code })
        }
        _ => Err(Error::Failed {
            message: "the command's end was not seen".to_owned(),
            exit_code: None,
        }),
    }
}

struct Taken {
    bytes: Vec<u8>,
    max: usize,
    truncated: bool,
}

impl Taken {
    /// False at the end. Cancelling it loses nothing.
    async fn read(&mut self, from: &mut pipe::Receiver) -> std::io::Result<bool> {
        let mut buffer = [0; 4096];
        let length = from.read(&mut buffer).await?;
        let kept = length.min(self.max - self.bytes.len());
        self.bytes.extend(&buffer[..kept]);
        self.truncated |= kept < length;
        Ok(length > 0)
    }
}
