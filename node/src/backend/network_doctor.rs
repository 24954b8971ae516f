//! How the swarm's networks are: what the nodes found in their kernels, and how full each pool is.

use std::collections::BTreeMap;

use skep_docker_api::json;
use skep_proto::v1 as pb;
use skep_state::pools::AddressPool;
use skep_types::NodeState;

use super::error::control;
use super::{Answer, DaemonBackend};

impl DaemonBackend {
    pub(super) async fn doctor_networks(&self) -> Answer<json::NetworkDoctor> {
        let view = self.fresh().await?;
        let told = self.manager().await?.upkeep().await.map_err(control)?;
        let mut told: BTreeMap<String, pb::NodeUpkeep> =
            told.into_iter().map(|upkeep| (upkeep.node_id.clone(), upkeep)).collect();
        let nodes = view.nodes().iter().map(|node| {
            let id = node.id.to_string();
            let upkeep = told.remove(&id);
            let report = upkeep.as_ref().and_then(|upkeep| upkeep.report.clone());
            let report = report.unwrap_or_default();
            json::NodeNetworks {
                hostname: node
                    .description
                    .as_ref()
                    .map(|it| it.hostname.clone())
                    .unwrap_or_default(),
                id,
                down: node.status.state == NodeState::Down,
                age_ms: upkeep.map(|upkeep| upkeep.age_ms),
                took_us: report.took_us,
                error: report.error,
                found: report.found.into_iter().map(finding).collect(),
            }
        });
        let nodes = nodes.collect();
        let pools = view.address_pools().into_iter().map(pool).collect();
        Ok(json::NetworkDoctor { nodes, pools })
    }
}

fn finding(finding: pb::NetworkFinding) -> json::NetworkFinding {
    let pb::NetworkFinding { what, error, age_ms } = finding;
    json::NetworkFinding { what, error, age_ms }
}

fn pool(pool: AddressPool) -> json::AddressPool {
    let AddressPool { network, subnet, used, size } = pool;
    let (network, subnet) = (network.unwrap_or_default(), subnet.to_string());
    json::AddressPool { network, subnet, used, size }
}
