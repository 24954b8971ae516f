//! What a backend answers when it cannot do what it was asked: a kind, which is the HTTP status, and Docker's wording.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// Why a request failed; each kind is one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request is wrong.
    InvalidParameter,
    /// 401: a registry does not know the login.
    Unauthorized,
    /// 403: right request, not allowed.
    Forbidden,
    /// 404: there is no such thing.
    NotFound,
    /// 408: the request did not arrive in time.
    Timeout,
    /// 409: the thing exists, is in use, or changed meanwhile.
    Conflict,
    /// 413: more than is read.
    TooLarge,
    /// 500: our fault.
    System,
    /// 501: known, not offered.
    NotImplemented,
    /// 503: not now, or not in this state (no swarm here, a worker, no leader).
    Unavailable,
}

/// An error as it goes over the wire: `{"message": …}` with the status of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub kind: Kind,
    pub message: String,
}

/// Docker's words for a node outside any swarm.
pub const NOT_IN_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
/// Docker's words for a worker asked what only a manager knows.
pub const NOT_MANAGER: &str = "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.";
/// Docker's words for a node that is already in a swarm.
pub const ALREADY_IN_SWARM: &str = "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.";

impl ApiError {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidParameter, message)
    }
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Kind::System, message)
    }
    pub fn not_in_swarm() -> Self {
        Self::unavailable(NOT_IN_SWARM)
    }
    pub fn not_manager() -> Self {
        Self::unavailable(NOT_MANAGER)
    }
    pub fn already_in_swarm() -> Self {
        Self::unavailable(ALREADY_IN_SWARM)
    }
    /// What an engine without this route would answer.
    pub fn absent() -> Self {
        Self::not_found("page not found")
    }
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::InvalidParameter => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::System => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status(), Json(serde_json::json!({ "message": self.message }))).into_response()
    }
}
