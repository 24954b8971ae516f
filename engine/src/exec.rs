//! Runs commands in a running container: to their end, with their output taken within a bound, or
//! as sessions with streams of their own.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::stream::{StreamExt, empty, select};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::attach::{AttachOptions, Attached, Input, pieces};
use crate::container::Container;
use crate::defaults::{EXEC_DRAIN_TIMEOUT, EXEC_TIMEOUT, MESSAGE_BYTES_MAX};
use crate::error::{Error, Result};
use crate::logs;
use crate::master::Master;
use crate::process::{self, Killed};
use crate::protocol::{ExecReport, ExecRequest, ExecStreams, Role};
use crate::sealed;
use crate::shim::terminal;

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

/// A command that runs in a container. It does not end when this is dropped; what it says is then
/// thrown away.
pub struct ExecSession {
    pid: i32,
    control: Arc<Control>,
    terminal: Option<Terminal>,
    attached: Option<Attached>,
    ended: Option<i32>,
}

impl fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSession").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// A command's terminal, if it has one.
#[derive(Debug, Clone)]
pub struct Terminal(Master);

impl Terminal {
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        self.0.resize(rows, columns).map_err(Error::io("resize", "the terminal"))
    }
}

impl ExecSession {
    /// As the host counts.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn terminal(&self) -> Option<Terminal> {
        self.terminal.clone()
    }

    /// Its streams; None the second time.
    pub fn attached(&mut self) -> Option<Attached> {
        self.attached.take()
    }

    /// Its exit code. Cancelling it loses nothing.
    pub async fn wait(&mut self) -> Result<i32> {
        match self.ended {
            Some(ended) => Ok(ended),
            None => Ok(*self.ended.insert(self.control.ended().await?)),
        }
    }
}

/// The connection to the process that keeps a command.
struct Control {
    socket: AsyncFd<OwnedFd>,
    container: String,
}

impl Control {
    /// None at the end.
    async fn report(&self) -> Result<Option<(ExecReport, Vec<OwnedFd>)>> {
        let failed = |source| Error::Container {
            operation: "hear from a command",
            id: self.container.clone(),
            source,
        };
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        // Who keeps the command may go without having read our last word; the kernel then tells of
        // that once, before it gives what was left for us.
        let mut reset = false;
        let received = self.socket.async_io(Interest::READABLE, |socket| {
            match terminal::receive(socket, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !reset => {
                    reset = true;
                    terminal::receive(socket, &mut bytes)
                }
                received => received,
            }
        });
        let (length, descriptors) = received.await.map_err(failed)?;
        if length == 0 {
            return Ok(None);
        }
        let report = serde_json::from_slice(&bytes[..length]);
        Ok(Some((report.map_err(|error| failed(error.into()))?, descriptors)))
    }

    async fn ended(&self) -> Result<i32> {
        match self.report().await? {
            Some((ExecReport::Ended { ended }, _)) => Ok(ended),
            Some((ExecReport::Failed(failure), _)) => {
                Err(Error::Failed { message: failure.message, exit_code: failure.exit_code })
            }
            _ => Err(Error::Failed {
                message: "the command's end was not seen".to_owned(),
                exit_code: None,
            }),
        }
    }
}

/// Tells, when it goes, that nobody reads any more.
struct Reading(Arc<Control>);

impl Drop for Reading {
    fn drop(&mut self) {
        // Who keeps the command may be gone with it.
        let _ = terminal::send(self.0.socket.get_ref(), b".", &[]);
    }
}

struct Begun {
    pid: i32,
    control: Control,
    /// Of what keeps the command, if it is to end with who asked.
    keeper: Option<Killed>,
    descriptors: std::vec::IntoIter<OwnedFd>,
}

/// Comes back when the command runs.
async fn begin(container: &Container, request: ExecRequest) -> Result<Begun> {
    let failed = |operation| {
        let id = container.id().to_owned();
        move |source| Error::Container { operation, id, source }
    };
    let bytes = serde_json::to_vec(&request)
        .map_err(|source| Error::Record { path: container.places().config(), source })?;
    let input: OwnedFd = sealed::message(&[&bytes]).map_err(failed("pass the command"))?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
    let (control, keepers) = pair.map_err(|errno| failed("make a connection")(errno.into()))?;
    // SAFETY: an owned descriptor is open as long as it lives, and always the same one.
    let socket = unsafe { AsyncFd::register(control) };
    let socket = socket.map_err(|error| failed("hear from a command")(error.into_parts().1))?;
    let control = Control { socket, container: container.id().to_owned() };
    let null = File::options().write(true).open("/dev/null").map_err(failed("run a command"))?;
    let streams = [input, keepers, null.into()];
    let bound = request.bound;
    let keeper = container.fork(Role::Exec, streams).await.map_err(failed("run a command"))?;
    let keeper = bound.then(|| Killed(keeper));
    match control.report().await? {
        Some((ExecReport::Begun { begun }, descriptors)) => {
            let descriptors = descriptors.into_iter();
            Ok(Begun { pid: begun, control, keeper, descriptors })
        }
        Some((ExecReport::Failed(failure), _)) => {
            Err(Error::Failed { message: failure.message, exit_code: failure.exit_code })
        }
        _ => Err(Error::Failed {
            message: "the command's begin was not seen".to_owned(),
            exit_code: None,
        }),
    }
}

