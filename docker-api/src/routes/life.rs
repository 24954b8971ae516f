//! A container's life: made, started, waited for, stopped, changed, removed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{Json, Response};
use axum::routing::{MethodRouter, delete, post};
use axum::{Extension, Router};
use futures::{FutureExt, StreamExt, stream};
use http::{HeaderValue, StatusCode, header};

use super::body::Document;
use super::query::Pairs;
use super::{Answer, ApiVersion, Held, created, versions};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::json::*;
use crate::stream::line;

type Version = Extension<ApiVersion>;

async fn create(
    State(b): Held,
    Extension(version): Version,
    Query(q): Query<Pairs>,
    document: Document,
) -> Answer<Response> {
    let name = Some(q.one("name")).filter(|name| !name.is_empty());
    let request = versions::container_create(document.read()?, version)?;
    let platform = if version < ApiVersion(1, 41) { "" } else { q.one("platform") };
    Ok(created(b.container_create(name, platform, request).await?))
}

/// A body was a container's host configuration once; what is too short to be one is let pass.
const START_BODY_BYTES_MAX: usize = 7;

async fn start(
    State(b): Held,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
    document: Document,
) -> Answer<StatusCode> {
    if document.bytes().len() > START_BODY_BYTES_MAX {
        return Err(ApiError::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if !q.one("checkpoint").is_empty() {
        return Err(ApiError::invalid("checkpoint is only supported in experimental mode"));
    }
    Ok(changed(b.container_start(&id).await?))
}

fn changed(changed: bool) -> StatusCode {
    if changed { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED }
}

fn stop_options(q: &Pairs, version: ApiVersion) -> Answer<StopOptions> {
    let signal = if version < ApiVersion(1, 42) { "" } else { q.one("signal") };
    Ok(StopOptions { signal: signal.to_owned(), timeout: q.number("t", "timeout")? })
}

async fn stop(
    State(b): Held,
    Extension(version): Version,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<StatusCode> {
    Ok(changed(b.container_stop(&id, stop_options(&q, version)?).await?))
}

async fn restart(
    State(b): Held,
    Extension(version): Version,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<StatusCode> {
    b.container_restart(&id, stop_options(&q, version)?).await.map(|()| StatusCode::NO_CONTENT)
}

async fn kill(
    State(b): Held,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<StatusCode> {
    match b.container_kill(&id, q.one("signal")).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // An engine without this call has none for any container.
        Err(error) if error == ApiError::absent() => Err(error),
        Err(ApiError { kind, message }) => {
            Err(ApiError::new(kind, format!("cannot kill container: {id}: {message}")))
        }
    }
}

async fn wait(
    State(b): Held,
    Extension(version): Version,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<Response> {
    let condition = match q.one("condition") {
        // There was this one alone.
        _ if version < ApiVersion(1, 30) => WaitCondition::NotRunning,
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(ApiError::invalid(format!("invalid condition: {other:?}"))),
    };
    let ended = b.container_wait(&id, condition).await?;
    // The status is sent already, so an error has its place in the document.
    let told = ended.map(|end| {
        let end = end.unwrap_or_else(|error| ContainerWaitResponse {
            status_code: -1,
            error: Some(WaitError { message: error.message }),
        });
        Ok::<_, std::convert::Infallible>(line(&end))
    });
    let mut response = Response::new(Body::from_stream(stream::once(told).boxed()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

async fn update(
    State(b): Held,
    Extension(version): Version,
    Path(id): Path<String>,
    document: Document,
) -> Answer<Json<ContainerUpdateResponse>> {
    let mut request: ContainerUpdateRequest = document.read()?;
    request.pids_limit = match request.pids_limit {
        _ if version < ApiVersion(1, 40) => None,
        // Both zero and below have always meant no limit here.
        Some(limit) => Some(limit.max(0)),
        None => None,
    };
    Ok(Json(b.container_update(&id, request).await?))
}

async fn remove(
    State(b): Held,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<StatusCode> {
    let options =
        RemoveOptions { force: q.truth("force"), volumes: q.truth("v"), link: q.truth("link") };
    b.container_remove(&id, options).await.map(|()| StatusCode::NO_CONTENT)
}

/// A link is called by its container and its alias; clients write the slash as it is.
async fn remove_link(
    state: Held,
    Path((id, alias)): Path<(String, String)>,
    query: Query<Pairs>,
) -> Answer<StatusCode> {
    remove(state, Path(format!("{id}/{alias}")), query).await
}

/// Removing a container that is called like another path.
pub(super) fn remove_named(name: &'static str) -> MethodRouter<Arc<dyn Backend>> {
    delete(async move |state: Held, query: Query<Pairs>| {
        remove(state, Path(name.to_owned()), query).await
    })
}

pub(super) fn life() -> Router<Arc<dyn Backend>> {
    let pause = async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
        b.container_pause(&id).await.map(|()| StatusCode::NO_CONTENT)
    };
    let unpause = async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
        b.container_unpause(&id).await.map(|()| StatusCode::NO_CONTENT)
    };
    let rename =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Pairs>| -> Answer<_> {
            b.container_rename(&id, q.one("name")).await.map(|()| StatusCode::NO_CONTENT)
        };
    let prune = async |State(b): Held, Query(q): Query<Pairs>| -> Answer<_> {
        Ok(Json(b.containers_prune(q.filters()?).await?))
    };
    Router::new()
        .route("/containers/create", post(create).merge(remove_named("create")))
        .route("/containers/prune", post(prune).merge(remove_named("prune")))
        .route("/containers/{id}", delete(remove))
        .route("/containers/{id}/{alias}", delete(remove_link))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}/restart", post(restart))
        .route("/containers/{id}/kill", post(kill))
        .route("/containers/{id}/pause", post(pause))
        .route("/containers/{id}/unpause", post(unpause))
        .route("/containers/{id}/wait", post(wait))
        .route("/containers/{id}/rename", post(rename))
        .route("/containers/{id}/update", post(update))
}
