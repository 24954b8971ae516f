//! Secrets and configs. A secret's bytes go in and never come out; a config's do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use skep_types::{Annotations, Config, ConfigSpec, Payload, Secret, SecretSpec};

use super::{Answer, timestamp, unsupported, version};
use crate::error::ApiError;
use crate::json;

/// The bytes of a payload; the text is not repeated in the error, for it may be a secret.
fn decode(kind: &str, name: &str, data: &str) -> Answer<Payload> {
    let bytes = STANDARD.decode(data).map_err(|_| {
        ApiError::invalid(format!("invalid data of {kind} {name}: expected base64"))
    })?;
    Ok(Payload(bytes.into()))
}

/// Reads a secret's spec. Errors: a driver, a template, or data that is not base64.
pub fn secret_spec_from_api(spec: &json::SecretSpec) -> Answer<SecretSpec> {
    let name = &spec.name;
    if spec.driver.is_some() {
        return Err(unsupported(format!("secret {name}: a driver")));
    }
    if spec.templating.is_some() {
        return Err(unsupported(format!("secret {name}: templating")));
    }
    Ok(SecretSpec {
        annotations: Annotations { name: name.clone(), labels: spec.labels.clone() },
        data: decode("secret", name, &spec.data)?,
    })
}

/// Writes a secret without its data.
pub fn secret_to_api(secret: &Secret) -> json::Secret {
    json::Secret {
        id: secret.id.to_string(),
        version: version(&secret.meta),
        created_at: timestamp(secret.meta.created_at),
        updated_at: timestamp(secret.meta.updated_at),
        spec: json::SecretSpec {
            name: secret.spec.annotations.name.clone(),
            labels: secret.spec.annotations.labels.clone(),
            ..Default::default()
        },
    }
}

/// Reads a config's spec. Errors: a template, or data that is not base64.
pub fn config_spec_from_api(spec: &json::ConfigSpec) -> Answer<ConfigSpec> {
    let name = &spec.name;
    if spec.templating.is_some() {
        return Err(unsupported(format!("config {name}: templating")));
    }
    Ok(ConfigSpec {
        annotations: Annotations { name: name.clone(), labels: spec.labels.clone() },
        data: decode("config", name, &spec.data)?,
    })
}

/// Writes a config with its data.
pub fn config_to_api(config: &Config) -> json::Config {
    json::Config {
        id: config.id.to_string(),
        version: version(&config.meta),
        created_at: timestamp(config.meta.created_at),
        updated_at: timestamp(config.meta.updated_at),
        spec: json::ConfigSpec {
            name: config.spec.annotations.name.clone(),
            labels: config.spec.annotations.labels.clone(),
            data: STANDARD.encode(&config.spec.data.0),
            ..Default::default()
        },
    }
}
