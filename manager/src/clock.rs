//! The one place where this crate asks for the time and for random bits.
//!
//! What is written down bears the host's time. What is waited for is measured by a clock that
//! nobody sets: a step of the host's would end every node's session at once, or none for hours.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_types::Timestamp;

/// The host's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Passes as evenly as the kernel's monotonic clock and is never set; it begins with the host's time
/// of when it was first asked. For deadlines within this process: of sessions, of withdrawals.
pub fn steady() -> Timestamp {
    static BEGAN: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (now(), Instant::now()));
    let (time, instant) = *BEGAN;
    time.saturating_add(instant.elapsed())
}

/// 128 random bits, for an id.
pub fn mint() -> u128 {
    rand::random()
}

/// Waits for a moment of the steady clock; without one, for ever.
pub async fn until(at: Option<Timestamp>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_since(steady())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clock_begins_with_the_hosts_time_and_never_goes_back() {
        let (first, host) = (steady(), now());
        assert!(host.saturating_since(first).max(first.saturating_since(host)).as_secs() < 60);
        assert!(steady() >= first);
    }
}
