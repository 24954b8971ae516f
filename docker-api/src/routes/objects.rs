//! `/secrets`, `/configs` and `/networks`: objects that are made, shown and removed alike.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Json;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;

use super::body::Document;
use super::query::{Params, truth};
use super::{Answer, ApiVersion, Held, created, lists};
use crate::backend::Backend;

macro_rules! payloads {
    ($path:literal, $object:literal, $list:ident, $one:ident, $create:ident, $update:ident, $remove:ident) => {{
        let (list, one) = lists!($list, $one);
        let create = async |State(b): Held, document: Document| -> Answer<_> {
            Ok(created(b.$create(document.read()?).await?))
        };
        let update = async |State(b): Held,
                            Path(id): Path<String>,
                            Query(q): Query<Params>,
                            document: Document|
               -> Answer<_> {
            b.$update(&id, q.version($object)?, document.read()?).await
        };
        let remove = async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
            b.$remove(&id).await.map(|()| StatusCode::NO_CONTENT)
        };
        Router::new()
            .route($path, get(list))
            .route(concat!($path, "/create"), post(create))
            .route(concat!($path, "/{id}"), get(one).delete(remove))
            .route(concat!($path, "/{id}/update"), post(update))
    }};
}

pub(super) fn secrets() -> Router<Arc<dyn Backend>> {
    payloads!("/secrets", "secret", secrets, secret, secret_create, secret_update, secret_remove)
}

pub(super) fn configs() -> Router<Arc<dyn Backend>> {
    payloads!("/configs", "config", configs, config, config_create, config_update, config_remove)
}

pub(super) fn networks() -> Router<Arc<dyn Backend>> {
    let one =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Params>| -> Answer<_> {
            let mut network = b.network(&id).await?;
            if !truth(&q.verbose) {
                network.services.clear();
            }
            Ok(Json(network))
        };
    let list = async |State(b): Held,
                      Extension(version): Extension<ApiVersion>,
                      Query(q): Query<Params>|
           -> Answer<_> {
        let mut list = b.networks(q.filters()?).await?;
        if version < ApiVersion(1, 28) {
            // The containers on each stood in the list too.
            for network in &mut list {
                if let Ok(whole) = b.network(&network.id).await {
                    network.containers = whole.containers;
                }
            }
        }
        Ok(Json(list))
    };
    let create = async |State(b): Held, document: Document| -> Answer<_> {
        Ok(created(b.network_create(document.read()?).await?))
    };
    let remove = async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
        b.network_remove(&id).await.map(|()| StatusCode::NO_CONTENT)
    };
    let connect = async |State(b): Held, Path(id): Path<String>, document: Document| -> Answer<_> {
        b.network_connect(&id, document.read()?).await
    };
    let disconnect = async |State(b): Held,
                            Path(id): Path<String>,
                            document: Document|
           -> Answer<_> { b.network_disconnect(&id, document.read()?).await };
    let prune = async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
        Ok(Json(b.networks_prune(q.filters()?).await?))
    };
    let doctor = async |State(b): Held| -> Answer<_> { Ok(Json(b.networks_doctor().await?)) };
    Router::new()
        .route("/networks", get(list))
        // Ours.
        .route("/swarm/networks", get(doctor))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}/connect", post(connect))
        .route("/networks/{id}/disconnect", post(disconnect))
        .route("/networks/{id}", get(one).delete(remove))
}
