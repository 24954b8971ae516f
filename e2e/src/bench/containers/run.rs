//! `run --rm` of a command that does nothing, up to the container's being gone.

use std::time::Instant;

use anyhow::{Context, Result};

use super::{NOTHING, request, run_to_its_end};
use crate::bench::figures::{Figure, median};
use crate::bench::side::{Side, block_on};

const ROUNDS: usize = 20;

/// The side's own command line, the way into the host included.
fn by_command_line(side: &Side) -> Result<f64> {
    let words = [&[side.name(), "run", "--rm", &side.image], NOTHING].concat();
    let begin = Instant::now();
    side.fleet.host(1).check(&words).context("failed to run by the command line")?;
    Ok(begin.elapsed().as_secs_f64())
}

pub fn measure(side: &Side) -> Result<Vec<Figure>> {
    block_on(async {
        let client = side.client(&side.fleet.host(1)).await?;
        let mut took = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            took[0].push(run_to_its_end(&client, request(side, NOTHING, "default")).await?);
            took[1].push(run_to_its_end(&client, request(side, NOTHING, "none")).await?);
            took[2].push(by_command_line(side)?);
        }
        let [bridge, none, line] = took.map(median);
        Ok(vec![
            Figure::seconds("run --rm, median", bridge),
            Figure::seconds("run --rm without a network, median", none),
            Figure::seconds("run --rm by the command line, median", line),
        ])
    })
}
