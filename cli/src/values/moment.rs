//! Moments and counts of lines, as flags of logs and events have them.

use skep_types::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::duration;

/// So many lines from the end, or all.
#[derive(Debug, Clone, Copy)]
pub struct Tail(pub Option<u64>);

pub fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" | "" => Ok(Tail(None)),
        _ => match text.parse::<i64>() {
            // Fewer than none is all, to Docker's daemon.
            Ok(lines) => Ok(Tail(u64::try_from(lines).ok())),
            Err(_) => Err("expected a number of lines or \"all\"".into()),
        },
    }
}

/// Nanoseconds of seconds, with at most nine digits behind a point.
fn since_1970(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// A moment, a length of time until now, or seconds since 1970 with a fraction.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let nanos = |at: OffsetDateTime| i64::try_from(at.unix_timestamp_nanos()).ok();
    let day = format!("{text}T00:00:00Z");
    let second = format!("{text}Z");
    let minute = format!("{text}:00Z");
    let parsed = [text, second.as_str(), minute.as_str(), day.as_str()]
        .into_iter()
        .find_map(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let found = match parsed {
        Some(at) => nanos(at),
        None => match since_1970(text) {
            Some(nanos) => Some(nanos),
            None => {
                let ago = duration::parse(text).map_err(|_| format!("invalid time {text:?}"))?;
                nanos(OffsetDateTime::now_utc()).and_then(|now| now.checked_sub(ago))
            }
        },
    };
    found.map(Timestamp).ok_or_else(|| format!("invalid time {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(Timestamp(1_000_000_000)));
        assert_eq!(parse("1970-01-02"), Ok(Timestamp(86_400_000_000_000)));
        assert_eq!(parse("5"), Ok(Timestamp(5_000_000_000)));
        assert_eq!(parse("5.25"), Ok(Timestamp(5_250_000_000)));
        assert!(parse("5.x").is_err() && parse("5.0000000001").is_err());
        assert!(parse("10m").unwrap() > Timestamp(0));
        assert!(parse("never").is_err());
    }
}
