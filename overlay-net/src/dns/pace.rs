//! How many questions of one asker are looked at in a while. Pure.
//!
//! Who asks more is not served worse than nobody: what is too much waits in its socket, where the
//! kernel drops what does not fit, and the others are answered meanwhile.

use std::time::{Duration, Instant};

/// Twice what one container is expected to ask at most.
const PER_SECOND: u32 = 20_000;
const WINDOW: Duration = Duration::from_millis(50);
const PER_WINDOW: u32 = PER_SECOND / 20;

/// One asker's.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    taken: u32,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self { began: now, taken: 0 }
    }

    /// Counts a question. How long to pause before the next one is looked at, if at all.
    pub fn take(&mut self, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.began);
        if passed >= WINDOW {
            *self = Self::new(now);
        }
        self.taken += 1;
        (self.taken >= PER_WINDOW).then(|| WINDOW - passed.min(WINDOW)).filter(|it| !it.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_pauses_until_its_window_is_over() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 1..PER_WINDOW {
            assert_eq!(pace.take(start), None);
        }
        let later = start + Duration::from_millis(20);
        assert_eq!(pace.take(later), Some(Duration::from_millis(30)));
        assert_eq!(pace.take(start + WINDOW), None);
    }

    #[test]
    fn ten_thousand_a_second_never_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for question in 0..20_000 {
            let now = start + Duration::from_micros(100 * question);
            assert_eq!(pace.take(now), None, "question {question}");
        }
    }
}
