//! Containers that were started by hand on networks of the swarm: what the host's networks ask is
//! carried to the agent, who has a session with the managers.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use skep_agent::attachments::{AttachError, Joined, Place, Wish};
use skep_agent::containers::{Containers, endpoint_id};
use skep_bridge::{SwarmContainer, SwarmNetworks, SwarmPlace, SwarmWish};
use skep_docker_api::{ApiError, Kind};
use skep_types::NetworkId;

/// See the module.
pub struct Attaching(pub Arc<Containers>);

/// With the status that the managers' code has in the API; what they name no fault of the request is
/// the swarm's own.
fn refusal(error: AttachError) -> ApiError {
    let kind = match &error {
        AttachError::Refused { code, .. } => match code.as_str() {
            "NotFound" => Kind::NotFound,
            "PermissionDenied" => Kind::Forbidden,
            "InvalidArgument" => Kind::InvalidParameter,
            "AlreadyExists" => Kind::Conflict,
            _ => Kind::System,
        },
        AttachError::Late => Kind::System,
    };
    ApiError::new(kind, error.to_string())
}

fn joined(container: SwarmContainer) -> Joined {
    let places = container.places.into_iter().map(|it| Place {
        network: it.network,
        names: it.names,
        addresses: it.addresses,
        interface: it.interface,
    });
    Joined {
        container: container.container,
        namespace: container.namespace,
        places: places.collect(),
        outside: container.outside,
    }
}

#[async_trait]
impl SwarmNetworks for Attaching {
    fn is_there(&self) -> bool {
        self.0.attached().is_member()
    }

    async fn attach(&self, wish: SwarmWish) -> Option<Result<SwarmPlace, ApiError>> {
        if !self.is_there() {
            return None;
        }
        let SwarmWish { container, network, names, addresses } = wish;
        let wish = Wish { container, network, names, addresses };
        let given = self.0.attached().attach(&wish).await;
        Some(given.map_err(refusal).map(|given| SwarmPlace {
            network: given.network.id,
            network_name: given.network.spec.annotations.name,
            addresses: given.addresses,
            internal: given.network.spec.internal,
            endpoint_id: endpoint_id(given.id.as_task(), given.network.id),
        }))
    }

    async fn detach(&self, container: &str, network: NetworkId) {
        self.0.attached().detach(container, network).await;
    }

    async fn join(&self, container: SwarmContainer) -> Result<Option<Vec<IpAddr>>, ApiError> {
        let done = self.0.networks().join(joined(container)).await;
        done.map_err(|error| ApiError::system(error.to_string()))
    }

    async fn remember(&self, container: SwarmContainer) {
        self.0.attached().remember(joined(container));
    }

    async fn part(&self, container: &str) -> Result<(), ApiError> {
        let done = self.0.networks().part(container).await;
        done.map_err(|error| ApiError::system(error.to_string()))
    }
}
