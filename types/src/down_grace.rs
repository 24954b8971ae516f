//! How long the tasks of a node that is down stay its own before others take their places: an option
//! of ours, given as a label of a service, or of the swarm for all that have none, for that is what
//! Docker's clients pass on.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{ClusterSpec, ServiceSpec, defaults, duration};

/// The label, of a service or of the swarm.
pub const LABEL: &str = "skep.down-grace";
/// By then the tasks are given up in any case.
pub const MAX: Duration = defaults::NODE_DOWN_PERIOD;

/// A grace that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid label {LABEL}={0:?}: expected a duration of at most 24h, such as 30s")]
pub struct InvalidGrace(String);

/// What labels ask for; none without the label.
///
/// # Errors
/// The label is not a duration as Go writes them, or too long a one.
pub fn asked(labels: &BTreeMap<String, String>) -> Result<Option<Duration>, InvalidGrace> {
    let Some(text) = labels.get(LABEL) else { return Ok(None) };
    match duration::parse(text).filter(|duration| *duration <= MAX) {
        Some(grace) => Ok(Some(grace)),
        None => Err(InvalidGrace(text.clone())),
    }
}

/// What holds for a service: its own label, else the swarm's, else the default. Labels that are
/// none were refused where they were given, and count for nothing.
pub fn of(service: &ServiceSpec, swarm: Option<&ClusterSpec>) -> Duration {
    let own = asked(&service.annotations.labels).ok().flatten();
    let swarms = || asked(&swarm?.annotations.labels).ok().flatten();
    own.or_else(swarms).unwrap_or(defaults::DOWN_GRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), text.to_owned())])
    }

    #[test]
    fn a_grace_is_a_duration_within_a_day() {
        assert_eq!(asked(&BTreeMap::new()), Ok(None));
        for (text, seconds) in [("0s", 0), ("90s", 90), ("24h", 86_400)] {
            assert_eq!(asked(&labels(text)), Ok(Some(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["", "soon", "-1s", "24h1s"] {
            let expected = format!(
                "invalid label skep.down-grace={text:?}: expected a duration of at most 24h, such as 30s"
            );
            assert_eq!(asked(&labels(text)).unwrap_err().to_string(), expected);
        }
    }
}
