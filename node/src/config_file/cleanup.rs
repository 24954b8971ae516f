//! When images go by themselves: the key `image-cleanup`, which is skep's own.

use std::time::Duration;

use super::ConfigError;
use super::given::Given;

/// Without a word of it, images are looked at this often.
const EVERY: Duration = Duration::from_secs(300);
/// Below this the looking itself would be the load.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// Images that nothing uses and that a registry can give again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCleanup {
    /// They go when they were not used for longer. None: they do not go by age.
    pub unused_for: Option<Duration>,
    /// Above the first, in percent of the disk, they go until it is below the second.
    pub disk: Option<Watermarks>,
    pub every: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    pub high: u64,
    pub low: u64,
}

impl ImageCleanup {
    /// # Errors
    /// A word that is not known, or a value that is none.
    pub(super) fn read(given: &Given<'_>) -> Result<Self, ConfigError> {
        let refuse = |text: String| ConfigError::Value(format!("image-cleanup: {text}"));
        let mut made = Self { unused_for: None, disk: None, every: EVERY };
        let (mut high, mut low) = (None, None);
        for (word, text) in given.map()? {
            let bad = |what: &str| refuse(format!("invalid {word} {text:?}: expected {what}"));
            let duration = || {
                let read = skep_types::duration::parse(&text);
                read.ok_or_else(|| bad("a duration, such as 720h"))
            };
            let percent = || {
                let number = text.strip_suffix('%').unwrap_or(&text).parse().ok();
                number
                    .filter(|number| (1..=99).contains(number))
                    .ok_or_else(|| bad("a part of the disk from 1% to 99%"))
            };
            match word.as_str() {
                "unused-for" => made.unused_for = Some(duration()?),
                "every" => made.every = duration()?.max(EVERY_MIN),
                "disk-high" => high = Some(percent()?),
                "disk-low" => low = Some(percent()?),
                _ => {
                    let known = "unused-for, disk-high, disk-low and every";
                    return Err(refuse(format!("unknown word {word:?}: there are {known}")));
                }
            }
        }
        made.disk = match (high, low) {
            (None, None) => None,
            (Some(high), Some(low)) if low < high => Some(Watermarks { high, low }),
            (Some(high), None) if high > 5 => Some(Watermarks { high, low: high - 5 }),
            _ => return Err(refuse("disk-low must be below disk-high".to_owned())),
        };
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<ImageCleanup, String> {
        let given = Given { key: "image-cleanup", value: &value };
        ImageCleanup::read(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_is_read_whole_or_not_at_all() {
        let all =
            json!({"unused-for": "720h", "disk-high": "85%", "disk-low": "70", "every": "1m"});
        let expected = ImageCleanup {
            unused_for: Some(Duration::from_secs(720 * 3600)),
            disk: Some(Watermarks { high: 85, low: 70 }),
            every: Duration::from_secs(60),
        };
        assert_eq!(read(all), Ok(expected));
        let high = read(json!({"disk-high": "85%"})).unwrap();
        assert_eq!(high.disk, Some(Watermarks { high: 85, low: 80 }));
        for bad in [
            json!({"unused-for": "soon"}),
            json!({"disk-high": "100%"}),
            json!({"disk-low": "10%"}),
            json!({"disk-high": "50%", "disk-low": "50%"}),
            json!({"unused": "1h"}),
            json!({"unused-for": 5}),
            json!("720h"),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
