//! `/services` and `/tasks`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Json;
use axum::routing::{get, post};
use http::HeaderMap;

use super::body::Document;
use super::query::{Params, truth};
use super::{Answer, Held, created, lists, registry_auth};
use crate::backend::Backend;
use crate::error::ApiError;
use crate::json::*;

/// A login that comes with a service would have to reach every node that pulls; it goes nowhere, and that is said.
fn login_warning(headers: &HeaderMap) -> Answer<Option<String>> {
    let warning = "registry credentials are not passed on: each node must be able to pull the image by itself";
    Ok(registry_auth(headers)?.map(|_| warning.to_owned()))
}

pub(super) fn services() -> Router<Arc<dyn Backend>> {
    let (tasks, task) = lists!(tasks, task);
    let list = async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
        Ok(Json(b.services(q.filters()?, truth(&q.status)).await?))
    };
    let one =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Params>| -> Answer<_> {
            Ok(Json(b.service(&id, truth(&q.insert_defaults)).await?))
        };
    let create = async |State(b): Held, headers: HeaderMap, document: Document| -> Answer<_> {
        let warning = login_warning(&headers)?;
        let mut response = b.service_create(document.read()?).await?;
        response.warnings.extend(warning);
        Ok(created(response))
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
        };
        let warning = login_warning(&headers)?;
        let mut response = b.service_update(&id, options, document.read()?).await?;
        if let Some(warning) = warning {
            response.warnings.get_or_insert_default().push(warning);
        }
        Ok(Json(response))
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
