//! `/services/…/logs` and `/tasks/…/logs` through the managers, `/containers/…/logs` from here.

use futures::{StreamExt, future};
use skep_docker_api::logs::service_attributes;
use skep_docker_api::resolve::find;
use skep_docker_api::{ApiError, LogEntry, LogOptions, LogSource, Logs};
use skep_engine::Container;
use skep_engine::logs::{LogQuery, Stdio};
use skep_manager::logs::{LogRecord, LogSelector, LogSource as Source};
use skep_types::Timestamp;
use time::OffsetDateTime;

use super::services::find_service;
use super::{Answer, DaemonBackend, error};

/// The label in which a task's container has its name.
const TASK_NAME: &str = "com.docker.swarm.task.name";

/// Docker's word when nothing of a container's output is asked for.
const NO_STREAM: &str = "Bad parameters: you must choose at least one stream";

impl DaemonBackend {
    pub(super) async fn show_service_logs(&self, given: &str, options: LogOptions) -> Answer<Logs> {
        let view = self.fresh().await?;
        let service = find_service(&view, given)?;
        let tty = service.spec.task.container.tty;
        let selector = LogSelector { services: [service.id].into(), ..LogSelector::default() };
        self.swarm_logs(selector, tty, options).await
    }

    pub(super) async fn show_task_logs(&self, given: &str, options: LogOptions) -> Answer<Logs> {
        let view = self.fresh().await?;
        let task = find("task", given, view.tasks().iter().map(|task| (task.id, "", task)))?;
        let spec = view.spec(task.service_id, task.spec_version);
        let tty = spec.is_some_and(|spec| spec.task.container.tty);
        let selector = LogSelector { tasks: [task.id].into(), ..LogSelector::default() };
        self.swarm_logs(selector, tty, options).await
    }

    async fn swarm_logs(
        &self,
        selector: LogSelector,
        tty: bool,
        options: LogOptions,
    ) -> Answer<Logs> {
        if !options.stdout && !options.stderr {
            return Err(ApiError::invalid(NO_STREAM));
        }
        if options.until.is_some() {
            return Err(ApiError::invalid(
                "logs of services and tasks cannot be read until a moment",
            ));
        }
        let asked = skep_manager::logs::LogOptions {
            stdout: options.stdout,
            stderr: options.stderr,
            follow: options.follow,
            tail: options.tail,
            since: options.since,
        };
        let manager = self.manager().await?;
        let records = manager.subscribe_logs(&selector, &asked).await.map_err(error::control)?;
        let entries = records.map(|it| it.map(entry_of).map_err(error::control)).boxed();
        Ok(Logs { tty, entries })
    }

    pub(super) async fn show_container_logs(
        &self,
        given: &str,
        options: LogOptions,
    ) -> Answer<Logs> {
        if !options.stdout && !options.stderr {
            return Err(ApiError::invalid(NO_STREAM));
        }
        let containers = self.engine.runtime().list().await.map_err(engine)?;
        let container = pick(given, &containers, Container::id, name)?;
        let moment = |at: Option<Timestamp>| {
            at.map(|at| OffsetDateTime::from_unix_timestamp_nanos(at.0.into()))
                .transpose()
                .map_err(|error| ApiError::invalid(error.to_string()))
        };
        let query = LogQuery {
            follow: options.follow,
            tail: options.tail.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
            since: moment(options.since)?,
            until: moment(options.until)?,
            stdout: options.stdout,
            stderr: options.stderr,
            timestamps: false,
        };
        let entries = container.logs(query).await.map_err(engine)?;
        let entries = entries.map(|entry| {
            let entry = entry.map_err(|error| ApiError::system(error.to_string()))?;
            let nanos = i64::try_from(entry.time.unix_timestamp_nanos());
            Ok(LogEntry {
                source: match entry.stdio {
                    Stdio::Stdout => LogSource::Stdout,
                    Stdio::Stderr => LogSource::Stderr,
                },
                at: Timestamp(nanos.unwrap_or(i64::MAX)),
                attributes: Default::default(),
                text: entry.line,
            })
        });
        // Nothing comes after the first error.
        let mut broken = false;
        let entries = entries.take_while(move |entry| {
            let go_on = !broken;
            broken = entry.is_err();
            future::ready(go_on)
        });
        Ok(Logs { tty: container.config().tty, entries: entries.boxed() })
    }
}

fn engine(error: skep_engine::Error) -> ApiError {
    match error {
        skep_engine::Error::NoSuchContainer(id) => {
            ApiError::not_found(format!("No such container: {id}"))
        }
        other => ApiError::system(other.to_string()),
    }
}

fn name(container: &Container) -> &str {
    container.config().labels.get(TASK_NAME).map_or("", String::as_str)
}

/// The one that is meant: by full id, else by name, else by the start of an id.
fn pick<'a, T>(
    given: &str,
    all: &'a [T],
    id: impl Fn(&'a T) -> &'a str,
    name: impl Fn(&'a T) -> &'a str,
) -> Answer<&'a T> {
    let missing = || ApiError::not_found(format!("No such container: {given}"));
    // A name may be given as the API shows it, with a slash before it.
    let plain = given.strip_prefix('/').unwrap_or(given);
    if plain.is_empty() {
        return Err(missing());
    }
    let exact = all.iter().find(|it| id(it) == given);
    let exact = exact.or_else(|| all.iter().find(|it| name(it) == plain));
    if let Some(found) = exact {
        return Ok(found);
    }
    let mut starting = all.iter().filter(|it| id(it).starts_with(given));
    match (starting.next(), starting.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => {
            Err(ApiError::invalid(format!("Multiple IDs found with provided prefix: {given}")))
        }
        (None, _) => Err(missing()),
    }
}

fn entry_of(record: LogRecord) -> LogEntry {
    let mut attributes = service_attributes(record.node, record.service, record.task);
    attributes.extend(record.attributes);
    LogEntry {
        source: match record.source {
            Source::Stdout => LogSource::Stdout,
            Source::Stderr => LogSource::Stderr,
        },
        at: record.at,
        attributes,
        text: record.text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_by_id_name_and_prefix() {
        let all = [("abc1", "web.1.x"), ("abd2", "abc"), ("eee3", "")];
        let check = |given: &str| {
            let found = pick(given, &all, |it| it.0, |it| it.1);
            found.map(|it| it.0).map_err(|error| error.message)
        };
        assert_eq!(check("abc1"), Ok("abc1"));
        assert_eq!(check("abc"), Ok("abd2"));
        assert_eq!(check("/web.1.x"), Ok("abc1"));
        assert_eq!(check("e"), Ok("eee3"));
        let many = "Multiple IDs found with provided prefix: ab".to_owned();
        assert_eq!(check("ab"), Err(many));
        for absent in ["", "/", "x", "/eee3"] {
            assert_eq!(check(absent), Err(format!("No such container: {absent}")));
        }
    }
}
