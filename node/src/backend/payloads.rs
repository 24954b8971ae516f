//! `/secrets` and `/configs`.

use std::sync::Arc;

use skep_docker_api::Filters;
use skep_docker_api::convert::{
    config_spec_from_api, config_to_api, secret_spec_from_api, secret_to_api,
};
use skep_docker_api::filters::PayloadFilter;
use skep_docker_api::json;
use skep_docker_api::resolve::find;
use skep_manager::control::Request;
use skep_state::State;
use skep_types::{Config, Revision, Secret};

use super::{Answer, DaemonBackend};

fn find_secret<'a>(view: &'a State, given: &str) -> Answer<&'a Arc<Secret>> {
    let named = |it: &'a Arc<Secret>| (it.id, it.spec.annotations.name.as_str(), it);
    find("secret", given, view.secrets().iter().map(named))
}

fn find_config<'a>(view: &'a State, given: &str) -> Answer<&'a Arc<Config>> {
    let named = |it: &'a Arc<Config>| (it.id, it.spec.annotations.name.as_str(), it);
    find("config", given, view.configs().iter().map(named))
}

impl DaemonBackend {
    pub(super) async fn list_secrets(&self, filters: Filters) -> Answer<Vec<json::Secret>> {
        let filter = PayloadFilter::secrets(&filters)?;
        let view = self.fresh().await?;
        let all = view.secrets().iter();
        let shown = all.filter(|it| filter.matches(it.id, &it.spec.annotations));
        Ok(shown.map(|it| secret_to_api(it)).collect())
    }

    pub(super) async fn inspect_secret(&self, given: &str) -> Answer<json::Secret> {
        Ok(secret_to_api(find_secret(&self.fresh().await?, given)?))
    }

    pub(super) async fn create_secret(&self, spec: json::SecretSpec) -> Answer<json::IdResponse> {
        let spec = secret_spec_from_api(&spec)?;
        Ok(json::IdResponse { id: self.execute(Request::CreateSecret(spec)).await? })
    }

    pub(super) async fn update_secret(
        &self,
        given: &str,
        version: u64,
        spec: json::SecretSpec,
    ) -> Answer<()> {
        let id = find_secret(&self.fresh().await?, given)?.id;
        let spec = secret_spec_from_api(&spec)?;
        let request = Request::UpdateSecret { id, revision: Revision(version), spec };
        self.execute(request).await.map(drop)
    }

    pub(super) async fn remove_secret(&self, given: &str) -> Answer<()> {
        let id = find_secret(&self.fresh().await?, given)?.id;
        self.execute(Request::RemoveSecret(id)).await.map(drop)
    }

    pub(super) async fn list_configs(&self, filters: Filters) -> Answer<Vec<json::Config>> {
        let filter = PayloadFilter::configs(&filters)?;
        let view = self.fresh().await?;
        let all = view.configs().iter();
        let shown = all.filter(|it| filter.matches(it.id, &it.spec.annotations));
        Ok(shown.map(|it| config_to_api(it)).collect())
    }

    pub(super) async fn inspect_config(&self, given: &str) -> Answer<json::Config> {
        Ok(config_to_api(find_config(&self.fresh().await?, given)?))
    }

    pub(super) async fn create_config(&self, spec: json::ConfigSpec) -> Answer<json::IdResponse> {
        let spec = config_spec_from_api(&spec)?;
        Ok(json::IdResponse { id: self.execute(Request::CreateConfig(spec)).await? })
    }

    pub(super) async fn update_config(
        &self,
        given: &str,
        version: u64,
        spec: json::ConfigSpec,
    ) -> Answer<()> {
        let id = find_config(&self.fresh().await?, given)?.id;
        let spec = config_spec_from_api(&spec)?;
        let request = Request::UpdateConfig { id, revision: Revision(version), spec };
        self.execute(request).await.map(drop)
    }

    pub(super) async fn remove_config(&self, given: &str) -> Answer<()> {
        let id = find_config(&self.fresh().await?, given)?.id;
        self.execute(Request::RemoveConfig(id)).await.map(drop)
    }
}
