//! How long a task goes on after it has left the balancers and before it is told to stop: an
//! option of ours, given as a label of the service, for that is what Docker's clients pass on.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration;

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
    let known = duration::parse(text).filter(|duration| *duration <= MAX);
    known.ok_or_else(|| InvalidDrain(text.clone()))
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
