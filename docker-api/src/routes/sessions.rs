//! What a client does inside a container: attaching, commands of its own, and the size of its terminal.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{HeaderMap, StatusCode};

use super::body::Document;
use super::hijack::{Asked, Until, silent, told};
use super::query::Pairs;
use super::web_socket::{self, Form};
use super::{Answer, ApiVersion, Held, created};
use crate::attach::Streams;
use crate::backend::Backend;
use crate::detach::DetachKeys;
use crate::error::ApiError;
use crate::json::*;
use crate::logs::LogSource;
use crate::server::Door;

type Way = Option<Extension<Door>>;

fn asked(version: ApiVersion, headers: HeaderMap, door: Way) -> Asked {
    Asked { version, headers, door: door.map(|Extension(door)| door) }
}

/// The keys by which a client leaves, as an attachment's query names them.
fn detach_keys(text: &str) -> Answer<DetachKeys> {
    DetachKeys::parse(text)
        .map_err(|_| ApiError::invalid(format!("Invalid detach keys ({text}) provided")))
}

/// What an attachment's query wishes.
fn attachment(q: &Pairs) -> Answer<(AttachOptions, DetachKeys)> {
    let text = q.one("detachKeys");
    let options = AttachOptions {
        logs: q.truth("logs"),
        stream: q.truth("stream"),
        stdin: q.truth("stdin"),
        stdout: q.truth("stdout"),
        stderr: q.truth("stderr"),
        detach_keys: text.to_owned(),
    };
    Ok((options, detach_keys(text)?))
}

/// Attaches, to the output that was asked for: Docker's own client breaks on any other.
async fn streams(b: &Arc<dyn Backend>, id: &str, options: AttachOptions) -> Answer<Streams> {
    let (stdout, stderr) = (options.stdout, options.stderr);
    let mut streams = b.container_attach(id, options).await?;
    let wanted = move |source| match source {
        LogSource::Stdout => stdout,
        LogSource::Stderr => stderr,
    };
    let asked_for = move |item: &Result<(LogSource, Bytes), _>| {
        std::future::ready(item.as_ref().map_or(true, |(source, _)| wanted(*source)))
    };
    streams.output = streams.output.filter(asked_for).boxed();
    Ok(streams)
}

async fn attach(
    State(b): Held,
    Extension(version): Extension<ApiVersion>,
    door: Way,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
    headers: HeaderMap,
) -> Answer<Response> {
    let asked = asked(version, headers, door);
    asked.check()?;
    let (options, keys) = attachment(&q)?;
    let only_input = options.stdin && !options.stdout && !options.stderr;
    let until = if only_input { Until::InputEnds } else { Until::OutputEnds };
    let streams = streams(&b, &id, options).await?;
    asked.answer(streams, keys, until).await
}

async fn attach_by_web_socket(
    State(b): Held,
    Extension(version): Extension<ApiVersion>,
    door: Way,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
    headers: HeaderMap,
) -> Answer<Response> {
    let head = web_socket::head(&headers)?;
    let asked = asked(version, headers, door);
    asked.check()?;
    let (mut options, keys) = attachment(&q)?;
    if version < ApiVersion(1, 42) {
        // Nobody looked at them.
        options = AttachOptions { stdin: true, stdout: true, stderr: true, ..options };
    }
    let streams = streams(&b, &id, options).await?;
    let form = if version < ApiVersion(1, 28) { Form::Text } else { Form::Binary };
    let run = move |taken| web_socket::session(streams, keys, form, taken).boxed();
    Err(asked.take(head, run).await)
}

fn escape_keys(text: &str) -> Answer<DetachKeys> {
    DetachKeys::parse(text)
        .map_err(|_| ApiError::invalid(format!("Invalid escape keys ({text}) provided")))
}

async fn exec_create(
    State(b): Held,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    document: Document,
) -> Answer<Response> {
    let mut request: ExecCreateRequest = document.read_or_default()?;
    if request.cmd.is_empty() {
        return Err(ApiError::invalid("No exec command specified"));
    }
    escape_keys(&request.detach_keys)?;
    if version < ApiVersion(1, 42) {
        request.console_size = None;
    }
    Ok(created(MadeResponse { id: b.exec_create(&id, request).await? }))
}

async fn exec_start(
    State(b): Held,
    Extension(version): Extension<ApiVersion>,
    door: Way,
    Path(id): Path<String>,
    headers: HeaderMap,
    document: Document,
) -> Answer<Response> {
    let mut request: ExecStartRequest = document.read_or_default()?;
    if version < ApiVersion(1, 42) || !request.tty {
        request.console_size = None;
    }
    if request.detach {
        b.exec_start(&id, request).await?;
        return Ok(StatusCode::OK.into_response());
    }
    let asked = asked(version, headers, door);
    asked.check()?;
    let known = b.exec_inspect(&id).await?;
    if known.running {
        return Err(ApiError::conflict(format!("exec command {id} is already running")));
    }
    if known.exit_code.is_some() {
        return Err(ApiError::conflict(format!("exec command {id} has already run")));
    }
    let keys = escape_keys(&known.detach_keys)?;
    let tty = known.process_config.tty;
    let begin = async move {
        match b.exec_start(&id, request).await {
            Ok(Some(streams)) => streams,
            Ok(None) => silent(tty),
            // Why a command did not start is told where its output would have been, for clients show no other answer's words.
            Err(error) => told(tty, &error),
        }
    };
    asked.answer_then(tty, begin.boxed(), keys, Until::OutputEnds).await
}

/// Rows and columns.
fn size(q: &Pairs) -> Answer<(u16, u16)> {
    let side = |name, what| {
        let missing = || ApiError::invalid(format!("invalid {what} \"\": expected a number"));
        q.number(name, what)?.ok_or_else(missing)
    };
    Ok((side("h", "resize height")?, side("w", "resize width")?))
}

pub(super) fn sessions() -> Router<Arc<dyn Backend>> {
    let resize =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Pairs>| -> Answer<_> {
            let (height, width) = size(&q)?;
            b.container_resize(&id, height, width).await
        };
    let exec_resize =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Pairs>| -> Answer<_> {
            let (height, width) = size(&q)?;
            b.exec_resize(&id, height, width).await
        };
    let exec = async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
        Ok(Json(b.exec_inspect(&id).await?))
    };
    Router::new()
        .route("/containers/{id}/attach", post(attach))
        .route("/containers/{id}/attach/ws", get(attach_by_web_socket))
        .route("/containers/{id}/resize", post(resize))
        .route("/containers/{id}/exec", post(exec_create))
        .route("/exec/{id}/start", post(exec_start))
        .route("/exec/{id}/resize", post(exec_resize))
        .route("/exec/{id}/json", get(exec))
}
