//! Secrets and configs: named payloads that tasks read as files.

use std::fmt;
use std::sync::Arc;

use crate::{Annotations, ConfigId, Meta, SecretId};

/// Bytes whose content is never shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(pub Arc<[u8]>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// What a user asks of a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretSpec {
    pub annotations: Annotations,
    pub data: Payload,
    /// The data is a template, filled in for each task that reads it.
    pub template: bool,
}

/// A secret as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub id: SecretId,
    pub meta: Meta,
    pub spec: SecretSpec,
}

/// What a user asks of a config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigSpec {
    pub annotations: Annotations,
    pub data: Payload,
    /// The data is a template, filled in for each task that reads it.
    pub template: bool,
}

/// A config as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub id: ConfigId,
    pub meta: Meta,
    pub spec: ConfigSpec,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let spec = SecretSpec { data: Payload(b"hunter2".as_slice().into()), ..Default::default() };
        let shown = format!("{spec:?}");
        assert!(shown.contains("7 bytes") && !shown.contains("hunter2"), "{shown}");
    }
}
