//! What may change while the daemon runs, and what of it a reload changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Map, Value};
use skep_containers::Defaults;
use skep_images::{Proxies, RegistryConfig};
use skep_types::privilege::Privilege;
use skep_types::resources::GenericResource;

use super::cleanup::ImageCleanup;
use super::given::Given;
use super::{ConfigError, containers};
use crate::config::CERTS_DIR;

/// Docker's, in seconds.
const SHUTDOWN_TIMEOUT_S: i64 = 15;
/// The runtime's names; the second is containerd's.
const RUNTIMES: &[&str] = &["runc", "io.containerd.runc.v2"];

/// How much the daemon says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" => Ok(Self::Warn),
            // The daemon ends at its first fatal error; there is nothing between.
            "error" | "fatal" => Ok(Self::Error),
            _ => Err(format!("invalid logging level: {text}")),
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Settings {
    pub debug: bool,
    pub log_level: LogLevel,
    pub labels: Vec<String>,
    pub registries: RegistryConfig,
    /// When images go by themselves; none: they never do.
    pub image_cleanup: Option<ImageCleanup>,
    pub containers: Defaults,
    pub default_runtime: String,
    /// Containers go on without the daemon, so that nothing waits for it; it is told of a reload.
    pub shutdown_timeout_s: i64,
    pub experimental: bool,
    pub features: BTreeMap<String, bool>,
    /// What this node has to give beside CPUs and memory.
    pub generic: Vec<GenericResource>,
    /// What services may ask of this node.
    pub allowed: BTreeSet<Privilege>,
    /// What a swarm is told this node's address is, when it is told nothing else.
    pub advertise_addr: String,
}

impl Settings {
    /// What the keys say.
    ///
    /// # Errors
    /// A value that is none, in Docker's words.
    pub fn of(keys: &Map<String, Value>) -> Result<Self, ConfigError> {
        let mut made = Self {
            debug: false,
            log_level: LogLevel::Info,
            labels: Vec::new(),
            registries: RegistryConfig {
                ca_dir: Some(PathBuf::from(CERTS_DIR)),
                ..RegistryConfig::default()
            },
            image_cleanup: None,
            containers: containers::defaults(keys)?,
            default_runtime: RUNTIMES[0].to_owned(),
            shutdown_timeout_s: SHUTDOWN_TIMEOUT_S,
            experimental: false,
            features: BTreeMap::new(),
            generic: Vec::new(),
            allowed: BTreeSet::new(),
            advertise_addr: String::new(),
        };
        for (key, value) in keys {
            made.apply(&Given { key, value })?;
        }
        check_labels(&made.labels)?;
        Ok(made)
    }

    fn apply(&mut self, given: &Given<'_>) -> Result<(), ConfigError> {
        let registries = &mut self.registries;
        let refuse = |text: String| Err(ConfigError::Value(text));
        match given.key {
            "debug" => self.debug = given.truth()?,
            "log-level" => {
                self.log_level = given.text()?.parse().map_err(ConfigError::Value)?;
            }
            "labels" => self.labels = given.texts()?,
            "insecure-registries" => registries.insecure = given.texts()?,
            "registry-mirrors" => {
                let mirrors = given.texts()?;
                let mirrors = mirrors.iter().map(|text| text.parse());
                registries.mirrors = mirrors
                    .collect::<Result<_, skep_images::MirrorError>>()
                    .map_err(|error| ConfigError::Value(error.to_string()))?;
            }
            "image-cleanup" => self.image_cleanup = Some(ImageCleanup::read(given)?),
            "certs-dir" => registries.ca_dir = Some(given.text()?.into()),
            "max-concurrent-downloads" => {
                count(given, "downloads", &mut registries.transfers.downloads)?;
            }
            "max-concurrent-uploads" => {
                count(given, "uploads", &mut registries.transfers.uploads)?;
            }
            "max-download-attempts" => match given.number::<u32>() {
                // As in Docker, zero is the default.
                Ok(0) => {}
                Ok(attempts) => registries.transfers.attempts = attempts,
                Err(_) => {
                    return refuse(format!("invalid max download attempts: {}", given.value));
                }
            },
            "http-proxy" | "https-proxy" | "no-proxy" => {
                proxy(&mut registries.proxies, given)?;
            }
            "proxies" => {
                for (key, value) in given.map()? {
                    proxy(&mut registries.proxies, &Given { key: &key, value: &value.into() })?;
                }
            }
            "default-runtime" => {
                let name = given.text()?;
                if !RUNTIMES.contains(&name) {
                    return refuse(format!("specified default runtime '{name}' does not exist"));
                }
                name.clone_into(&mut self.default_runtime);
            }
            "shutdown-timeout" => self.shutdown_timeout_s = given.number()?,
            "experimental" => self.experimental = given.truth()?,
            "features" => self.features = features(given)?,
            "allow-service-privileges" => self.allowed = allowed(given)?,
            "node-generic-resources" => self.generic = generic(&given.texts()?)?,
            "swarm-default-advertise-addr" => given.text()?.clone_into(&mut self.advertise_addr),
            "exec-opts" => exec_opts(&given.texts()?)?,
            // Another room's.
            _ => {}
        }
        Ok(())
    }

