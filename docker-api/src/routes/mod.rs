//! The router: path, query and body to one [`Backend`] call, and its answer to Docker's status and headers.
//!
//! A leading `/v1.NN` is checked and cut before routing, so each route is written once.
//! Invariant: every answer, errors too, carries `Api-Version`, `Docker-Experimental`, `Ostype` and `Server`.

mod answer;
mod body;
mod containers;
mod hijack;
mod images;
mod inside;
mod life;
mod objects;
mod query;
mod services;
mod sessions;
mod swarm;
mod system;
mod versions;
mod web_socket;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse, Json, Response};
use http::{HeaderValue, Method, StatusCode, header};
use tower::ServiceExt;

use crate::backend::Backend;
use crate::defaults;
use crate::error::ApiError;
use crate::json::RegistryAuth;

type Held = State<Arc<dyn Backend>>;
type Answer<T> = Result<T, ApiError>;

/// The version of the API that a request speaks: that of its path, or ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion(u32, u32);

/// The login for a registry that a request brings.
fn registry_auth(headers: &http::HeaderMap) -> Answer<Option<RegistryAuth>> {
    let Some(value) = headers.get("X-Registry-Auth") else { return Ok(None) };
    let text = value.to_str().map_err(|_| ApiError::invalid("invalid X-Registry-Auth header"))?;
    RegistryAuth::from_header(text)
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

use lists;

/// `major.minor` as numbers.
fn number(version: &str) -> Option<ApiVersion> {
    let (major, minor) = version.split_once('.')?;
    Some(ApiVersion(major.parse().ok()?, minor.parse().ok()?))
}

/// Cuts a leading `/vN.NN` off the path and checks that we speak it.
fn strip_version(path: &str) -> Answer<Option<(ApiVersion, String)>> {
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
    Ok(Some((asked, format!("/{rest}"))))
}

async fn versioned(State(inner): State<Router>, mut request: Request) -> Response {
    let head = request.method() == Method::HEAD;
    let result = strip_version(request.uri().path());
    let mut response = match result {
        Err(error) => error.into_response(),
        Ok(stripped) => {
            let ours = number(defaults::API_VERSION).expect("our own version is a version");
            let spoken = stripped.as_ref().map_or(ours, |(version, _)| *version);
            request.extensions_mut().insert(spoken);
            let path = stripped.map_or_else(|| request.uri().path().to_owned(), |(_, path)| path);
            // Docker's names begin with a slash in its own documents, and clients send them back so.
            let plain =
                path.strip_prefix("/containers//").map(|rest| format!("/containers/{rest}"));
            let mut path = plain.unwrap_or(path);
            if path != request.uri().path() {
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
    let inner = system::system()
        .merge(swarm::swarm())
        .merge(swarm::nodes())
        .merge(services::services())
        .merge(objects::secrets())
        .merge(objects::configs())
        .merge(objects::networks())
        .merge(images::images())
        .merge(containers::containers())
        .merge(life::life())
        .merge(sessions::sessions())
        .merge(inside::inside())
        .merge(containers::volumes())
        .merge(containers::logs())
        .layer(DefaultBodyLimit::max(defaults::BODY_BYTES_MAX))
        .with_state(backend);
    Router::new().fallback(versioned).with_state(inner)
}
