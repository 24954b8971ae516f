//! `/images`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Json;
use axum::routing::get;

use super::query::Params;
use super::{Answer, Held};
use crate::backend::Backend;

pub(super) fn images() -> Router<Arc<dyn Backend>> {
    Router::new().route(
        "/images/json",
        get(async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
            Ok(Json(b.images(q.filters()?).await?))
        }),
    )
}
