//! `/images/search`: what a registry's index has.

use skep_docker_api::json::{RegistryAuth, SearchResult};
use skep_docker_api::{ApiError, Filters};

use super::{Answer, DaemonBackend, engine_error};

/// Docker's: how many are asked for where nobody says, and at most.
const LIMIT: u64 = 25;
const LIMIT_MAX: u64 = 100;

impl DaemonBackend {
    pub(super) async fn search_images(
        &self,
        term: &str,
        limit: u64,
        filters: Filters,
        auth: Option<RegistryAuth>,
    ) -> Answer<Vec<SearchResult>> {
        filters.only(&["is-automated", "is-official", "stars"])?;
        let automated = filters.truth("is-automated")?;
        let official = filters.truth("is-official")?;
        let mut stars = i64::MIN;
        for value in filters.values("stars") {
            let wanted: i64 = value
                .parse()
                .map_err(|_| ApiError::invalid(format!("invalid filter 'stars={value}'")))?;
            stars = stars.max(wanted);
        }
        let limit = match limit {
            0 => LIMIT,
            1..=LIMIT_MAX => limit,
            _ => {
                return Err(ApiError::invalid(format!(
                    "limit {limit} is outside the range of [1, {LIMIT_MAX}]"
                )));
            }
        };
        let options = self.registry_options(auth)?;
        // As in Docker: no index tells of automated builds any more.
        if automated == Some(true) {
            return Ok(Vec::new());
        }
        let found =
            skep_images::search(term, limit, &options.registries, options.auth.as_ref()).await;
        let found = found.map_err(engine_error::image)?.into_iter();
        let wanted = found.filter(|one| {
            official.is_none_or(|wanted| one.is_official == wanted) && one.star_count >= stars
        });
        let shown = wanted.map(|one| SearchResult {
            star_count: one.star_count,
            is_official: one.is_official,
            name: one.name,
            is_automated: false,
            description: one.description.unwrap_or_default(),
        });
        Ok(shown.collect())
    }
}
