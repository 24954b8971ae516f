//! The node's part in subscriptions to logs: it listens for them and publishes what its tasks wrote.
//!
//! **Invariant:** a subscription that is over, or whose session is, leaves no reader behind: every
//! reader is owned by its subscription, and that by the session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use skep_engine::LogEntry;
use skep_engine::logs::{LogQuery, Stdio};
use skep_proto::swarmkit as pb;
use skep_proto::swarmkit::log_broker_client::LogBrokerClient;
use skep_secrets::identity::NodeCredentials;
use skep_types::{NodeId, ServiceId, TaskId};
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use crate::defaults::{
    LISTEN_RETRY, LOG_BATCH_LINES, LOG_LOOK_INTERVAL, PUBLISH_QUEUE, SUBSCRIPTIONS_MAX,
};
use crate::dial::{DialError, dial};
use crate::executor::{Executor, ExecutorError};

/// The node's tasks with their services.
pub type KnownTasks = BTreeMap<TaskId, ServiceId>;

/// What publishing needs.
#[derive(Clone)]
pub struct Publisher {
    pub executor: Arc<dyn Executor>,
    pub tasks: watch::Receiver<KnownTasks>,
    pub node: NodeId,
}

/// Why a subscription was not served to its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{}", .0.message())]
    Call(#[from] Status),
}

/// Serves subscriptions for as long as the session stands; the call is made again when it breaks.
pub async fn serve(
    publisher: &Publisher,
    channel: Channel,
    manager: &str,
    credentials: &Arc<NodeCredentials>,
) {
    loop {
        if let Err(status) = listen(publisher, channel.clone(), manager, credentials).await {
            tracing::debug!(error = status.message(), "listening for log subscriptions broke");
        }
        tokio::time::sleep(LISTEN_RETRY).await;
    }
}

async fn listen(
    publisher: &Publisher,
    channel: Channel,
    manager: &str,
    credentials: &Arc<NodeCredentials>,
) -> Result<(), Status> {
    let call = LogBrokerClient::new(channel)
        .listen_subscriptions(pb::ListenSubscriptionsRequest {})
        .await?;
    let mut messages = call.into_inner();
    let mut publishing: JoinSet<String> = JoinSet::new();
    let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
    loop {
        let message = tokio::select! {
            message = messages.message() => message?,
            Some(ended) = publishing.join_next() => {
                // One that was stopped is gone from the map already.
                if let Ok(id) = ended {
                    running.remove(&id);
                }
                continue;
            }
        };
        let Some(message) = message else { return Ok(()) };
        let id = message.id.clone();
        if message.close {
            if let Some(task) = running.remove(&id) {
                task.abort();
            }
        } else if running.contains_key(&id) {
            tracing::debug!(id, "a log subscription came twice");
        } else if running.len() >= SUBSCRIPTIONS_MAX {
            tracing::warn!(id, "too many log subscriptions: this one is not served");
        } else {
            let (publisher, manager) = (publisher.clone(), manager.to_owned());
            let credentials = Arc::clone(credentials);
            let name = id.clone();
            let task = publishing.spawn(async move {
                // Its own connection: a reader that stands still must not hold up heartbeats.
                if let Err(error) = publish_at(&publisher, message, &manager, &credentials).await {
                    tracing::debug!(id = name, %error, "a log subscription broke");
                }
                name
            });
            running.insert(id, task);
        }
    }
}

async fn publish_at(
    publisher: &Publisher,
    subscription: pb::SubscriptionMessage,
    manager: &str,
    credentials: &Arc<NodeCredentials>,
) -> Result<(), Broken> {
    let mut client = LogBrokerClient::new(dial(manager, credentials).await?);
    let (out, messages) = mpsc::channel(PUBLISH_QUEUE);
    let call = client.publish_logs(ReceiverStream::new(messages));
    let (answer, ()) = tokio::join!(call, publish(publisher, subscription, out));
    answer?;
    Ok(())
}

