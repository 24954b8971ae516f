//! One container, by a handle that keeps nothing: what it answers is read from disk and from the
//! shim each time, so it is as true after a crash of the daemon as before.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::attach::{self, AttachOptions, Attached, Connection};
use crate::cgroup::{Before, Hierarchies};
use crate::config::{ContainerConfig, LogDriver, Resources};
use crate::defaults::{CREATE_TIMEOUT, KILL_TIMEOUT, POLL_INTERVAL, REQUEST_TIMEOUT};
use crate::error::{Error, Result};
use crate::exec::{self, Exec, ExecConfig, ExecOutput, ExecSession};
use crate::layout::{Places, SOCKET};
use crate::logs::{self, LogQuery, LogStream};
use crate::protocol::{Reply, Request, Role};
use crate::record::{self, Live, Stored};
use crate::runtime::{Shared, blocking};
use crate::shim::filter::Filter;
use crate::signal::Signal;
use crate::stats::Stats;
use crate::status::{ContainerState, ExitStatus, Status};
use crate::{lock, process, recover};

#[derive(Debug, Clone)]
pub struct Container {
    shared: Arc<Shared>,
    places: Places,
    stored: Arc<Stored>,
}

impl Container {
    pub(crate) fn new(shared: Arc<Shared>, stored: Arc<Stored>) -> Container {
        let places = shared.places(&stored.config.id);
        Container { shared, places, stored }
    }

    pub fn id(&self) -> &str {
        &self.stored.config.id
    }

    /// What it was made from, without the contents of its files.
    pub fn config(&self) -> &ContainerConfig {
        &self.stored.config
    }

    pub fn created_at(&self) -> OffsetDateTime {
        self.stored.created_at
    }

    /// What it is doing. A container whose shim is gone without a word is ended here.
    pub async fn state(&self) -> Result<ContainerState> {
        let container = self.clone();
        blocking(move || container.observe()).await
    }

    /// Its first process, as the host counts; None once it has ended.
    pub async fn pid(&self) -> Result<Option<i32>> {
        Ok(self.state().await?.pid)
    }

    /// Runs its command. An error tells why the command cannot be run; the container has then ended.
    pub async fn start(&self) -> Result<()> {
        self.ask(Request::Start).await
    }

