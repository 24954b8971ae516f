//! Logs of tasks over gRPC: from the nodes that publish them to the readers that asked.
//!
//! A node's messages wait in the reader's queue. While it is full, the node's stream is not read,
//! so that nothing grows here; a reader that takes nothing for long loses its stream.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, StreamExt, stream};
use skep_proto::swarmkit as pb;
use skep_types::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::clock;
use crate::core::Core;
use crate::defaults::{
    ASSIGNMENT_INTERVAL, LOG_LISTENER_PATIENCE, LOG_QUEUE, LOG_READER_PATIENCE, STREAM_QUEUE,
};
use crate::gate::Caller;
use crate::log_table::{LogTable, Patience, Published, Stand, SubscriptionId};
use crate::logs::node_of;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a subscription ends with when leadership goes elsewhere.
const MOVED: &str = "the log stream ended because the swarm's leader changed: ask again";

/// SwarmKit's word on a subscription that is no more.
const UNKNOWN: &str = "unknown subscription ID";

/// What a subscription ends with when nobody takes what it brings.
const TOO_SLOW: &str = "the log stream ended because its reader did not keep up";

#[derive(Clone)]
pub struct LogBrokerService(pub Arc<Core>);

/// Opens a subscription on this leader; it ends when what is given back is dropped.
pub(crate) fn subscribe(
    core: &Arc<Core>,
    request: pb::SubscribeLogsRequest,
) -> Result<Answers<pb::SubscribeLogsMessage>, Status> {
    let view = core.proposer.view().ok_or_else(|| Status::unavailable("not the leader"))?;
    let (reader, messages) = mpsc::channel(LOG_QUEUE);
    let id = format!("{:032x}", clock::mint());
    core.logs.open(&view, request, id.clone(), reader.clone())?;
    if !core.is_leader() {
        // The leadership ended between: its end may have passed this one by.
        core.logs.close(&id);
        return Err(Status::unavailable(MOVED));
    }
    let (tell, end) = oneshot::channel();
    // Ends with the reader, the logs or this leadership.
    let core = Arc::clone(core);
    tokio::spawn(async move {
        let opened = Opened { logs: &core.logs, id: &id };
        let outcome = tokio::select! {
            outcome = over(&core, opened.id) => outcome,
            () = reader.closed() => None,
        };
        // A reader that is gone need not be told.
        let _ = tell.send(outcome);
    });
    // The outcome comes after all that was queued, and so needs no room in the queue.
    let outcome = stream::once(end).filter_map(|outcome| {
        let lost = || Some(Status::internal("the log subscription ended badly"));
        std::future::ready(outcome.unwrap_or_else(|_| lost()).map(Err))
    });
    Ok(Box::pin(ReceiverStream::new(messages).map(Ok).chain(outcome)))
}

/// Closes the subscription however its task ends.
struct Opened<'a> {
    logs: &'a LogTable,
    id: &'a str,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.logs.close(self.id);
    }
}

/// Returns when a subscription is over, with what its reader is to be told of it.
async fn over(core: &Core, id: &str) -> Option<Status> {
    let (mut applied, mut changes) = (core.observer.applied(), core.logs.changes());
    let patience = Instant::now() + LOG_LISTENER_PATIENCE;
    loop {
        applied.mark_unchanged();
        changes.mark_unchanged();
        let late = Instant::now() >= patience;
        let now = if late { Patience::Over } else { Patience::Lasts };
        match core.logs.look(id, &core.observer.view(), now) {
            Stand::Going => {}
            Stand::Done(warning) => return warning.map(Status::unknown),
            Stand::TooSlow => return Some(Status::resource_exhausted(TOO_SLOW)),
            Stand::Gone => return Some(Status::unavailable(MOVED)),
        }
        tokio::select! {
            changed = applied.changed() => match changed {
                // Changes that come together are looked at together.
                Ok(()) => tokio::time::sleep(ASSIGNMENT_INTERVAL).await,
                Err(_) => return Some(Status::unavailable("the manager stops")),
            },
            // The table lives as long as the core.
            _ = changes.changed() => {}
            () = sleep_until(patience), if !late => {}
        }
    }
}

/// Tells a listening node what is asked of it, and what no longer is.
async fn tell_listener(
    logs: &LogTable,
    node: NodeId,
    call: u64,
    out: &mpsc::Sender<Result<pb::SubscriptionMessage, Status>>,
) -> Status {
    let mut changes = logs.changes();
    let mut told: BTreeMap<SubscriptionId, pb::SubscriptionMessage> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let Some(asked) = logs.asked_of(node, call) else {
            return Status::unavailable("the node listens elsewhere, or the leader changed");
        };
        let over = told.values().filter(|it| !asked.contains_key(&it.id));
        let over = over.map(|it| pb::SubscriptionMessage { close: true, ..it.clone() });
        let begun = asked.values().filter(|it| !told.contains_key(&it.id)).cloned();
        for message in over.chain(begun) {
            if out.send(Ok(message)).await.is_err() {
                return Status::cancelled("the node hung up");
            }
        }
        told = asked;
        if changes.changed().await.is_err() {
            return Status::unavailable("the manager stops");
        }
    }
}

