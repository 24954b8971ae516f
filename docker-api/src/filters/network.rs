//! Which networks a list shows: the filters of `GET /networks`, checked once, then asked for every network.

use super::{Filters, Patterns};
use crate::error::ApiError;
use crate::json::Network;

/// The filters of `GET /networks`: dangling, driver, id, label, name, scope, type. Names and ids are patterns, as in Docker.
#[derive(Debug, Clone)]
pub struct NetworkFilter {
    filters: Filters,
    names: Patterns,
    ids: Patterns,
    dangling: Option<bool>,
}

impl NetworkFilter {
    pub fn new(filters: &Filters) -> Result<Self, ApiError> {
        filters.only(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        if let Some(other) =
            filters.values("type").find(|kind| !matches!(*kind, "builtin" | "custom"))
        {
            return Err(ApiError::invalid(format!("invalid filter: 'type'='{other}'")));
        }
        Ok(Self {
            names: Patterns::new(filters, "name"),
            ids: Patterns::new(filters, "id"),
            dangling: filters.truth("dangling")?,
            filters: filters.clone(),
        })
    }

    /// Whether a list shows the network; `in_use` says whether any container or service is on it.
    pub fn matches(&self, network: &Network, in_use: bool) -> bool {
        // The names Docker makes by itself.
        let builtin = matches!(network.name.as_str(), "bridge" | "host" | "none" | "default");
        let dangling = !builtin && !in_use;
        self.filters.exact("driver", &network.driver)
            && self.filters.exact("scope", &network.scope)
            && self.filters.exact("type", if builtin { "builtin" } else { "custom" })
            && self.filters.labels("label", &network.labels)
            && self.names.matches(&network.name)
            && self.ids.matches(&network.id)
            && self.dangling.is_none_or(|asked| asked == dangling)
    }
}
