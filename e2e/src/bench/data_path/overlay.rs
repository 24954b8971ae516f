//! The swarm's ways: a task's address on an overlay, its service's virtual address, and its published
//! port on its own node and on the other.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use skep_docker_api::json::{EndpointSpec, NetworkCreateRequest, Placement, PortConfig};
use skep_docker_api::{Client, Filters};

use super::traffic::Server;
use super::{BY_HAND, OVERLAY, WIRE, Way, namespace_of};
use crate::Host;
use crate::bench::replicas::{SLEEPING, run, sleepers};
use crate::bench::side::Side;

const NETWORK: &str = "bench-data";
/// Where the server listens in its task, and where its port is published.
const PORT: u16 = 7000;

/// These ways, and the server that is at the end of all of them.
pub async fn ways(side: &Side, one: &Host, two: &Host) -> Result<(Vec<Way>, Server)> {
    side.form().await?;
    let client = side.client(one).await?;
    let network = NetworkCreateRequest {
        name: NETWORK.into(),
        driver: "overlay".into(),
        ..Default::default()
    };
    let network = client.network_create(&network).await.context("failed to make an overlay")?.id;
    task_on(side, &client, one, "client").await?;
    task_on(side, &client, two, "server").await?;

    let mut filters = Filters::default();
    filters.add("service", "server");
    let tasks = client.tasks(&filters).await?;
    let attachments = tasks.iter().flat_map(|task| &task.networks_attachments);
    let task = attachments.filter(|it| it.network.id == network).flat_map(|it| &it.addresses);
    let task = first_address(task.map(String::as_str)).context("the server has no address")?;
    let service = client.service("server", false).await?;
    let vips = service.endpoint.virtual_ips.iter().filter(|it| it.network_id == network);
    let vip = first_address(vips.map(|it| it.addr.as_str()));
    let vip = vip.context("the server has no virtual address")?;

    let asking = side.network_of(one, SLEEPING)?;
    let server = Server::start_at(side.network_of(two, SLEEPING)?, PORT)?;
    let host = namespace_of(one)?;
    let way = |name, client: &PathBuf, address: IpAddr, beside| Way {
        name,
        client: client.clone(),
        to: SocketAddr::new(address, PORT),
        beside: Some(beside),
    };
    let ways = vec![
        way(OVERLAY, &asking, task, BY_HAND),
        way("a virtual address", &asking, vip, OVERLAY),
        way("a published port, of the task's node", &host, two.address().into(), WIRE),
        way("a published port, of the other node", &host, one.address().into(), OVERLAY),
    ];
    Ok((ways, server))
}

/// Of addresses with the length of their subnet.
fn first_address<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<IpAddr> {
    all.find_map(|it| it.split('/').next()?.parse().ok())
}

async fn task_on(side: &Side, client: &Client, host: &Host, name: &str) -> Result<()> {
    let mut spec = sleepers(side, name, 1, Some(NETWORK));
    spec.task_template.placement = Some(Placement {
        constraints: vec![format!("node.hostname=={}", host.name())],
        ..Default::default()
    });
    let port = u32::from(PORT);
    let port = PortConfig { target_port: port, published_port: port, ..Default::default() };
    if name == "server" {
        spec.endpoint_spec = Some(EndpointSpec { ports: vec![port], ..Default::default() });
    }
    run(client, &spec).await.map(drop)
}
