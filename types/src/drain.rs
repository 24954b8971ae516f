//! How long a task goes on after it has left the balancers and before it is told to stop: an
//! option of ours, given as a label of the service, for that is what Docker's clients pass on.

use std::collections::BTreeMap;
use std::time::Duration;

/// The service's label.
pub const LABEL: &str = "skep.drain";
/// Longer, and an update would seem to stand still.
pub const MAX: Duration = Duration::from_secs(3600);

/// A drain time that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid label {LABEL}={0:?}: expected a duration of at most 1h, such as 5s")]
pub struct InvalidDrain(String);

/// The drain time that a service's labels ask for; none without the label.
///
/// # Errors
/// The label is not a duration as Go writes them, or too long a one.
pub fn of(labels: &BTreeMap<String, String>) -> Result<Duration, InvalidDrain> {
    let Some(text) = labels.get(LABEL) else { return Ok(Duration::ZERO) };
    let known = parse(text).filter(|duration| *duration <= MAX);
    known.ok_or_else(|| InvalidDrain(text.clone()))
}

/// Go's `1m30s`, `500ms`; whole numbers and no sign.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u32 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => Duration::from_secs(3600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(count)?)?;
        rest = &rest[end..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(text: &str) -> Result<Duration, InvalidDrain> {
        of(&BTreeMap::from([(LABEL.to_owned(), text.to_owned())]))
    }

    #[test]
    fn durations_are_gos_and_bounded() {
        assert_eq!(of(&BTreeMap::new()), Ok(Duration::ZERO));
        for (text, seconds) in [("0s", 0.0), ("5s", 5.0), ("1m30s", 90.0), ("250ms", 0.25)] {
            assert_eq!(drain(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "5", "s", "-5s", "1.5s", "5 s", "2h", "4294967296s", "5d"] {
            assert!(drain(text).is_err(), "{text}");
        }
        assert_eq!(
            drain("soon").unwrap_err().to_string(),
            "invalid label skep.drain=\"soon\": expected a duration of at most 1h, such as 5s"
        );
    }
}
