//! Waiting in a benchmark: looks often, gives the time it took, gives up within a bound.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The same for both sides: short against what is measured, and long against what a look at many
/// tasks costs a daemon.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(5);
/// A wait that has gone on for long is looked at less often: this part of its length.
const LOOK_EVERY_PART: u32 = 50;

/// Seconds from `begin` until the probe says so; an error of the probe is its way to say "not yet".
pub async fn until(
    begin: Instant,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<()>,
) -> Result<f64> {
    loop {
        match probe().await {
            Ok(()) => return Ok(begin.elapsed().as_secs_f64()),
            Err(error) if begin.elapsed() > within => bail!("not so within {within:?}: {error:#}"),
            Err(_) => {
                tokio::time::sleep(LOOK_EVERY_MIN.max(begin.elapsed() / LOOK_EVERY_PART)).await
            }
        }
    }
}
