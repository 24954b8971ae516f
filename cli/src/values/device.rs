//! Devices in flags: `--device`, `--device-cgroup-rule`, rates and weights of block devices, `--gpus`.

use std::path::Path;

use skep_docker_api::json::{DeviceMapping, DeviceRequest, Map, ThrottleDevice, WeightDevice};

use super::{amount, fields, volume};

/// What of a device a container may do: each letter at most once.
fn is_mode(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b"rwm".contains(&b))
        && b"rwm".iter().all(|b| text.bytes().filter(|c| c == b).count() <= 1)
}

/// `vendor/class=name`: a device that a CDI specification describes.
pub fn is_cdi(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    word(vendor) && word(class) && !name.is_empty() && !name.contains('/')
}

/// `host[:container][:mode]`.
pub fn mapping(text: &str) -> Result<DeviceMapping, String> {
    let bad = || format!("bad format for path: {text}");
    let parts: Vec<&str> = text.split(':').collect();
    let cleaned = |path: &str| volume::clean(Path::new(path));
    let (host, inside, mode) = match parts.as_slice() {
        ["", ..] => return Err(bad()),
        [host] => (cleaned(host), cleaned(host), "rwm"),
        [host, mode] if is_mode(mode) => (cleaned(host), cleaned(host), *mode),
        [host, inside] => ((*host).to_owned(), cleaned(inside), "rwm"),
        [host, inside, mode] if is_mode(mode) => ((*host).to_owned(), (*inside).to_owned(), *mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(bad()),
    };
    if !inside.starts_with('/') {
        let said = if parts.len() > 1 && !is_mode(parts[1]) { parts[1] } else { parts[0] };
        return Err(format!("{said} is not an absolute path"));
    }
    Ok(DeviceMapping {
        path_on_host: host,
        path_in_container: inside,
        cgroup_permissions: mode.into(),
    })
}

/// `type major:minor mode`, kept as written.
pub fn rule(text: &str) -> Result<String, String> {
    let number =
        |text: &str| text == "*" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let fields: Vec<&str> = text.split(' ').collect();
    let fits = match fields.as_slice() {
        ["a" | "c" | "b", numbers, mode] => {
            numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&mode.len())
                && mode.bytes().all(|b| b"rwm".contains(&b))
        }
        _ => false,
    };
    if fits { Ok(text.into()) } else { Err(format!("invalid device cgroup format '{text}'")) }
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

/// `path:bytes`.
pub fn bytes_rate(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = pair(text)?;
    let rate = amount::bytes(rate).ok().and_then(|rate| u64::try_from(rate).ok()).ok_or_else(|| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
    })?;
    Ok(ThrottleDevice { path: path.into(), rate })
}

/// `path:operations`.
pub fn operations_rate(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = pair(text)?;
    let rate = rate.parse().map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer")
    })?;
    Ok(ThrottleDevice { path: path.into(), rate })
}

/// `path:weight`.
pub fn weight(text: &str) -> Result<WeightDevice, String> {
    let (path, weight) = pair(text)?;
    let weight = weight
        .parse()
        .ok()
        .filter(|weight| *weight == 0 || (10..=1000).contains(weight))
        .ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(WeightDevice { path: path.into(), weight })
}

/// `all`, a number, or `device=…,capabilities=…,driver=…,options=…`.
pub fn gpus(text: &str) -> Result<DeviceRequest, String> {
    let count = |text: &str| match text {
        "all" => Ok(-1),
        _ => text.parse::<i64>().map_err(|_| {
            format!(
                "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
            )
        }),
    };
    let mut request = DeviceRequest::default();
    let mut counted = false;
    let mut capabilities = vec!["gpu".to_owned()];
    let list = |value: &str| fields::split(value);
    for field in fields::split(text)? {
        let Some((key, value)) = field.split_once('=') else {
            if counted {
                return Err("gpu request key 'count' can be specified only once".into());
            }
            request.count = count(&field)?;
            counted = true;
            continue;
        };
        match key {
            "driver" => request.driver = value.into(),
            "count" => {
                request.count = count(value)?;
                counted = true;
            }
            "device" => request.device_ids = Some(list(value)?),
            "capabilities" => {
                capabilities = std::iter::once("gpu".to_owned()).chain(list(value)?).collect();
            }
            "options" => {
                let pairs = list(value)?;
                request.options = super::pairs::map(&pairs);
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !counted && request.device_ids.is_none() {
        request.count = 1;
    }
    if request.options.is_empty() {
        request.options = Map::new();
    }
    request.capabilities = Some(vec![capabilities]);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match mapping(text) {
            Err(error) => error,
            Ok(d) => {
                format!("{}>{} {}", d.path_on_host, d.path_in_container, d.cgroup_permissions)
            }
        }
    }

    #[test]
    fn mappings() {
        for (text, expected) in [
            ("/dev/snd", "/dev/snd>/dev/snd rwm"),
            ("/dev/snd:r", "/dev/snd>/dev/snd r"),
            ("/dev/snd:/dev/x", "/dev/snd>/dev/x rwm"),
            ("/dev/snd:/dev/x:rw", "/dev/snd>/dev/x rw"),
            ("/dev/snd:/dev/x:q", "bad mode specified: q"),
            ("snd", "snd is not an absolute path"),
            ("/a:x", "x is not an absolute path"),
            (":a", "bad format for path: :a"),
            ("a:b:c:d", "bad format for path: a:b:c:d"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert!(is_cdi("vendor.com/class=name") && !is_cdi("/dev/x:rw") && !is_cdi("a=b"));
    }

    #[test]
    fn rules_and_rates() {
        assert!(rule("c 1:3 rwm").is_ok() && rule("b *:* m").is_ok());
        assert!(rule("c 1:3").is_err() && rule("x 1:3 r").is_err() && rule("c 1 r").is_err());
        assert_eq!(bytes_rate("/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert_eq!(operations_rate("/dev/sda:5").unwrap().rate, 5);
        assert!(bytes_rate("sda:1").is_err() && operations_rate("/dev/sda:1mb").is_err());
        assert!(weight("/dev/sda:9").is_err() && weight("/dev/sda:10").is_ok());
    }
}
