//! Waiting for a condition, with a deadline. The only kind of waiting that tests have.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::limits;

fn give_up(deadline: Duration, last: impl Display) -> ! {
    panic!("not so within {deadline:?}: {last}")
}

/// Looks until the probe gives `Ok`; panics with its last error once the deadline has passed.
pub async fn eventually<T, E: Display>(
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(error) if Instant::now() >= end => give_up(deadline, error),
            Err(_) => tokio::time::sleep(limits::LOOK_EVERY).await,
        }
    }
}

/// As [`eventually`], for tests without a runtime.
#[track_caller]
pub fn eventually_blocking<T, E: Display>(
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(error) if Instant::now() >= end => give_up(deadline, error),
            Err(_) => std::thread::sleep(limits::LOOK_EVERY),
        }
    }
}
