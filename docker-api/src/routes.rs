//! The router: path, query and body to one [`Backend`] call, and its answer to Docker's status and headers.
//!
//! A leading `/v1.NN` is checked and cut before routing, so each route is written once.
//! Invariant: every answer, errors too, carries `Api-Version`, `Docker-Experimental`, `Ostype` and `Server`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use crate::backend::Backend;
use crate::defaults;
use crate::error::ApiError;
use crate::filters::Filters;
use crate::json::*;

type Held = State<Arc<dyn Backend>>;
type Answer<T> = Result<T, ApiError>;

/// Every query parameter of the routes here; each route reads its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Params {
    filters: String,
    version: Option<String>,
    force: String,
    status: String,
    rollback: String,
    insert_defaults: String,
    rotate_worker_token: String,
    rotate_manager_token: String,
    rotate_manager_unlock_key: String,
}

/// Docker's reading of a boolean in a query.
fn truth(text: &str) -> bool {
    !matches!(text.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
}

impl Params {
    fn filters(&self) -> Answer<Filters> {
        Filters::parse(&self.filters)
    }

    fn version(&self, object: &str) -> Answer<u64> {
        let text = self.version.as_deref().unwrap_or_default();
        text.parse().map_err(|_| {
            ApiError::invalid(format!("invalid {object} version '{text}': expected a number"))
        })
    }
}

/// A JSON body; Docker does not insist on its content type, nor do we.
fn body<T: DeserializeOwned>(bytes: &Bytes) -> Answer<T> {
    if bytes.is_empty() {
        return Err(ApiError::invalid("invalid JSON: got EOF while reading request body"));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))
}

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

fn created<T: serde::Serialize>(value: T) -> Response {
    (StatusCode::CREATED, Json(value)).into_response()
}

macro_rules! lists {
    ($list:ident, $one:ident) => {
        (
            async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
                Ok(Json(b.$list(q.filters()?).await?))
            },
            async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
                Ok(Json(b.$one(&id).await?))
            },
        )
    };
}

fn system() -> Router<Arc<dyn Backend>> {
    Router::new()
        .route("/_ping", get(ping))
        .route(
            "/version",
            get(async |State(b): Held| -> Answer<_> { Ok(Json(b.version().await?)) }),
        )
        .route("/info", get(async |State(b): Held| -> Answer<_> { Ok(Json(b.info().await?)) }))
        .route(
            "/images/json",
            get(async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
                Ok(Json(b.images(q.filters()?).await?))
            }),
        )
}

fn swarm() -> Router<Arc<dyn Backend>> {
    Router::new()
        .route(
            "/swarm",
            get(async |State(b): Held| -> Answer<_> { Ok(Json(b.swarm_inspect().await?)) }),
        )
        .route(
            "/swarm/init",
            post(async |State(b): Held, bytes: Bytes| -> Answer<_> {
                Ok(Json(b.swarm_init(body(&bytes)?).await?))
            }),
        )
        .route(
            "/swarm/join",
            post(async |State(b): Held, bytes: Bytes| -> Answer<_> {
                b.swarm_join(body(&bytes)?).await
            }),
        )
        .route(
            "/swarm/leave",
            post(async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
                b.swarm_leave(truth(&q.force)).await
            }),
        )
        .route(
            "/swarm/update",
            post(async |State(b): Held, Query(q): Query<Params>, bytes: Bytes| -> Answer<_> {
                let rotate = RotateTokens {
                    worker: truth(&q.rotate_worker_token),
                    manager: truth(&q.rotate_manager_token),
                    manager_unlock_key: truth(&q.rotate_manager_unlock_key),
                };
                b.swarm_update(q.version("swarm")?, body(&bytes)?, rotate).await
            }),
        )
}

fn nodes() -> Router<Arc<dyn Backend>> {
    let (list, one) = lists!(nodes, node);
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
                   bytes: Bytes|
                   -> Answer<_> {
                b.node_update(&id, q.version("node")?, body(&bytes)?).await
            },
        ),
    )
}

