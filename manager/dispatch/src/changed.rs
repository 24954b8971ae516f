//! At which index of the log each network last changed for those who balance on it.

use std::collections::BTreeMap;

use skep_state::State;
use skep_types::NetworkId;

use crate::concern::Networks;

/// Networks with the index at which they last changed. It may say too late an index, never too early.
#[derive(Debug, Clone)]
pub struct Changed {
    /// What any network may last have changed at that is not below.
    others: u64,
    by_network: BTreeMap<NetworkId, u64>,
}

impl Default for Changed {
    /// Nothing is known: every network may change at any moment.
    fn default() -> Self {
        Self { others: u64::MAX, by_network: BTreeMap::new() }
    }
}

impl Changed {
    /// Everything may have changed up to an index, and is followed from there on.
    pub fn up_to(index: u64) -> Self {
        Self { others: index, by_network: BTreeMap::new() }
    }

    /// When a network last changed, at the latest.
    pub fn at(&self, network: NetworkId) -> u64 {
        self.by_network.get(&network).copied().unwrap_or(self.others)
    }

    /// The state has come to an index, and these networks have changed on the way there. One that is
    /// not part of the state any more is remembered no longer: nothing can be withdrawn from it.
    pub fn advance(&mut self, index: u64, networks: &Networks, view: &State) {
        for network in networks.keys() {
            match view.networks().get(*network) {
                Some(_) => self.by_network.insert(*network, index),
                None => self.by_network.remove(network),
            };
        }
    }
}
