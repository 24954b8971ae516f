//! Contexts: names for daemons, kept where Docker keeps them.
//!
//! A context is `contexts/meta/<digest of its name>/meta.json`, its certificates are `contexts/tls/<digest>/docker/*.pem`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::write_whole;
use crate::failure::{Failure, Outcome};

/// The context that flags and variables make.
pub const DEFAULT: &str = "default";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Metadata", default)]
    pub metadata: Map<String, Value>,
    #[serde(rename = "Endpoints", default)]
    pub endpoints: BTreeMap<String, Map<String, Value>>,
}

/// Certificates by file name: `ca.pem`, `cert.pem`, `key.pem`.
pub type Material = BTreeMap<String, Vec<u8>>;

impl Context {
    pub fn new(name: &str, host: &str) -> Self {
        let mut context = Self { name: name.into(), ..Default::default() };
        context.set_host(host, false);
        context
    }

    pub fn description(&self) -> String {
        self.metadata.get("Description").and_then(Value::as_str).unwrap_or_default().into()
    }

    pub fn describe(&mut self, text: &str) {
        match text {
            "" => self.metadata.remove("Description"),
            text => self.metadata.insert("Description".into(), text.into()),
        };
    }

    pub fn host(&self) -> &str {
        let endpoint = self.endpoints.get("docker").and_then(|docker| docker.get("Host"));
        endpoint.and_then(Value::as_str).unwrap_or_default()
    }

    pub fn skips_verification(&self) -> bool {
        let endpoint = self.endpoints.get("docker").and_then(|docker| docker.get("SkipTLSVerify"));
        endpoint.and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn set_host(&mut self, host: &str, skip_verification: bool) {
        let docker = self.endpoints.entry("docker".into()).or_default();
        docker.insert("Host".into(), host.into());
        docker.insert("SkipTLSVerify".into(), skip_verification.into());
    }
}

/// Letters, digits and `_.+-`, the first of them a letter or digit, two at least.
pub fn check_name(name: &str) -> Outcome {
    if name == DEFAULT {
        return Err(Failure::new("\"default\" is a reserved context name"));
    }
    let word = |c: char| c.is_ascii_alphanumeric();
    let fits = name.len() >= 2
        && name.starts_with(word)
        && name.chars().all(|c| word(c) || "_.+-".contains(c));
    match (name, fits) {
        ("", _) => Err(Failure::new("context name cannot be empty")),
        (_, true) => Ok(()),
        (_, false) => Err(Failure::new(format!(
            "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        ))),
    }
}

/// All contexts but the default one.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

fn hex(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Store {
    pub fn new(config_folder: &Path) -> Self {
        Self { folder: config_folder.join("contexts") }
    }

    pub fn meta_folder(&self, name: &str) -> PathBuf {
        self.folder.join("meta").join(hex(name))
    }

    pub fn tls_folder(&self, name: &str) -> PathBuf {
        self.folder.join("tls").join(hex(name))
    }

    fn read(path: &Path) -> Outcome<Option<Context>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::new(format!("failed to read {}: {error}", path.display())));
            }
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Failure::new(format!("parsing {}: {error}", path.display())))
    }

    pub fn get(&self, name: &str) -> Outcome<Option<Context>> {
        Self::read(&self.meta_folder(name).join("meta.json"))
    }

    /// As [`Self::get`], for what must be there.
    pub fn expect(&self, name: &str) -> Outcome<Context> {
        self.get(name)?.ok_or_else(|| {
            let path = self.meta_folder(name).join("meta.json");
            Failure::new(format!(
                "context {name:?}: context not found: open {}: no such file or directory",
                path.display()
            ))
        })
    }

    /// In the order of their names, as people count.
    pub fn list(&self) -> Outcome<Vec<Context>> {
        let mut found = Vec::new();
        let Ok(entries) = std::fs::read_dir(self.folder.join("meta")) else { return Ok(found) };
        for entry in entries.flatten() {
            found.extend(Self::read(&entry.path().join("meta.json"))?);
        }
        found.sort_by(|a, b| crate::output::natural::compare(&a.name, &b.name));
        Ok(found)
    }

    pub fn put(&self, context: &Context) -> Outcome {
        let text = serde_json::to_vec(context).expect("a context always serialises");
        write_whole(&self.meta_folder(&context.name).join("meta.json"), &text)
    }

    pub fn material(&self, name: &str) -> Material {
        let folder = self.tls_folder(name).join("docker");
        let read = |file: &str| {
            std::fs::read(folder.join(file)).ok().map(|bytes| (file.to_owned(), bytes))
        };
        ["ca.pem", "cert.pem", "key.pem"].into_iter().filter_map(read).collect()
    }

    /// Exactly these certificates.
    pub fn put_material(&self, name: &str, material: &Material) -> Outcome {
        let folder = self.tls_folder(name);
        remove(&folder)?;
        for (file, bytes) in material {
            write_whole(&folder.join("docker").join(file), bytes)?;
        }
        Ok(())
    }

    pub fn remove(&self, name: &str) -> Outcome {
        remove(&self.meta_folder(name))?;
        remove(&self.tls_folder(name))
    }

    /// What `context inspect` shows.
    pub fn shown(&self, context: &Context) -> Value {
        let files: Vec<String> = self.material(&context.name).into_keys().collect();
        let mut material = Map::new();
        if !files.is_empty() {
            material.insert("docker".into(), files.into());
        }
        json!({
            "Name": context.name,
            "Metadata": context.metadata,
            "Endpoints": context.endpoints,
            "TLSMaterial": material,
            "Storage": {
                "MetadataPath": self.meta_folder(&context.name),
                "TLSPath": self.tls_folder(&context.name),
            },
        })
    }
}

fn remove(folder: &Path) -> Outcome {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("failed to remove {}: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}
