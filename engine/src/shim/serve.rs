//! The shim's days: output to the log, requests from the daemon, and the container's end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use time::OffsetDateTime;

use super::create::{Created, told};
use crate::defaults::{
    CLIENT_TIMEOUT, DRAIN_TIMEOUT, EXEC_TIMEOUT, EXIT_CODE_CANNOT_RUN, MESSAGE_BYTES_MAX,
};
use crate::layout::{Places, SOCKET};
use crate::logs::{Lines, Stdio, Writer};
use crate::protocol::{Failure, Launch, Reply, Request};
use crate::record::{self, Durability, Live};
use crate::status::ExitStatus;

/// One look at a pipe takes this much: what a pipe holds.
const PIPE_BYTES: usize = 64 * 1024;

/// One of the container's two outputs.
struct Output {
    stdio: Stdio,
    /// None at its end.
    pipe: Option<OwnedFd>,
    lines: Lines,
}

pub struct Shim<'a> {
    created: Created,
    places: &'a Places,
    children: SignalFd,
    listener: UnixListener,
    outputs: [Output; 2],
    log: Writer,
    live: Live,
    /// Why the command could not be run.
    start_failure: Option<String>,
    buffer: Vec<u8>,
}

/// Takes charge of a container. After this the daemon may ask for it.
pub fn take<'a>(created: Created, launch: &Launch, places: &'a Places) -> io::Result<Shim<'a>> {
    let children = watch_children()?;
    let listener = listen(places)?;
    let output = |stdio, pipe: &OwnedFd| -> io::Result<Output> {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Output { stdio, pipe: Some(pipe.try_clone()?), lines: Lines::default() })
    };
    let outputs =
        [output(Stdio::Stdout, &created.stdout)?, output(Stdio::Stderr, &created.stderr)?];
    let live = Live { pid: created.pid, created_at: OffsetDateTime::now_utc(), started_at: None };
    record::write(&places.live(), &live, Durability::Cached).map_err(io::Error::other)?;
    Ok(Shim {
        log: Writer::new(
            launch.config.log_path.clone().unwrap_or_else(|| places.log()),
            launch.config.log.clone(),
        ),
        created,
        places,
        children,
        listener,
        outputs,
        live,
        start_failure: None,
        buffer: vec![0; PIPE_BYTES],
    })
}

