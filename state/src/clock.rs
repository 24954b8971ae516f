//! The time of the swarm: what its leaders stamp changes with. Hosts' clocks differ, and a leader
//! whose clock is behind would make tasks that seem older than those before them, and wait for
//! moments that were over; so it counts on from the latest moment that stands in the state.
//!
//! A clock that was ahead stays ahead: the swarm's time never goes backwards, and passes as fast as
//! the leader's own.

use std::time::Duration;

use skep_types::Timestamp;

use crate::object::Object;
use crate::state::State;
use crate::table::Table;

/// A leadership's reckoning, from its own host's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    ahead: Duration,
}

impl Clock {
    /// Begins a leadership: `now` is its host's time, and `state` holds everything before it.
    pub fn begin(state: &State, now: Timestamp) -> Self {
        let latest = [
            latest(&state.cluster),
            latest(&state.nodes),
            latest(&state.services),
            latest(&state.tasks),
            latest(&state.networks),
            latest(&state.secrets),
            latest(&state.configs),
            latest(&state.attachments),
        ];
        let latest = latest.into_iter().flatten().max().unwrap_or(now);
        Self { ahead: latest.saturating_since(now) }
    }

    /// The swarm's time when the host's is `now`.
    pub fn time(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.ahead)
    }
}

fn latest<T: Object>(table: &Table<T>) -> Option<Timestamp> {
    table.iter().map(|object| object.meta().updated_at).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Transaction};
    use skep_types::{Annotations, Network, NetworkId, NetworkSpec};

    const SECOND: i64 = 1_000_000_000;

    fn state_of(second: i64) -> State {
        let annotations = Annotations { name: "front".to_owned(), ..Annotations::default() };
        let network =
            Network::new(NetworkId::new(1), NetworkSpec { annotations, ..NetworkSpec::default() });
        let actions = vec![Change::Create(std::sync::Arc::new(network)).into()];
        let mut state = State::default();
        let transaction = Transaction { epoch: 1, now: Timestamp(second * SECOND), actions };
        state.apply(&transaction).unwrap();
        state
    }

    #[test]
    fn a_leader_whose_clock_is_behind_counts_on_from_the_one_before_it() {
        let clock = Clock::begin(&state_of(600), Timestamp(100 * SECOND));
        assert_eq!(clock.time(Timestamp(100 * SECOND)), Timestamp(600 * SECOND));
        assert_eq!(clock.time(Timestamp(105 * SECOND)), Timestamp(605 * SECOND));
    }

    #[test]
    fn a_clock_that_is_right_is_taken_as_it_is() {
        let clock = Clock::begin(&state_of(600), Timestamp(700 * SECOND));
        assert_eq!(clock.time(Timestamp(701 * SECOND)), Timestamp(701 * SECOND));
        assert_eq!(Clock::begin(&State::default(), Timestamp(7)), Clock::default());
    }
}
