//! `/networks`: this host's and the swarm's. The host's are shown and changed without a swarm too.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_docker_api::convert::{network_spec_from_api, network_to_api};
use skep_docker_api::filters::NetworkFilter;
use skep_docker_api::json;
use skep_docker_api::resolve::find;
use skep_docker_api::{ApiError, Filters, Kind};
use skep_manager::control::Request;
use skep_state::State;
use skep_types::{Network, NetworkId};

use super::{Answer, DaemonBackend};

/// The driver of the swarm's networks; all others are a host's.
const OVERLAY: &str = "overlay";

/// The swarm's network that `given` means.
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
        || view.attachments().iter().any(|it| it.network == id)
}

fn is_not_found<T>(answer: &Answer<T>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind == Kind::NotFound)
}

impl DaemonBackend {
    /// The swarm's state, if this node manages one. A manager that cannot say what holds (nobody
    /// leads) is an error, not a node without a swarm.
    pub(super) async fn swarm_view(&self) -> Answer<Option<State>> {
        match self.manager().await {
            Ok(_) => self.fresh().await.map(Some),
            Err(_) => Ok(None),
        }
    }

    pub(super) fn tell_network(&self, action: &str, id: &str, name: &str, driver: &str) {
        let attributes = [("name", name), ("type", driver)];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.events.publish("network", action, id, attributes.into());
    }

    /// Names and ids of the networks that containers are on, whether these run or not.
    pub(super) async fn networks_of_containers(&self) -> Answer<BTreeSet<String>> {
        let all = json::ContainerListOptions { all: true, ..Default::default() };
        let containers = self.list_containers(all).await?.into_iter();
        let on = containers.flat_map(|it| it.network_settings.networks);
        Ok(on.flat_map(|(name, endpoint)| [name, endpoint.network_id]).collect())
    }

    pub(super) async fn list_networks(&self, filters: Filters) -> Answer<Vec<json::Network>> {
        let filter = NetworkFilter::new(&filters)?;
        let mut shown = Vec::new();
        for mut network in self.networks.list().await {
            let used = !network.containers.is_empty();
            if filter.matches(&network, used) {
                // A list tells no containers, as in Docker.
                network.containers.clear();
                shown.push(network);
            }
        }
        if let Some(view) = self.swarm_view().await? {
            let networks =
                view.networks().iter().map(|network| (network_to_api(network), network.id));
            let of_swarm = networks.filter(|(shown, id)| filter.matches(shown, in_use(&view, *id)));
            shown.extend(of_swarm.map(|(shown, _)| shown));
        } else {
            let known = self.engine.networks().known().await;
            shown.extend(known.into_iter().filter(|it| filter.matches(it, true)));
        }
        Ok(shown)
    }

    pub(super) async fn inspect_network(&self, given: &str) -> Answer<json::Network> {
        let of_host = self.networks.inspect(given).await.map_err(ApiError::from);
        if is_not_found(&of_host)
            && let Some(view) = self.swarm_view().await?
        {
            let shown = network_to_api(find_network(&view, given)?);
            let told = self.engine.networks().inspect(&shown.id).await;
            return Ok(match told {
                Some(told) => json::Network {
                    containers: told.containers,
                    peers: told.peers,
                    services: told.services,
                    ..shown
                },
                // No task or container here is on it.
                None => shown,
            });
        }
        if is_not_found(&of_host)
            && let Some(told) = self.engine.networks().inspect(given).await
        {
            return Ok(told);
        }
        of_host
    }

    pub(super) async fn create_network(
        &self,
        request: json::NetworkCreateRequest,
    ) -> Answer<json::NetworkCreateResponse> {
        let id = if request.driver == OVERLAY || request.scope == "swarm" || request.ingress {
            let spec = network_spec_from_api(&request)?;
            self.execute(Request::CreateNetwork(spec)).await?
        } else {
            let name = request.name.as_str();
            if let Some(view) = self.swarm_view().await?
                && view.networks().iter().any(|it| it.spec.annotations.name == name)
            {
                let text = format!("network with name {name} already exists");
                return Err(ApiError::conflict(text));
            }
            let id = self.networks.create(&request).await?;
            let driver = if request.driver.is_empty() { "bridge" } else { &request.driver };
            self.tell_network("create", &id, name, driver);
            id
        };
        Ok(json::NetworkCreateResponse { id, ..Default::default() })
    }

    pub(super) async fn remove_network(&self, given: &str) -> Answer<()> {
        let shown = self.networks.inspect(given).await;
        let of_host = self.networks.remove(given).await.map_err(ApiError::from);
        if let (Ok(network), Ok(())) = (&shown, &of_host) {
            self.tell_network("destroy", &network.id, &network.name, &network.driver);
        }
        if is_not_found(&of_host)
            && let Some(view) = self.swarm_view().await?
        {
            let id = find_network(&view, given)?.id;
            return self.execute(Request::RemoveNetwork(id)).await.map(drop);
        }
        of_host
    }
}
