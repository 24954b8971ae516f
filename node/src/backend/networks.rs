//! `/networks`: the swarm's.

use std::sync::Arc;

use skep_docker_api::Filters;
use skep_docker_api::convert::{network_spec_from_api, network_to_api};
use skep_docker_api::filters::NetworkFilter;
use skep_docker_api::json;
use skep_docker_api::resolve::find;
use skep_manager::control::Request;
use skep_state::State;
use skep_types::{Network, NetworkId};

use super::{Answer, DaemonBackend};

/// The network that `given` means.
pub fn find_network<'a>(view: &'a State, given: &str) -> Answer<&'a Arc<Network>> {
    let named =
        |network: &'a Arc<Network>| (network.id, network.spec.annotations.name.as_str(), network);
    find("network", given, view.networks().iter().map(named))
}

fn in_use(view: &State, id: NetworkId) -> bool {
    let uses = |networks: &[skep_types::service::NetworkAttachmentConfig]| {
        networks.iter().any(|at| at.target == id)
    };
    view.services().iter().any(|service| uses(&service.spec.task.networks))
}

impl DaemonBackend {
    pub(super) async fn list_networks(&self, filters: Filters) -> Answer<Vec<json::Network>> {
        let filter = NetworkFilter::new(&filters)?;
        let view = self.fresh().await?;
        let networks = view.networks().iter().map(|network| (network_to_api(network), network.id));
        let shown = networks.filter(|(shown, id)| filter.matches(shown, in_use(&view, *id)));
        Ok(shown.map(|(shown, _)| shown).collect())
    }

    pub(super) async fn inspect_network(&self, given: &str) -> Answer<json::Network> {
        let view = self.fresh().await?;
        Ok(network_to_api(find_network(&view, given)?))
    }

    pub(super) async fn create_network(
        &self,
        request: json::NetworkCreateRequest,
    ) -> Answer<json::NetworkCreateResponse> {
        let spec = network_spec_from_api(&request)?;
        let id = self.execute(Request::CreateNetwork(spec)).await?;
        Ok(json::NetworkCreateResponse { id, ..Default::default() })
    }

    pub(super) async fn remove_network(&self, given: &str) -> Answer<()> {
        let view = self.fresh().await?;
        let id = find_network(&view, given)?.id;
        self.execute(Request::RemoveNetwork(id)).await.map(drop)
    }
}
