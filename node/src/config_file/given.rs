//! One key with what was given for it, and how values are read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde_json::Value;

use super::ConfigError;

pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        other => other.to_string(),
    }
}

/// A key with what was given for it.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub key: &'a str,
    pub value: &'a Value,
}

impl Given<'_> {
    pub fn wrong(&self) -> ConfigError {
        ConfigError::Value(format!("invalid value for {}: {}", self.key, shown(self.value)))
    }

    pub fn text(&self) -> Result<&str, ConfigError> {
        self.value.as_str().ok_or_else(|| self.wrong())
    }

    pub fn truth(&self) -> Result<bool, ConfigError> {
        self.value.as_bool().ok_or_else(|| self.wrong())
    }

    /// A number within what fits.
    pub fn number<T: TryFrom<i64>>(&self) -> Result<T, ConfigError> {
        let number = self.value.as_i64().and_then(|it| T::try_from(it).ok());
        number.ok_or_else(|| self.wrong())
    }

    /// Texts by name.
    pub fn map(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let entries = self.value.as_object().ok_or_else(|| self.wrong())?;
        let text =
            |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        entries.iter().map(text).collect::<Option<_>>().ok_or_else(|| self.wrong())
    }

    /// Texts by name, by name.
    pub fn maps(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>, ConfigError> {
        let entries = self.value.as_object().ok_or_else(|| self.wrong())?;
        let inner = |(name, value): (&String, &Value)| {
            Ok((name.clone(), Given { key: self.key, value }.map()?))
        };
        entries.iter().map(inner).collect()
    }

    pub fn items(&self) -> Result<&[Value], ConfigError> {
        self.value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong())
    }

    pub fn texts(&self) -> Result<Vec<String>, ConfigError> {
        let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| self.wrong());
        self.items()?.iter().map(text).collect()
    }
}

pub fn parse<T>(key: &str, text: &str) -> Result<T, ConfigError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|error| ConfigError::Value(format!("invalid value for {key}: {text}: {error}")))
}
