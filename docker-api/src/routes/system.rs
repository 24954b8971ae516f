//! `/_ping`, `/version`, `/info`, `/events`, `/system/df`, `/auth`, `/plugins`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures::StreamExt;
use http::{HeaderValue, header};
use serde_json::json;
use skep_types::Timestamp;

use super::body::Document;
use super::query::Pairs;
use super::{Answer, ApiVersion, Held, answer, versions};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::json::{BuildPruneResponse, EventOptions};
use crate::logs::moment;

async fn ping(State(backend): Held) -> Response {
    let swarm = backend.swarm_status().await;
    let mut response = "OK".into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    if let Ok(value) = HeaderValue::from_str(&swarm) {
        headers.insert("Swarm", value);
    }
    response
}

/// What happened and what happens, up to `until` or for ever.
async fn events(State(b): Held, Query(q): Query<Pairs>) -> Answer<Response> {
    let (since, until) = (moment("since", q.one("since"))?, moment("until", q.one("until"))?);
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(ApiError::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            q.one("since"),
            q.one("until")
        )));
    }
    let flow = b.events(EventOptions { since, until, filters: q.filters()? }).await?;
    let Some(until) = until else { return Ok(answer::documents(flow)) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
    if until <= now {
        return Ok(answer::documents(flow));
    }
    let end = tokio::time::sleep(until.saturating_since(now));
    Ok(answer::documents(flow.take_until(end).boxed()))
}

/// What takes room on the disk, of which kinds of things.
async fn disk_usage(
    State(b): Held,
    Extension(version): Extension<ApiVersion>,
    Query(q): Query<Pairs>,
) -> Answer<Response> {
    let types: Vec<_> = match version < ApiVersion(1, 42) {
        true => Vec::new(),
        false => q.all("type").map(str::to_owned).collect(),
    };
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(odd) = types.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(ApiError::invalid(format!("unknown object type: {odd}")));
    }
    versions::disk_usage(b.disk_usage(types).await?, version)
}

pub(super) fn system() -> Router<Arc<dyn Backend>> {
    let auth = async |State(b): Held, document: Document| -> Answer<_> {
        Ok(Json(b.auth(document.read()?).await?))
    };
    let info = async |State(b): Held, Extension(version): Extension<ApiVersion>| -> Answer<_> {
        versions::info(b.info().await?, version)
    };
    // Nothing is built here, so nothing is kept of it; `docker system prune` asks all the same.
    let prune_builds = async || -> Json<BuildPruneResponse> { Json::default() };
    Router::new()
        .route("/_ping", get(ping))
        .route("/build/prune", post(prune_builds))
        .route("/system/df", get(disk_usage))
        .route("/auth", post(auth))
        // None can be installed, and tools ask before they offer any.
        .route("/plugins", get(async || Json(json!([]))))
        .route("/events", get(events))
        .route(
            "/version",
            get(async |State(b): Held| -> Answer<_> { Ok(Json(b.version().await?)) }),
        )
        .route("/info", get(info))
}
