//! Brings those who are attached together with a container, also before it runs.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use skep_docker_api::ApiError;
use skep_engine::logs::{LogQuery, LogStream, Stdio};
use skep_engine::{AttachOptions, Input};
use tokio::sync::oneshot;

use crate::containers::{Containers, Result, runtime};
use crate::entry::{Entry, Pending};
use crate::events;
use crate::record::Phase;

/// What of the input is held until the container runs.
const EARLY_INPUT_BYTES: usize = 64 * 1024;

/// The streams of somebody who is attached.
pub struct Attachment {
    pub tty: bool,
    pub output: BoxStream<'static, io::Result<(Stdio, Bytes)>>,
    pub input: Option<Input>,
}

impl Containers {
    /// Attaches to a container; one that does not run is waited for. With `logs`, what was said
    /// before comes first; without `live`, nothing comes after.
    pub async fn attach(
        &self,
        given: &str,
        options: AttachOptions,
        logs: bool,
        live: bool,
    ) -> Result<Attachment> {
        let entry = self.find(given)?;
        let (tty, takes_input) = entry.with(|it| (it.config.tty, it.config.open_stdin));
        let options = AttachOptions { stdin: options.stdin && takes_input, ..options };
        let mut before = futures::stream::empty().boxed();
        if logs {
            let query =
                LogQuery { stdout: options.stdout, stderr: options.stderr, ..LogQuery::default() };
            let said = self.read_logs(&entry, query)?;
            before = said.map(|entry| entry.map(|it| (it.stdio, it.line))).boxed();
        }
        if !live {
            return Ok(Attachment { tty, output: before, input: None });
        }
        let attached = {
            let _change = entry.change.lock().await;
            match entry.with(|it| it.state.phase) {
                Phase::Running => {
                    let run = self.run_of(&entry).await?;
                    if run.state().await.is_ok_and(|it| it.status == skep_engine::Status::Paused) {
                        return Err(ApiError::conflict(format!(
                            "container {} is paused, unpause the container before attach",
                            entry.id
                        )));
                    }
                    let attached = run.attach(options).await.map_err(runtime)?;
                    (attached.output, attached.input)
                }
                Phase::Removing => {
                    return Err(ApiError::conflict(format!(
                        "container {} is marked for removal",
                        entry.id
                    )));
                }
                _ => early(&entry, options)?,
            }
        };
        entry.with(|record| events::tell(&self.parts.events, record, "attach", &[]));
        Ok(Attachment { tty, output: before.chain(attached.0).boxed(), input: attached.1 })
    }

    pub async fn resize(&self, given: &str, rows: u16, columns: u16) -> Result<()> {
        let run = self.running(given).await?;
        run.resize(rows, columns).await.map_err(runtime)
    }

    /// What a container has said.
    pub fn logs(&self, given: &str, query: LogQuery) -> Result<(bool, LogStream)> {
        let entry = self.find(given)?;
        let tty = entry.with(|it| it.config.tty);
        Ok((tty, self.read_logs(&entry, query)?))
    }

    fn read_logs(&self, entry: &std::sync::Arc<Entry>, query: LogQuery) -> Result<LogStream> {
        let kind = entry.with(|it| it.host_config.log_config.kind.clone());
        if !matches!(kind.as_str(), "json-file" | "local") {
            return Err(ApiError::new(
                skep_docker_api::Kind::NotImplemented,
                "configured logging driver does not support reading",
            ));
        }
        let path = self.records.log(&entry.id);
        let seen = entry.seen.subscribe();
        let ended = move || {
            let seen = seen.borrow();
            !seen.alive || seen.removed
        };
        skep_engine::logs::open(path, query, ended)
            .map_err(|error| ApiError::system(format!("failed to read the log: {error}")))
    }
}

type Early = (BoxStream<'static, io::Result<(Stdio, Bytes)>>, Option<Input>);

/// Streams that join the container's when it starts.
fn early(entry: &Entry, options: AttachOptions) -> Result<Early> {
    let (ready, attached) = oneshot::channel();
    if !entry.await_start(Pending { options, ready }) {
        return Err(ApiError::conflict(format!(
            "too many wait to be attached to container {}",
            entry.id
        )));
    }
    let (input, mut held) = tokio::io::duplex(EARLY_INPUT_BYTES);
    let (mut to_output, output) = oneshot::channel();
    // By itself: who only speaks may have said all and be gone before the start.
    tokio::spawn(async move {
        let attached = tokio::select! {
            attached = attached => attached,
            () = to_output.closed(), if !options.stdin => return,
        };
        // A start that failed drops the other end: nothing comes then.
        let Ok(attached) = attached else { return };
        // Nobody may want it any more.
        let _ = to_output.send(attached.output);
        if let Some(mut theirs) = attached.input {
            // Either side may go away first; then there is nothing more to bring.
            let _ = tokio::io::copy(&mut held, &mut theirs).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut theirs).await;
        }
    });
    let output = output.map(|it| it.unwrap_or_else(|_| futures::stream::empty().boxed()));
    let input: Option<Input> = options.stdin.then(|| Box::pin(input) as Input);
    Ok((output.flatten_stream().boxed(), input))
}
