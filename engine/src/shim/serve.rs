//! The shim's days: output to the log and to who is attached, requests from the daemon, and the
//! container's end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use time::OffsetDateTime;

use super::client::{Client, Heard};
use super::create::{Created, told};
use super::hooks;
use super::streams::{Input, Output, Read};
use crate::attach::AttachOptions;
use crate::cgroup::Hierarchies;
use crate::config::Hook;
use crate::defaults::{
    ATTACHED_MAX, CLIENTS_MAX, DRAIN_TIMEOUT, EXEC_TIMEOUT, EXIT_CODE_CANNOT_RUN,
};
use crate::layout::{Places, SOCKET};
use crate::lock;
use crate::logs::{Sink, Stdio};
use crate::protocol::{Failure, Launch, Reply, Request};
use crate::record::{self, Durability, Live};
use crate::status::ExitStatus;

/// One look at a pipe takes this much: what a pipe holds.
const PIPE_BYTES: usize = 64 * 1024;

pub struct Shim<'a> {
    created: Running,
    places: &'a Places,
    lock: lock::Held,
    children: SignalFd,
    listener: UnixListener,
    outputs: Vec<Output>,
    input: Input,
    clients: Vec<Client>,
    log: Sink,
    live: Live,
    /// Why the command could not be run.
    start_failure: Option<String>,
    /// What is to be run when the container has ended.
    after_end: Vec<Hook>,
    buffer: Vec<u8>,
}

/// What of a [`Created`] is kept.
struct Running {
    pid: i32,
    failures: OwnedFd,
    container: libcontainer::container::Container,
    hierarchies: Hierarchies,
    cgroup: PathBuf,
}

/// What the shim waits for; outputs and clients by their places.
#[derive(Debug, Clone, Copy)]
enum Source {
    Children,
    Listener,
    Input,
    Output(usize),
    Client(usize),
}

