//! Logs as a node asks for them and is given them, and as they are on the wire.
//!
//! It reads no log and moves none.

use std::collections::BTreeMap;

use prost_types::Timestamp as WireTimestamp;
pub use skep_dispatch::LogSelector;
use skep_proto::swarmkit as pb;
use skep_types::{NodeId, ServiceId, TaskId, Timestamp};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What of the logs is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    pub stdout: bool,
    pub stderr: bool,
    /// Go on with what comes.
    pub follow: bool,
    /// So many lines of each task from the end; none: all.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    Stdout,
    Stderr,
}

/// One line of a task, or a part of a long one; the line's end is part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    pub node: NodeId,
    pub service: ServiceId,
    pub task: TaskId,
    pub at: Timestamp,
    pub source: LogSource,
    /// What the log driver keeps beside the text.
    pub attributes: BTreeMap<String, String>,
    pub text: Vec<u8>,
}

/// A message of the log protocol does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogWireError {
    #[error("malformed {what} id in a log message: {given:?}")]
    Id { what: &'static str, given: String },
    #[error("a log message says not where it is from")]
    NoContext,
    #[error("a log message's time is not between the years 1677 and 2262")]
    Time,
}

fn ids<T: std::str::FromStr + Ord>(
    what: &'static str,
    given: &[String],
) -> Result<std::collections::BTreeSet<T>, LogWireError> {
    given.iter().map(|text| id(what, text)).collect()
}

fn id<T: std::str::FromStr>(what: &'static str, given: &str) -> Result<T, LogWireError> {
    given.parse().map_err(|_| LogWireError::Id { what, given: given.to_owned() })
}

pub(crate) fn selector_of(message: &pb::LogSelector) -> Result<LogSelector, LogWireError> {
    Ok(LogSelector {
        services: ids("service", &message.service_ids)?,
        nodes: ids("node", &message.node_ids)?,
        tasks: ids("task", &message.task_ids)?,
    })
}

fn texts<T: ToString>(ids: impl IntoIterator<Item = T>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// What is asked of a manager for `selector` and `options`.
pub(crate) fn subscribe_request(
    selector: &LogSelector,
    options: &LogOptions,
) -> pb::SubscribeLogsRequest {
    let mut streams = Vec::new();
    if options.stdout {
        streams.push(pb::LogStream::Stdout.into());
    }
    if options.stderr {
        streams.push(pb::LogStream::Stderr.into());
    }
    pb::SubscribeLogsRequest {
        selector: Some(pb::LogSelector {
            service_ids: texts(&selector.services),
            node_ids: texts(&selector.nodes),
            task_ids: texts(&selector.tasks),
        }),
        options: Some(pb::LogSubscriptionOptions {
            streams,
            follow: options.follow,
            tail: options.tail.map_or(0, wire_tail),
            since: options.since.map(wire_time),
        }),
    }
}

/// SwarmKit counts from the end downwards, beginning at -1 for no line; zero is all of them.
fn wire_tail(lines: u64) -> i64 {
    -1 - i64::try_from(lines).unwrap_or(i64::MAX - 1)
}

fn wire_time(at: Timestamp) -> WireTimestamp {
    let nanos = at.0.rem_euclid(NANOS_PER_SECOND);
    WireTimestamp {
        seconds: at.0.div_euclid(NANOS_PER_SECOND),
        nanos: i32::try_from(nanos).expect("less than a second of nanoseconds"),
    }
}

fn time_of(at: &WireTimestamp) -> Result<Timestamp, LogWireError> {
    let nanos = i128::from(at.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(at.nanos);
    i64::try_from(nanos).map(Timestamp).map_err(|_| LogWireError::Time)
}

/// The node that a message is said to be from.
pub(crate) fn node_of(message: &pb::LogMessage) -> Result<NodeId, LogWireError> {
    id("node", &message.context.as_ref().ok_or(LogWireError::NoContext)?.node_id)
}

impl TryFrom<pb::LogMessage> for LogRecord {
    type Error = LogWireError;

    fn try_from(message: pb::LogMessage) -> Result<Self, LogWireError> {
        let context = message.context.as_ref().ok_or(LogWireError::NoContext)?;
        Ok(Self {
            node: id("node", &context.node_id)?,
            service: id("service", &context.service_id)?,
            task: id("task", &context.task_id)?,
            at: message.timestamp.as_ref().map_or(Ok(Timestamp(0)), time_of)?,
            source: match message.stream() {
                pb::LogStream::Stderr => LogSource::Stderr,
                pb::LogStream::Stdout | pb::LogStream::Unknown => LogSource::Stdout,
            },
            attributes: message.attrs.into_iter().map(|it| (it.key, it.value)).collect(),
            text: message.data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_swarmkits_words() {
        let selector = LogSelector { tasks: [TaskId::new(7)].into(), ..LogSelector::default() };
        let options = |tail| LogOptions {
            stdout: false,
            stderr: true,
            follow: true,
            tail,
            since: Some(Timestamp(-1)),
        };
        let request = subscribe_request(&selector, &options(Some(10)));
        assert_eq!(selector_of(request.selector.as_ref().unwrap()), Ok(selector.clone()));
        let wire = request.options.unwrap();
        assert_eq!((wire.streams, wire.follow, wire.tail), (vec![2], true, -11));
        assert_eq!(time_of(&wire.since.unwrap()), Ok(Timestamp(-1)));
        for (tail, expected) in [(None, 0), (Some(0), -1), (Some(u64::MAX), -i64::MAX)] {
            let request = subscribe_request(&selector, &options(tail));
            assert_eq!(request.options.unwrap().tail, expected);
        }
        let bad = pb::LogSelector { node_ids: vec!["n".into()], ..Default::default() };
        let expected = LogWireError::Id { what: "node", given: "n".into() };
        assert_eq!(selector_of(&bad), Err(expected));
    }
}