/// Reads the logs of a subscription's tasks and sends them; says so when that was all.
async fn publish(
    publisher: &Publisher,
    subscription: pb::SubscriptionMessage,
    out: mpsc::Sender<pb::PublishLogsMessage>,
) {
    let id = subscription.id;
    let selector = subscription.selector.unwrap_or_default();
    let options = subscription.options.unwrap_or_default();
    let query = match query(&options) {
        Ok(query) => query,
        Err(reason) => {
            // Not closed: the reader is told that this node's part is missing.
            tracing::warn!(id, reason, "a log subscription cannot be served");
            return;
        }
    };
    let mut tasks = publisher.tasks.clone();
    let mut begun: BTreeSet<TaskId> = BTreeSet::new();
    let mut readers = JoinSet::new();
    loop {
        let known = tasks.borrow_and_update().clone();
        begun.retain(|task| known.contains_key(task));
        for (task, service) in known {
            if wants(&selector, publisher.node, service, task) && begun.insert(task) {
                let reader = Reader {
                    executor: Arc::clone(&publisher.executor),
                    subscription: id.clone(),
                    context: pb::LogContext {
                        service_id: service.to_string(),
                        node_id: publisher.node.to_string(),
                        task_id: task.to_string(),
                    },
                    task,
                    query: query.clone(),
                    tasks: publisher.tasks.clone(),
                    out: out.clone(),
                };
                readers.spawn(async move {
                    if let Err(error) = reader.run().await {
                        tracing::warn!(%task, %error, "failed to read the log of a task");
                    }
                });
            }
        }
        if !options.follow {
            while readers.join_next().await.is_some() {}
            break;
        }
        tokio::select! {
            changed = tasks.changed() => if changed.is_err() { break },
            Some(_) = readers.join_next() => {}
            () = out.closed() => return,
        }
    }
    let close = pb::PublishLogsMessage { subscription_id: id, messages: Vec::new(), close: true };
    // Nobody to tell is as good as told.
    let _ = out.send(close).await;
}

fn wants(selector: &pb::LogSelector, node: NodeId, service: ServiceId, task: TaskId) -> bool {
    let has = |ids: &[String], id: String| ids.contains(&id);
    has(&selector.task_ids, task.to_string())
        || has(&selector.service_ids, service.to_string())
        || has(&selector.node_ids, node.to_string())
}

fn query(options: &pb::LogSubscriptionOptions) -> Result<LogQuery, &'static str> {
    let named = |stream: pb::LogStream| {
        options.streams.is_empty() || options.streams.contains(&stream.into())
    };
    let since = options.since.as_ref().map(|at| {
        let nanos = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
        OffsetDateTime::from_unix_timestamp_nanos(nanos)
    });
    Ok(LogQuery {
        follow: options.follow,
        // SwarmKit counts from the end downwards, beginning at -1 for no line; zero is all.
        tail: match options.tail {
            0 => None,
            lines @ ..0 => Some(usize::try_from(-(lines + 1)).unwrap_or(usize::MAX)),
            1.. => return Err("a tail counted from the beginning is not supported"),
        },
        since: since.transpose().map_err(|_| "the time to begin at is beyond the calendar")?,
        until: None,
        stdout: named(pb::LogStream::Stdout),
        stderr: named(pb::LogStream::Stderr),
        timestamps: false,
    })
}

/// One task's log on its way.
struct Reader {
    executor: Arc<dyn Executor>,
    subscription: String,
    context: pb::LogContext,
    task: TaskId,
    query: LogQuery,
    tasks: watch::Receiver<KnownTasks>,
    out: mpsc::Sender<pb::PublishLogsMessage>,
}

impl Reader {
    async fn run(self) -> Result<(), ExecutorError> {
        let stream = loop {
            match self.executor.logs(self.task, self.query.clone()).await? {
                Some(stream) => break stream,
                // Its container is not made yet, or no more.
                None if self.query.follow && self.tasks.borrow().contains_key(&self.task) => {
                    tokio::select! {
                        () = tokio::time::sleep(LOG_LOOK_INTERVAL) => {}
                        () = self.out.closed() => return Ok(()),
                    }
                }
                None => return Ok(()),
            }
        };
        let mut batches = stream.ready_chunks(LOG_BATCH_LINES);
        loop {
            let batch = tokio::select! {
                batch = batches.next() => batch,
                () = self.out.closed() => return Ok(()),
            };
            let Some(batch) = batch else { return Ok(()) };
            let mut messages = Vec::with_capacity(batch.len());
            let mut failure = None;
            for entry in batch {
                match entry {
                    Ok(entry) => messages.push(self.message(entry)),
                    Err(error) => failure = Some(error),
                }
            }
            let subscription_id = self.subscription.clone();
            let message = pb::PublishLogsMessage { subscription_id, messages, close: false };
            if self.out.send(message).await.is_err() {
                return Ok(());
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
    }

    fn message(&self, entry: LogEntry) -> pb::LogMessage {
        let at = entry.time;
        let stream = match entry.stdio {
            Stdio::Stdout => pb::LogStream::Stdout,
            Stdio::Stderr => pb::LogStream::Stderr,
        };
        pb::LogMessage {
            context: Some(self.context.clone()),
            timestamp: Some(prost_types::Timestamp {
                seconds: at.unix_timestamp(),
                nanos: i32::try_from(at.nanosecond()).expect("less than a second of nanoseconds"),
            }),
            stream: stream.into(),
            data: entry.line.into(),
            attrs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
