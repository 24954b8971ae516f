//! The virtual addresses of a network as all its tasks on a node have them in their rules: for each a
//! row of slots, one of which a new connection is given.
//!
//! **Invariant:** from one arrangement to the next, an address that goes on serving keeps its slot
//! unless the last of the row has to fill a gap, so that one task's coming is one slot's change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use skep_types::NetworkId;
use skep_types::session::Session;

use crate::balance::{Balanced, Target, vips};
use crate::network::NetworkState;
use crate::rules::Fnv;
use crate::shares::shares;

/// How one slot is chosen for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Any of so many.
    Random(u32),
    /// By the client's address, of so many.
    Hashed(u32),
}

/// A virtual address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    pub session: Session,
    /// Of its family, in no order that means anything; empty while nobody serves.
    pub slots: Vec<IpAddr>,
    /// What is behind it, in any arrangement.
    digest: u64,
}

/// Those of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vips {
    pub network: NetworkId,
    pub all: BTreeMap<IpAddr, Vip>,
    /// The same, for flows that stand.
    pub balanced: Vec<Balanced>,
}

impl Vip {
    pub fn choice(&self) -> Option<Choice> {
        let number = self.slots.len() as u32;
        match self.session {
            _ if number == 0 => None,
            Session::ClientAddress => Some(Choice::Hashed(number)),
            Session::Any => Some(Choice::Random(number)),
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }
}

impl Vips {
    /// Of a network now; `before` is how they were arranged, if anybody knows.
    pub fn of(network: &NetworkState, before: Option<&Arc<Self>>) -> Arc<Self> {
        let balanced = vips(network);
        if let Some(before) = before.filter(|it| it.balanced == balanced) {
            return Arc::clone(before);
        }
        let all = balanced.iter().filter_map(|balanced| {
            let Target::Vip(address) = balanced.target else { return None };
            let slots = before.and_then(|it| it.all.get(&address)).map(|it| it.slots.as_slice());
            Some((address, vip(balanced, slots.unwrap_or_default())))
        });
        Arc::new(Self { network: network.id, all: all.collect(), balanced })
    }
}

fn vip(balanced: &Balanced, before: &[IpAddr]) -> Vip {
    let serving: BTreeSet<IpAddr> = balanced.serving.iter().copied().collect();
    let slots = match balanced.session {
        Session::ClientAddress => shares(&balanced.serving),
        Session::Any => arrange(before, &serving),
    };
    let mut hash = Fnv::default();
    hash.write(balanced.session.word());
    for address in &serving {
        hash.write(&address.to_string());
        hash.write(" ");
    }
    Vip { session: balanced.session, slots, digest: hash.0 }
}

/// A row of all that serve, as much like the one before as it can be.
fn arrange(before: &[IpAddr], serving: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let mut new: BTreeSet<IpAddr> = serving.clone();
    let mut row: Vec<Option<IpAddr>> = Vec::with_capacity(serving.len());
    // One that stands twice in a row of another kind (by hash) is taken once.
    row.extend(before.iter().map(|address| new.take(address)));
    let mut new = new.into_iter();
    for slot in row.iter_mut().filter(|slot| slot.is_none()) {
        *slot = new.next();
    }
    row.extend(new.map(Some));
    // Gaps that nobody new fills are filled from the end.
    let mut index = 0;
    while index < row.len() {
        match row[index] {
            Some(_) => index += 1,
            None => drop(row.swap_remove(index)),
        }
    }
    row.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(last: &[u8]) -> Vec<IpAddr> {
        last.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()
    }

    fn arranged(before: &[u8], serving: &[u8]) -> Vec<IpAddr> {
        arrange(&row(before), &row(serving).into_iter().collect())
    }

    #[test]
    fn a_slot_changes_hands_only_where_it_must() {
        assert_eq!(arranged(&[], &[3, 1, 2]), row(&[1, 2, 3]));
        assert_eq!(arranged(&[5, 3, 9], &[3, 5, 9, 1]), row(&[5, 3, 9, 1]), "one more comes last");
        assert_eq!(arranged(&[5, 3, 9], &[3, 9]), row(&[9, 3]), "the last fills the gap");
        assert_eq!(arranged(&[5, 3, 9], &[5, 3]), row(&[5, 3]));
        assert_eq!(arranged(&[5, 3, 9], &[7, 3, 9]), row(&[7, 3, 9]), "one in another's place");
        assert_eq!(arranged(&[5, 5, 3, 5], &[3, 5]).len(), 2, "each once");
        assert_eq!(arranged(&[5, 3], &[]), row(&[]));
        assert_eq!(arranged(&[1, 2, 3, 4], &[4]), row(&[4]));
    }
}
