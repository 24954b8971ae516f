//! A container's starts and ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skep_agent_plan::HealthCheck;
use skep_bridge::SandboxRequest;
use skep_docker_api::ApiError;
use skep_docker_api::json::{ContainerWaitResponse, StopOptions, WaitCondition};
use skep_engine::config::{MountSource, Namespace, Rootfs};
use skep_engine::{Container, ContainerConfig, Error, ExitStatus, Signal};
use skep_idmap::{IdMaps, Owner};
use skep_types::error_chain;
use time::OffsetDateTime;

use crate::containers::{Containers, Result, blocking, images, runtime};
use crate::entry::{Entry, Seen};
use crate::mounts::Source;
use crate::policy::{self, Ended};
use crate::record::{Phase, Record};
use crate::{events, health, merge, spec, volumes};

/// Docker's, where neither the call nor the container says otherwise.
const STOP_GRACE: Duration = Duration::from_secs(10);

impl Containers {
    /// Runs a container; false if it runs already.
    pub async fn start(self: &Arc<Self>, given: &str) -> Result<bool> {
        let entry = self.find(given)?;
        self.start_entry(&entry).await
    }

    pub(crate) async fn start_entry(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<bool> {
        let change = entry.change.lock().await;
        match entry.with(|it| it.state.phase) {
            Phase::Running => return Ok(false),
            // It waits for its next start: the one that waits gives way.
            Phase::Restarting => entry.halt.notify_waiters(),
            Phase::Removing => {
                return Err(ApiError::conflict(
                    "container is marked for removal and cannot be started",
                ));
            }
            Phase::Created | Phase::Exited => {}
        }
        entry.alter(|it| {
            it.state.stopped_by_hand = false;
            it.state.restart_count = 0;
        });
        let started = self.run(entry).await;
        drop(change);
        match started {
            Ok(run) => {
                self.watch(entry, run);
                Ok(true)
            }
            Err(error) => {
                if entry.with(|it| it.host_config.auto_remove) {
                    self.clear(entry, true).await?;
                }
                Err(error)
            }
        }
    }

    /// One run, from its networks to its command. The caller holds the change. On failure only what
    /// is told of it stays.
    async fn run(&self, entry: &Entry) -> Result<Container> {
        let record = entry.record();
        match self.try_run(entry, &record).await {
            Ok(run) => Ok(run),
            Err(error) => {
                let code = exit_code(&error);
                // Those who wait to be attached hear that there is nothing to come.
                drop(entry.take_pending());
                entry.alter(|it| {
                    if it.state.phase != Phase::Created {
                        it.state.phase = Phase::Exited;
                    }
                    it.state.exit_code = code;
                    it.state.error.clone_from(&error.message);
                });
                if let Err(error) = self.save(entry, false).await {
                    tracing::warn!(container = entry.id, %error, "failed to note a failed start");
                }
                Err(error)
            }
        }
    }

    /// A restart that failed is an end to those who wait for one.
    fn end_waiting(&self, entry: &Entry) {
        let exit_code = entry.with(|it| it.state.exit_code);
        entry.seen.send_modify(|seen| {
            *seen = Seen { ends: seen.ends + 1, alive: false, exit_code, removed: false }
        });
    }

    async fn try_run(&self, entry: &Entry, record: &Record) -> Result<Container> {
        let sources = self.sources(record)?;
        let pid = self.namespace("PID", &record.host_config.pid_mode).await?;
        let ipc = self.namespace("IPC", &record.host_config.ipc_mode).await?;
        let id_maps = self.id_maps(&record.host_config);
        let request = SandboxRequest {
            owner: owner(id_maps.as_ref(), [&pid, &ipc]),
            ..self.sandbox_request(record)?
        };
        let rootfs = self.parts.images.rootfs(&record.id).await.map_err(images)?.overlay;
        let sandbox = self.parts.networks.open_sandbox(request).await.map_err(ApiError::from)?;
        let begun = async {
            self.write_etc(record, &sandbox).await?;
            let ground = spec::Ground {
                rootfs: Rootfs::Overlay {
                    lower: rootfs.lower.iter().map(|path| rootfs.base.join(path)).collect(),
                    upper: rootfs.base.join(&rootfs.upper),
                    work: rootfs.base.join(&rootfs.work),
                },
                sources,
                etc: self.etc_of(record),
                network: sandbox.namespace.clone(),
                pid,
                ipc,
                log: self.records.log(&record.id),
                id_maps,
                defaults: self.parts.defaults.get(),
            };
            let mut config = spec::build(record, ground)?;
            // What the user says of a name goes over what a link does.
            config.env.splice(0..0, self.link_variables(record).await?);
            let config = self.give_devices(record, config).await?;
            let run = self.make_run(config).await?;
            match self.begin(entry, record, &run).await {
                Ok(()) => Ok(run),
                Err(error) => {
                    if let Err(error) = run.delete().await {
                        tracing::warn!(container = record.id, %error, "a run that did not begin is not gone");
                    }
                    Err(error)
                }
            }
        };
        match begun.await {
            Ok(run) => {
                for (name, settings) in &sandbox.networks {
                    self.tell_network("connect", &settings.network_id, name, entry);
                }
                Ok(run)
            }
            Err(error) => {
                if let Err(error) = self.parts.networks.close_sandbox(&record.id).await {
                    tracing::warn!(container = record.id, %error, "networks of a failed start are not closed");
                }
                Err(error)
            }
        }
    }

    /// With the devices that drivers choose for it. As in Docker, whatever is wrong is told at the
    /// start, and is the daemon's failure.
    async fn give_devices(
        &self,
        record: &Record,
        mut config: ContainerConfig,
    ) -> Result<ContainerConfig> {
        let requests = record.host_config.device_requests.clone().unwrap_or_default();
        let defaults = self.parts.defaults.get();
        blocking(move || {
            defaults.cdi.give(&requests, &mut config).map_err(ApiError::system)?;
            Ok(config)
        })
        .await
    }

    /// A run in the place of one that is over and could not be taken away then.
    async fn make_run(&self, config: ContainerConfig) -> Result<Container> {
        match self.parts.runtime.create(config.clone()).await {
            Err(Error::Exists(id)) => {
                let left = self.parts.runtime.get(&id).await.map_err(runtime)?;
                left.delete().await.map_err(runtime)?;
                self.parts.runtime.create(config).await.map_err(refused_start)
            }
            made => made.map_err(refused_start),
        }
    }

    /// From a run that is made to one whose command runs, with those attached who wait for it.
    async fn begin(&self, entry: &Entry, record: &Record, run: &Container) -> Result<()> {
        for pending in entry.take_pending() {
            let attached = run.attach(pending.options).await.map_err(runtime)?;
            // One that has gone away meanwhile is attached to nothing.
            let _ = pending.ready.send(attached);
        }
        run.start().await.map_err(refused_start)?;
        entry.alter(|it| it.state.begin(OffsetDateTime::now_utc()));
        // Told to be running by the runtime's own record too, should this be lost.
        self.save(entry, false).await?;
        entry.seen.send_modify(|seen| seen.alive = true);
        events::tell(&self.parts.events, record, "start", &[]);
        Ok(())
    }

    /// The host's side of each mount.
    fn sources(&self, record: &Record) -> Result<Vec<MountSource>> {
        let source = |mount: &crate::mounts::Mount| match &mount.source {
            Source::Bind { path, create } => {
                let path = PathBuf::from(path);
                if *create && !path.exists() {
                    volumes::make_directories(&path, self.root_outside()).map_err(|error| {
                        ApiError::system(format!(
                            "error while creating mount source path '{}': {error}",
                            path.display()
                        ))
                    })?;
                }
                Ok(MountSource::Bind(path))
            }
            Source::Volume { name, subpath, .. } => {
                let inspected = self.parts.volumes.inspect(name);
                inspected.map_err(|error| ApiError::not_found(error.to_string()))?;
                let root = self.parts.volumes.path(name);
                Ok(MountSource::Bind(below(&root, subpath)?))
            }
            Source::Tmpfs { size_bytes, mode, options } => Ok(MountSource::Tmpfs {
                size_bytes: *size_bytes,
                mode: *mode,
                options: options.clone(),
            }),
        };
        record.mounts.iter().map(source).collect()
    }

    /// What of the host is mounted in a container: from where, to where, and whether it is read only.
    pub fn binds(&self, record: &Record) -> Result<Vec<(PathBuf, String, bool)>> {
        let sources = record.mounts.iter().zip(self.sources(record)?);
        let binds = sources.filter_map(|(mount, source)| match source {
            MountSource::Bind(path) => Some((path, mount.target.clone(), mount.read_only)),
            MountSource::Tmpfs { .. } => None,
        });
        Ok(binds.collect())
    }

    async fn namespace(&self, kind: &str, mode: &str) -> Result<Namespace> {
        let Some(other) = mode.strip_prefix("container:") else {
            return Ok(match mode {
                "host" => Namespace::Host,
                _ => Namespace::Private,
            });
        };
        let failed = |error: ApiError| {
            let text = format!("failed to join {kind} namespace: {error}");
            ApiError::new(error.kind, text)
        };
        let entry = self.find(other).map_err(failed)?;
        let (name, ipc) = entry.with(|it| (it.name.clone(), it.host_config.ipc_mode.clone()));
        if kind == "IPC" && matches!(ipc.as_str(), "private" | "none") {
            return Err(failed(ApiError::invalid(
                "non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            )));
        }
        let run = self.run_of(&entry).await.map_err(failed)?;
        match run.pid().await.map_err(runtime)? {
            Some(pid) => Ok(Namespace::Of(pid)),
            None => Err(failed(ApiError::conflict(format!("container {name} is not running")))),
        }
    }

    /// Sees a run through to its end, and those that a policy makes follow it.
    pub(crate) fn watch(self: &Arc<Self>, entry: &Arc<Entry>, run: Container) {
        let (containers, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move {
            let mut run = run;
            let mut pause = None;
            loop {
                let ended = containers.see_through(&entry, &run).await;
                pause = containers.finish(&entry, &run, ended, pause).await;
                let Some(length) = pause else { return };
                tokio::select! {
                    () = tokio::time::sleep(length) => {}
                    () = entry.halt.notified() => {}
                }
                let _change = entry.change.lock().await;
                // Stopped, started or removed by hand meanwhile.
                if entry.with(|it| it.state.phase != Phase::Restarting) {
                    return;
                }
                entry.alter(|it| it.state.restart_count += 1);
                if let Err(error) = containers.save(&entry, false).await {
                    tracing::warn!(container = entry.id, %error, "a restart could not be counted");
                }
                match containers.run(&entry).await {
                    Ok(next) => run = next,
                    Err(error) => {
                        tracing::warn!(container = entry.id, %error, "failed to start a container again");
                        containers.end_waiting(&entry);
                        return;
                    }
                }
            }
        });
    }

    /// Waits for the end of a run and asks for its health until then.
    async fn see_through(&self, entry: &Entry, run: &Container) -> Result<ExitStatus, Error> {
        let check = entry.with(|it| {
            let config = it.config.healthcheck.as_ref().map(merge::health_config);
            HealthCheck::of(config.as_ref(), None)
        });
        entry.set_health(None);
        let Some(check) = check else { return run.wait().await };
        let tell = |report: &health::HealthReport, changed: bool| {
            entry.set_health(Some(report.clone()));
            if changed {
                let action = format!("health_status: {}", report.health.status.name());
                entry.with(|record| events::tell(&self.parts.events, record, &action, &[]));
            }
            true
        };
        tokio::select! {
            ended = run.wait() => ended,
            _ = async {
                health::ask(run, &check, tell).await;
                std::future::pending::<()>().await
            } => unreachable!("it waits for ever"),
        }
    }

    /// Notes an end and takes the run away; the pause before the next one, if there is to be one.
    async fn finish(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        run: &Container,
        ended: Result<ExitStatus, Error>,
        last_pause: Option<Duration>,
    ) -> Option<Duration> {
        let change = entry.change.lock().await;
        let unknown = i64::from(skep_engine::defaults::EXIT_CODE_UNKNOWN);
        let (code, oom_killed, finished_at, error) = match ended {
            Ok(exit) => (
                i64::from(exit.code),
                exit.oom_killed,
                exit.finished_at,
                exit.error.unwrap_or_default(),
            ),
            Err(error) => (unknown, false, OffsetDateTime::now_utc(), error_chain(&error)),
        };
        let pause = entry.alter(|it| {
            let started = it.state.started_at.unwrap_or(finished_at);
            let ended = Ended {
                exit_code: code,
                by_hand: it.state.stopped_by_hand,
                restarts: it.state.restart_count,
                ran: Duration::try_from(finished_at - started).unwrap_or_default(),
            };
            let pause = policy::next(&it.host_config.restart_policy, ended, last_pause);
            it.state.end(code, finished_at);
            if pause.is_some() {
                it.state.phase = Phase::Restarting;
            }
            it.state.oom_killed = oom_killed;
            it.state.error = error;
            pause
        });
        if let Err(error) = self.save(entry, false).await {
            tracing::error!(container = entry.id, %error, "an end could not be noted");
        }
        // What the run knew of its end is noted: it may go.
        let places = self.parts.networks.sandbox(&entry.id).await;
        let (closed, deleted) =
            tokio::join!(self.parts.networks.close_sandbox(&entry.id), run.delete());
        if let Err(failure) = closed {
            tracing::warn!(container = entry.id, error = %failure, "networks are not closed");
        }
        if let Err(failure) = deleted {
            tracing::warn!(container = entry.id, error = %failure, "a run that ended is not gone");
        }
        if oom_killed {
            entry.with(|record| events::tell(&self.parts.events, record, "oom", &[]));
        }
        let more = [("exitCode", code.to_string())];
        entry.with(|record| events::tell(&self.parts.events, record, "die", &more));
        for (name, settings) in places.iter().flat_map(|it| &it.networks) {
            self.tell_network("disconnect", &settings.network_id, name, entry);
        }
        let removes = pause.is_none() && entry.ends_with_removal();
        entry.seen.send_modify(|seen| {
            seen.ends += 1;
            seen.alive = pause.is_some();
            seen.exit_code = code;
        });
        drop(change);
        if removes && let Err(error) = self.clear(entry, true).await {
            tracing::error!(container = entry.id, %error, "a container is not removed after its end");
        }
        pause
    }

    /// Ends a container and waits for it; false if it does not run.
    pub async fn stop(&self, given: &str, options: &StopOptions) -> Result<bool> {
        let entry = self.find(given)?;
        let stopped = self.stop_entry(&entry, options).await?;
        if stopped {
            entry.with(|record| events::tell(&self.parts.events, record, "stop", &[]));
        }
        Ok(stopped)
    }

    async fn stop_entry(&self, entry: &Arc<Entry>, options: &StopOptions) -> Result<bool> {
        let signal = match options.signal.as_str() {
            "" => None,
            given => Some(spec::signal(given)?),
        };
        let own = entry.with(|it| it.config.stop_timeout);
        let grace = match options.timeout.or(own) {
            None => STOP_GRACE,
            // For ever.
            Some(..0) => Duration::MAX,
            Some(seconds) => Duration::from_secs(seconds.unsigned_abs()),
        };
        let mut seen = entry.seen.subscribe();
        {
            let _change = entry.change.lock().await;
            match entry.with(|it| it.state.phase) {
                Phase::Running => entry.alter(|it| it.state.stopped_by_hand = true),
                Phase::Restarting => {
                    entry.alter(|it| {
                        it.state.stopped_by_hand = true;
                        it.state.phase = Phase::Exited;
                    });
                    self.save(entry, false).await?;
                    entry.halt.notify_waiters();
                    entry.seen.send_modify(|seen| seen.alive = false);
                    return Ok(true);
                }
                _ => return Ok(false),
            }
            self.save(entry, true).await?;
        }
        if let Ok(run) = self.parts.runtime.get(&entry.id).await {
            match run.stop(signal, grace).await {
                // One that ended by itself is seen by who watches it.
                Ok(_) | Err(Error::NotRunning(_) | Error::NoSuchContainer(_)) => {}
                Err(error) => return Err(runtime(error)),
            }
        }
        // The watcher's to note; it always does.
        let _ = seen.wait_for(|seen| !seen.alive).await;
        Ok(true)
    }

    /// Ends it, if it runs, and runs it again.
    pub async fn restart(self: &Arc<Self>, given: &str, options: &StopOptions) -> Result<()> {
        let entry = self.find(given)?;
        {
            let _spared = entry.spare();
            self.stop_entry(&entry, options).await?;
        }
        self.start_entry(&entry).await?;
        entry.with(|record| events::tell(&self.parts.events, record, "restart", &[]));
        Ok(())
    }

    /// Sends a signal; SIGKILL where none is named.
    pub async fn kill(&self, given: &str, signal: &str) -> Result<()> {
        let entry = self.find(given)?;
        let number = match signal {
            "" => Signal::KILL,
            given => spec::signal(given)?,
        };
        let not_running = |error: ApiError| {
            ApiError::conflict(format!("cannot kill container: {given}: {error}"))
        };
        let run = self.run_of(&entry).await.map_err(not_running)?;
        let stops = entry.with(|it| match it.config.stop_signal.as_str() {
            "" => Signal::TERM,
            own => Signal::parse(own).unwrap_or(Signal::TERM),
        });
        if number == Signal::KILL || number == stops {
            // What its user ends is not started again.
            entry.alter(|it| it.state.stopped_by_hand = true);
            self.save(&entry, true).await?;
        }
        run.kill(number).await.map_err(runtime).map_err(not_running)?;
        let more = [("signal", number.number().to_string())];
        entry.with(|record| events::tell(&self.parts.events, record, "kill", &more));
        if number == Signal::KILL {
            // Docker answers when it is gone.
            let mut seen = entry.seen.subscribe();
            let gone = seen.wait_for(|seen| !seen.alive || seen.removed);
            let _ = tokio::time::timeout(STOP_GRACE, gone).await;
        }
        Ok(())
    }

    pub async fn pause(&self, given: &str) -> Result<()> {
        let entry = self.find(given)?;
        let _change = entry.change.lock().await;
        self.run_of(&entry).await?.pause().await.map_err(runtime)?;
        entry.with(|record| events::tell(&self.parts.events, record, "pause", &[]));
        Ok(())
    }

    pub async fn unpause(&self, given: &str) -> Result<()> {
        let entry = self.find(given)?;
        let _change = entry.change.lock().await;
        self.run_of(&entry).await?.unpause().await.map_err(runtime)?;
        entry.with(|record| events::tell(&self.parts.events, record, "unpause", &[]));
        Ok(())
    }

    /// Does something while a container that runs is paused. It goes on afterwards, also where the
    /// daemon is killed meanwhile.
    pub async fn while_still<T>(&self, given: &str, work: impl Future<Output = T>) -> Result<T> {
        let entry = self.find(given)?;
        let run = {
            let _change = entry.change.lock().await;
            match self.run_of(&entry).await {
                Ok(run) => {
                    entry.alter(|it| it.state.paused_for_commit = true);
                    self.save(&entry, false).await?;
                    // One that is paused already, or that ends meanwhile, is still enough.
                    run.pause().await.is_ok().then_some(run)
                }
                Err(_) => None,
            }
        };
        let done = work.await;
        let _change = entry.change.lock().await;
        if let Some(run) = run
            && let Err(error) = run.unpause().await
        {
            tracing::warn!(container = entry.id, %error, "a container was not to be unpaused");
        }
        if entry.alter(|it| std::mem::take(&mut it.state.paused_for_commit))
            && !entry.seen.borrow().removed
        {
            self.save(&entry, false).await?;
        }
        Ok(done)
    }

    /// Begins to wait: no end after this is missed.
    pub fn wait(
        &self,
        given: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = ContainerWaitResponse> + Send + 'static> {
        let entry = self.find(given)?;
        let mut seen = entry.seen.subscribe();
        let begun = seen.borrow_and_update().ends;
        Ok(async move {
            let over = |seen: &Seen| match condition {
                WaitCondition::NotRunning => !seen.alive || seen.removed,
                WaitCondition::NextExit => seen.ends > begun || seen.removed,
                WaitCondition::Removed => seen.removed,
            };
            // The sender lives in the entry, which is held here.
            let last = match seen.wait_for(over).await {
                Ok(seen) => seen.clone(),
                Err(_) => entry.seen.borrow().clone(),
            };
            ContainerWaitResponse { status_code: last.exit_code, error: None }
        })
    }
}

/// A volume's subpath; never outside of it.
fn below(root: &Path, subpath: &str) -> Result<PathBuf> {
    if subpath.is_empty() {
        return Ok(root.to_owned());
    }
    let path = root.join(subpath).canonicalize();
    let found =
        path.ok().filter(|path| root.canonicalize().is_ok_and(|root| path.starts_with(root)));
    found.ok_or_else(|| ApiError::not_found(format!("subpath {subpath:?} is not in the volume")))
}

/// The command's own fault is the caller's to mend; the rest is ours.
fn refused_start(error: Error) -> ApiError {
    match error {
        Error::Failed { message, exit_code: Some(_) } => ApiError::invalid(format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: unable to start container process: {message}: unknown"
        )),
        Error::Failed { message, exit_code: None } => ApiError::system(format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: {message}: unknown"
        )),
        error => runtime(error),
    }
}

/// Docker's exit codes of a container that could not be started.
fn exit_code(error: &ApiError) -> i64 {
    let says = |word: &str| error.message.contains(word);
    if says("executable file not found") || says("no such file or directory") {
        127
    } else if says("permission denied") || says("is a directory") || says("exec format error") {
        126
    } else {
        128
    }
}

/// Whose a container's network namespace is: who joins another's namespaces is in its user
/// namespace.
fn owner(id_maps: Option<&IdMaps>, joined: [&Namespace; 2]) -> Owner {
    let Some(maps) = id_maps else { return Owner::Host };
    let other = joined.into_iter().find_map(|it| match it {
        Namespace::Of(pid) => Some(format!("/proc/{pid}/ns/user").into()),
        Namespace::Private | Namespace::Host => None,
    });
    other.map_or_else(|| Owner::New(maps.clone()), Owner::Of)
}
