//! From the death of the leader (`kill -9`) to the next write that another manager acknowledges.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use skep_docker_api::json::ConfigSpec;
use skep_docker_api::{Client, Filters};

use super::figures::{Figure, percentile};
use super::side::{Side, block_on};
use crate::{Host, Signal, limits};

const KILLS: usize = 20;
/// Docker's elections take 10 to 20 s each.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(90);
/// A call that a manager holds is given up and made again; long against a write.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_millis(5);

async fn leader(side: &Side) -> Result<Host> {
    let client = side.client(&side.fleet.host(1)).await?;
    let nodes = client.nodes(&Filters::default()).await?;
    let leads = nodes.iter().find(|it| it.manager_status.as_ref().is_some_and(|it| it.leader));
    side.fleet.find(&leads.context("nobody leads")?.description.hostname)
}

/// Writes through one manager until it acknowledges a write.
async fn write(client: Client, name: String) {
    for attempt in 0_u64.. {
        let spec = ConfigSpec {
            name: format!("{name}-{attempt}"),
            data: "aGk=".to_owned(),
            ..Default::default()
        };
        if client.config_create(&spec).await.is_ok() {
            return;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Seconds from one leader's death to the next write that any of the others acknowledges.
async fn one_death(side: &Side, kill: usize) -> Result<f64> {
    let victim = leader(side).await?;
    let mut writers = tokio::task::JoinSet::new();
    let mut clients = Vec::new();
    for host in side.fleet.hosts().filter(|host| host.name() != victim.name()) {
        clients.push(side.client(&host).await?.with_answer_timeout(ANSWER_WITHIN));
    }
    let daemon = side.daemon(&victim)?;
    let begin = Instant::now();
    daemon.signal(Signal::SIGKILL)?;
    for (number, client) in clients.into_iter().enumerate() {
        writers.spawn(write(client, format!("c{kill}-{number}")));
    }
    let first = tokio::time::timeout(ACKNOWLEDGED_WITHIN, writers.join_next()).await;
    first.with_context(|| format!("no write within {ACKNOWLEDGED_WITHIN:?}"))?;
    let took = begin.elapsed().as_secs_f64();
    writers.shutdown().await;
    daemon.wait_gone(limits::GONE_WITHIN)?;
    side.start_daemon(&victim).await?;
    side.settled().await?;
    Ok(took)
}

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        side.form().await?;
        let mut took = Vec::new();
        for kill in 0..KILLS {
            took.push(one_death(side, kill).await?);
        }
        side.leave().await?;
        Ok(vec![
            Figure::seconds("leader killed to next write, p50", percentile(took.clone(), 50)),
            Figure::seconds("leader killed to next write, p99", percentile(took, 99)),
        ])
    })
}