/// Begins a command. One that does not begin in time is left to itself.
pub(crate) async fn open(container: &Container, exec: ExecConfig, pid: i32) -> Result<ExecSession> {
    let failed = |source| Error::Container {
        operation: "take the streams of a command",
        id: container.id().to_owned(),
        source,
    };
    let wanted = exec.attach;
    let request = ExecRequest {
        pid,
        lock: container.places().lock(),
        cgroup: container.cgroup(),
        shims_parent: container.shims_parent(),
        config: container.config().clone(),
        filter: container.filter().await?,
        args: exec.args,
        env: exec.env,
        cwd: exec.cwd,
        user: exec.user,
        privileged: exec.privileged,
        streams: match exec.tty {
            true => ExecStreams::Terminal(exec.console),
            false => ExecStreams::Pipes(wanted),
        },
        bound: false,
    };
    let begun = timeout(EXEC_TIMEOUT, begin(container, request)).await;
    let Begun { pid, control, mut descriptors, .. } = begun.unwrap_or_else(|_| {
        Err(Error::Timeout { what: "a command's begin", id: container.id().to_owned() })
    })?;
    let control = Arc::new(control);
    let lacking = || failed(std::io::ErrorKind::UnexpectedEof.into());
    let mut next = || descriptors.next().ok_or_else(lacking);
    let mut input: Option<Input> = None;
    let mut output = [empty().boxed(), empty().boxed()];
    let mut terminal = None;
    if exec.tty {
        let master = Master::new(next()?).map_err(failed)?;
        terminal = Some(Terminal(master.clone()));
        if wanted.stdin {
            input = Some(Box::pin(master.clone()));
        }
        if wanted.stdout || wanted.stderr {
            output[0] = pieces(master, logs::Stdio::Stdout);
        }
    } else {
        if wanted.stdin {
            input = Some(Box::pin(pipe::Sender::from_owned_fd(next()?).map_err(failed)?));
        }
        let streams = [(wanted.stdout, logs::Stdio::Stdout), (wanted.stderr, logs::Stdio::Stderr)];
        for (slot, (wanted, stdio)) in output.iter_mut().zip(streams) {
            if wanted {
                *slot = pieces(pipe::Receiver::from_owned_fd(next()?).map_err(failed)?, stdio);
            }
        }
    }
    let [stdout, stderr] = output;
    let reading = Reading(Arc::clone(&control));
    let output = select(stdout, stderr).map(move |piece| {
        let _lives_as_long_as_the_stream = &reading;
        piece
    });
    let attached = Some(Attached { output: output.boxed(), input });
    Ok(ExecSession { pid, control, terminal, attached, ended: None })
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
        shims_parent: container.shims_parent(),
        config: container.config().clone(),
        filter: container.filter().await?,
        args: exec.args,
        env: exec.env,
        cwd: exec.cwd,
        user: exec.user,
        privileged: false,
        streams: ExecStreams::Merged,
        bound: true,
    };
    let mut begun = begin(container, request).await?;
    let output = begun.descriptors.next().ok_or(std::io::ErrorKind::UnexpectedEof.into());
    let output = output.and_then(pipe::Receiver::from_owned_fd);
    let mut output = output.map_err(failed("hear from a command"))?;

    let mut taken = Taken { bytes: Vec::new(), max: exec.output_bytes_max, truncated: false };
    let mut open = true;
    let exit_code = {
        let ended = begun.control.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                ended = &mut ended => break ended?,
                read = taken.read(&mut output), if open => open = read.unwrap_or(false),
            }
        }
    };
    // What the command has left in the background may hold the pipe for ever.
    while open {
        let read = timeout(EXEC_DRAIN_TIMEOUT, taken.read(&mut output)).await;
        open = matches!(read, Ok(Ok(true)));
    }
    if let Some(keeper) = &begun.keeper {
        let keeper = keeper.0.try_clone().map_err(failed("wait for a command"))?;
        process::ended(keeper).await.map_err(failed("wait for a command"))?;
    }
    Ok(ExecOutput { exit_code, output: taken.bytes, truncated: taken.truncated })
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
