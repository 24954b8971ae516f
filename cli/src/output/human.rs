//! Times and sizes as people say them, in the words of Docker's `go-units`.

use skep_docker_api::json::Timestamp;

const SECOND: i128 = 1_000_000_000;

/// How long something lasts: `3 minutes`, `About an hour`, `5 weeks`.
pub fn duration(nanos: i128) -> String {
    let seconds = nanos / SECOND;
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

fn now() -> i128 {
    time::OffsetDateTime::now_utc().unix_timestamp_nanos()
}

/// `3 minutes ago`, from a moment of the API; nothing where it has no moment.
pub fn ago(at: &Timestamp) -> String {
    at.unix_nanos().map_or_else(String::new, |at| format!("{} ago", duration(now() - at)))
}

/// A moment as Go prints one: `2026-11-24 12:00:00.5 +0000 UTC`.
pub fn moment(at: &Timestamp) -> String {
    match at.0.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, clock)) => {
            let clock = if clock.contains('.') {
                clock.trim_end_matches('0').trim_end_matches('.')
            } else {
                clock
            };
            format!("{date} {clock} +0000 UTC")
        }
        None => at.0.clone(),
    }
}

/// Seconds since 1970 as Go prints a local moment: `2026-11-24 12:00:00 +0000 UTC`.
// DEVIATION: in UTC, whatever the zone here: what is shown is then the same wherever it is read.
pub fn local_moment(seconds: i64) -> String {
    moment(&Timestamp::from_unix_nanos(i128::from(seconds) * SECOND))
}

/// A length of time as Go prints one: `1m30s`, `1.5s`, `10ms`.
pub fn go_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".into();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (unit, name) = match nanos {
        ..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (0, ""),
    };
    if unit > 0 {
        return format!("{sign}{}{name}", decimal(nanos, unit));
    }
    let seconds = nanos / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, _) => format!("{sign}{minutes}m{rest}s"),
        _ => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}

/// `value / unit` with all its decimals and no trailing zero.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % unit);
    let fraction = if unit == 1 { "" } else { fraction.trim_end_matches('0') };
    if fraction.is_empty() {
        (value / unit).to_string()
    } else {
        format!("{}.{fraction}", value / unit)
    }
}

fn scaled(bytes: f64, base: f64, names: &[&str], precision: usize) -> String {
    let mut value = bytes;
    let mut name = 0;
    while value >= base && name + 1 < names.len() {
        value /= base;
        name += 1;
    }
    format!("{}{}", general(value, precision), names[name])
}

/// C's `%.Ng` for values that need no exponent: N significant digits, no trailing zeros.
fn general(value: f64, precision: usize) -> String {
    let whole = if value < 1.0 { 1 } else { value.log10().floor() as usize + 1 };
    let text = format!("{value:.*}", precision.saturating_sub(whole));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// `1.5GiB`: powers of 1,024, four digits.
pub fn memory(bytes: i64) -> String {
    const NAMES: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    scaled(bytes as f64, 1024.0, &NAMES, 4)
}

/// `187MB`: powers of 1,000, three digits, as lists of images have it.
pub fn size(bytes: i64) -> String {
    const NAMES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    scaled(bytes as f64, 1000.0, &NAMES, 3)
}

/// As [`size`], with four digits.
pub fn long_size(bytes: i64) -> String {
    const NAMES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    scaled(bytes as f64, 1000.0, &NAMES, 4)
}

/// The first letter in upper case and the others in lower case.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars.flat_map(char::to_lowercase)).collect()
}

/// At most `width` characters, the last an ellipsis where some were cut.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// An id without its algorithm, cut to the length Docker shows.
pub fn short_id(id: &str) -> String {
    let id = id.split_once(':').map_or(id, |(_, digest)| digest);
    id.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_dockers() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (47, "47 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (45 * 3600, "45 hours"),
            (3 * 86400, "3 days"),
            (14 * 86400, "2 weeks"),
            (90 * 86400, "3 months"),
            (3 * 365 * 86400, "3 years"),
        ] {
            assert_eq!(duration(seconds * SECOND), words);
        }
        assert_eq!(go_duration(5_000_000_000), "5s");
        assert_eq!(go_duration(90_500_000_000), "1m30.5s");
        assert_eq!(go_duration(7_776_000_000_000_000), "2160h0m0s");
        assert_eq!(go_duration(1_500_000), "1.5ms");
        assert_eq!(memory(2_000_000_000), "1.863GiB");
        assert_eq!(memory(512 * 1024 * 1024), "512MiB");
        assert_eq!(
            moment(&Timestamp("2026-01-02T03:04:05.500000000Z".into())),
            "2026-01-02 03:04:05.5 +0000 UTC"
        );
        assert_eq!(size(187_654_321), "188MB");
        assert_eq!(size(7_340_032), "7.34MB");
        assert_eq!(size(0), "0B");
        assert_eq!(ellipsis("abcdef", 4), "abc…");
    }
}
