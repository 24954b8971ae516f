//! A reader's subscription to logs, at this leader or through a connection to the other one.

use std::sync::Arc;
use std::time::Instant;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use skep_proto::swarmkit as pb;
use skep_proto::swarmkit::logs_client::LogsClient;
use tonic::{Code as GrpcCode, Status};

use crate::NO_LEADER;
use crate::control::{Code, ControlError};
use crate::core::Core;
use crate::defaults::{CALL_TIMEOUT, ELECTION_PATIENCE, RETRY_INTERVAL};
use crate::execute::unavailable;
use crate::logs::{LogOptions, LogRecord, LogSelector, subscribe_request};
use crate::service::logbroker;

/// Lines as they come; the first error ends them.
pub type LogStream = BoxStream<'static, Result<LogRecord, ControlError>>;

impl Core {
    /// Subscribes with whoever leads.
    pub async fn subscribe_logs(
        self: &Arc<Self>,
        selector: &LogSelector,
        options: &LogOptions,
    ) -> Result<LogStream, ControlError> {
        let deadline = Instant::now() + ELECTION_PATIENCE;
        let request = subscribe_request(selector, options);
        loop {
            let attempt = if self.is_leader() {
                logbroker::subscribe(self, request.clone())
            } else if let Some(leader) = self.other_leader() {
                self.subscribe_there(&leader, request.clone()).await
            } else {
                Err(Status::unavailable(NO_LEADER))
            };
            match attempt {
                Ok(messages) => return Ok(records(messages)),
                // Nothing was read yet: whoever leads next may take it.
                Err(status) if status.code() == GrpcCode::Unavailable => {
                    tracing::debug!(error = status.message(), "the leader could not be asked");
                }
                Err(status) => return Err(error_of(status)),
            }
            if Instant::now() >= deadline {
                return Err(unavailable(NO_LEADER));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    async fn subscribe_there(
        &self,
        leader: &str,
        request: pb::SubscribeLogsRequest,
    ) -> Result<BoxStream<'static, Result<pb::SubscribeLogsMessage, Status>>, Status> {
        // Its own: a reader that stands still would hold up every other call.
        let channel = self.peers.dial(leader).await.map_err(Status::unavailable)?;
        let mut client = LogsClient::new(channel);
        match tokio::time::timeout(CALL_TIMEOUT, client.subscribe_logs(request)).await {
            Ok(answer) => Ok(answer?.into_inner().boxed()),
            Err(_) => Err(Status::unavailable("the leader did not answer in time")),
        }
    }
}

fn error_of(status: Status) -> ControlError {
    let code = match status.code() {
        GrpcCode::InvalidArgument => Code::InvalidArgument,
        GrpcCode::NotFound => Code::NotFound,
        _ => Code::Unavailable,
    };
    ControlError { code, message: status.message().to_owned() }
}

fn records(messages: BoxStream<'static, Result<pb::SubscribeLogsMessage, Status>>) -> LogStream {
    let records = messages.map_err(error_of).map_ok(|message| {
        let records = message.messages.into_iter().map(|message| {
            let bad = |error: crate::logs::LogWireError| unavailable(error.to_string());
            LogRecord::try_from(message).map_err(bad)
        });
        stream::iter(records.collect::<Vec<_>>())
    });
    records.try_flatten().boxed()
}