impl Shim<'_> {
    /// Runs until the container has ended, its output is on disk and its status written.
    pub fn serve(mut self) -> io::Result<()> {
        give_memory_back();
        let ended = self.until_end()?;
        self.finish(ended)
    }

    fn until_end(&mut self) -> io::Result<WaitStatus> {
        loop {
            let own = [self.children.as_fd(), self.listener.as_fd()];
            let ready = self.wait(&own, PollTimeout::NONE)?;
            self.read_outputs(&ready[2..]);
            if ready[1] {
                self.accept();
            }
            if ready[0] {
                // Reading it clears it; any number of children may stand behind one signal.
                while let Ok(Some(_)) = self.children.read_signal() {}
                if let Some(ended) = self.reap()? {
                    return Ok(ended);
                }
            }
        }
    }

    /// Waits for any of these descriptors or an output; which of them are ready, in order.
    fn wait(&self, others: &[BorrowedFd], timeout: PollTimeout) -> io::Result<Vec<bool>> {
        let pipes = self.outputs.iter().filter_map(|output| output.pipe.as_ref().map(AsFd::as_fd));
        let mut polled: Vec<PollFd> = others
            .iter()
            .copied()
            .chain(pipes)
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let any = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        Ok(polled.iter().map(any).collect())
    }

    /// `ready` tells of those outputs that are still open, in order.
    fn read_outputs(&mut self, ready: &[bool]) {
        let open = self.outputs.iter_mut().filter(|output| output.pipe.is_some());
        for (output, ready) in open.zip(ready) {
            if *ready {
                output.read(&mut self.log, &mut self.buffer);
            }
        }
        self.log.flush();
    }

    fn reap(&self) -> io::Result<Option<WaitStatus>> {
        let mut ours = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(ours),
                Ok(status) if status.pid() == Some(Pid::from_raw(self.created.pid)) => {
                    ours = Some(status);
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn accept(&mut self) {
        let Ok((mut client, _)) = self.listener.accept() else { return };
        // A client that says nothing, or takes nothing, loses its turn.
        let _ = client.set_nonblocking(false);
        let _ = client.set_read_timeout(Some(CLIENT_TIMEOUT));
        let _ = client.set_write_timeout(Some(CLIENT_TIMEOUT));
        let Some(request) = read_request(&client) else { return };
        let reply = self.handle(request);
        if let Ok(mut line) = serde_json::to_vec(&reply) {
            line.push(b'\n');
            let _ = client.write_all(&line);
        }
    }

    fn handle(&mut self, request: Request) -> Reply {
        let started = self.live.started_at.is_some();
        match request {
            Request::Start if started => Reply::AlreadyStarted,
            Request::Start => self.start(),
            Request::Kill { .. } if !started => Reply::NotRunning,
            Request::Kill { signal } => self.signal(signal),
            Request::Abandon if started => Reply::AlreadyStarted,
            Request::Abandon => self.signal(libc::SIGKILL),
        }
    }

    fn start(&mut self) -> Reply {
        if let Err(error) = self.created.container.start() {
            return Reply::Failed { message: error.to_string(), exit_code: None };
        }
        self.live.started_at = Some(OffsetDateTime::now_utc());
        match self.wait_for_exec() {
            Ok(None) => {
                self.write_live();
                Reply::Done
            }
            Ok(Some(Failure { message, exit_code })) => {
                self.start_failure = Some(message.clone());
                Reply::Failed { message, exit_code }
            }
            Err(error) => {
                let message = format!("failed to see the command run: {error}");
                self.start_failure = Some(message.clone());
                let _ = self.signal(libc::SIGKILL);
                Reply::Failed { message, exit_code: Some(EXIT_CODE_CANNOT_RUN) }
            }
        }
    }

    /// The pipe ends with the execve; before that it may tell why there was none.
    fn wait_for_exec(&mut self) -> io::Result<Option<Failure>> {
        let deadline = Instant::now() + EXEC_TIMEOUT;
        let failures = self.created.failures.try_clone()?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut polled = [PollFd::new(failures.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(told(&failures)),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn signal(&self, number: i32) -> Reply {
        // SAFETY: kill(2) takes two integers. The child is not reaped yet, so the id is its own.
        match Errno::result(unsafe { libc::kill(self.created.pid, number) }) {
            Ok(_) => Reply::Done,
            Err(Errno::ESRCH) => Reply::NotRunning,
            Err(errno) => Reply::Failed { message: errno.desc().to_owned(), exit_code: None },
        }
    }

    fn write_live(&self) {
        if let Err(error) = record::write(&self.places.live(), &self.live, Durability::Cached) {
            eprintln!("{error}");
        }
    }

    fn finish(mut self, ended: WaitStatus) -> io::Result<()> {
        let finished_at = OffsetDateTime::now_utc();
        // In a process namespace that is not its own the others do not end with its first. What
        // outlives this is tried again below, where an error is told.
        let _ = self.created.hierarchies.kill_all(&self.created.cgroup);
        self.drain()?;
        let (code, signal) = match ended {
            WaitStatus::Exited(_, code) => (code, None),
            WaitStatus::Signaled(_, signal, _) => (128 + signal as i32, Some(signal as i32)),
            _ => (EXIT_CODE_CANNOT_RUN, None),
        };
        let exit = ExitStatus {
            code,
            signal,
            oom_killed: self.created.hierarchies.oom_kills(&self.created.cgroup) > 0,
            finished_at,
            error: self.start_failure.take(),
            log_entries_dropped: self.log.dropped(),
        };
        let written = record::write(&self.places.exit(), &exit, Durability::Synced);
        let removed = self.created.hierarchies.destroy(&self.created.cgroup);
        written.map_err(io::Error::other)?;
        removed
    }

    /// Reads what is left in the pipes.
    fn drain(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while self.outputs.iter().any(|output| output.pipe.is_some()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let ready = self.wait(&[], timeout)?;
            self.read_outputs(&ready);
        }
        for output in &mut self.outputs {
            output.end(&mut self.log);
        }
        self.log.flush();
        Ok(())
    }
}

impl Output {
    fn read(&mut self, log: &mut Writer, buffer: &mut [u8]) {
        let Some(pipe) = &self.pipe else { return };
        match nix::unistd::read(pipe, buffer) {
            Ok(0) => self.end(log),
            Ok(length) => {
                let now = OffsetDateTime::now_utc();
                let stdio = self.stdio;
                self.lines.push(&buffer[..length], |entry| log.add(now, stdio, entry));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.end(log),
        }
    }

    fn end(&mut self, log: &mut Writer) {
        self.pipe = None;
        let (now, stdio) = (OffsetDateTime::now_utc(), self.stdio);
        self.lines.finish(|entry| log.add(now, stdio, entry));
    }
}

fn read_request(client: &UnixStream) -> Option<Request> {
    let mut line = String::new();
    let limited = client.take(MESSAGE_BYTES_MAX as u64);
    BufReader::new(limited).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

/// SIGCHLD becomes readable. What would end the shim by mistake (a terminal's signals, a stop of the
/// daemon's group) is blocked with it: a shim ends with its container.
fn watch_children() -> io::Result<SignalFd> {
    let mut watched = SigSet::empty();
    watched.add(Signal::SIGCHLD);
    let mut blocked = watched;
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
        blocked.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
    let descriptor =
        SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // A child that ended before the signal was blocked gave no sign.
    kill(Pid::this(), Signal::SIGCHLD)?;
    Ok(descriptor)
}

/// Binds the socket by way of a descriptor of its directory, for a path may be too long.
fn listen(places: &Places) -> io::Result<UnixListener> {
    let directory = std::fs::File::open(places.run())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What building the container took from the heap is not needed any more.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer; works on the allocator's own state, in the only thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
