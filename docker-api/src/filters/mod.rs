//! The `filters` query of list calls, in both forms Docker ever sent, and which objects each list shows.
//!
//! Invariant: a name that a list does not know is refused, never ignored.

mod engine;
mod event;
mod network;
mod pattern;
mod prune;
mod swarm;

pub use engine::{ContainerFacts, ContainerFilter, ImageFilter, VolumeFilter};
pub use event::EventFilter;
pub use network::NetworkFilter;
pub use pattern::Patterns;
pub use prune::PruneFilter;
pub use swarm::{NodeFilter, PayloadFilter, ServiceFilter, TaskFilter};

use std::collections::{BTreeMap, BTreeSet};

use crate::error::ApiError;

/// Filter name to the values asked for: an object must match one value of every name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(pub BTreeMap<String, BTreeSet<String>>);

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Set(BTreeMap<String, bool>),
}

impl Filters {
    /// Parses `{"name":["a"]}` or `{"name":{"a":true}}`; nothing is no filter.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let raw: BTreeMap<String, Values> =
            serde_json::from_str(text).map_err(|_| ApiError::invalid("invalid filter"))?;
        Ok(Self(
            raw.into_iter()
                .map(|(name, values)| {
                    let values = match values {
                        Values::List(list) => list.into_iter().collect(),
                        Values::Set(set) => {
                            set.into_iter().filter(|(_, on)| *on).map(|(v, _)| v).collect()
                        }
                    };
                    (name, values)
                })
                .collect(),
        ))
    }

    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.entry(name.into()).or_default().insert(value.into());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values asked for under a name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether there is no filter of that name, or one of its values passes the test.
    pub fn any(&self, name: &str, test: impl Fn(&str) -> bool) -> bool {
        self.0.get(name).is_none_or(|set| set.is_empty() || set.iter().any(|value| test(value)))
    }

    /// Whether `value` passes: no filter of that name, or one of its values is equal.
    pub fn exact(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_none_or(|set| set.is_empty() || set.contains(value))
    }

    /// Whether `value` starts with one of the values (Docker's rule for ids and names).
    pub fn prefix(&self, name: &str, value: &str) -> bool {
        self.any(name, |want| value.starts_with(want))
    }

    /// [`Self::exact`], but capitals do not matter.
    pub fn caseless(&self, name: &str, value: &str) -> bool {
        self.any(name, |want| want.eq_ignore_ascii_case(value))
    }

    /// Whether an id passes the `id` filter; its text is only made where there is one.
    pub fn id(&self, id: impl std::fmt::Display) -> bool {
        !self.0.contains_key("id") || self.prefix("id", &id.to_string())
    }

    /// Whether the labels have every `key` or `key=value` asked for under `name`.
    pub fn labels(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(name).all(|want| match want.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(want),
        })
    }

    /// Refuses values of `name` that are none of `words`, in Docker's words.
    pub fn known(&self, name: &str, words: &[&str]) -> Result<(), ApiError> {
        let foreign = |value: &&str| !words.iter().any(|word| word.eq_ignore_ascii_case(value));
        match self.values(name).find(foreign) {
            Some(value) => Err(ApiError::invalid(format!("Invalid {name} filter: '{value}'"))),
            None => Ok(()),
        }
    }

    /// The value of a filter that is true or false, where it is given.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let mut values = self.values(name);
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value,
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid(format!(
                    "got more than one value for filter key \"{name}\""
                )));
            }
        };
        match value {
            "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            _ => Err(ApiError::invalid(format!(
                "invalid value for filter '{name}', must be \"true\" (or \"1\"), or \"false\" (or \"0\")"
            ))),
        }
    }

    /// Refuses names that the list does not know, in Docker's words.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::invalid(format!("invalid filter '{name}'"))),
            None => Ok(()),
        }
    }

    /// The query's text, in the newer form.
    pub fn to_json(&self) -> String {
        let form: BTreeMap<_, BTreeMap<_, bool>> = self
            .0
            .iter()
            .map(|(name, set)| (name, set.iter().map(|value| (value, true)).collect()))
            .collect();
        serde_json::to_string(&form).expect("maps of strings always serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let old = Filters::parse(r#"{"role":["manager"]}"#).unwrap();
        let new = Filters::parse(r#"{"role":{"manager":true,"worker":false}}"#).unwrap();
        assert_eq!(old, new);
        assert_eq!(Filters::parse(&new.to_json()).unwrap(), new);
        assert!(new.exact("role", "manager") && !new.exact("role", "worker"));
        assert!(new.exact("name", "anything"));
        assert_eq!(Filters::parse("{nonsense").unwrap_err().message, "invalid filter");
        assert_eq!(new.only(&["id"]).unwrap_err().message, "invalid filter 'role'");
    }
}
