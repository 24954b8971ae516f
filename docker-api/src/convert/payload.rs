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

/// Docker's name for templates in Go's language, the only ones there are.
const TEMPLATES: &str = "golang";

fn is_template(kind: &str, name: &str, driver: Option<&json::Driver>) -> Answer<bool> {
    match driver {
        None => Ok(false),
        Some(driver) if driver.name == TEMPLATES && driver.options.is_empty() => Ok(true),
        Some(driver) => Err(unsupported(format!(
            "{kind} {name}: template driver {:?} (expected {TEMPLATES:?} without options)",
            driver.name
        ))),
    }
}

fn templating(is_template: bool) -> Option<json::Driver> {
    is_template.then(|| json::Driver { name: TEMPLATES.to_owned(), ..Default::default() })
}

/// Reads a secret's spec. Errors: a driver, a foreign template, or data that is not base64.
pub fn secret_spec_from_api(spec: &json::SecretSpec) -> Answer<SecretSpec> {
    let name = &spec.name;
    if spec.driver.is_some() {
        return Err(unsupported(format!("secret {name}: a driver")));
    }
    Ok(SecretSpec {
        annotations: Annotations { name: name.clone(), labels: spec.labels.clone() },
        data: decode("secret", name, &spec.data)?,
        template: is_template("secret", name, spec.templating.as_ref())?,
    })
}

/// Writes a secret to be made, with its data.
pub fn secret_spec_to_api(spec: &SecretSpec) -> json::SecretSpec {
    json::SecretSpec {
        name: spec.annotations.name.clone(),
        labels: spec.annotations.labels.clone(),
        data: STANDARD.encode(&spec.data.0),
        driver: None,
        templating: templating(spec.template),
    }
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
            templating: templating(secret.spec.template),
            ..Default::default()
        },
    }
}

/// Reads a config's spec. Errors: a foreign template, or data that is not base64.
pub fn config_spec_from_api(spec: &json::ConfigSpec) -> Answer<ConfigSpec> {
    let name = &spec.name;
    Ok(ConfigSpec {
        annotations: Annotations { name: name.clone(), labels: spec.labels.clone() },
        data: decode("config", name, &spec.data)?,
        template: is_template("config", name, spec.templating.as_ref())?,
    })
}

/// Writes what is asked of a config.
pub fn config_spec_to_api(spec: &ConfigSpec) -> json::ConfigSpec {
    json::ConfigSpec {
        name: spec.annotations.name.clone(),
        labels: spec.annotations.labels.clone(),
        data: STANDARD.encode(&spec.data.0),
        templating: templating(spec.template),
    }
}

/// Writes a config with its data.
pub fn config_to_api(config: &Config) -> json::Config {
    json::Config {
        id: config.id.to_string(),
        version: version(&config.meta),
        created_at: timestamp(config.meta.created_at),
        updated_at: timestamp(config.meta.updated_at),
        spec: config_spec_to_api(&config.spec),
    }
}
