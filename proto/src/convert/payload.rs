//! Secrets and configs. Their data is never shown by an error here.

use std::sync::Arc;

use skep_types::{Config, ConfigId, ConfigSpec, Payload, Secret, SecretId, SecretSpec};

use super::error::ConvertError;
use super::field::{CompactId, absent, id, or_default, part};
use crate::{state, swarmkit};

pub(super) fn bytes(payload: &Payload) -> Vec<u8> {
    payload.0.to_vec()
}

pub(super) fn payload(bytes: Vec<u8>) -> Payload {
    Payload(Arc::from(bytes))
}

/// SwarmKit's name for templates in Go's language, the only ones there are.
const TEMPLATES: &str = "golang";

fn template(is_one: bool) -> Option<swarmkit::Driver> {
    is_one.then(|| swarmkit::Driver { name: TEMPLATES.to_owned(), ..Default::default() })
}

fn is_template(driver: Option<swarmkit::Driver>) -> Result<bool, ConvertError> {
    let known = driver.as_ref().is_none_or(|it| it.name == TEMPLATES && it.options.is_empty());
    absent(known, "a template of another language", "templating")?;
    Ok(driver.is_some())
}

impl From<&SecretSpec> for swarmkit::SecretSpec {
    fn from(spec: &SecretSpec) -> Self {
        Self {
            annotations: Some((&spec.annotations).into()),
            data: bytes(&spec.data),
            templating: template(spec.template),
            driver: None,
        }
    }
}

impl TryFrom<swarmkit::SecretSpec> for SecretSpec {
    type Error = ConvertError;

    fn try_from(message: swarmkit::SecretSpec) -> Result<Self, ConvertError> {
        absent(message.driver.is_none(), "a secret's driver", "driver")?;
        Ok(Self {
            annotations: part(message.annotations, "annotations")?,
            data: payload(message.data),
            template: is_template(message.templating)?,
        })
    }
}

impl From<&ConfigSpec> for swarmkit::ConfigSpec {
    fn from(spec: &ConfigSpec) -> Self {
        Self {
            annotations: Some((&spec.annotations).into()),
            data: bytes(&spec.data),
            templating: template(spec.template),
        }
    }
}

impl TryFrom<swarmkit::ConfigSpec> for ConfigSpec {
    type Error = ConvertError;

    fn try_from(message: swarmkit::ConfigSpec) -> Result<Self, ConvertError> {
        Ok(Self {
            annotations: part(message.annotations, "annotations")?,
            data: payload(message.data),
            template: is_template(message.templating)?,
        })
    }
}

macro_rules! objects {
    ($($object:ident, $id:ident;)*) => {$(
        impl From<&$object> for state::$object {
            fn from(object: &$object) -> Self {
                Self {
                    id: object.id.to_bytes(),
                    meta: Some((&object.meta).into()),
                    spec: Some((&object.spec).into()),
                }
            }
        }

        impl TryFrom<state::$object> for $object {
            type Error = ConvertError;

            fn try_from(message: state::$object) -> Result<Self, ConvertError> {
                Ok(Self {
                    id: $id::from_bytes(&message.id, "id")?,
                    meta: part(message.meta, "meta")?,
                    spec: part(message.spec, "spec")?,
                })
            }
        }

        impl TryFrom<swarmkit::$object> for $object {
            type Error = ConvertError;

            fn try_from(message: swarmkit::$object) -> Result<Self, ConvertError> {
                Ok(Self {
                    id: id(&message.id, "id")?,
                    meta: or_default(message.meta, "meta")?,
                    spec: part(message.spec, "spec")?,
                })
            }
        }
    )*};
}

objects! {
    Secret, SecretId;
    Config, ConfigId;
}

impl From<&Secret> for swarmkit::Secret {
    fn from(secret: &Secret) -> Self {
        Self {
            id: secret.id.to_string(),
            meta: Some((&secret.meta).into()),
            spec: Some((&secret.spec).into()),
            internal: false,
        }
    }
}

impl From<&Config> for swarmkit::Config {
    fn from(config: &Config) -> Self {
        Self {
            id: config.id.to_string(),
            meta: Some((&config.meta).into()),
            spec: Some((&config.spec).into()),
        }
    }
}
