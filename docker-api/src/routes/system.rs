//! `/_ping`, `/version`, `/info`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{HeaderValue, header};

use super::{Answer, Held};
use crate::backend::Backend;

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

pub(super) fn system() -> Router<Arc<dyn Backend>> {
    Router::new()
        .route("/_ping", get(ping))
        .route(
            "/version",
            get(async |State(b): Held| -> Answer<_> { Ok(Json(b.version().await?)) }),
        )
        .route("/info", get(async |State(b): Held| -> Answer<_> { Ok(Json(b.info().await?)) }))
}
