//! From the death of the leader (`kill -9`) to the next write that another manager acknowledges.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use skep_docker_api::json::ConfigSpec;
use skep_docker_api::{Client, Filters};

use super::figures::{Figure, percentile};
use super::side::{Engine, Side, block_on};
use super::wait;
use crate::Host;

/// Docker's elections take 10 to 20 s each.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(90);
/// A call to a manager that knows no leader must not be waited for.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

async fn leader(side: &Side) -> Result<Host> {
    let client = side.client(&side.fleet.host(1)).await?;
    let nodes = client.nodes(&Filters::default()).await?;
    let leads = nodes.iter().find(|it| it.manager_status.as_ref().is_some_and(|it| it.leader));
    side.fleet.find(&leads.context("nobody leads")?.description.hostname)
}

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    let (kills, answer_within) = match side.engine {
        Engine::Skep(_) => (20, ANSWER_WITHIN),
        // Fewer, for each takes a quarter of a minute; and it refuses at once where nobody leads,
        // but commits slowly.
        Engine::Docker => (5, Duration::from_secs(5)),
    };
    block_on(async {
        side.form().await?;
        let mut took = Vec::new();
        for kill in 0..kills {
            let victim = leader(side).await?;
            let mut others: Vec<Client> = Vec::new();
            for host in side.fleet.hosts().filter(|host| host.name() != victim.name()) {
                others.push(side.client(&host).await?.with_answer_timeout(answer_within));
            }
            let begin = Instant::now();
            side.kill_daemon(&victim)?;
            let mut attempt = 0;
            took.push(
                wait::until(begin, ACKNOWLEDGED_WITHIN, async || {
                    attempt += 1;
                    let spec = ConfigSpec {
                        name: format!("c{kill}-{attempt}"),
                        data: "aGk=".to_owned(),
                        ..Default::default()
                    };
                    others[attempt % others.len()].config_create(&spec).await?;
                    Ok(())
                })
                .await?,
            );
            side.start_daemon(&victim).await?;
            side.settled().await?;
        }
        side.leave().await?;
        Ok(vec![
            Figure::seconds("leader killed to next write, p50", percentile(took.clone(), 50)),
            Figure::seconds("leader killed to next write, p99", percentile(took, 99)),
        ])
    })
}
