//! From `service create` to all of its tasks running.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use skep_docker_api::json::{
    ContainerSpec, NetworkAttachmentConfig, NetworkCreateRequest, ReplicatedService, ServiceMode,
    ServiceSpec, TaskSpec,
};
use skep_docker_api::{Client, Filters};

use super::figures::{Figure, median};
use super::side::{Side, block_on};
use super::wait;

const REPLICAS: u64 = 60;
const ROUNDS_OF_ONE: usize = 5;
const ROUNDS_OF_MANY: usize = 3;
/// Docker needs some 16 s for sixty on an overlay here.
const RUNNING_WITHIN: Duration = Duration::from_secs(120);
const GONE_WITHIN: Duration = Duration::from_secs(120);
const NETWORK: &str = "bench";
/// How a task's process is called, to be searched for: not by who searches.
pub const SLEEPING: &str = "^/bin/busybox sleep 86400$";

/// A service whose tasks do nothing.
pub fn sleepers(side: &Side, name: &str, replicas: u64, network: Option<&str>) -> ServiceSpec {
    let attachment =
        |target: &str| NetworkAttachmentConfig { target: target.to_owned(), ..Default::default() };
    let container = ContainerSpec {
        image: side.image.clone(),
        command: ["/bin/busybox", "sleep", "86400"].map(str::to_owned).to_vec(),
        // Nothing is to be waited for when it is taken away.
        stop_grace_period_ns: Some(0),
        ..Default::default()
    };
    ServiceSpec {
        name: name.to_owned(),
        task_template: TaskSpec {
            container_spec: Some(container),
            networks: network.map(attachment).into_iter().collect(),
            ..Default::default()
        },
        mode: ServiceMode {
            replicated: Some(ReplicatedService { replicas: Some(replicas) }),
            ..Default::default()
        },
        ..Default::default()
    }
}

/// Creates a service; seconds until all of its tasks run.
pub async fn run(client: &Client, spec: &ServiceSpec) -> Result<f64> {
    let wanted = spec.mode.replicated.as_ref().and_then(|it| it.replicas).unwrap_or(1);
    let begin = Instant::now();
    client.service_create(spec, None).await?;
    let mut filters = Filters::default();
    filters.add("service", &spec.name);
    wait::until(begin, RUNNING_WITHIN, async || {
        let tasks = client.tasks(&filters).await?;
        let running = tasks.iter().filter(|task| task.status.state == "running").count() as u64;
        let said = tasks.iter().map(|task| task.status.err.as_str()).find(|err| !err.is_empty());
        ensure!(running == wanted, "{running} of {wanted} run; {}", said.unwrap_or("no error"));
        Ok(())
    })
    .await
}

/// Removes a service and waits until no host has a process of it.
pub async fn end(side: &Side, client: &Client, name: &str) -> Result<()> {
    client.service_remove(name).await?;
    for host in side.fleet.hosts() {
        wait::until(Instant::now(), GONE_WITHIN, async || {
            let left = side.numbers(&host, SLEEPING)?;
            ensure!(left.is_empty(), "{} tasks still run on {}", left.len(), host.name());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn rounds(side: &Side, spec: ServiceSpec, rounds: usize) -> Result<f64> {
    let client = side.client(&side.fleet.host(1)).await?;
    let mut took = Vec::new();
    for _ in 0..rounds {
        took.push(run(&client, &spec).await?);
        end(side, &client, &spec.name).await?;
    }
    Ok(median(took))
}

pub fn one_task(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        side.form().await?;
        let took = rounds(side, sleepers(side, "one", 1, None), ROUNDS_OF_ONE).await?;
        side.leave().await?;
        Ok(vec![Figure::seconds("service create to running, one task, median", took)])
    })
}

pub fn many(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        side.form().await?;
        let took = rounds(side, sleepers(side, "many", REPLICAS, None), ROUNDS_OF_MANY).await?;
        side.leave().await?;
        Ok(vec![Figure::seconds("60 replicas over 3 hosts, median", took)])
    })
}

pub fn many_on_an_overlay(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        side.form().await?;
        let client = side.client(&side.fleet.host(1)).await?;
        let request = NetworkCreateRequest {
            name: NETWORK.to_owned(),
            driver: "overlay".to_owned(),
            ..Default::default()
        };
        client.network_create(&request).await.context("failed to make an overlay")?;
        let spec = sleepers(side, "many", REPLICAS, Some(NETWORK));
        let took = rounds(side, spec, ROUNDS_OF_MANY).await?;
        side.leave().await?;
        Ok(vec![Figure::seconds("60 replicas on an overlay, median", took)])
    })
}
