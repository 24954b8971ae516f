//! Answers that flow: each item goes out as it comes.
//!
//! The status is sent before the first item, so a later error is told in the stream's own way: a last document, a frame, or a cut.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderValue, header};
use serde::Serialize;

use super::ApiVersion;
use crate::error::ApiError;
use crate::json::Progress;
use crate::logs::{self, LogOptions, Logs};
use crate::stream::{ByteStream, Flow, line};

fn streamed(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// What goes out for each item, with the first error as the last of it.
fn told<T: 'static>(
    flow: Flow<T>,
    tell: impl Fn(Result<T, ApiError>) -> Option<Bytes> + Send + 'static,
) -> Body {
    let ended = stream::unfold(Some(flow), |flow| async {
        let mut flow = flow?;
        let item = flow.next().await?;
        let rest = item.is_ok().then_some(flow);
        Some((item, rest))
    });
    let out = ended.filter_map(move |item| std::future::ready(tell(item).map(Ok::<_, Infallible>)));
    Body::from_stream(out)
}

/// Lines of progress; an error is the last of them.
pub(super) fn progress(flow: Flow<Progress>) -> Response {
    let body = told(flow, |item| {
        Some(line(&item.unwrap_or_else(|error| Progress::failed(error.message))))
    });
    streamed("application/json", body)
}

/// Documents one a line; an error cuts the stream, for nothing in it could tell one.
pub(super) fn documents<T: Serialize + 'static>(flow: Flow<T>) -> Response {
    streamed("application/json", Body::from_stream(flow.map(|item| item.map(|item| line(&item)))))
}

/// A tar archive; an error cuts it short of its end.
pub(super) fn tar(bytes: ByteStream) -> Response {
    streamed("application/x-tar", Body::from_stream(bytes))
}

/// Logs in frames, or as they are where the container has a terminal.
pub(super) fn logs(logs: Logs, options: LogOptions, version: ApiVersion) -> Response {
    let Logs { tty, entries } = logs;
    // Before 1.42 both were called raw.
    let kind = if tty || version < ApiVersion(1, 42) {
        "application/vnd.docker.raw-stream"
    } else {
        "application/vnd.docker.multiplexed-stream"
    };
    let body = told(entries, move |item| match item {
        Ok(entry) => logs::encode(&entry, &options, tty),
        Err(error) => Some(logs::encode_error(&error, tty)),
    });
    streamed(kind, body)
}
