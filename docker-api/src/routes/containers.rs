//! `/containers`, `/volumes`, and the logs of containers, services and tasks.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Json;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;

use super::body::Document;
use super::life::remove_named;
use super::query::{Pairs, Params, truth};
use super::{Answer, ApiVersion, Held, answer, created, versions};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::json::*;
use crate::logs::{LogOptions, moment, tail};

pub(super) fn containers() -> Router<Arc<dyn Backend>> {
    let list = async |State(b): Held, Query(q): Query<Pairs>| -> Answer<_> {
        let limit = q.one("limit");
        let options = ContainerListOptions {
            all: q.truth("all"),
            limit: match limit {
                // Docker's clients send -1 for none.
                "" | "-1" => 0,
                _ => limit.parse().map_err(|_| {
                    ApiError::invalid(format!("invalid limit {limit:?}: expected a number"))
                })?,
            },
            size: q.truth("size"),
            filters: q.filters()?,
        };
        Ok(Json(b.containers(options).await?))
    };
    let one = async |State(b): Held,
                     Extension(version): Extension<ApiVersion>,
                     Path(id): Path<String>,
                     Query(q): Query<Pairs>|
           -> Answer<_> {
        versions::container(b.container(&id, q.truth("size")).await?, version)
    };
    Router::new()
        .route("/containers/json", get(list).merge(remove_named("json")))
        .route("/containers/{id}/json", get(one))
}

pub(super) fn volumes() -> Router<Arc<dyn Backend>> {
    let list = async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
        Ok(Json(b.volumes(q.filters()?).await?))
    };
    let one = async |State(b): Held, Path(name): Path<String>| -> Answer<_> {
        Ok(Json(b.volume(&name).await?))
    };
    let create = async |State(b): Held, document: Document| -> Answer<_> {
        Ok(created(b.volume_create(document.read()?).await?))
    };
    let update =
        async |State(b): Held, Path(name): Path<String>, Query(q): Query<Params>| -> Answer<_> {
            b.volume_update(&name, q.version("volume")?).await.map(|()| StatusCode::OK)
        };
    let remove =
        async |State(b): Held, Path(name): Path<String>, Query(q): Query<Params>| -> Answer<_> {
            b.volume_remove(&name, truth(&q.force)).await.map(|()| StatusCode::NO_CONTENT)
        };
    let prune = async |State(b): Held,
                       Extension(version): Extension<ApiVersion>,
                       Query(q): Query<Params>|
           -> Answer<_> {
        let filters = versions::volume_filters(q.filters()?, version);
        Ok(Json(b.volumes_prune(filters).await?))
    };
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(one).put(update).delete(remove))
}

fn options(query: &Pairs) -> Answer<LogOptions> {
    let (stdout, stderr) = (query.truth("stdout"), query.truth("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::invalid("must specify at least one of 'stdout' or 'stderr'"));
    }
    Ok(LogOptions {
        stdout,
        stderr,
        follow: query.truth("follow"),
        timestamps: query.truth("timestamps"),
        details: query.truth("details"),
        since: moment("since", query.one("since"))?,
        until: moment("until", query.one("until"))?,
        tail: tail(query.one("tail"))?,
    })
}

macro_rules! logs {
    ($method:ident) => {
        get(
            async |State(b): Held,
                   Extension(version): Extension<ApiVersion>,
                   Path(id): Path<String>,
                   Query(q): Query<Pairs>|
                   -> Answer<_> {
                let options = options(&q)?;
                let logs = b.$method(&id, options.clone()).await?;
                Ok(answer::logs(logs, options, version))
            },
        )
    };
}

pub(super) fn logs() -> Router<Arc<dyn Backend>> {
    Router::new()
        .route("/containers/{id}/logs", logs!(container_logs))
        .route("/services/{id}/logs", logs!(service_logs))
        .route("/tasks/{id}/logs", logs!(task_logs))
}
