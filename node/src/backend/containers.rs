//! `/containers`: those that are made by hand, which can do all, and those of tasks, whose life is
//! their service's.

use futures::StreamExt;
use futures::future::BoxFuture;
use skep_docker_api::filters::{ContainerFacts, ContainerFilter, PruneFilter};
use skep_docker_api::json::{
    self, AttachOptions, ContainerInspect, ContainerListOptions, ContainerSummary,
    ContainerWaitResponse, ExecCreateRequest, ExecInspect, ExecStartRequest, Stats, StopOptions,
    TopResponse, WaitCondition,
};
use skep_docker_api::{ApiError, Filters, Flow, Kind, LogSource, Streams};
use skep_engine::logs::Stdio;
use skep_engine::{Container, Signal};
use skep_types::Timestamp;
use time::OffsetDateTime;

use super::prune::alone;
use super::task_containers::name;
use super::{Answer, DaemonBackend, engine_error};

/// Between two looks at what a container uses.
const STATS_PERIOD: std::time::Duration = std::time::Duration::from_secs(1);

fn moment(at: OffsetDateTime) -> Timestamp {
    Timestamp(i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX))
}

fn is_absent<T>(answer: &Answer<T>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind == Kind::NotFound)
}

fn of_service(given: &str, what: &str) -> ApiError {
    ApiError::conflict(format!(
        "container {given} belongs to a task: it is {what} through its service"
    ))
}

pub(super) fn streams(attached: skep_containers::Attachment) -> Streams {
    let output = attached.output.map(|item| match item {
        Ok((Stdio::Stdout, bytes)) => Ok((LogSource::Stdout, bytes)),
        Ok((Stdio::Stderr, bytes)) => Ok((LogSource::Stderr, bytes)),
        Err(error) => Err(ApiError::system(error.to_string())),
    });
    Streams { tty: attached.tty, output: output.boxed(), input: attached.input }
}

impl DaemonBackend {
    /// The newest first.
    async fn all_containers(&self, sizes: bool) -> Answer<Vec<skep_containers::Shown>> {
        let mut all = self.containers.list(sizes).await?;
        all.extend(self.list_task_containers(sizes).await?);
        all.sort_by_key(|shown| std::cmp::Reverse(shown.summary.created));
        Ok(all)
    }

    pub(super) async fn list_containers(
        &self,
        options: ContainerListOptions,
    ) -> Answer<Vec<ContainerSummary>> {
        let filter = ContainerFilter::new(&options.filters)?;
        let all = options.all || options.limit > 0 || filter.wants_stopped();
        let limit = match options.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let alive = |state: &str| matches!(state, "running" | "paused" | "restarting");
        let shown = self.all_containers(options.size).await?.into_iter();
        let shown = shown.filter(|it| all || alive(&it.summary.state)).filter(|it| {
            let facts = ContainerFacts { exit_code: it.exit_code, health: it.health };
            filter.matches(&it.summary, facts)
        });
        Ok(shown.take(limit).map(|it| it.summary).collect())
    }

    pub(super) async fn inspect_container(
        &self,
        given: &str,
        size: bool,
    ) -> Answer<ContainerInspect> {
        let by_hand = self.containers.inspect(given, size).await;
        let mut shown = match is_absent(&by_hand) {
            true => self.inspect_task_container(given, size).await?,
            false => by_hand?,
        };
        shown.exec_ids = Some(self.execs.of(&shown.id)).filter(|ids| !ids.is_empty());
        Ok(shown)
    }

    /// The container that runs by this name, and what it is called.
    pub(super) async fn running(&self, given: &str) -> Answer<(Container, String)> {
        let by_hand = self.containers.get(given);
        if is_absent(&by_hand) {
            let container = self.task_container(given).await?;
            let name = name(container.config()).trim_start_matches('/').to_owned();
            return Ok((container, name));
        }
        let record = by_hand?;
        Ok((self.containers.running(&record.id).await?, record.name))
    }

    /// Refuses what is a service's to do with a task's container.
    pub(super) async fn own(&self, given: &str, what: &str) -> Answer<()> {
        let by_hand = self.containers.get(given);
        if !is_absent(&by_hand) {
            return by_hand.map(drop);
        }
        self.task_container(given).await?;
        Err(of_service(given, what))
    }

