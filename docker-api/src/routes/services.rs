//! `/services` and `/tasks`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Json;
use axum::routing::{get, post};
use http::HeaderMap;

use super::body::Document;
use super::query::{Params, truth};
use super::{Answer, Held, answer, created, lists, registry_auth};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::json::*;

pub(super) fn services() -> Router<Arc<dyn Backend>> {
    let (_, task) = lists!(networks, task);
    let tasks = async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
        Ok(answer::list(b.tasks(q.filters()?).await?).await)
    };
    let list = async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
        Ok(answer::list(b.services(q.filters()?, truth(&q.status)).await?).await)
    };
    let one =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Params>| -> Answer<_> {
            Ok(Json(b.service(&id, truth(&q.insert_defaults)).await?))
        };
    let create = async |State(b): Held, headers: HeaderMap, document: Document| -> Answer<_> {
        let auth = registry_auth(&headers)?;
        Ok(created(b.service_create(document.read()?, auth).await?))
    };
    let update = async |State(b): Held,
                        Path(id): Path<String>,
                        Query(q): Query<Params>,
                        headers: HeaderMap,
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
            registry_auth: registry_auth(&headers)?,
            registry_auth_of_previous: match q.registry_auth_from.as_str() {
                "" | "spec" => false,
                "previous-spec" => true,
                other => {
                    return Err(ApiError::invalid(format!("unsupported registryAuthFrom {other}")));
                }
            },
        };
        Ok(Json(b.service_update(&id, options, document.read()?).await?))
    };
    let rebalance =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Params>| -> Answer<_> {
            Ok(Json(b.service_rebalance(&id, truth(&q.dry_run)).await?))
        };
    let remove =
        async |State(b): Held, Path(id): Path<String>| -> Answer<_> { b.service_remove(&id).await };
    Router::new()
        .route("/services", get(list))
        .route("/services/create", post(create))
        .route("/services/{id}", get(one).delete(remove))
        .route("/services/{id}/update", post(update))
        .route("/services/{id}/rebalance", post(rebalance))
        .route("/tasks", get(tasks))
        .route("/tasks/{id}", get(task))
}
