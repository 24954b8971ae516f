//! `/_ping`, `/version`, `/info`, `/events`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use futures::StreamExt;
use http::{HeaderValue, header};
use skep_types::Timestamp;

use super::query::Pairs;
use super::{Answer, Held, answer};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::json::EventOptions;
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

pub(super) fn system() -> Router<Arc<dyn Backend>> {
    Router::new()
        .route("/_ping", get(ping))
        .route("/events", get(events))
        .route(
            "/version",
            get(async |State(b): Held| -> Answer<_> { Ok(Json(b.version().await?)) }),
        )
        .route("/info", get(async |State(b): Held| -> Answer<_> { Ok(Json(b.info().await?)) }))
}
