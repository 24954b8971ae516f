//! Durations, sizes and shares of a CPU as Docker writes them.

use std::time::Duration;

/// `1m30s`, `1.5h`, `300ms`, `0`: what Go's `time.ParseDuration` takes, but for the sign, which
/// nothing in a Compose file can mean.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()))
            }
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        let mut nanos = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        nanos = scale.checked_mul(nanos).ok_or_else(invalid)?;
        let mut place = scale;
        for digit in fraction.bytes() {
            place /= 10;
            nanos += place * i128::from(digit - b'0');
        }
        total = total.checked_add(nanos).ok_or_else(invalid)?;
        rest = after;
    }
    // What Docker's API carries: nanoseconds in 63 bits.
    let nanos = i64::try_from(total).map_err(|_| invalid())?;
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

/// A duration as Go prints it: `1m30s`, `1.5s`, `2ms`, `0s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let decimal = |value: u128, scale: u128| {
        let fraction = format!("{:0width$}", value % scale, width = scale.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let whole = value / scale;
        if scale == 1 || fraction.is_empty() {
            whole.to_string()
        } else {
            format!("{whole}.{fraction}")
        }
    };
    const SECOND: u128 = 1_000_000_000;
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..SECOND => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let (hours, rest) = (nanos / (3600 * SECOND), nanos % (3600 * SECOND));
            let (minutes, seconds) = (rest / (60 * SECOND), rest % (60 * SECOND));
            let seconds = decimal(seconds, SECOND);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, _) => format!("{minutes}m{seconds}s"),
                _ => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `50M`, `1.5GiB`, `512k`, `1024`: bytes, in powers of 1024.
pub(crate) fn size(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
    let end = end.ok_or_else(invalid)?;
    let (number, suffix) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(invalid());
    }
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let suffix = suffix.to_ascii_lowercase();
    let bad_suffix = || format!("invalid suffix: '{suffix}'");
    let power = match suffix.as_str() {
        "" | "b" => 0,
        _ => {
            let (unit, rest) = suffix.split_at_checked(1).ok_or_else(bad_suffix)?;
            if !matches!(rest, "" | "b" | "ib") {
                return Err(bad_suffix());
            }
            1 + "kmgtp".find(unit).ok_or_else(bad_suffix)?
        }
    };
    let bytes = number * 1024f64.powi(power as i32);
    // 2^63 is the first float that an i64 does not hold.
    if bytes < i64::MAX as f64 { Ok(bytes as i64) } else { Err(invalid()) }
}

/// `0.5`, `1/4`, `2`: billionths of a CPU.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (numerator, divisor) = text.split_once('/').unwrap_or((text, "1"));
    let (whole, fraction) = numerator.split_once('.').unwrap_or((numerator, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let fraction = fraction.trim_end_matches('0');
    let divisor: i128 = divisor.parse().map_err(|_| invalid())?;
    if divisor <= 0 || !(divisor == 1 || fraction.is_empty()) {
        return Err(invalid());
    }
    if fraction.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let nanos = format!("{whole}{fraction:0<9}").parse::<i128>().map_err(|_| invalid())?;
    if nanos % divisor != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(nanos / divisor).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected, shown) in [
            ("1m30s", Some(90_000_000_000), "1m30s"),
            ("90s", Some(90_000_000_000), "1m30s"),
            ("1.5h", Some(5_400_000_000_000), "1h30m0s"),
            ("300ms", Some(300_000_000), "300ms"),
            ("1500ms", Some(1_500_000_000), "1.5s"),
            ("1500us", Some(1_500_000), "1.5ms"),
            (".5s", Some(500_000_000), "500ms"),
            ("1500ns", Some(1_500), "1.5µs"),
            ("7ns", Some(7), "7ns"),
            ("0", Some(0), "0s"),
            ("2h", Some(7_200_000_000_000), "2h0m0s"),
            ("5", None, ""),
            ("", None, ""),
            ("s", None, ""),
            (".s", None, ""),
            ("1d", None, ""),
            ("-5s", None, ""),
            ("9999999999999h", None, ""),
            ("99999999999999999999999999999999999999999h", None, ""),
        ] {
            let got = duration(text).ok();
            assert_eq!(got, expected.map(Duration::from_nanos), "{text}");
            assert_eq!(got.map(show_duration).unwrap_or_default(), shown, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("50M", Ok(52_428_800)),
            ("1.5GiB", Ok(1_610_612_736)),
            ("1 kb", Ok(1024)),
            ("512", Ok(512)),
            ("512b", Ok(512)),
            ("1p", Ok(1 << 50)),
            ("9999p", Err("invalid size: '9999p'")),
            ("M", Err("invalid size: 'M'")),
            ("", Err("invalid size: ''")),
            ("-1M", Err("invalid size: '-1M'")),
            ("1x", Err("invalid suffix: 'x'")),
            ("1bb", Err("invalid suffix: 'bb'")),
            ("1kib2", Err("invalid size: '1kib2'")),
            ("1é", Err("invalid suffix: 'é'")),
        ] {
            assert_eq!(size(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn cpus() {
        for (text, expected) in [
            ("0.5", Ok(500_000_000)),
            ("2", Ok(2_000_000_000)),
            (".25", Ok(250_000_000)),
            ("1/4", Ok(250_000_000)),
            ("0.0000000001", Err("value is too precise")),
            ("1/3", Err("value is too precise")),
            ("", Err("failed to parse  as a rational number")),
            ("-1", Err("failed to parse -1 as a rational number")),
            ("x", Err("failed to parse x as a rational number")),
            ("99999999999", Err("failed to parse 99999999999 as a rational number")),
        ] {
            assert_eq!(nano_cpus(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
