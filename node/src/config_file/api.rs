//! Where the API is served.

use serde_json::{Map, Value};

use super::ConfigError;
use super::given::Given;
use crate::listen::{ApiConfig, ApiOptions};

/// Where the API is served, and to whom.
pub fn api_options(keys: &Map<String, Value>) -> Result<ApiConfig, ConfigError> {
    let mut options = ApiOptions::default();
    for (key, value) in keys {
        let value = Given { key, value };
        match key.as_str() {
            "hosts" => options.hosts = value.texts()?,
            "group" => options.group = Some(value.text()?.to_owned()),
            "tls" => options.tls = Some(value.truth()?),
            "tlsverify" => options.tls_verify = Some(value.truth()?),
            "tlscacert" => options.ca = Some(value.text()?.into()),
            "tlscert" => options.certificate = Some(value.text()?.into()),
            "tlskey" => options.key = Some(value.text()?.into()),
            _ => {}
        }
    }
    ApiConfig::new(options).map_err(|error| ConfigError::Value(error.to_string()))
}
