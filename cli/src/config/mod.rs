//! The user's own settings, where Docker's command line keeps them, so that both see the same: `config.json` and the contexts beside it.
//!
//! Invariant: keys that we do not know stay as they are when the file is written.

pub mod contexts;
pub mod credentials;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};
use crate::output::warn;

#[derive(Debug, Clone)]
pub struct ConfigFile {
    folder: Option<PathBuf>,
    keys: Map<String, Value>,
}

fn set(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl ConfigFile {
    /// From the folder asked for, `$DOCKER_CONFIG` or `~/.docker`. A file that cannot be read is warned of and counts as empty.
    pub fn load(folder: Option<PathBuf>) -> Self {
        let folder = folder
            .or_else(|| set("DOCKER_CONFIG").map(PathBuf::from))
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".docker")));
        let mut config = Self { folder, keys: Map::new() };
        let Some(path) = config.path() else { return config };
        let read = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                format!("not valid JSON at line {}, column {}", error.line(), error.column())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return config,
            Err(error) => Err(crate::values::pairs::io_words(&error)),
        };
        match read {
            Ok(keys) => config.keys = keys,
            Err(why) => {
                warn(format!("WARNING: Error loading config file: {}: {why}", path.display()));
            }
        }
        config
    }

    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    pub fn path(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join("config.json"))
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// What a flag says, or else the user's setting; empty: Docker's keys.
    pub fn detach_keys(&self, flag: &str) -> String {
        if flag.is_empty() { self.text("detachKeys").unwrap_or_default() } else { flag.into() }
    }

    pub fn ps_format(&self) -> Option<String> {
        self.text("psFormat")
    }

    /// Sets a key, or takes it away.
    pub fn set(&mut self, key: &str, value: Option<Value>) {
        match value {
            Some(value) => self.keys.insert(key.into(), value),
            None => self.keys.remove(key),
        };
    }

    /// Writes the file whole or not at all; only its owner may read it.
    pub fn save(&self) -> Outcome {
        let path = self.path().ok_or_else(|| {
            Failure::new("no place for the configuration: neither DOCKER_CONFIG nor HOME is set")
        })?;
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        serde::Serialize::serialize(&self.keys, &mut serializer)
            .map_err(|error| Failure::new(format!("failed to write the configuration: {error}")))?;
        write_whole(&path, &text)
    }
}

/// A file that is there whole or as it was before.
fn write_whole(path: &Path, text: &[u8]) -> Outcome {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error: std::io::Error| {
        Failure::new(format!("failed to write {}: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&partial);
        failed(error)
    })
}
