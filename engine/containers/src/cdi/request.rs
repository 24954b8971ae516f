//! From what a user asks of drivers of devices to the names of devices, with Docker's rules and in
//! its words. Pure.

use skep_docker_api::json::DeviceRequest;
use skep_types::privilege::DEVICES_MAX;

use super::Cdi;
use super::registry::Registry;

/// A driver that chooses devices of one kind. DEVIATION: Docker has NVIDIA's where it finds
/// `nvidia-cdi-hook`; here it is where a file describes devices of the kind, as Docker has AMD's.
struct Driver {
    name: &'static str,
    kind: &'static str,
    capabilities: &'static [&'static str],
}

/// Where there are devices of several kinds, the first counts.
const DRIVERS: [Driver; 2] = [
    Driver {
        name: "nvidia",
        kind: "nvidia.com/gpu",
        capabilities: &[
            "gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display",
        ],
    },
    Driver { name: "amd", kind: "amd.com/gpu", capabilities: &["gpu", "amd"] },
];

impl Driver {
    /// Whether one of the sets has only what this driver knows.
    fn matches(&self, request: &DeviceRequest) -> bool {
        let known = |word: &String| self.capabilities.contains(&word.as_str());
        request.capabilities.iter().flatten().any(|set| set.iter().all(known))
    }

    /// Full names as they are, others as this kind's.
    fn names(&self, request: &DeviceRequest) -> Result<Vec<String>, String> {
        let given = request.device_ids.as_deref().unwrap_or_default();
        let ids: Vec<String> = match request.count {
            0 => given.to_vec(),
            _ if !given.is_empty() => {
                return Err("cannot set both Count and DeviceIDs on device request".to_owned());
            }
            count if count < 0 => vec!["all".to_owned()],
            count if count > DEVICES_MAX as i64 => {
                let why = format!("too many devices: expected at most {DEVICES_MAX}, got {count}");
                return Err(why);
            }
            count => (0..count).map(|number| number.to_string()).collect(),
        };
        let full = |id: String| if id.contains('=') { id } else { format!("{}={id}", self.kind) };
        Ok(ids.into_iter().map(full).collect())
    }
}

/// The devices that a request means.
///
/// # Errors
/// No driver knows it, or it asks what its driver does not do.
pub fn names(request: &DeviceRequest, cdi: &Cdi, known: &Registry) -> Result<Vec<String>, String> {
    if request.driver == "cdi" && cdi.enabled {
        if request.count != 0 {
            return Err("unexpected count in CDI device request".to_owned());
        }
        if !request.options.is_empty() {
            return Err("unexpected options in CDI device request".to_owned());
        }
        return Ok(request.device_ids.clone().unwrap_or_default());
    }
    let mut there = DRIVERS.iter().filter(|driver| cdi.enabled && known.has_kind(driver.kind));
    let driver = match request.driver.as_str() {
        "" => there.find(|driver| driver.matches(request)),
        "nvidia.cdi" => there.find(|driver| driver.name == "nvidia"),
        name => there.find(|driver| driver.name == name),
    };
    match driver {
        Some(driver) => driver.names(request),
        None => Err(unknown(request)),
    }
}

fn unknown(request: &DeviceRequest) -> String {
    let set = |words: &Vec<String>| format!("[{}]", words.join(" "));
    let sets: Vec<String> = request.capabilities.iter().flatten().map(set).collect();
    let (driver, sets) = (&request.driver, sets.join(" "));
    format!("could not select device driver {driver:?} with capabilities: [{sets}]")
}

#[cfg(test)]
mod tests {
    use super::super::registry::Read;
    use super::super::spec::{Format, parse};
    use super::*;

    fn registry(kinds: &[&str]) -> Registry {
        let read = |kind: &&str| {
            let text = format!(
                "{{\"cdiVersion\": \"0.6.0\", \"kind\": \"{kind}\", \
                 \"devices\": [{{\"name\": \"all\", \"containerEdits\": {{\"env\": [\"A=1\"]}}}}]}}"
            );
            Read { path: (*kind).into(), priority: 0, spec: parse(&text, Format::Json) }
        };
        Registry::of(kinds.iter().map(read).collect())
    }

    /// Driver, count, ids, capabilities.
    fn check(kinds: &[&str], asked: (&str, i64, &[&str], &[&str]), expected: Result<&str, &str>) {
        let (driver, count, ids, capabilities) = asked;
        let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let request = DeviceRequest {
            driver: driver.to_owned(),
            count,
            device_ids: Some(words(ids)),
            capabilities: (!capabilities.is_empty()).then(|| vec![words(capabilities)]),
            ..DeviceRequest::default()
        };
        let named = names(&request, &Cdi::default(), &registry(kinds));
        let named = named.map(|names| names.join(" "));
        assert_eq!(named.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn requests_are_devices_of_a_kind() {
        let nvidia = &["amd.com/gpu", "nvidia.com/gpu"][..];
        check(nvidia, ("", -1, &[], &["gpu"]), Ok("nvidia.com/gpu=all"));
        let many = format!("too many devices: expected at most {DEVICES_MAX}, got {}", i64::MAX);
        check(nvidia, ("", i64::MAX, &[], &["gpu"]), Err(&many));
        check(nvidia, ("", 2, &[], &["gpu", "utility"]), Ok("nvidia.com/gpu=0 nvidia.com/gpu=1"));
        check(
            nvidia,
            ("", 0, &["UUID", "v.com/x=1"], &["gpu"]),
            Ok("nvidia.com/gpu=UUID v.com/x=1"),
        );
        check(nvidia, ("", 0, &[], &["gpu"]), Ok(""));
        check(nvidia, ("", -1, &[], &["gpu", "amd"]), Ok("amd.com/gpu=all"));
        check(nvidia, ("nvidia.cdi", -1, &[], &[]), Ok("nvidia.com/gpu=all"));
        check(nvidia, ("amd", 1, &[], &["gpu"]), Ok("amd.com/gpu=0"));
        check(&["amd.com/gpu"], ("", -1, &[], &["gpu"]), Ok("amd.com/gpu=all"));
        check(&[], ("cdi", 0, &["v.com/x=1"], &["x"]), Ok("v.com/x=1"));
        check(
            nvidia,
            ("", 1, &["0"], &["gpu"]),
            Err("cannot set both Count and DeviceIDs on device request"),
        );
        check(nvidia, ("cdi", 1, &[], &[]), Err("unexpected count in CDI device request"));
    }

    #[test]
    fn what_no_driver_knows_is_refused_in_dockers_words() {
        let none = |driver: &str, sets: &str| {
            format!("could not select device driver {driver:?} with capabilities: {sets}")
        };
        check(&[], ("", -1, &[], &["gpu"]), Err(&none("", "[[gpu]]")));
        check(&["v.com/gpu"], ("", -1, &[], &["gpu"]), Err(&none("", "[[gpu]]")));
        check(&["nvidia.com/gpu"], ("", -1, &[], &["gpu", "tpu"]), Err(&none("", "[[gpu tpu]]")));
        check(&["nvidia.com/gpu"], ("", -1, &[], &[]), Err(&none("", "[]")));
        check(&["nvidia.com/gpu"], ("amd", -1, &[], &["gpu"]), Err(&none("amd", "[[gpu]]")));
        let off = Cdi { enabled: false, ..Cdi::default() };
        let request = DeviceRequest { driver: "cdi".to_owned(), ..DeviceRequest::default() };
        let said = names(&request, &off, &registry(&["nvidia.com/gpu"]));
        assert_eq!(said, Err(none("cdi", "[]")));
    }
}
