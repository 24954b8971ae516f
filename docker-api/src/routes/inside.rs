//! What is in a container: its processes, what it uses, and its files.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, head, post};
use axum::{Extension, Router};
use futures::StreamExt;
use http::HeaderValue;

use super::body::Document;
use super::query::Pairs;
use super::{Answer, ApiVersion, Held, answer, created};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::json::*;
use crate::stream::from_request;

async fn stats(
    State(b): Held,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<Response> {
    let stream = q.truth_or("stream", true);
    let one_shot = version >= ApiVersion(1, 41) && q.truth("one-shot");
    let mut flow = b.container_stats(&id, stream, one_shot).await?;
    if stream {
        return Ok(answer::documents(flow));
    }
    match flow.next().await {
        Some(stats) => Ok(Json(stats?).into_response()),
        None => Err(ApiError::system(format!("no statistics of container {id}"))),
    }
}

/// The path in the container that a request is about.
fn path(q: &Pairs) -> Answer<&str> {
    match q.one("path") {
        "" => Err(ApiError::invalid("bad parameter: path cannot be empty")),
        path => Ok(path),
    }
}

fn with_stat(mut response: Response, stat: &PathStat) -> Answer<Response> {
    let value = HeaderValue::from_str(&stat.to_header())
        .map_err(|_| ApiError::system("what stands at the path cannot be told"))?;
    response.headers_mut().insert("X-Docker-Container-Path-Stat", value);
    Ok(response)
}

async fn archive_stat(
    State(b): Held,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<Response> {
    let stat = b.container_archive_stat(&id, path(&q)?).await?;
    with_stat(Response::default(), &stat)
}

async fn archive(
    State(b): Held,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<Response> {
    let (stat, tar) = b.container_archive(&id, path(&q)?).await?;
    with_stat(answer::tar(tar), &stat)
}

async fn archive_put(
    State(b): Held,
    Path(id): Path<String>,
    Query(q): Query<Pairs>,
    body: Body,
) -> Answer<()> {
    let options = ArchivePutOptions {
        no_overwrite_dir_non_dir: q.truth("noOverwriteDirNonDir"),
        copy_uid_gid: q.truth("copyUIDGID"),
    };
    b.container_archive_put(&id, path(&q)?, options, from_request(body)).await
}

async fn commit(State(b): Held, Query(q): Query<Pairs>, document: Document) -> Answer<Response> {
    let text = |name| q.one(name).to_owned();
    let options = CommitOptions {
        container: text("container"),
        repo: text("repo"),
        tag: text("tag"),
        comment: text("comment"),
        author: text("author"),
        changes: q.all("changes").map(str::to_owned).collect(),
        pause: q.truth_or("pause", true),
    };
    let config: Option<ContainerConfig> = document.read_or_default()?;
    Ok(created(MadeResponse { id: b.container_commit(options, config).await? }))
}

pub(super) fn inside() -> Router<Arc<dyn Backend>> {
    let top = async |State(b): Held, Path(id): Path<String>, Query(q): Query<Pairs>| -> Answer<_> {
        let words = match q.one("ps_args") {
            "" => "-ef",
            words => words,
        };
        Ok(Json(b.container_top(&id, words).await?))
    };
    let changes = async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
        let changes = b.container_changes(&id).await?;
        // No change is null, as Go writes it.
        Ok(Json(Some(changes).filter(|changes| !changes.is_empty())))
    };
    let export = async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
        Ok(answer::tar(b.container_export(&id).await?))
    };
    Router::new()
        .route("/containers/{id}/top", get(top))
        .route("/containers/{id}/stats", get(stats))
        .route("/containers/{id}/changes", get(changes))
        .route("/containers/{id}/export", get(export))
        .route("/containers/{id}/archive", head(archive_stat).get(archive).put(archive_put))
        .route("/commit", post(commit))
}