    /// What stands after a reload: Docker's list. The rest waits for the next start.
    pub fn reloaded(&self, new: Self) -> Self {
        let Self {
            debug,
            log_level: _,
            labels,
            registries,
            image_cleanup,
            containers,
            default_runtime,
            shutdown_timeout_s,
            experimental: _,
            features,
            generic: _,
            allowed: _,
            advertise_addr: _,
        } = new;
        let mut next = self.clone();
        next.image_cleanup = image_cleanup;
        let certificates = next.registries.ca_dir.take();
        let proxies = std::mem::take(&mut next.registries.proxies);
        next.registries = RegistryConfig { ca_dir: certificates, proxies, ..registries };
        next.containers.shm_bytes = containers.shm_bytes;
        next.containers.ipc_mode = containers.ipc_mode;
        next.containers.cgroupns_mode = containers.cgroupns_mode;
        Self { debug, labels, default_runtime, shutdown_timeout_s, features, ..next }
    }

    /// What the event of a reload tells.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let json = |items: &[String]| Value::from(items.to_vec()).to_string();
        let mirrors: Vec<String> = self.mirrors();
        let RegistryConfig { insecure, transfers, .. } = &self.registries;
        let features: Vec<String> =
            self.features.iter().map(|(name, on)| format!("{name}:{on}")).collect();
        [
            ("debug", self.debug.to_string()),
            ("default-cgroupns-mode", self.containers.cgroupns_mode.clone()),
            ("default-ipc-mode", self.containers.ipc_mode.clone()),
            ("default-runtime", self.default_runtime.clone()),
            ("default-shm-size", self.containers.shm_bytes.to_string()),
            ("features", format!("map[{}]", features.join(" "))),
            ("insecure-registries", json(insecure)),
            ("labels", json(&self.labels)),
            ("live-restore", "true".to_owned()),
            ("max-concurrent-downloads", transfers.downloads.to_string()),
            ("max-concurrent-uploads", transfers.uploads.to_string()),
            ("max-download-attempts", transfers.attempts.to_string()),
            ("registry-mirrors", json(&mirrors)),
            ("runtimes", "runc".to_owned()),
            ("shutdown-timeout", self.shutdown_timeout_s.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// As `docker info` shows them.
    pub fn mirrors(&self) -> Vec<String> {
        self.registries.mirrors.iter().map(ToString::to_string).collect()
    }

    /// Labels by name, as a swarm knows them.
    pub fn labels_by_name(&self) -> BTreeMap<String, String> {
        let pairs = self.labels.iter().filter_map(|label| label.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// What is said, in the words of `tracing-subscriber`.
    pub fn log_filter(&self) -> String {
        const ROOMS: &[&str] = &[
            "node",
            "manager",
            "agent",
            "raft",
            "engine",
            "images",
            "overlay_net",
            "docker_api",
            "bridge",
        ];
        if let Ok(said) = std::env::var("SKEP_LOG") {
            return said;
        }
        let level = match (self.debug, self.log_level) {
            (true, _) | (_, LogLevel::Debug) => "debug",
            (_, LogLevel::Info) => "info",
            (_, LogLevel::Warn) => "warn",
            (_, LogLevel::Error) => "error",
        };
        // The libraries beneath speak of their own affairs: only their troubles are of interest.
        let filters = ROOMS.iter().map(|room| format!("skep_{room}={level}"));
        std::iter::once("warn".to_owned()).chain(filters).collect::<Vec<_>>().join(",")
    }
}

fn count(given: &Given<'_>, what: &str, to: &mut usize) -> Result<(), ConfigError> {
    match given.number::<usize>() {
        // As in Docker, zero is the default.
        Ok(0) => {}
        Ok(count) => *to = count,
        Err(_) => {
            let text = format!("invalid max concurrent {what}: {}", given.value);
            return Err(ConfigError::Value(text));
        }
    }
    Ok(())
}

fn proxy(proxies: &mut Proxies, given: &Given<'_>) -> Result<(), ConfigError> {
    let value = Some(given.text()?.to_owned()).filter(|it| !it.is_empty());
    match given.key {
        "http-proxy" => proxies.http = value,
        "https-proxy" => proxies.https = value,
        "no-proxy" => proxies.except = value,
        _ => return Err(given.wrong()),
    }
    Ok(())
}

fn check_labels(labels: &[String]) -> Result<(), ConfigError> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for label in labels {
        let Some((name, value)) = label.split_once('=') else {
            return Err(ConfigError::Value(format!("bad attribute format: {label}")));
        };
        if let Some(before) = seen.insert(name, value)
            && before != value
        {
            return Err(ConfigError::Value(format!(
                "conflict labels for {name}={before} and {name}={value}"
            )));
        }
    }
    Ok(())
}

fn features(given: &Given<'_>) -> Result<BTreeMap<String, bool>, ConfigError> {
    let entries = given.value.as_object().ok_or_else(|| given.wrong())?;
    let mut made = BTreeMap::new();
    for (name, on) in entries {
        let on = on.as_bool().ok_or_else(|| given.wrong())?;
        // `buildkit` is for clients: it says by whom they want images built. `cdi` is on by itself.
        if on && !matches!(name.as_str(), "buildkit" | "cdi") {
            return Err(ConfigError::Value(format!("features: {name} is not supported")));
        }
        made.insert(name.clone(), on);
    }
    Ok(made)
}

fn exec_opts(options: &[String]) -> Result<(), ConfigError> {
    for option in options {
        let refusal = match option.split_once('=') {
            Some(("native.cgroupdriver", "cgroupfs")) => continue,
            Some(("native.cgroupdriver", driver)) => format!(
                "exec-opt native.cgroupdriver={driver} is not supported: containers' cgroups are \
                 made by the daemon itself (cgroupfs)"
            ),
            _ => format!("invalid exec-opt: {option}"),
        };
        return Err(ConfigError::Value(refusal));
    }
    Ok(())
}

fn allowed(given: &Given<'_>) -> Result<BTreeSet<Privilege>, ConfigError> {
    let privilege = |word: &String| {
        let known = Privilege::of_word(word);
        known.ok_or_else(|| {
            let why = "expected devices, gpus or privileged";
            ConfigError::Value(format!("invalid value for {}: {word}: {why}", given.key))
        })
    };
    given.texts()?.iter().map(privilege).collect()
}

fn generic(given: &[String]) -> Result<Vec<GenericResource>, ConfigError> {
    skep_types::generic::parse(given.iter().map(String::as_str))
        .map_err(|error| ConfigError::Value(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(file: Value) -> Result<Settings, String> {
        Settings::of(file.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_services_may_ask_is_told_to_the_swarm() {
        let told = |file: Value| {
            let labels = crate::host::describe(&read(file).unwrap()).engine_labels;
            labels.get(skep_types::privilege::ALLOWED).cloned()
        };
        assert_eq!(told(json!({})), None);
        let all = json!({ "allow-service-privileges": ["privileged", "gpus", "devices"] });
        assert_eq!(told(all).as_deref(), Some("devices,gpus,privileged"));
        // A label alone allows nothing.
        let label = format!("{}=privileged", skep_types::privilege::ALLOWED);
        assert_eq!(told(json!({ "labels": [label] })), None);
        let error = read(json!({ "allow-service-privileges": ["all"] })).unwrap_err();
        let expected = "invalid value for allow-service-privileges: all: \
                        expected devices, gpus or privileged";
        assert_eq!(error, expected);
    }

    #[test]
    fn devices_are_described_where_it_is_said() {
        let cdi = |file: Value| {
            let cdi = read(file).unwrap().containers.cdi;
            let directories = cdi.directories.iter().map(|it| it.display().to_string());
            (cdi.enabled, directories.collect::<Vec<_>>().join(" "))
        };
        let usual = "/etc/cdi /var/run/cdi".to_owned();
        assert_eq!(cdi(json!({})), (true, usual.clone()));
        assert_eq!(cdi(json!({ "features": { "cdi": true } })), (true, usual.clone()));
        assert_eq!(cdi(json!({ "features": { "cdi": false } })), (false, usual));
        assert_eq!(cdi(json!({ "cdi-spec-dirs": ["/a", "/b"] })), (true, "/a /b".to_owned()));
        assert_eq!(cdi(json!({ "cdi-spec-dirs": [""] })), (true, String::new()));
    }

    #[test]
    fn a_reload_changes_what_dockers_does() {
        let before = read(json!({ "log-level": "warn", "labels": ["a=b"], "init": true })).unwrap();
        let new = json!({
            "debug": true, "labels": ["tier=db"], "insecure-registries": ["r:1"], "init": false,
            "registry-mirrors": ["http://m"], "max-concurrent-downloads": 7,
            "default-shm-size": "1m", "experimental": true,
        });
        let after = before.reloaded(read(new).unwrap());
        let told = after.attributes();
        assert_eq!(told["labels"], r#"["tier=db"]"#);
        assert_eq!(told["registry-mirrors"], r#"["http://m/"]"#);
        assert_eq!(
            (told["max-concurrent-downloads"].as_str(), told["debug"].as_str()),
            ("7", "true")
        );
        assert_eq!(after.containers.shm_bytes, 1 << 20);
        assert!(after.containers.init && !after.experimental, "these wait for the next start");
        assert!(
            after.log_filter().contains("skep_node=debug") || std::env::var("SKEP_LOG").is_ok()
        );
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for (file, why) in [
            (json!({ "labels": ["bee"] }), "bad attribute format: bee"),
            (json!({ "labels": ["a=1", "a=2"] }), "conflict labels for a=1 and a=2"),
            (json!({ "registry-mirrors": ["ftp://m"] }), "invalid mirror: unsupported scheme"),
            (json!({ "max-concurrent-downloads": -1 }), "invalid max concurrent downloads: -1"),
            (json!({ "max-download-attempts": -1 }), "invalid max download attempts: -1"),
            (
                json!({ "default-runtime": "kata" }),
                "specified default runtime 'kata' does not exist",
            ),
            (json!({ "log-level": "loud" }), "invalid logging level: loud"),
            (json!({ "features": { "beer": true } }), "features: beer is not supported"),
            (json!({ "exec-opts": ["native.cgroupdriver=systemd"] }), "is not supported"),
            (json!({ "exec-opts": ["bee=1"] }), "invalid exec-opt: bee=1"),
            (json!({ "proxies": { "bee": "x" } }), "invalid value for bee: x"),
        ] {
            let said = read(file).map(drop).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let kept = read(json!({ "node-generic-resources": ["gpu=a", "gpu=b", "ssd=2"] })).unwrap();
        assert_eq!(kept.generic.len(), 3);
    }
}
