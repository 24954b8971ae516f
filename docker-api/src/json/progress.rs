//! What long work says of itself, one document a line: pulling, loading, importing.

use super::shape::{null_default, omitempty, shape};

shape! {
    /// Bytes done of bytes in all; zero in all where nobody knows.
    ProgressDetail { "current" current: u64 => "omitempty", "total" total: u64 => "omitempty" }

    ErrorDetail { "code" code: i64 => "omitempty", "message" message: String => "omitempty" }

    /// `status` may be about one part, which `id` names; `error` ends the work.
    Progress {
        "stream" stream: String => "omitempty",
        "status" status: String => "omitempty",
        "progressDetail" detail: Option<ProgressDetail> => "omitempty",
        "id" id: String => "omitempty",
        "errorDetail" error_detail: Option<ErrorDetail> => "omitempty",
        "error" error: String => "omitempty",
        "aux" aux: Option<serde_json::Value> => "omitempty",
    }
}

impl Progress {
    /// A line about the whole.
    pub fn status(text: impl Into<String>) -> Self {
        Self { status: text.into(), ..Self::default() }
    }

    /// A line about one part, a layer for instance.
    pub fn part(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), status: text.into(), ..Self::default() }
    }

    /// How far one part has come.
    pub fn bytes(id: impl Into<String>, text: impl Into<String>, current: u64, total: u64) -> Self {
        Self { detail: Some(ProgressDetail { current, total }), ..Self::part(id, text) }
    }

    /// Text that is shown as it is.
    pub fn stream(text: impl Into<String>) -> Self {
        Self { stream: text.into(), ..Self::default() }
    }

    /// The end of work that failed.
    pub fn failed(message: impl Into<String>) -> Self {
        let message = message.into();
        let detail = ErrorDetail { code: 0, message: message.clone() };
        Self { error_detail: Some(detail), error: message, ..Self::default() }
    }

    /// Why the work failed, where this is its end.
    pub fn failure(&self) -> Option<&str> {
        match &self.error_detail {
            Some(detail) => Some(&detail.message),
            None => Some(self.error.as_str()).filter(|error| !error.is_empty()),
        }
    }
}
