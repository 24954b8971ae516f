//! An answer that is none: its status, and what its body says in the words of the distribution
//! specification.

use std::time::Duration;

use http::header::RETRY_AFTER;
use reqwest::Response;
use serde::Deserialize;

use super::read_some;

/// Of an error's body; what is behind is not read.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Of its message that is passed on.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// What a registry, or its server of tokens, said instead of what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: u16,
    /// The specification's word, such as `MANIFEST_UNKNOWN`; empty where the body has none.
    pub code: String,
    /// What may be shown: no control characters, and no end of it.
    pub message: String,
    /// How long it wants to be left alone.
    pub wait: Option<Duration>,
}

#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Refusal {
    pub(super) async fn of(response: Response) -> Self {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok());
        // The other form, a date, is told by no registry that is known.
        let wait = wait.and_then(|it| it.trim().parse().ok()).map(Duration::from_secs);
        let body = read_some(response, BODY_BYTES_MAX).await;
        let entry = serde_json::from_slice::<Envelope>(&body)
            .ok()
            .and_then(|envelope| envelope.errors.into_iter().next());
        let (code, message) = match entry {
            Some(entry) => (entry.code, entry.message.unwrap_or_default()),
            None => (String::new(), String::new()),
        };
        let reason = status.canonical_reason().unwrap_or("no known status");
        let message = match shown(&message) {
            text if text.is_empty() => reason.to_lowercase(),
            text => text,
        };
        Self { status: status.as_u16(), code: code.to_ascii_uppercase(), message, wait }
    }

    /// Whether the same question may be answered later.
    pub(crate) fn is_passing(&self) -> bool {
        self.status == 429 || self.status >= 500
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MESSAGE_CHARS_MAX).collect()
}
