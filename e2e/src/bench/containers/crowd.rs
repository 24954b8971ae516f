//! A thousand containers on one host: what it takes to make, start and remove them, what they hold
//! in memory, and how quick the daemon stays beside them.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use skep_docker_api::Client;
use skep_docker_api::json::ContainerListOptions;

use super::{IDLE, NOTHING, each, remove, request, run_to_its_end};
use crate::bench::figures::{Figure, median};
use crate::bench::memory;
use crate::bench::side::{Side, block_on};

const CONTAINERS: usize = 1000;
/// As many as somebody's tools may have under way; all at once, the peer's daemon gives up.
const AT_ONCE: usize = 8;
const ROUNDS: usize = 10;

async fn made(side: &Side, client: &Client) -> Result<(Vec<String>, f64)> {
    let all = vec![request(side, IDLE, "default"); CONTAINERS];
    each(all, AT_ONCE, |request| {
        let client = client.clone();
        async move { Ok(client.container_create(None, "", &request).await?.id) }
    })
    .await
    .context("failed to make them")
}

async fn removed(client: &Client, ids: Vec<String>) -> Result<f64> {
    let done = each(ids, AT_ONCE, |id| {
        let client = client.clone();
        async move { remove(&client, &id).await }
    });
    Ok(done.await.context("failed to remove them")?.1)
}

/// The median seconds of a list of all of them, and of `info`.
async fn looked_at(client: &Client) -> Result<[f64; 2]> {
    let options = ContainerListOptions { all: true, ..Default::default() };
    let (mut list, mut info) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let shown = client.containers(&options).await?.len();
        list.push(begin.elapsed().as_secs_f64());
        ensure!(shown == CONTAINERS, "{shown} of {CONTAINERS} are shown");
        let begin = Instant::now();
        let counted = client.info().await?.containers;
        info.push(begin.elapsed().as_secs_f64());
        ensure!(counted as usize == CONTAINERS, "{counted} of {CONTAINERS} are counted");
    }
    Ok([median(list), median(info)])
}

/// A thousand that do not run.
pub fn listed(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        let client = side.client(&side.fleet.host(1)).await?;
        let (ids, making) = made(side, &client).await?;
        let [list, info] = looked_at(&client).await?;
        let removing = removed(&client, ids).await?;
        Ok(vec![
            Figure::seconds("create of 1,000", making),
            Figure::seconds("ps of 1,000 created, median", list),
            Figure::seconds("info with 1,000 created, median", info),
            Figure::seconds("rm of 1,000 created", removing),
        ])
    })
}

/// A thousand that run and do nothing.
pub fn running(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        let client = side.client(&side.fleet.host(1)).await?;
        let before = memory::of_daemons(side)?;
        let (ids, _) = made(side, &client).await?;
        let (_, starting) = each(ids.clone(), AT_ONCE, |id| {
            let client = client.clone();
            async move { Ok(client.container_start(&id).await.map(drop)?) }
        })
        .await
        .context("failed to start them")?;
        let shims = memory::of_shims(side)?;
        let daemons = memory::of_daemons(side)?;
        let [list, info] = looked_at(&client).await?;
        let mut another = Vec::new();
        for _ in 0..ROUNDS {
            another.push(run_to_its_end(&client, request(side, NOTHING, "default")).await?);
        }
        let removing = removed(&client, ids).await?;
        let one = |all: f64| all / CONTAINERS as f64;
        Ok(vec![
            Figure::seconds("start of 1,000", starting),
            Figure::seconds("ps of 1,000 running, median", list),
            Figure::seconds("info with 1,000 running, median", info),
            Figure::seconds("run --rm beside 1,000, median", median(another)),
            Figure::mebibytes("a shim of 1,000, proportional", one(shims)),
            Figure::mebibytes("what each of 1,000 adds to the daemon", one(daemons - before)),
            Figure::seconds("rm -f of 1,000", removing),
        ])
    })
}