    /// Sends its first process a signal.
    ///
    /// One that is meant to end it also thaws it, as in Docker: a frozen process does not act on a
    /// signal, under version 1 not even on SIGKILL.
    pub async fn kill(&self, signal: Signal) -> Result<()> {
        self.ask(Request::Kill { signal: signal.number() }).await?;
        let config = self.config();
        let ends = signal == Signal::KILL
            || config.stop_signal.is_empty()
            || signal == config.stop_signal();
        if ends {
            self.with_cgroup("unpause", |hierarchies, cgroup| {
                match hierarchies.frozen(cgroup)? {
                    true => hierarchies.thaw(cgroup),
                    false => Ok(()),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Asks it to end with a signal (its own stop signal, if none is given), and kills it when the
    /// grace is over. A container that has ended already is fine.
    pub async fn stop(&self, signal: Option<Signal>, grace: Duration) -> Result<ExitStatus> {
        let signal = signal.unwrap_or_else(|| self.config().stop_signal());
        match self.kill(signal).await {
            Ok(()) => {}
            Err(Error::NotRunning(id)) => match self.state().await?.exit {
                Some(_) => return self.wait().await,
                None => return Err(Error::NotRunning(id)),
            },
            Err(error) => return Err(error),
        }
        if let Ok(ended) = timeout(grace, self.wait()).await {
            return ended;
        }
        match self.kill(Signal::KILL).await {
            Ok(()) | Err(Error::NotRunning(_)) => self.wait_killed().await,
            Err(error) => Err(error),
        }
    }

    /// Waits until it has ended, its output is on disk and its cgroup gone.
    pub async fn wait(&self) -> Result<ExitStatus> {
        // The shim says when it has told all, some time before its process is gone.
        let mut told = self.ask_for_the_end().await;
        loop {
            let container = self.clone();
            let (shim, state) = blocking(move || {
                let shim = container.shim()?;
                // After the look for a shim: one that is gone has written its last word.
                Ok((shim, container.observe()?))
            })
            .await?;
            let Some(shim) = shim else {
                match state.exit {
                    Some(exit) => return Ok(exit),
                    None => continue,
                }
            };
            let ended = process::ended(shim);
            match told.take() {
                Some(told) => tokio::select! {
                    ended = ended => ended.map_err(self.failed("watch the shim"))?,
                    // Or it is one of an older daemon's, which does not know the question.
                    () = attach::closed(told) => {}
                },
                None => ended.await.map_err(self.failed("watch the shim"))?,
            }
        }
    }

    /// None where no shim answers any more.
    async fn ask_for_the_end(&self) -> Option<UnixStream> {
        let mut stream = self.connect().await.ok()?;
        attach::say(&mut stream, &Request::Wait).await.ok()?;
        Some(stream)
    }

    /// Removes an ended or never started container with its log.
    pub async fn delete(&self) -> Result<()> {
        let state = self.state().await?;
        match state.status {
            Status::Running | Status::Paused => {
                return Err(Error::Running(self.id().to_owned()));
            }
            Status::Created => self.abandon().await?,
            Status::Exited => {}
        }
        self.wait_killed().await?;
        let container = self.clone();
        blocking(move || {
            let cgroup = container.cgroup();
            recover::remove(&container.places, &container.shared.hierarchies, &cgroup)?;
            container.shared.forget(container.id());
            Ok(())
        })
        .await
    }

    /// Ends it before it was started.
    async fn abandon(&self) -> Result<()> {
        let deadline = Instant::now() + CREATE_TIMEOUT;
        loop {
            match self.ask(Request::Abandon).await {
                Ok(()) | Err(Error::NotRunning(_)) => return Ok(()),
                Err(Error::AlreadyStarted(id)) => return Err(Error::Running(id)),
                // A daemon that was killed while it made the container may be back before the shim
                // listens.
                Err(Error::Container { source, .. })
                    if matches!(
                        source.kind(),
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused
                    ) && Instant::now() < deadline =>
                {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs a command in it, to its end. Dropping the future kills the command.
    pub async fn exec(&self, exec: Exec) -> Result<ExecOutput> {
        let pid = self.pid_for_exec(&exec.args).await?;
        exec::run(self, exec, pid).await
    }

    /// Begins a command in it and goes on. It runs when this comes back; why it cannot is told as by
    /// [`Container::exec`].
    pub async fn open_exec(&self, exec: ExecConfig) -> Result<ExecSession> {
        let pid = self.pid_for_exec(&exec.args).await?;
        exec::open(self, exec, pid).await
    }

    async fn pid_for_exec(&self, args: &[String]) -> Result<i32> {
        if args.first().is_none_or(|command| command.is_empty()) {
            return Err(Error::Invalid("no exec command specified".into()));
        }
        let state = self.state().await?;
        match (state.status, state.pid) {
            (Status::Running, Some(pid)) => Ok(pid),
            _ => Err(Error::NotRunning(self.id().to_owned())),
        }
    }

    /// Connects to its streams; also before it is started, and many at once. A client that does not
    /// take its output holds the container up once a bounded buffer is full, as in Docker.
    pub async fn attach(&self, options: AttachOptions) -> Result<Attached> {
        let takes_input = self.config().tty || self.config().open_stdin;
        let options = AttachOptions { stdin: options.stdin && takes_input, ..options };
        let connection = self.converse(Request::Attach(options)).await?;
        Ok(connection.attached(options))
    }

    /// Sets the size of its terminal, if it has one.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        self.ask(Request::Resize { rows, columns }).await
    }

    /// Freezes all of its processes.
    pub async fn pause(&self) -> Result<()> {
        match self.state().await?.status {
            Status::Running => {}
            Status::Paused => return Err(Error::AlreadyPaused(self.id().to_owned())),
            Status::Created | Status::Exited => {
                return Err(Error::NotRunning(self.id().to_owned()));
            }
        }
        self.with_cgroup("pause", |hierarchies, cgroup| hierarchies.freeze(cgroup)).await
    }

    /// Lets its processes go on.
    pub async fn unpause(&self) -> Result<()> {
        match self.state().await?.status {
            Status::Paused => {}
            Status::Running => return Err(Error::NotPaused(self.id().to_owned())),
            Status::Created | Status::Exited => {
                return Err(Error::NotRunning(self.id().to_owned()));
            }
        }
        self.with_cgroup("unpause", |hierarchies, cgroup| hierarchies.thaw(cgroup)).await
    }

    /// Changes its limits while it lives; all of them are given, the old and the new. Those that
    /// this host cannot hold are left out.
    pub async fn update(&self, resources: &Resources) -> Result<()> {
        resources.check()?;
        if self.state().await?.status == Status::Exited {
            return Err(Error::NotRunning(self.id().to_owned()));
        }
        let mut limits = resources.clone();
        limits.fit(&self.shared.hierarchies.support())?;
        self.with_cgroup("change the limits", move |hierarchies, cgroup| {
            hierarchies.limit(cgroup, &limits, Before::Limits)
        })
        .await
    }

    /// What it uses now.
    pub async fn stats(&self) -> Result<Stats> {
        self.with_cgroup("read the use", |hierarchies, cgroup| hierarchies.stats(cgroup)).await
    }

    /// Its processes, as the host counts.
    pub async fn processes(&self) -> Result<Vec<i32>> {
        self.with_cgroup("list the processes", |hierarchies, cgroup| {
            hierarchies.processes(cgroup).ok_or_else(|| ErrorKind::NotFound.into())
        })
        .await
    }

    /// Its output.
    pub async fn logs(&self, query: LogQuery) -> Result<LogStream> {
        if self.config().log_driver != LogDriver::JsonFile {
            return Err(Error::Unsupported("configured logging driver does not support reading"));
        }
        let path = self.config().log_path.clone().unwrap_or_else(|| self.places.log());
        let (exit, config) = (self.places.exit(), self.places.config());
        // The status is written after the last of the output. A deleted container has none.
        let ended = move || exit.exists() || !config.exists();
        logs::open(path.clone(), query, ended).map_err(Error::io("read the log", path))
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    pub(crate) fn cgroup(&self) -> PathBuf {
        self.shared.cgroup(self.config())
    }

    /// Below which shims and what keeps commands are.
    pub(crate) fn shims_parent(&self) -> PathBuf {
        self.shared.config.cgroup_parent.clone()
    }

    pub(crate) async fn filter(&self) -> Result<Option<Arc<Filter>>> {
        self.shared.filter(self.config()).await
    }

    pub(crate) async fn fork(&self, role: Role, streams: [OwnedFd; 3]) -> std::io::Result<OwnedFd> {
        self.shared.fork(role, streams).await
    }

    /// Works on its cgroup, which is there as long as it has not ended.
    async fn with_cgroup<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Hierarchies, &Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let container = self.clone();
        blocking(move || {
            let done = work(&container.shared.hierarchies, &container.cgroup());
            done.map_err(|error| match error.kind() {
                ErrorKind::NotFound => Error::NotRunning(container.id().to_owned()),
                _ => container.failed(operation)(error),
            })
        })
        .await
    }

    async fn wait_killed(&self) -> Result<ExitStatus> {
        let waited = timeout(KILL_TIMEOUT, self.wait()).await;
        waited.unwrap_or_else(|_| Err(Error::Timeout { what: "the end", id: self.id().to_owned() }))
    }

    fn observe(&self) -> Result<ContainerState> {
        let path = self.places.lock();
        loop {
            let live = record::read::<Live>(&self.places.live())?;
            let started_at = live.as_ref().and_then(|live| live.started_at);
            let state = |status, pid, exit| ContainerState {
                status,
                pid,
                created_at: self.created_at(),
                started_at,
                exit,
            };
            if let Some(exit) = record::read(&self.places.exit())? {
                return Ok(state(Status::Exited, None, Some(exit)));
            }
            if lock::holder(&path).map_err(Error::io("look at the lock", &path))?.is_some() {
                let status = match started_at {
                    None => Status::Created,
                    Some(_) if self.frozen()? => Status::Paused,
                    Some(_) => Status::Running,
                };
                return Ok(state(status, live.map(|live| live.pid), None));
            }
            // It may have ended in good order between the two looks.
            if let Some(exit) = record::read(&self.places.exit())? {
                return Ok(state(Status::Exited, None, Some(exit)));
            }
            if !self.places.config().exists() {
                return Err(Error::NoSuchContainer(self.id().to_owned()));
            }
            let hierarchies = &self.shared.hierarchies;
            if let Some(exit) = recover::bury(&self.places, hierarchies, &self.cgroup())? {
                return Ok(state(Status::Exited, None, Some(exit)));
            }
        }
    }

    fn frozen(&self) -> Result<bool> {
        let frozen = self.shared.hierarchies.frozen(&self.cgroup());
        frozen.map_err(self.failed("look at the freezer"))
    }

    /// The shim's process, if it lives.
    fn shim(&self) -> Result<Option<OwnedFd>> {
        let path = self.places.lock();
        let failed = |error| Error::io("look at the lock", &path)(error);
        while let Some(pid) = lock::holder(&path).map_err(failed)? {
            if let Some(shim) = process::open(pid).map_err(failed)?
                && lock::holder(&path).map_err(failed)? == Some(pid)
            {
                return Ok(Some(shim));
            }
        }
        Ok(None)
    }

    async fn ask(&self, request: Request) -> Result<()> {
        self.converse(request).await.map(drop)
    }

    async fn converse(&self, request: Request) -> Result<Connection> {
        let id = || self.id().to_owned();
        let answer =
            timeout(REQUEST_TIMEOUT, async { attach::ask(self.connect().await?, &request).await });
        let (reply, connection) = match answer.await {
            Ok(Ok(answered)) => answered,
            // No shim: then the container has ended, or this finds out that it has.
            Ok(Err(error)) => match self.state().await?.status {
                Status::Exited if matches!(request, Request::Start) => {
                    return Err(Error::AlreadyStarted(id()));
                }
                Status::Exited => return Err(Error::NotRunning(id())),
                // A shim that lives answers what it knows, and closes at what it does not.
                _ if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(Error::Unsupported(
                        "this container was made by an older version of the daemon, which could \
                         not do this: it can once it was started anew",
                    ));
                }
                _ => return Err(self.failed("ask the shim")(error)),
            },
            Err(_) => return Err(Error::Timeout { what: "an answer", id: id() }),
        };
        match reply {
            Reply::Done => Ok(connection),
            Reply::AlreadyStarted => Err(Error::AlreadyStarted(id())),
            Reply::NotRunning => Err(Error::NotRunning(id())),
            Reply::Failed { message, exit_code } => Err(Error::Failed { message, exit_code }),
        }
    }

    async fn connect(&self) -> std::io::Result<UnixStream> {
        let directory = File::open(self.places.run())?;
        UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())).await
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let id = self.id().to_owned();
        move |source| Error::Container { operation, id, source }
    }
}
