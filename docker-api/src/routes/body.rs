//! Request bodies that are one JSON document: bounded in size and in time.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::defaults;
use crate::error::{ApiError, Kind};

/// A whole body, not yet parsed. Docker does not insist on its content type, nor do we.
pub(super) struct Document(Bytes);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let read = Bytes::from_request(request, state);
        match tokio::time::timeout(defaults::BODY_TIMEOUT, read).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(refused)) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(ApiError::new(Kind::TooLarge, "request body too large"))
            }
            Ok(Err(_)) => Err(ApiError::invalid("failed to read request body")),
            Err(_) => Err(ApiError::new(
                Kind::Timeout,
                format!("request body did not arrive within {:?}", defaults::BODY_TIMEOUT),
            )),
        }
    }
}

impl Document {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.0.is_empty() {
            return Err(ApiError::invalid("invalid JSON: got EOF while reading request body"));
        }
        serde_json::from_slice(&self.0)
            .map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))
    }
}
