//! The daemon's options from its flags and from `daemon.json`, whose keys are Docker's.

mod api;
mod cleanup;
mod containers;
mod given;
mod keys;
mod network;
mod settings;
mod whole;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use self::cleanup::ImageCleanup;
pub use self::containers::ulimit_of_flag;
use self::given::shown;
pub use self::network::pool_of_flag;
pub use self::settings::{LogLevel, Settings};

/// Where the file is when nobody says otherwise.
pub const CONFIG_FILE: &str = "/etc/skep/daemon.json";

/// Why the daemon's options are no options; the words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("unable to configure the daemon with file {file}: {reason}")]
    File { file: String, reason: String },
    #[error("{0}")]
    Value(String),
}

/// The file's keys. A file that is not there is as an empty one, unless it was asked for.
pub fn read(path: &Path, asked_for: bool) -> Result<Map<String, Value>, ConfigError> {
    let refuse = |reason: String| ConfigError::File { file: path.display().to_string(), reason };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
            return Ok(Map::new());
        }
        Err(error) => return Err(refuse(error.to_string())),
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
}

/// What flags and file say together: each key in one of the two.
pub fn together(
    flags: Map<String, Value>,
    file: Map<String, Value>,
    path: &Path,
) -> Result<Map<String, Value>, ConfigError> {
    let refuse = |reason: String| ConfigError::File { file: path.display().to_string(), reason };
    keys::check(&file).map_err(refuse)?;
    let both = |(key, value): (&String, &Value)| {
        let flag = flags.get(key)?;
        Some(format!("{key}: (from flag: {}, from file: {})", shown(flag), shown(value)))
    };
    let conflicts: Vec<String> = file.iter().filter_map(both).collect();
    if !conflicts.is_empty() {
        return Err(refuse(format!(
            "the following directives are specified both as a flag and in the configuration \
             file: {}",
            conflicts.join(", ")
        )));
    }
    // A flag for what is not done here is refused as its key is.
    keys::check(&flags).map_err(ConfigError::Value)?;
    Ok(flags.into_iter().chain(file).collect())
}

/// Where the options come from, to be read again.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Flags as keys.
    pub flags: Map<String, Value>,
    pub file: PathBuf,
    /// Whether the file was named, and must be there.
    pub named: bool,
}

impl Source {
    /// What flags and file say now.
    ///
    /// # Errors
    /// The file cannot be read, or says what it may not.
    pub fn keys(&self) -> Result<Map<String, Value>, ConfigError> {
        together(self.flags.clone(), read(&self.file, self.named)?, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(flags: Value, file: Value, expected: Result<(u32, bool), &str>) {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let keys = together(map(flags), map(file), Path::new(CONFIG_FILE));
        let options = keys.and_then(|keys| network::network_options(&keys));
        let options = options.map(|it| (it.mtu, it.icc)).map_err(|error| error.to_string());
        assert_eq!(options, expected.map_err(str::to_owned));
    }

    #[test]
    fn flags_and_file_together() {
        check(json!({}), json!({}), Ok((1500, true)));
        check(json!({ "mtu": 1400 }), json!({ "icc": false }), Ok((1400, false)));
        check(
            json!({ "mtu": 1400, "dns": ["9.9.9.9", "1.1.1.1"] }),
            json!({ "dns": ["8.8.8.8"] }),
            Err("unable to configure the daemon with file /etc/skep/daemon.json: the following \
                 directives are specified both as a flag and in the configuration file: dns: \
                 (from flag: [9.9.9.9 1.1.1.1], from file: [8.8.8.8])"),
        );
        check(
            json!({}),
            json!({ "nonsense": 1 }),
            Err("unable to configure the daemon with file /etc/skep/daemon.json: the following \
                 directives don't match any configuration option: nonsense"),
        );
        check(
            json!({ "hosts": ["unix:///a.sock", "tcp://0.0.0.0:1"] }),
            json!({ "hosts": ["unix:///b.sock"] }),
            Err("unable to configure the daemon with file /etc/skep/daemon.json: the following \
                 directives are specified both as a flag and in the configuration file: hosts: \
                 (from flag: [unix:///a.sock tcp://0.0.0.0:1], from file: [unix:///b.sock])"),
        );
        check(json!({ "mtu": "x" }), json!({}), Err("invalid value for mtu: x"));
        check(
            json!({ "bip": "10.0.0.1/24", "bridge": "br9" }),
            json!({}),
            Err("You specified -b & --bip, mutually exclusive options. Please specify only one"),
        );
    }
}
