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
    /// [`Self::read`], where a body may be left out.
    pub fn read_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.0.is_empty() { Ok(T::default()) } else { self.read() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.0.is_empty() {
            return Err(ApiError::invalid("invalid JSON: got EOF while reading request body"));
        }
        serde_json::from_slice(&self.0)
            .map_err(|error| ApiError::invalid(format!("invalid JSON: {}", told(&error))))
    }
}

/// What was expected and where, without what was found: it may be a secret in the wrong place.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once("expected ") {
        Some((_, rest)) => format!("expected {rest}"),
        None if error.is_data() => {
            format!("unexpected value at line {} column {}", error.line(), error.column())
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::SecretSpec;

    #[test]
    fn what_was_found_is_not_repeated() {
        for (text, expected) in [
            (r#"{"Data":["x"]}"#, "invalid JSON: expected a string at line 1 column 8"),
            (
                r#"{"Labels":"hunter2 expected here"}"#,
                "invalid JSON: expected a map at line 1 column 33",
            ),
            (r#"{"Name":"a"#, "invalid JSON: EOF while parsing a string at line 1 column 10"),
            ("hunter2", "invalid JSON: expected value at line 1 column 1"),
        ] {
            let error = Document(Bytes::from_static(text.as_bytes())).read::<SecretSpec>();
            assert_eq!(error.unwrap_err().message, expected);
        }
    }
}
