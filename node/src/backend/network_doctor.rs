//! How the swarm's networks are: what the nodes found in their kernels, and how full each pool is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use skep_docker_api::json;
use skep_proto::v1 as pb;
use skep_state::State;
use skep_types::{Network, NodeState, defaults};

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
        Ok(json::NetworkDoctor { nodes, pools: pools(&view) })
    }
}

fn finding(finding: pb::NetworkFinding) -> json::NetworkFinding {
    let pb::NetworkFinding { what, error, age_ms } = finding;
    json::NetworkFinding { what, error, age_ms }
}

/// The pools that subnets are cut from, then the subnets that addresses are given from.
fn pools(view: &State) -> Vec<json::AddressPool> {
    let mut pools = Vec::new();
    let (of_swarm, length) = match view.cluster() {
        Some(cluster) if !cluster.address_pools.is_empty() => {
            (cluster.address_pools.clone(), cluster.subnet_length)
        }
        _ => {
            let pool: Ipv4Net = defaults::ADDRESS_POOL.parse().expect("a constant network");
            (vec![pool], defaults::SUBNET_LENGTH)
        }
    };
    for pool in of_swarm {
        let subnets = view.networks().iter().flat_map(|network| &network.ipam);
        let inside = subnets.filter(|it| IpNet::V4(pool).contains(&it.subnet));
        // A subnet that a user chose may be larger than those that are cut, and takes as many.
        let cut = |it: IpNet| 1_u64 << length.saturating_sub(it.prefix_len());
        pools.push(json::AddressPool {
            subnet: pool.to_string(),
            used: inside.map(|it| cut(it.subnet)).sum(),
            size: 1 << length.saturating_sub(pool.prefix_len()),
            ..json::AddressPool::default()
        });
    }
    for network in view.networks().iter() {
        pools.extend(of_network(view, network));
    }
    pools
}

fn of_network(view: &State, network: &Network) -> Vec<json::AddressPool> {
    let subnets = network.ipam.iter().map(|config| {
        let given = |address: &IpAddr| {
            let range = config.range.unwrap_or(config.subnet);
            range.contains(address) && config.gateway != Some(*address)
        };
        json::AddressPool {
            network: network.spec.annotations.name.clone(),
            subnet: config.range.unwrap_or(config.subnet).to_string(),
            used: view.addresses(network.id).filter(given).count() as u64,
            size: config.addresses(),
        }
    });
    subnets.collect()
}
