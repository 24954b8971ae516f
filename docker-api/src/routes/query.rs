//! Every query parameter of the routes; each route reads its own.

use serde::Deserialize;

use crate::error::ApiError;
use crate::filters::Filters;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Params {
    pub filters: String,
    pub version: Option<String>,
    pub force: String,
    pub verbose: String,
    pub status: String,
    pub rollback: String,
    pub dry_run: String,
    pub registry_auth_from: String,
    pub insert_defaults: String,
    pub rotate_worker_token: String,
    pub rotate_manager_token: String,
    pub rotate_manager_unlock_key: String,
}

/// Docker's reading of a boolean in a query.
pub(super) fn truth(text: &str) -> bool {
    !matches!(text.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
}

impl Params {
    pub fn filters(&self) -> Result<Filters, ApiError> {
        Filters::parse(&self.filters)
    }

    pub fn version(&self, object: &str) -> Result<u64, ApiError> {
        let text = self.version.as_deref().unwrap_or_default();
        text.parse().map_err(|_| {
            ApiError::invalid(format!("invalid {object} version '{text}': expected a number"))
        })
    }
}

/// A query as it came, for routes whose parameters repeat or are many.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// The first value of a name; empty where there is none.
    pub fn one(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn truth(&self, name: &str) -> bool {
        truth(self.one(name))
    }

    /// [`Self::truth`], but for a name that is not there.
    pub fn truth_or(&self, name: &str, default: bool) -> bool {
        self.all(name).next().map_or(default, truth)
    }

    /// A number; none where it is not there or empty. `what` it is, is for the error.
    pub fn number<T: std::str::FromStr>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.one(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::invalid(format!("invalid {what} {text:?}: expected a number"))
            }),
        }
    }

    pub fn filters(&self) -> Result<Filters, ApiError> {
        Filters::parse(self.one("filters"))
    }
}