/// Takes charge of a container. After this the daemon may ask for it.
pub fn take<'a>(
    created: Created,
    launch: &Launch,
    places: &'a Places,
    lock: lock::Held,
) -> io::Result<Shim<'a>> {
    let children = watch_children()?;
    let listener = listen(places)?;
    let Created { pid, streams, failures, container, hierarchies, cgroup } = created;
    let outputs = streams.outputs.into_iter().map(|(stdio, from)| Output::new(stdio, from));
    let outputs = outputs.collect::<io::Result<_>>()?;
    let input = Input::new(streams.input, streams.terminal, launch.config.stdin_once)?;
    let live = Live { pid, created_at: OffsetDateTime::now_utc(), started_at: None };
    record::write(&places.live(), &live, Durability::Cached).map_err(io::Error::other)?;
    Ok(Shim {
        log: Sink::new(
            &launch.config,
            launch.config.log_path.clone().unwrap_or_else(|| places.log()),
        )?,
        created: Running { pid, failures, container, hierarchies, cgroup },
        places,
        lock,
        children,
        listener,
        outputs,
        input,
        clients: Vec::new(),
        live,
        start_failure: None,
        after_end: hooks::after_end(&launch.config),
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
            let until = self.clients.iter().filter_map(Client::until).min();
            let mut ended = false;
            for (source, events) in wait(self.sources(), until)? {
                match source {
                    Source::Children => ended = true,
                    Source::Listener => self.accept(),
                    Source::Input => self.input.write(),
                    Source::Output(place) => self.read_output(place),
                    Source::Client(place) => self.hear(place, events),
                }
            }
            self.log.flush();
            let now = Instant::now();
            for client in &mut self.clients {
                // One that says nothing loses its turn.
                if client.until().is_some_and(|until| until <= now) {
                    client.go();
                }
            }
            self.clients.retain(|client| !client.is_gone());
            if ended {
                // Reading it clears it; any number of children may stand behind one signal.
                while let Ok(Some(_)) = self.children.read_signal() {}
                if let Some(ended) = self.reap()? {
                    return Ok(ended);
                }
            }
        }
    }

    fn sources(&self) -> Vec<(Source, PollFd<'_>)> {
        let source = |source, fd, events| (source, PollFd::new(fd, events));
        let mut sources = vec![source(Source::Children, self.children.as_fd(), PollFlags::POLLIN)];
        if self.clients.len() < CLIENTS_MAX {
            sources.push(source(Source::Listener, self.listener.as_fd(), PollFlags::POLLIN));
        }
        if let Some(input) = self.input.waits_for() {
            sources.push(source(Source::Input, input, PollFlags::POLLOUT));
        }
        sources.extend(self.output_sources().filter(|(source, _)| match source {
            Source::Output(place) => !self.is_held_up(self.outputs[*place].stdio),
            _ => true,
        }));
        let room = self.input.room();
        for (place, client) in self.clients.iter().enumerate() {
            if let Some((socket, events)) = client.watched(room) {
                sources.push(source(Source::Client(place), socket, events));
            }
        }
        sources
    }

    fn output_sources(&self) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        self.outputs.iter().enumerate().filter_map(|(place, output)| {
            let from = output.from.as_ref()?.as_fd();
            Some((Source::Output(place), PollFd::new(from, PollFlags::POLLIN)))
        })
    }

    /// Whether somebody attached has not taken what was said before.
    fn is_held_up(&self, stdio: Stdio) -> bool {
        self.clients.iter().any(|client| client.wants(stdio) && client.is_behind())
    }

    fn read_output(&mut self, place: usize) {
        let output = &mut self.outputs[place];
        let stdio = output.stdio;
        match output.read(&mut self.buffer) {
            Read::Bytes(length) => {
                let (bytes, now) = (&self.buffer[..length], OffsetDateTime::now_utc());
                output.lines.push(bytes, |entry| self.log.add(now, stdio, entry));
                // Whoever is shown something finds it in the log at once.
                if self.clients.iter().any(|client| client.wants(stdio)) {
                    self.log.flush();
                }
                for client in self.clients.iter_mut().filter(|client| client.wants(stdio)) {
                    client.send(stdio, bytes);
                }
            }
            Read::NothingYet => {}
            Read::End => self.end_output(place),
        }
    }

    fn end_output(&mut self, place: usize) {
        let output = &mut self.outputs[place];
        output.from = None;
        let (now, stdio) = (OffsetDateTime::now_utc(), output.stdio);
        output.lines.finish(|entry| self.log.add(now, stdio, entry));
    }

    /// The container's end, if it is among the children that have ended.
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
        let Ok((socket, _)) = self.listener.accept() else { return };
        self.clients.extend(Client::new(socket));
    }

    fn hear(&mut self, place: usize, events: PollFlags) {
        let client = &mut self.clients[place];
        client.flush();
        match client.hear(events, self.input.room(), &mut self.buffer) {
            Heard::Nothing => {}
            Heard::Request(Request::Attach(options), rest) => self.attach(place, options, &rest),
            Heard::Request(Request::Wait, _) => client.wait(),
            Heard::Request(request, _) => {
                let reply = self.handle(request);
                self.clients[place].reply(&reply);
            }
            Heard::Input(length) => {
                if client.wants_input() {
                    self.input.push(&self.buffer[..length]);
                }
            }
            Heard::InputEnd => {
                if client.wants_input() {
                    self.input.client_ended();
                }
            }
        }
    }

    fn attach(&mut self, place: usize, options: AttachOptions, rest: &[u8]) {
        let attached = self.clients.iter().filter(|client| client.is_attached()).count();
        if attached >= ATTACHED_MAX {
            let message = format!("{attached} clients are attached already");
            return self.clients[place].reply(&Reply::Failed { message, exit_code: None });
        }
        self.clients[place].attach(options);
        if options.stdin {
            self.input.push(rest);
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
            Request::Resize { rows, columns } => match self.input.resize(rows, columns) {
                Ok(()) => Reply::Done,
                Err(error) => Reply::Failed {
                    message: format!("failed to resize the terminal: {error}"),
                    exit_code: None,
                },
            },
            // Not questions, but the start of a conversation.
            Request::Attach(_) | Request::Wait => Reply::Done,
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
        hooks::run_after_end(&self.after_end, &mut self.created.container);
        let exit = ExitStatus {
            code,
            signal,
            oom_killed: self.created.hierarchies.oom_kills(&self.created.cgroup) > 0,
            finished_at,
            error: self.start_failure.take(),
            log_entries_dropped: self.log.dropped(),
        };
        let written = record::write(&self.places.exit(), &exit, Durability::Cached);
        let removed = self.created.hierarchies.destroy(&self.created.cgroup);
        // In this order: who waits then finds the lock free. With this process its mounts go, for
        // which the kernel may have to write to the disk; nobody need wait for that.
        drop(self.lock);
        drop(self.clients);
        written.map_err(io::Error::other)?;
        removed
    }

    /// Reads what is left in the pipes, whoever has not taken what was there before, and lets go of
    /// those who were attached. Who asks for something else gets an answer, or finds the exit status
    /// when this process is gone.
    fn drain(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while self.outputs.iter().any(|output| output.from.is_some()) && Instant::now() < deadline {
            let sources: Vec<_> = self.output_sources().collect();
            for (source, _) in wait(sources, Some(deadline))? {
                if let Source::Output(place) = source {
                    self.read_output(place);
                }
            }
        }
        for place in 0..self.outputs.len() {
            self.end_output(place);
        }
        self.log.flush();
        for client in self.clients.iter_mut().filter(|client| client.is_attached()) {
            client.flush_all();
            client.go();
        }
        self.clients.retain(|client| !client.is_gone());
        Ok(())
    }
}

/// Waits for any of these; which of them have something, in order.
fn wait(
    sources: Vec<(Source, PollFd)>,
    until: Option<Instant>,
) -> io::Result<Vec<(Source, PollFlags)>> {
    let timeout = match until {
        // Rounded up, or the last millisecond would be spent in turning round.
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        }
        None => PollTimeout::NONE,
    };
    let (sources, mut polled): (Vec<Source>, Vec<PollFd>) = sources.into_iter().unzip();
    match poll(&mut polled, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let events = polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
    let ready = sources.into_iter().zip(events).filter(|(_, events)| !events.is_empty());
    Ok(ready.collect())
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
    let listener = UnixListener::bind(&path)?;
    // Others may pass through the directory of a container with a user namespace.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
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
