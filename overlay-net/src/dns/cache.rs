//! What other servers have answered, for as long as they said that it holds. Pure.
//!
//! **Invariant:** never more than so many answers and so many bytes. What was not asked for lately
//! goes first: answers are in two halves, and when the younger is full the older one goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::{Key, NO_ERROR, Reply};

/// Of both halves: what a node's tasks ask for within minutes.
const ANSWERS_MAX: usize = 8192;
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// What an entry takes besides the message.
const ENTRY_BYTES: usize = 256;
/// A name server may say a week and be mistaken; clients of ours get over it in an hour.
const LIVES_MAX: Duration = Duration::from_secs(3600);
/// A name that was asked for a moment before it was made.
const NEGATIVE_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub struct Cache {
    young: Half,
    old: Half,
}

#[derive(Debug, Default)]
struct Half {
    answers: HashMap<Key, Kept>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Kept {
    message: Arc<[u8]>,
    since: Instant,
    until: Instant,
}

impl Half {
    fn is_full(&self) -> bool {
        self.answers.len() >= ANSWERS_MAX / 2 || self.bytes >= BYTES_MAX / 2
    }

    fn take(&mut self, key: &Key) -> Option<Kept> {
        let kept = self.answers.remove(key)?;
        self.bytes -= ENTRY_BYTES + kept.message.len();
        Some(kept)
    }

    fn put(&mut self, key: Key, kept: Kept) {
        self.take(&key);
        self.bytes += ENTRY_BYTES + kept.message.len();
        self.answers.insert(key, kept);
    }
}

impl Cache {
    /// What is known of a question, and for how long it was.
    pub fn get(&mut self, key: &Key, now: Instant) -> Option<(Arc<[u8]>, Duration)> {
        let kept = match self.young.answers.get(key) {
            Some(kept) => kept.clone(),
            None => {
                let kept = self.old.take(key)?;
                self.put_kept(key.clone(), kept.clone());
                kept
            }
        };
        if kept.until <= now {
            self.young.take(key);
            return None;
        }
        Some((kept.message, now.saturating_duration_since(kept.since)))
    }

    pub fn put(&mut self, key: Key, message: Arc<[u8]>, reply: &Reply, now: Instant) {
        let most = if reply.code == NO_ERROR { LIVES_MAX } else { NEGATIVE_MAX };
        let Some(lives) = reply.lives.map(|it| it.min(most)).filter(|it| !it.is_zero()) else {
            return;
        };
        self.old.take(&key);
        self.put_kept(key, Kept { message, since: now, until: now + lives });
    }

    fn put_kept(&mut self, key: Key, kept: Kept) {
        if self.young.is_full() {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.put(key, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::wire::{NO_SUCH_NAME, Question};

    fn key(number: usize) -> Key {
        let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6];
        message.extend_from_slice(format!("{number:06}").as_bytes());
        message.extend_from_slice(&[0, 0, 1, 0, 1]);
        Question::read(&message).unwrap().key(1, Arc::new([]))
    }

    fn reply(code: u8, seconds: u64) -> Reply {
        let lives = Some(Duration::from_secs(seconds));
        Reply { code, truncated: false, whole: true, lives }
    }

    #[test]
    fn an_answer_holds_for_as_long_as_was_said_within_bounds() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut cache = Cache::default();
        for (number, code, seconds, expected) in [
            (1, NO_ERROR, 0, 0),
            (2, NO_ERROR, 60, 60),
            (3, NO_ERROR, 1_000_000, 3600),
            (4, NO_SUCH_NAME, 1_000_000, 300),
        ] {
            cache.put(key(number), Arc::new([1, 2]), &reply(code, seconds), start);
            let mut known = |at| cache.get(&key(number), after(at)).map(|(_, age)| age.as_secs());
            if expected > 0 {
                assert_eq!(known(expected - 1), Some(expected - 1), "{number}");
            }
            assert_eq!(known(expected), None, "{number}");
            assert_eq!(known(0), None, "what has ended is forgotten");
        }
        let unlimited = Reply { lives: None, ..reply(NO_ERROR, 0) };
        cache.put(key(5), Arc::new([]), &unlimited, start);
        assert!(cache.get(&key(5), start).is_none());
    }

    #[test]
    fn many_answers_push_out_those_that_nobody_asks_for() {
        let now = Instant::now();
        for (bytes, count) in [(10, 3 * ANSWERS_MAX), (60_000, 500)] {
            let mut cache = Cache::default();
            for number in 0..count {
                cache.put(key(number), vec![0; bytes].into(), &reply(NO_ERROR, 60), now);
                assert!(cache.get(&key(0), now).is_some(), "it is asked for all the time");
                let (young, old) = (&cache.young, &cache.old);
                assert!(young.answers.len() + old.answers.len() <= ANSWERS_MAX);
                assert!(young.bytes + old.bytes <= BYTES_MAX + 2 * (bytes + ENTRY_BYTES));
            }
            assert!(cache.get(&key(1), now).is_none());
            let left = cache.young.bytes + cache.old.bytes;
            let all = cache.young.answers.len() + cache.old.answers.len();
            assert_eq!(left, all * (bytes + ENTRY_BYTES));
        }
    }
}
