//! Answers that flow: each item goes out as it comes.
//!
//! The status is sent before the first item, so a later error is told in the stream's own way: a last document, a frame, or a cut.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream};
use http::{HeaderValue, header};
use serde::Serialize;

use super::ApiVersion;
use crate::error::ApiError;
use crate::json::Progress;
use crate::logs::{self, LogOptions, Logs};
use crate::stream::{ByteStream, Flow, List, line};

/// How much of a log goes out at once, at least where there is as much: an entry each would make a
/// chunk of the answer out of each line.
const LOG_PIECE_BYTES: usize = 32 * 1024;

/// A list goes out in pieces of about this size: some sixty tasks, made within a millisecond.
const LIST_PIECE_BYTES: usize = 64 * 1024;

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

/// A list's document, made and sent piece by piece.
struct Document<T> {
    items: List<T>,
    begun: bool,
    ended: bool,
}

impl<T: Serialize> Document<T> {
    /// The next piece, of [`LIST_PIECE_BYTES`] and one page of the list at most; none after the last.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut piece = Vec::new();
        while piece.len() < LIST_PIECE_BYTES {
            let Some(items) = self.items.next_piece() else {
                piece.extend_from_slice(if self.begun { b"]" } else { b"[]" });
                self.ended = true;
                break;
            };
            for item in items {
                piece.push(if self.begun { b',' } else { b'[' });
                self.begun = true;
                serde_json::to_writer(&mut piece, &item).expect("API documents always serialise");
            }
            // Other calls go on meanwhile.
            tokio::task::yield_now().await;
        }
        Some(piece.into())
    }
}

/// A list as one document. A short one goes out whole, with its length.
pub(super) async fn list<T: Serialize + Send + 'static>(items: List<T>) -> Response {
    let mut document = Document { items, begun: false, ended: false };
    let first = document.next().await.unwrap_or_default();
    if document.ended {
        return streamed("application/json", Body::from(first));
    }
    let rest = stream::unfold(document, |mut document| async {
        let piece = document.next().await?;
        Some((piece, document))
    });
    let pieces = stream::once(std::future::ready(first)).chain(rest);
    streamed("application/json", Body::from_stream(pieces.map(Ok::<_, Infallible>)))
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
    let pieces = stream::unfold(Some(entries), move |entries| {
        let options = options.clone();
        async move {
            let mut entries = entries?;
            let mut piece = BytesMut::new();
            // The first is waited for; with it go those that are there already.
            let mut next = Some(entries.next().await);
            while let Some(item) = next {
                match item {
                    Some(Ok(entry)) => {
                        if let Some(bytes) = logs::encode(&entry, &options, tty) {
                            piece.extend_from_slice(&bytes);
                        }
                    }
                    Some(Err(error)) => {
                        piece.extend_from_slice(&logs::encode_error(&error, tty));
                        return Some((piece.freeze(), None));
                    }
                    None if piece.is_empty() => return None,
                    None => return Some((piece.freeze(), None)),
                }
                next = match piece.len() < LOG_PIECE_BYTES {
                    true => entries.next().now_or_never(),
                    false => None,
                };
            }
            Some((piece.freeze(), Some(entries)))
        }
    });
    // Of entries that were not asked for nothing may be left.
    let pieces = pieces.filter(|piece| std::future::ready(!piece.is_empty()));
    streamed(kind, Body::from_stream(pieces.map(Ok::<_, Infallible>)))
}
