//! Managers agree: a snapshot is the state that it was taken of, indexes included. (That each
//! machine comes to the same state by the log is asked where a machine catches up.)

use skep_state::State;

use super::{Invariant, Settled, Verdict};

pub struct Agreement;

impl Invariant for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn settled(&mut self, settled: &Settled<'_>) -> Verdict {
        let restored = State::from_objects(settled.truth.to_objects());
        match restored {
            Ok(restored) if restored == *settled.truth => Ok(()),
            Ok(_) => Err("indexes hold what no object claims, or lack what one does".to_owned()),
            Err(error) => Err(format!("a snapshot is refused: {error}")),
        }
    }
}