    pub(super) async fn create_container(
        &self,
        name: Option<&str>,
        platform: &str,
        request: json::ContainerCreateRequest,
    ) -> Answer<json::ContainerCreateResponse> {
        // One image stands for one platform here: it is this host's, or it was not pulled.
        if !platform.is_empty() {
            let wanted: skep_images::Platform = platform.parse().map_err(|_| {
                ApiError::invalid(format!(
                    "\"{platform}\": unknown operating system or architecture"
                ))
            })?;
            let image = self.engine.images().inspect(&request.config.image).await;
            let image = image.map_err(engine_error::image)?;
            if image.platform != wanted {
                return Err(ApiError::not_found(format!(
                    "image with reference {} was found but its platform ({}) does not match the specified platform ({platform})",
                    request.config.image, image.platform
                )));
            }
        }
        self.containers.create(name, request).await
    }

    pub(super) async fn stop_container(&self, given: &str, options: StopOptions) -> Answer<bool> {
        let by_hand = self.containers.stop(given, &options).await;
        if !is_absent(&by_hand) {
            return by_hand;
        }
        let container = self.task_container(given).await?;
        let signal = match options.signal.as_str() {
            "" => None,
            text => Some(signal(text)?),
        };
        let grace = match options.timeout {
            None => skep_types::defaults::STOP_GRACE_PERIOD,
            Some(..0) => std::time::Duration::MAX,
            Some(seconds) => std::time::Duration::from_secs(seconds.unsigned_abs()),
        };
        let state = container.state().await.map_err(engine_error::runtime)?;
        if state.exit.is_some() {
            return Ok(false);
        }
        container.stop(signal, grace).await.map_err(engine_error::runtime)?;
        Ok(true)
    }

    pub(super) async fn kill_container(&self, given: &str, text: &str) -> Answer<()> {
        let by_hand = self.containers.kill(given, text).await;
        if !is_absent(&by_hand) {
            return by_hand;
        }
        let number = if text.is_empty() { Signal::KILL } else { signal(text)? };
        self.task_container(given).await?.kill(number).await.map_err(engine_error::runtime)
    }

