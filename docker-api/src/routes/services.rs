//! `/services` and `/tasks`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Json;
use axum::routing::{get, post};

use super::body::Document;
use super::query::{Params, truth};
use super::{Answer, Held, created, lists};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::json::*;

pub(super) fn services() -> Router<Arc<dyn Backend>> {
    let (tasks, task) = lists!(tasks, task);
    let list = async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
        Ok(Json(b.services(q.filters()?, truth(&q.status)).await?))
    };
    let one =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Params>| -> Answer<_> {
            Ok(Json(b.service(&id, truth(&q.insert_defaults)).await?))
        };
    let create = async |State(b): Held, document: Document| -> Answer<_> {
        Ok(created(b.service_create(document.read()?).await?))
    };
    let update = async |State(b): Held,
                        Path(id): Path<String>,
                        Query(q): Query<Params>,
                        document: Document|
           -> Answer<_> {
        let options = ServiceUpdateOptions {
            version: q.version("service")?,
            rollback_previous: match q.rollback.as_str() {
                "" => false,
                "previous" => true,
                other => {
                    return Err(ApiError::invalid(format!("unrecognized rollback option {other}")));
                }
            },
        };
        Ok(Json(b.service_update(&id, options, document.read()?).await?))
    };
    let remove =
        async |State(b): Held, Path(id): Path<String>| -> Answer<_> { b.service_remove(&id).await };
    Router::new()
        .route("/services", get(list))
        .route("/services/create", post(create))
        .route("/services/{id}", get(one).delete(remove))
        .route("/services/{id}/update", post(update))
        .route("/tasks", get(tasks))
        .route("/tasks/{id}", get(task))
}
