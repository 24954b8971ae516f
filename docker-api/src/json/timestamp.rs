//! A moment as the API writes it: RFC 3339 with nanoseconds, UTC. Its zero is Go's zero time, which clients read as "never".

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub String);

impl Default for Timestamp {
    fn default() -> Self {
        Self("0001-01-01T00:00:00Z".into())
    }
}

impl Timestamp {
    /// From nanoseconds since 1970; what lies outside RFC 3339's years becomes the zero time.
    pub fn from_unix_nanos(nanos: i128) -> Self {
        OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok())
            .map_or_else(Self::default, Self)
    }

    /// Nanoseconds since 1970, where the text is a moment and not Go's zero.
    pub fn unix_nanos(&self) -> Option<i128> {
        let at = OffsetDateTime::parse(&self.0, &Rfc3339).ok()?;
        (at.year() > 1).then(|| at.unix_timestamp_nanos())
    }
}