    pub(super) async fn wait_for_container(
        &self,
        given: &str,
        condition: WaitCondition,
    ) -> Answer<BoxFuture<'static, Answer<ContainerWaitResponse>>> {
        let by_hand = self.containers.wait(given, condition);
        if !is_absent(&by_hand) {
            let waiting = by_hand?;
            return Ok(Box::pin(async move { Ok(waiting.await) }));
        }
        let container = self.task_container(given).await?;
        Ok(Box::pin(async move {
            let exit = container.wait().await.map_err(engine_error::runtime)?;
            let status_code = i64::from(exit.code);
            Ok(ContainerWaitResponse { status_code, ..Default::default() })
        }))
    }

    pub(super) async fn attach_container(
        &self,
        given: &str,
        options: AttachOptions,
    ) -> Answer<Streams> {
        let wanted = skep_engine::AttachOptions {
            stdin: options.stdin && options.stream,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        let by_hand = self.containers.attach(given, wanted, options.logs, options.stream).await;
        if !is_absent(&by_hand) {
            return by_hand.map(streams);
        }
        let container = self.task_container(given).await?;
        let attached = container.attach(wanted).await.map_err(engine_error::runtime)?;
        Ok(streams(skep_containers::Attachment {
            tty: container.config().tty,
            output: attached.output,
            input: attached.input,
        }))
    }

    pub(super) async fn top_of(&self, given: &str, args: &str) -> Answer<TopResponse> {
        let (container, _) = self.running(given).await?;
        skep_containers::top(&container, args).await
    }

    pub(super) async fn stats_of(
        &self,
        given: &str,
        stream: bool,
        one_shot: bool,
    ) -> Answer<Flow<Stats>> {
        let (container, name) = match self.running(given).await {
            Ok(found) => found,
            // One that does not run uses nothing; a list of statistics goes on without it.
            Err(error) if error.kind == Kind::Conflict => {
                let record = self.containers.get(given)?;
                let nothing = Stats {
                    id: record.id,
                    name: format!("/{}", record.name),
                    read: skep_containers::NEVER.to_owned(),
                    preread: skep_containers::NEVER.to_owned(),
                    ..Stats::default()
                };
                return Ok(futures::stream::iter([Ok(nothing)]).boxed());
            }
            Err(error) => return Err(error),
        };
        let first = skep_containers::stats(&container, &name, None).await?;
        if one_shot {
            return Ok(futures::stream::iter([Ok(first)]).boxed());
        }
        let next = async |(container, name, before): (Container, String, Stats)| {
            tokio::time::sleep(STATS_PERIOD).await;
            let now = skep_containers::stats(&container, &name, Some(&before)).await;
            // It has ended.
            let now = now.ok()?;
            Some((Ok(now.clone()), (container, name, now)))
        };
        let later = futures::stream::unfold((container, name, first.clone()), next);
        if stream {
            return Ok(futures::stream::iter([Ok(first)]).chain(later).boxed());
        }
        // A single look is one that knows the look before.
        Ok(later.take(1).boxed())
    }

    pub(super) async fn create_exec(
        &self,
        given: &str,
        request: ExecCreateRequest,
    ) -> Answer<String> {
        let (container, name) = self.running(given).await?;
        let state = container.state().await.map_err(engine_error::runtime)?;
        match state.status {
            skep_engine::Status::Running => {}
            skep_engine::Status::Paused => {
                return Err(ApiError::conflict(format!(
                    "Container {name} is paused, unpause the container before exec"
                )));
            }
            _ => {
                return Err(ApiError::conflict(format!(
                    "container {} is not running",
                    container.id()
                )));
            }
        }
        let words = request.cmd.join(" ");
        let id = self.execs.create(container.id(), request)?;
        self.tell_exec(&container, &name, &format!("exec_create: {words}"), &id, None);
        Ok(id)
    }

    fn tell_exec(&self, of: &Container, name: &str, action: &str, exec: &str, code: Option<i64>) {
        let mut attributes = of.config().labels.clone();
        attributes.insert("name".to_owned(), name.to_owned());
        attributes.insert("execID".to_owned(), exec.to_owned());
        if let Ok(record) = self.containers.get(of.id()) {
            attributes.insert("image".to_owned(), record.config.image);
        }
        if let Some(code) = code {
            attributes.insert("exitCode".to_owned(), code.to_string());
        }
        self.events.publish("container", action, of.id(), attributes);
    }

    pub(super) async fn start_exec(
        &self,
        id: &str,
        request: ExecStartRequest,
    ) -> Answer<Option<Streams>> {
        let (container, asked) = self.execs.get(id)?;
        let (container, name) = self.running(&container).await?;
        let (events, exec) = (self.events.clone(), id.to_owned());
        let (of, called) = (container.id().to_owned(), name.clone());
        let ended = move |code: i64| {
            let attributes = json::Map::from([
                ("name".to_owned(), called),
                ("execID".to_owned(), exec),
                ("exitCode".to_owned(), code.to_string()),
            ]);
            events.publish("container", "exec_die", &of, attributes);
        };
        let words = asked.cmd.join(" ");
        self.tell_exec(&container, &name, &format!("exec_start: {words}"), id, None);
        let attached = self.execs.start(id, &request, &container, ended).await?;
        Ok(attached.map(streams))
    }

    pub(super) fn inspect_exec(&self, id: &str) -> Answer<ExecInspect> {
        self.execs.inspect(id)
    }

    pub(super) async fn prune_containers(
        &self,
        filters: Filters,
    ) -> Answer<json::ContainersPruneResponse> {
        let now = moment(OffsetDateTime::now_utc());
        let filter = PruneFilter::new(&filters, &["label", "label!", "until"], now)?;
        let _alone = alone(&self.prunes.containers)?;
        let wanted = |record: &skep_containers::Record| {
            filter.matches(&record.config.labels, Some(moment(record.created)))
        };
        let deleted = self.containers.prune(wanted).await;
        for id in &deleted {
            self.execs.forget(id);
        }
        let containers_deleted = Some(deleted).filter(|ids| !ids.is_empty());
        Ok(json::ContainersPruneResponse { containers_deleted, space_reclaimed: 0 })
    }
}

fn signal(text: &str) -> Answer<Signal> {
    Signal::parse(text).ok_or_else(|| ApiError::invalid(format!("invalid signal: {text}")))
}
