//! Waiting in a benchmark: looks often, gives the time it took, gives up within a bound.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Short against what is measured, and the same for both sides.
const LOOK_EVERY: Duration = Duration::from_millis(5);

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
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
