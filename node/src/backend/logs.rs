//! `/services/…/logs` and `/tasks/…/logs` through the managers, `/containers/…/logs` from here.

use futures::{StreamExt, future};
use skep_docker_api::logs::service_attributes;
use skep_docker_api::{ApiError, Kind, LogEntry, LogOptions, LogSource, Logs};
use skep_engine::logs::{LogQuery, Stdio};
use skep_manager::lists::{find_service, find_task};
use skep_manager::logs::{LogRecord, LogSelector, LogSource as Source};
use skep_types::Timestamp;
use time::OffsetDateTime;

use super::{Answer, DaemonBackend, engine_error, error};

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
        let task = find_task(&view, given)?;
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
        let by_hand = self.containers.logs(given, query.clone());
        let (tty, entries) = match by_hand {
            Err(error) if error.kind == Kind::NotFound => {
                let container = self.task_container(given).await?;
                let entries = container.logs(query).await.map_err(engine_error::runtime)?;
                (container.config().tty, entries)
            }
            found => found?,
        };
        // A task's container is not made by hand, and has none.
        let attributes = self.containers.log_attributes(given).unwrap_or_default();
        let entries = entries.map(move |entry| {
            let entry = entry.map_err(|error| ApiError::system(error.to_string()))?;
            let nanos = i64::try_from(entry.time.unix_timestamp_nanos());
            Ok(LogEntry {
                source: match entry.stdio {
                    Stdio::Stdout => LogSource::Stdout,
                    Stdio::Stderr => LogSource::Stderr,
                },
                at: Timestamp(nanos.unwrap_or(i64::MAX)),
                attributes: attributes.clone(),
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
        Ok(Logs { tty, entries: entries.boxed() })
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
