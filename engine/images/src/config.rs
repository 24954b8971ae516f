//! An image's configuration: what a container made from it is unless it is told otherwise.
//!
//! Shapes are those of the OCI image specification and of Docker, which also writes `null` for what
//! is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skep_types::container::HealthConfig;
use time::OffsetDateTime;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::LAYERS_MAX;
use crate::platform::Platform;

/// The defaults of containers made from an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "nullable")]
    pub user: String,
    /// `80/tcp`.
    #[serde(with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Absolute paths.
    #[serde(with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(with = "health", skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// A signal's name or number; empty for SIGTERM.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// What a command in shell form runs in; empty for `/bin/sh -c`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// One step by which an image came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub created: Option<OffsetDateTime>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub author: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The step made no layer.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The whole document; the digest of its bytes is the image's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(flatten)]
    pub platform: Platform,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub created: Option<OffsetDateTime>,
    #[serde(default, deserialize_with = "nullable")]
    pub author: String,
    #[serde(default, deserialize_with = "nullable")]
    pub config: ImageConfig,
    pub rootfs: Rootfs,
    #[serde(default, deserialize_with = "nullable")]
    pub history: Vec<History>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rootfs {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

impl Rootfs {
    pub(crate) fn of(diff_ids: Vec<Digest>) -> Self {
        Self { kind: "layers".to_owned(), diff_ids }
    }
}

impl ConfigFile {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let invalid =
            |reason: String| Error::Invalid { what: "image configuration".into(), reason };
        let config: Self =
            serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if config.rootfs.kind != "layers" {
            return Err(invalid(format!("root filesystem of type {:?}", config.rootfs.kind)));
        }
        if config.platform.os != "linux" {
            let os = &config.platform.os;
            return Err(invalid(format!("operating system {os:?} is not supported on linux")));
        }
        if config.rootfs.diff_ids.len() > LAYERS_MAX {
            return Err(Error::TooManyLayers);
        }
        Ok(config)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a configuration is plain data")
    }
}

/// `null` where there is nothing, as Go writes it.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Sets are written as objects whose values are empty objects.
mod keys {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Nothing {}

    pub(super) fn serialize<S: Serializer>(
        set: &BTreeSet<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(set.iter().map(|key| (key, Nothing {})))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        let map: BTreeMap<String, serde::de::IgnoredAny> = nullable(deserializer)?;
        Ok(map.into_keys().collect())
    }
}

/// Durations are written as nanoseconds.
mod health {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    #[derive(Default)]
    struct Shape {
        #[serde(deserialize_with = "nullable")]
        test: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        interval: u64,
        #[serde(skip_serializing_if = "is_zero")]
        timeout: u64,
        #[serde(skip_serializing_if = "is_zero")]
        start_period: u64,
        #[serde(skip_serializing_if = "is_zero")]
        start_interval: u64,
        retries: i64,
    }

    fn is_zero(value: &u64) -> bool {
        *value == 0
    }

    fn nanoseconds(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn serialize<S: Serializer>(
        health: &Option<HealthConfig>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let shape = health.as_ref().map(|health| Shape {
            test: health.test.clone(),
            interval: nanoseconds(health.interval),
            timeout: nanoseconds(health.timeout),
            start_period: nanoseconds(health.start_period),
            start_interval: nanoseconds(health.start_interval),
            retries: health.retries,
        });
        shape.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<HealthConfig>, D::Error> {
        let shape: Option<Shape> = Option::deserialize(deserializer)?;
        Ok(shape.map(|shape| HealthConfig {
            test: shape.test,
            interval: Duration::from_nanos(shape.interval),
            timeout: Duration::from_nanos(shape.timeout),
            retries: shape.retries,
            start_period: Duration::from_nanos(shape.start_period),
            start_interval: Duration::from_nanos(shape.start_interval),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_as_docker_writes_it_is_read() {
        let text = br#"{
            "architecture": "arm64", "variant": "v8", "os": "linux",
            "created": "2024-05-22T18:18:12.052034407Z",
            "container_config": {"Hostname": "x"},
            "config": {
                "Hostname": "", "User": "nginx", "AttachStdin": false, "OnBuild": null,
                "ExposedPorts": {"80/tcp": {}, "443/tcp": {}}, "Volumes": null,
                "Env": ["PATH=/bin", "A=b=c"], "Cmd": ["nginx", "-g", "daemon off;"],
                "Entrypoint": null, "WorkingDir": "/srv", "Labels": {"k": "v"},
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5000000000, "Retries": 3},
                "StopSignal": "SIGQUIT"
            },
            "rootfs": {"type": "layers", "diff_ids": null},
            "history": [{"created": "2024-05-22T18:18:12Z", "created_by": "ADD x", "empty_layer": true}]
        }"#;
        let file = ConfigFile::parse(text).unwrap();
        assert_eq!(file.platform.to_string(), "linux/arm64/v8");
        let config = &file.config;
        assert_eq!((config.user.as_str(), config.stop_signal.as_str()), ("nginx", "SIGQUIT"));
        assert!(config.exposed_ports.contains("443/tcp") && config.volumes.is_empty());
        assert_eq!(config.healthcheck.as_ref().unwrap().interval, Duration::from_secs(5));
        assert!(file.history[0].empty_layer);
        assert_eq!(ConfigFile::parse(&file.to_bytes()).unwrap(), file);
    }

    #[test]
    fn what_cannot_run_here_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = ConfigFile::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let rootfs = r#""rootfs": {"type": "layers", "diff_ids": []}"#;
        check(&format!(r#"{{"architecture":"amd64","os":"windows",{rootfs}}}"#), "windows");
        check("{}", "invalid image configuration");
        let many = format!("\"{}\",", Digest::of(b"")).repeat(126);
        let many = many.trim_end_matches(',');
        check(
            &format!(
                r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{many}]}}}}"#
            ),
            "max depth exceeded",
        );
    }
}
