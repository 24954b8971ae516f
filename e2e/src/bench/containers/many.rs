//! Thirty `run -d` in parallel, until all of them are started.

use anyhow::Result;

use super::{IDLE, each, remove, request, start};
use crate::bench::figures::{Figure, median};
use crate::bench::side::{Side, block_on};

const CONTAINERS: usize = 30;
const ROUNDS: usize = 5;

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        let client = &side.client(&side.fleet.host(1)).await?;
        let (mut started, mut removed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let all = vec![request(side, IDLE, "default"); CONTAINERS];
            let (ids, seconds) = each(all, CONTAINERS, |request| {
                let client = client.clone();
                async move { start(&client, &request).await }
            })
            .await?;
            started.push(seconds);
            let (_, seconds) = each(ids, CONTAINERS, |id| {
                let client = client.clone();
                async move { remove(&client, &id).await }
            })
            .await?;
            removed.push(seconds);
        }
        Ok(vec![
            Figure::seconds("30 run -d in parallel, median", median(started)),
            Figure::seconds("30 rm -f in parallel, median", median(removed)),
        ])
    })
}