fn services() -> Router<Arc<dyn Backend>> {
    let (tasks, task) = lists!(tasks, task);
    let list = async |State(b): Held, Query(q): Query<Params>| -> Answer<_> {
        Ok(Json(b.services(q.filters()?, truth(&q.status)).await?))
    };
    let one =
        async |State(b): Held, Path(id): Path<String>, Query(q): Query<Params>| -> Answer<_> {
            Ok(Json(b.service(&id, truth(&q.insert_defaults)).await?))
        };
    let create = async |State(b): Held, bytes: Bytes| -> Answer<_> {
        Ok(created(b.service_create(body(&bytes)?).await?))
    };
    let update = async |State(b): Held,
                        Path(id): Path<String>,
                        Query(q): Query<Params>,
                        bytes: Bytes|
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
        Ok(Json(b.service_update(&id, options, body(&bytes)?).await?))
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

macro_rules! payloads {
    ($path:literal, $object:literal, $list:ident, $one:ident, $create:ident, $update:ident, $remove:ident) => {{
        let (list, one) = lists!($list, $one);
        let create = async |State(b): Held, bytes: Bytes| -> Answer<_> {
            Ok(created(b.$create(body(&bytes)?).await?))
        };
        let update = async |State(b): Held,
                            Path(id): Path<String>,
                            Query(q): Query<Params>,
                            bytes: Bytes|
               -> Answer<_> {
            b.$update(&id, q.version($object)?, body(&bytes)?).await
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

fn networks() -> Router<Arc<dyn Backend>> {
    let (list, one) = lists!(networks, network);
    let create = async |State(b): Held, bytes: Bytes| -> Answer<_> {
        Ok(created(b.network_create(body(&bytes)?).await?))
    };
    let remove = async |State(b): Held, Path(id): Path<String>| -> Answer<_> {
        b.network_remove(&id).await.map(|()| StatusCode::NO_CONTENT)
    };
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create))
        .route("/networks/{id}", get(one).delete(remove))
}

/// `major.minor` as numbers.
fn number(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Cuts a leading `/vN.NN` off the path and checks that we speak it.
fn strip_version(path: &str) -> Answer<Option<String>> {
    let Some(rest) = path.strip_prefix("/v") else { return Ok(None) };
    let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(asked) = number(version) else { return Ok(None) };
    let (min, max) = (defaults::API_VERSION_MIN, defaults::API_VERSION);
    if Some(asked) < number(min) {
        return Err(ApiError::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {min}, please upgrade your client to a newer version"
        )));
    }
    if Some(asked) > number(max) {
        return Err(ApiError::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {max}"
        )));
    }
    Ok(Some(format!("/{rest}")))
}

async fn versioned(State(inner): State<Router>, mut request: Request) -> Response {
    let head = request.method() == Method::HEAD;
    let result = strip_version(request.uri().path());
    let mut response = match result {
        Err(error) => error.into_response(),
        Ok(path) => {
            if let Some(mut path) = path {
                if let Some(query) = request.uri().query() {
                    path.push('?');
                    path.push_str(query);
                }
                match path.parse() {
                    Ok(uri) => *request.uri_mut() = uri,
                    Err(_) => return ApiError::invalid("invalid request path").into_response(),
                }
            }
            match inner.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    // What axum refuses itself (an oversized body, a bad query) is plain text; Docker's clients read a message.
    let status = response.status();
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes() == b"application/json");
    if (status.is_client_error() || status.is_server_error()) && !json {
        let message = match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "page not found",
            StatusCode::PAYLOAD_TOO_LARGE => "request body too large",
            _ => "invalid request",
        };
        let status =
            if status == StatusCode::METHOD_NOT_ALLOWED { StatusCode::NOT_FOUND } else { status };
        response = (status, Json(serde_json::json!({ "message": message }))).into_response();
    }
    if head {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    headers.insert("Api-Version", HeaderValue::from_static(defaults::API_VERSION));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert(
        header::SERVER,
        HeaderValue::from_static(concat!("skep/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    response
}

/// The whole API over a backend.
pub fn router(backend: Arc<dyn Backend>) -> Router {
    let inner = system()
        .merge(swarm())
        .merge(nodes())
        .merge(services())
        .merge(payloads!(
            "/secrets",
            "secret",
            secrets,
            secret,
            secret_create,
            secret_update,
            secret_remove
        ))
        .merge(payloads!(
            "/configs",
            "config",
            configs,
            config,
            config_create,
            config_update,
            config_remove
        ))
        .merge(networks())
        .layer(DefaultBodyLimit::max(defaults::BODY_BYTES_MAX))
        .with_state(backend);
    Router::new().fallback(versioned).with_state(inner)
}