/// Hands what a node publishes to the reader, until the node closes or goes.
pub(crate) async fn publish(
    logs: &LogTable,
    node: NodeId,
    mut messages: impl Stream<Item = Result<pb::PublishLogsMessage, Status>> + Unpin,
) -> Result<(), Status> {
    let mut publishing: Option<Publishing<'_>> = None;
    loop {
        let over = publishing.as_ref().map(|it| it.over.clone()).unwrap_or_default();
        let message = tokio::select! {
            message = messages.next() => message,
            // A node that has nothing to say must not hold up the end.
            () = over.cancelled() => return Err(Status::not_found(UNKNOWN)),
        };
        let Some(message) = message else { return Ok(()) };
        let message = message?;
        if message.subscription_id.is_empty() {
            return Err(Status::invalid_argument("missing subscription ID"));
        }
        let current = match &mut publishing {
            Some(current) if current.id != message.subscription_id => {
                let text = "different subscription IDs in the same session";
                return Err(Status::invalid_argument(text));
            }
            Some(current) => current,
            None => {
                let id = message.subscription_id.clone();
                // Only a node that is asked may speak, and so end its part.
                let (reader, over) = logs.reader(&id, node)?;
                let outcome = Published::Partly;
                publishing.insert(Publishing { logs, node, id, reader, over, outcome })
            }
        };
        if message.close {
            current.outcome = Published::All;
            return Ok(());
        }
        let foreign = |it: &pb::LogMessage| node_of(it).ok() != Some(node);
        if message.messages.iter().any(foreign) {
            return Err(Status::permission_denied("a node may publish only its own tasks' logs"));
        }
        let answer = pb::SubscribeLogsMessage { messages: message.messages };
        let sent = tokio::select! {
            sent = timeout(LOG_READER_PATIENCE, current.reader.send(answer)) => sent,
            () = over.cancelled() => return Err(Status::not_found(UNKNOWN)),
        };
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Status::not_found(UNKNOWN)),
            Err(_) => {
                logs.too_slow(&current.id);
                return Err(Status::resource_exhausted(TOO_SLOW));
            }
        }
    }
}

/// A node's part in a subscription: settled however its call ends.
struct Publishing<'a> {
    logs: &'a LogTable,
    node: NodeId,
    id: SubscriptionId,
    reader: crate::log_table::Reader,
    over: CancellationToken,
    outcome: Published,
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.logs.published(&self.id, self.node, self.outcome);
    }
}

/// Ends a node's listening however its stream ends.
struct Listening {
    core: Arc<Core>,
    node: NodeId,
    call: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.core.logs.stop_listening(self.node, self.call);
    }
}

#[async_trait]
impl pb::log_broker_server::LogBroker for LogBrokerService {
    type ListenSubscriptionsStream = Answers<pb::SubscriptionMessage>;

    async fn listen_subscriptions(
        &self,
        request: Request<pb::ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        let core = Arc::clone(&self.0);
        let node = Caller::node(&request)?;
        let call = core.logs.listen(node);
        let listening = Listening { core, node, call };
        if !listening.core.is_leader() {
            return Err(Status::unavailable(MOVED));
        }
        let (out, messages) = mpsc::channel(STREAM_QUEUE);
        // Ends with the node's connection or this leadership.
        tokio::spawn(async move {
            let end = tokio::select! {
                end = tell_listener(&listening.core.logs, node, call, &out) => end,
                () = out.closed() => return,
            };
            drop(listening);
            // A node that is gone need not be told.
            let _ = out.send(Err(end)).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<pb::PublishLogsMessage>>,
    ) -> Result<Response<pb::PublishLogsResponse>, Status> {
        let node = Caller::node(&request)?;
        publish(&self.0.logs, node, request.into_inner()).await?;
        Ok(Response::new(pb::PublishLogsResponse {}))
    }
}

#[async_trait]
impl pb::logs_server::Logs for LogBrokerService {
    type SubscribeLogsStream = Answers<pb::SubscribeLogsMessage>;

    async fn subscribe_logs(
        &self,
        request: Request<pb::SubscribeLogsRequest>,
    ) -> Result<Response<Self::SubscribeLogsStream>, Status> {
        Ok(Response::new(subscribe(&self.0, request.into_inner())?))
    }
}

#[cfg(test)]
mod tests;
