//! What a prune takes: the filters that they have in common, and the moments these may name.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use super::Filters;
use crate::error::ApiError;
use crate::json::Map;
use skep_types::Timestamp;

type Answer<T> = Result<T, ApiError>;

/// The filters of a prune: label, label!, and where they are known until and others that the caller reads itself.
#[derive(Debug, Clone)]
pub struct PruneFilter {
    filters: Filters,
    until: Option<Timestamp>,
}

impl PruneFilter {
    /// `known` are the names that this prune takes, all of them.
    ///
    /// # Errors
    /// A filter that it does not take, or a moment that is none.
    pub fn new(filters: &Filters, known: &[&str], now: Timestamp) -> Answer<Self> {
        filters.only(known)?;
        let mut values = filters.values("until");
        let until = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(text), None) => Some(moment(text, now)?),
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("more than one until filter specified"));
            }
        };
        Ok(Self { filters: filters.clone(), until })
    }

    /// `created` is when the object was made; where nobody knows, a prune with a moment leaves it.
    pub fn matches(&self, labels: &Map, created: Option<Timestamp>) -> bool {
        let kept =
            self.filters.values("label!").next().is_some() && self.filters.labels("label!", labels);
        self.filters.labels("label", labels)
            && !kept
            && self.until.is_none_or(|until| created.is_some_and(|created| created <= until))
    }
}

/// `1h30m` (before now), `2026-01-02T15:04:05Z`, `2026-01-02` (UTC), or seconds since 1970 with a fraction.
pub fn moment(text: &str, now: Timestamp) -> Answer<Timestamp> {
    let invalid = || {
        ApiError::invalid(format!(
            "invalid value for 'until' filter: failed to parse value {text:?}"
        ))
    };
    if let Some(ago) = go_duration(text) {
        return Ok(Timestamp(now.0.saturating_sub(ago)));
    }
    if let Some(at) = date(text) {
        return i64::try_from(at.unix_timestamp_nanos()).map(Timestamp).map_err(|_| invalid());
    }
    crate::logs::moment("until", text).map_err(|_| invalid()).map(|at| at.unwrap_or(Timestamp(0)))
}

fn date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(at);
    }
    let seconds = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let minutes = format_description!("[year]-[month]-[day]T[hour]:[minute]");
    let days = format_description!("[year]-[month]-[day]");
    let at = PrimitiveDateTime::parse(text, seconds)
        .or_else(|_| PrimitiveDateTime::parse(text, minutes))
        .or_else(|_| Date::parse(text, days).map(Date::midnight));
    at.ok().map(PrimitiveDateTime::assume_utc)
}

/// Nanoseconds of Go's `1h30m`, `1.5s`, `250ms`.
fn go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let count: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" | "μs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        nanos += count * unit;
        rest = &rest[end..];
    }
    // A float becomes the nearest integer there is.
    Some((sign * nanos) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000_000_000);

    #[test]
    fn moments() {
        let hour = 3_600_000_000_000;
        for (text, expected) in [
            ("1h", Some(NOW.0 - hour)),
            ("1h30m", Some(NOW.0 - hour * 3 / 2)),
            ("1.5h", Some(NOW.0 - hour * 3 / 2)),
            ("-1h", Some(NOW.0 + hour)),
            ("250ms", Some(NOW.0 - 250_000_000)),
            ("1970-01-01T00:00:01Z", Some(1_000_000_000)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1970-01-01T00:00:02", Some(2_000_000_000)),
            ("1970-01-01T00:01", Some(60_000_000_000)),
            ("1970-01-02", Some(24 * hour)),
            ("12", Some(12_000_000_000)),
            ("12.5", Some(12_500_000_000)),
            ("x", None),
            ("1d", None),
            ("1h30", None),
        ] {
            assert_eq!(moment(text, NOW).ok().map(|at| at.0), expected, "{text}");
        }
    }

    #[test]
    fn what_is_taken() {
        let labels: Map = [("tier".to_owned(), "db".to_owned())].into();
        for (text, expected) in [
            ("", true),
            (r#"{"label":["tier"]}"#, true),
            (r#"{"label":["tier=web"]}"#, false),
            (r#"{"label!":["tier=web"]}"#, true),
            (r#"{"label!":["tier"]}"#, false),
            (r#"{"until":["1h"]}"#, true),
            (r#"{"until":["3h"]}"#, false),
        ] {
            let filters = Filters::parse(text).unwrap();
            let filter = PruneFilter::new(&filters, &["label", "label!", "until"], NOW).unwrap();
            let created = Timestamp(NOW.0 - 2 * 3_600_000_000_000);
            assert_eq!(filter.matches(&labels, Some(created)), expected, "{text}");
        }
        let refused = |text: &str, known: &[&str]| {
            PruneFilter::new(&Filters::parse(text).unwrap(), known, NOW).unwrap_err().message
        };
        assert_eq!(refused(r#"{"until":["1h"]}"#, &["label"]), "invalid filter 'until'");
        assert_eq!(
            refused(r#"{"until":["1h","2h"]}"#, &["until"]),
            "more than one until filter specified"
        );
    }
}
