//! Request bodies that are one JSON document: bounded in size and in time.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use crate::defaults;
use crate::error::{ApiError, Kind};

/// A whole body, not yet parsed. One that is there must be called JSON, as in Docker.
pub(super) struct Document {
    bytes: Bytes,
    kind: Option<HeaderValue>,
}

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(http::header::CONTENT_TYPE).cloned();
        let read = Bytes::from_request(request, state);
        match tokio::time::timeout(defaults::BODY_TIMEOUT, read).await {
            Ok(Ok(bytes)) => Ok(Self { bytes, kind }),
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

/// In Docker's words.
fn check_kind(kind: Option<&HeaderValue>) -> Result<(), ApiError> {
    let text = kind.map_or("", |kind| kind.to_str().unwrap_or_default());
    let bare = text.split(';').next().unwrap_or_default().trim();
    if bare.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::invalid(match bare.contains('/') {
        true => format!("unsupported Content-Type header ({text}): must be 'application/json'"),
        false => format!("malformed Content-Type header ({text}): mime: no media type"),
    }))
}

impl Document {
    /// [`Self::read`], where a body may be left out.
    pub fn read_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.bytes.is_empty() { Ok(T::default()) } else { self.read() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.bytes.is_empty() {
            return Err(ApiError::invalid("invalid JSON: got EOF while reading request body"));
        }
        check_kind(self.kind.as_ref())?;
        // A list would be read as the fields of a document in their order.
        if self.bytes.trim_ascii_start().starts_with(b"[") {
            return Err(ApiError::invalid("invalid JSON: expected an object at line 1 column 1"));
        }
        serde_json::from_slice(&self.bytes)
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
            (r#" ["a"]"#, "invalid JSON: expected an object at line 1 column 1"),
        ] {
            let kind = Some(HeaderValue::from_static("application/json"));
            let document = Document { bytes: Bytes::from_static(text.as_bytes()), kind };
            assert_eq!(document.read::<SecretSpec>().unwrap_err().message, expected);
        }
    }

    #[test]
    fn what_is_not_called_json_is_not_read() {
        let check = |kind: Option<&'static str>| {
            let document = Document {
                bytes: Bytes::from_static(b"{\"Name\":\"a\"}"),
                kind: kind.map(HeaderValue::from_static),
            };
            document.read::<SecretSpec>().map_err(|error| error.message).err()
        };
        assert_eq!(check(Some("application/json; charset=utf-8")), None);
        assert_eq!(
            check(Some("text/plain")).unwrap(),
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
        for malformed in [None, Some("json")] {
            assert!(check(malformed).unwrap().starts_with("malformed Content-Type header ("));
        }
    }
}
