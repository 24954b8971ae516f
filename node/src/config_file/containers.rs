//! What a container is where nobody says otherwise.

use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Map, Value};
use skep_containers::{Cdi, Defaults, bytes, log_driver};
use skep_engine::config::{Seccomp, Ulimit, ulimit_type};

use super::ConfigError;
use super::given::{Given, parse};

/// All of them.
///
/// # Errors
/// A value that is none, in Docker's words.
pub fn defaults(keys: &Map<String, Value>) -> Result<Defaults, ConfigError> {
    let mut made = Defaults::default();
    for (key, value) in keys {
        let given = Given { key, value };
        match key.as_str() {
            "log-driver" => given.text()?.clone_into(&mut made.log_driver),
            "log-opts" => made.log_options = given.map()?,
            "default-ulimits" => made.ulimits = ulimits(&given)?,
            "default-shm-size" => made.shm_bytes = size(&given)?,
            "default-ipc-mode" => {
                given.text()?.clone_into(&mut made.ipc_mode);
                if !matches!(made.ipc_mode.as_str(), "private" | "shareable") {
                    return Err(ConfigError::Value(format!(
                        "IPC mode {:?} is not supported as default value; use \"shareable\" or \
                         \"private\"",
                        made.ipc_mode
                    )));
                }
            }
            "default-cgroupns-mode" => {
                given.text()?.clone_into(&mut made.cgroupns_mode);
                if !matches!(made.cgroupns_mode.as_str(), "private" | "host") {
                    return Err(ConfigError::Value(format!(
                        "default cgroup namespace mode ({}) is invalid; use \"host\" or \
                         \"private\"",
                        made.cgroupns_mode
                    )));
                }
            }
            "init" => made.init = given.truth()?,
            "no-new-privileges" => made.no_new_privileges = given.truth()?,
            "seccomp-profile" => made.seccomp = seccomp(given.text()?)?,
            "cdi-spec-dirs" => made.cdi.directories = directories(&given)?,
            "features" => made.cdi.enabled = cdi_is_on(&given),
            "host-gateway-ip" => made.host_gateway = Some(parse::<IpAddr>(key, given.text()?)?),
            // Another room's.
            _ => {}
        }
    }
    log_driver(&made.log_driver, &made.log_options).map_err(|error| {
        ConfigError::Value(format!("failed to set log opts: {}", error.message))
    })?;
    Ok(made)
}

/// Where devices are described. As in Docker one empty name means nowhere.
fn directories(given: &Given<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let texts = given.texts()?;
    Ok(match texts.as_slice() {
        [] => Cdi::default().directories,
        [one] if one.is_empty() => Vec::new(),
        all => all.iter().map(PathBuf::from).collect(),
    })
}

/// Unless it is off by name. What is no truth is refused with the other features.
fn cdi_is_on(given: &Given<'_>) -> bool {
    given.value.get("cdi").and_then(Value::as_bool).unwrap_or(true)
}

/// A profile's file is read once, when the daemon starts.
fn seccomp(given: &str) -> Result<Seccomp, ConfigError> {
    let refuse = |reason: String| {
        ConfigError::Value(format!("opening seccomp profile ({given}) failed: {reason}"))
    };
    match given {
        "" | "builtin" | "default" => Ok(Seccomp::Default),
        "unconfined" => Ok(Seccomp::Unconfined),
        path => {
            let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
            serde_json::from_str::<Map<String, Value>>(&text)
                .map_err(|error| refuse(error.to_string()))?;
            Ok(Seccomp::Profile(text))
        }
    }
}

/// A number of bytes, or a text with a unit.
fn size(given: &Given<'_>) -> Result<i64, ConfigError> {
    let read = match given.value {
        Value::String(text) => bytes(text).and_then(|it| i64::try_from(it).ok()),
        value => value.as_i64().filter(|it| *it >= 0),
    };
    read.ok_or_else(|| given.wrong())
}

fn ulimits(given: &Given<'_>) -> Result<Vec<Ulimit>, ConfigError> {
    let entries = given.value.as_object().ok_or_else(|| given.wrong())?;
    let read = |(name, value): (&String, &Value)| {
        if ulimit_type(name).is_none() {
            return Err(ConfigError::Value(format!("invalid ulimit type: {name}")));
        }
        // Go's reader of JSON does not tell capitals from small letters.
        let amount = |key: &str| {
            let mut entries = value.as_object()?.iter();
            entries.find(|(name, _)| name.eq_ignore_ascii_case(key))?.1.as_i64()
        };
        let hard = amount("hard").ok_or_else(|| given.wrong())?;
        let soft = amount("soft").unwrap_or(hard);
        if hard != -1 && (soft > hard || soft == -1) {
            return Err(ConfigError::Value(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        Ok(Ulimit { name: name.clone(), soft, hard })
    };
    entries.iter().map(read).collect()
}

/// `NAME=SOFT[:HARD]`, as the flag has it, as the file has it.
///
/// # Errors
/// It is none, in Docker's words.
pub fn ulimit_of_flag(text: &str) -> Result<(String, Value), String> {
    let invalid = || format!("invalid ulimit argument: {text}");
    let (name, amounts) = text.split_once('=').ok_or_else(invalid)?;
    if ulimit_type(name).is_none() {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = amounts.split_once(':').unwrap_or((amounts, amounts));
    let amount = |text: &str| text.parse::<i64>().map_err(|_| invalid());
    let (soft, hard) = (amount(soft)?, amount(hard)?);
    Ok((name.to_owned(), serde_json::json!({ "Name": name, "Soft": soft, "Hard": hard })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(file: Value) -> Result<Defaults, String> {
        defaults(file.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_docker_takes_is_taken() {
        let made = read(json!({
            "default-shm-size": "1M", "default-ipc-mode": "shareable", "init": true,
            "log-driver": "local", "log-opts": { "max-size": "10m" },
            "default-ulimits": { "nofile": { "Name": "nofile", "Hard": 20, "Soft": 10 } },
        }));
        let made = made.unwrap();
        assert_eq!(
            (made.shm_bytes, made.ipc_mode.as_str(), made.init),
            (1 << 20, "shareable", true)
        );
        let nofile = Ulimit { name: "nofile".to_owned(), soft: 10, hard: 20 };
        assert_eq!(made.ulimits, [nofile]);
        assert_eq!(read(json!({ "default-shm-size": 77 })).unwrap().shm_bytes, 77);
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for (file, why) in [
            (json!({ "log-driver": "splunk" }), "no log driver named 'splunk' is registered"),
            (json!({ "log-opts": { "colour": "red" } }), "unknown log opt 'colour'"),
            (json!({ "default-ipc-mode": "host" }), "IPC mode \"host\" is not supported"),
            (json!({ "default-ulimits": { "bees": { "Hard": 1 } } }), "invalid ulimit type: bees"),
            (
                json!({ "default-ulimits": { "nofile": { "Hard": 1, "Soft": 2 } } }),
                "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
            ),
            (json!({ "seccomp-profile": "/none" }), "opening seccomp profile (/none) failed"),
            (json!({ "init": "yes" }), "invalid value for init: yes"),
        ] {
            let said = read(file).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert_eq!(ulimit_of_flag("nofile=1:2").unwrap().1["Hard"], 2);
        assert!(ulimit_of_flag("nofile").is_err());
    }
}
