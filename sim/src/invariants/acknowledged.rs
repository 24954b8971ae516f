//! What was acknowledged is not lost: an object whose making or change was confirmed stands until a
//! user asks for its removal, and stays away when that was confirmed.

use std::collections::BTreeSet;

use skep_state::State;

use super::{Acknowledged, Invariant, Settled, Verdict};

#[derive(Default)]
pub struct Kept {
    confirmed: Vec<Acknowledged>,
    /// Asked for: it may be gone at any time from here on.
    leaving: BTreeSet<u128>,
}

impl Invariant for Kept {
    fn name(&self) -> &'static str {
        "acknowledged"
    }

    fn wished(&mut self, what: &Acknowledged) {
        if let Acknowledged::Gone(id) = what {
            self.leaving.insert(*id);
        }
    }

    fn acknowledged(&mut self, what: &Acknowledged, state: &State) -> Verdict {
        if !self.confirmed.contains(what) {
            self.confirmed.push(*what);
        }
        self.holds(what, state)
    }

    fn settled(&mut self, settled: &Settled<'_>) -> Verdict {
        self.confirmed.iter().try_for_each(|what| self.holds(what, settled.truth))
    }
}

impl Kept {
    fn holds(&self, what: &Acknowledged, state: &State) -> Verdict {
        let (id, stands) = match *what {
            Acknowledged::Cluster => (0, state.cluster().is_some()),
            Acknowledged::Node(id) => (id.bits(), state.nodes().get(id).is_some()),
            Acknowledged::Service(id) => (id.bits(), state.services().get(id).is_some()),
            Acknowledged::Network(id) => (id.bits(), state.networks().get(id).is_some()),
            Acknowledged::Secret(id) => (id.bits(), state.secrets().get(id).is_some()),
            Acknowledged::Config(id) => (id.bits(), state.configs().get(id).is_some()),
            Acknowledged::Gone(id) => (0, !any(state, id)),
        };
        match stands || self.leaving.contains(&id) {
            true => Ok(()),
            false => Err(format!("{what:?} was confirmed and does not hold")),
        }
    }
}

fn any(state: &State, id: u128) -> bool {
    state.nodes().get(skep_types::NodeId::new(id)).is_some()
        || state.services().get(skep_types::ServiceId::new(id)).is_some()
        || state.networks().get(skep_types::NetworkId::new(id)).is_some()
        || state.secrets().get(skep_types::SecretId::new(id)).is_some()
        || state.configs().get(skep_types::ConfigId::new(id)).is_some()
}
