//! `/swarm` and `/nodes`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Json;
use axum::routing::{get, post};

use super::body::Document;
use super::query::{Params, truth};
use super::{Answer, Held, answer, lists};
use crate::backend::Backend;
use crate::json::*;

pub(super) fn swarm() -> Router<Arc<dyn Backend>> {
    Router::new()
        .route(
            "/swarm",
            get(async |State(b): Held| -> Answer<_> { Ok(Json(b.swarm_inspect().await?)) }),
        )
        .route(
            "/swarm/init",
            post(async |State(b): Held, document: Document| -> Answer<_> {
                Ok(Json(b.swarm_init(document.read()?).await?))
            }),
        )
        .route(
            "/swarm/join",
            post(async |State(b): Held, document: Document| -> Answer<_> {
                b.swarm_join(document.read()?).await
            }),
        )
        .route(
            "/swarm/leave",
            post(async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
                b.swarm_leave(truth(&q.force)).await
            }),
        )
        .route(
            "/swarm/unlockkey",
            get(async |State(b): Held| -> Answer<_> { Ok(Json(b.swarm_unlock_key().await?)) }),
        )
        .route(
            "/swarm/unlock",
            post(async |State(b): Held, document: Document| -> Answer<_> {
                b.swarm_unlock(document.read()?).await
            }),
        )
        .route(
            "/swarm/update",
            post(
                async |State(b): Held, Query(q): Query<Params>, document: Document| -> Answer<_> {
                    let rotate = RotateTokens {
                        worker: truth(&q.rotate_worker_token),
                        manager: truth(&q.rotate_manager_token),
                        manager_unlock_key: truth(&q.rotate_manager_unlock_key),
                    };
                    b.swarm_update(q.version("swarm")?, document.read()?, rotate).await
                },
            ),
        )
}

pub(super) fn nodes() -> Router<Arc<dyn Backend>> {
    let (_, one) = lists!(networks, node);
    let list = async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
        Ok(answer::list(b.nodes(q.filters()?).await?).await)
    };
    let remove = async |State(b): Held,
                        Path(id): Path<String>,
                        Query(q): Query<Params>|
           -> Answer<_> { b.node_remove(&id, truth(&q.force)).await };
    Router::new().route("/nodes", get(list)).route("/nodes/{id}", get(one).delete(remove)).route(
        "/nodes/{id}/update",
        post(
            async |State(b): Held,
                   Path(id): Path<String>,
                   Query(q): Query<Params>,
                   document: Document|
                   -> Answer<_> {
                b.node_update(&id, q.version("node")?, document.read()?).await
            },
        ),
    )
}
