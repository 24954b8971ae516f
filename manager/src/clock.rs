//! The one place where this crate asks for the time and for random bits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_types::Timestamp;

/// The host's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// 128 random bits, for an id.
pub fn mint() -> u128 {
    rand::random()
}

/// Waits for a moment; without one, for ever.
pub async fn until(at: Option<Timestamp>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_since(now())).await,
        None => std::future::pending().await,
    }
}
