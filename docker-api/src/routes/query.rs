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
    pub status: String,
    pub rollback: String,
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
