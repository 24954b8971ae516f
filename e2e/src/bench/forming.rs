//! How long `swarm init` and `swarm join` take.

use anyhow::Result;

use super::figures::{Figure, median};
use super::side::{Side, block_on};

const ROUNDS: usize = 5;

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        let (mut init, mut join) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            init.push(side.init().await?);
            join.extend(side.join().await?);
            side.settled().await?;
            side.leave().await?;
        }
        Ok(vec![
            Figure::seconds("swarm init, median", median(init)),
            Figure::seconds("swarm join as a manager, median", median(join)),
        ])
    })
}
