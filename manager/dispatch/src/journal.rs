//! What became of networks, entry by entry of the log, so that a node is told what it has missed of a
//! network rather than all of it again.
//!
//! **Invariant:** what a reader is given since an index lacks nothing that was written after it; a
//! reader for whom something is lost is told so.

use std::collections::{BTreeMap, VecDeque};

use skep_types::NetworkId;

#[derive(Debug, Clone)]
struct Entry<P> {
    index: u64,
    weight: usize,
    /// None: nothing before it is of use any more.
    part: Option<P>,
}

/// What became of one network.
#[derive(Debug, Clone)]
struct Journal<P> {
    /// What came up to this index is not here any more.
    lost: u64,
    entries: VecDeque<Entry<P>>,
}

/// Parts of what became of each network, each as its writer made it; the oldest are dropped where
/// there are too many.
#[derive(Debug, Clone)]
pub struct Journals<P> {
    /// Everything after this index was written.
    begun: u64,
    by_network: BTreeMap<NetworkId, Journal<P>>,
    /// Of which network each entry is, oldest first.
    order: VecDeque<NetworkId>,
    weight: usize,
    max: usize,
}

impl<P: Clone> Journals<P> {
    /// What comes after an index is written; what is kept weighs no more than `max` together.
    pub fn from(index: u64, max: usize) -> Self {
        let (by_network, order) = (BTreeMap::new(), VecDeque::new());
        Self { begun: index, by_network, order, weight: 0, max }
    }

    /// What became of a network with an entry of the log.
    pub fn write(&mut self, network: NetworkId, index: u64, part: P, weight: usize) {
        self.push(network, Entry { index, weight, part: Some(part) });
    }

    /// With an entry of the log a network is to be told anew: it has changed itself, or what became
    /// of it was not written.
    pub fn anew(&mut self, network: NetworkId, index: u64) {
        self.push(network, Entry { index, weight: 1, part: None });
    }

    /// A network is not part of the state any more: nobody asks for it.
    pub fn forget(&mut self, network: NetworkId) {
        if let Some(gone) = self.by_network.remove(&network) {
            self.weight -= gone.entries.iter().map(|it| it.weight).sum::<usize>();
            self.order.retain(|it| *it != network);
        }
    }

    /// What became of a network after an index, in order; none where some of it is not known.
    pub fn since(&self, network: NetworkId, index: u64) -> Option<Vec<P>> {
        let journal = self.by_network.get(&network);
        if index < journal.map_or(self.begun, |it| it.lost) {
            return None;
        }
        let entries = journal.into_iter().flat_map(|it| it.entries.iter().rev());
        let newer = entries.take_while(|it| it.index > index).map(|it| it.part.clone());
        let mut parts = newer.collect::<Option<Vec<P>>>()?;
        parts.reverse();
        Some(parts)
    }

    fn push(&mut self, network: NetworkId, entry: Entry<P>) {
        self.weight += entry.weight;
        self.order.push_back(network);
        let begun = || Journal { lost: self.begun, entries: VecDeque::new() };
        self.by_network.entry(network).or_insert_with(begun).entries.push_back(entry);
        while self.weight > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            let Some(journal) = self.by_network.get_mut(&oldest) else { continue };
            if let Some(dropped) = journal.entries.pop_front() {
                self.weight -= dropped.weight;
                journal.lost = dropped.index;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: NetworkId = NetworkId::new(1);
    const BACK: NetworkId = NetworkId::new(2);

    #[test]
    fn a_reader_is_given_what_came_after_what_it_has() {
        let mut journals = Journals::from(10, 100);
        journals.write(FRONT, 11, "a", 1);
        journals.write(BACK, 12, "b", 1);
        journals.write(FRONT, 13, "c", 1);
        assert_eq!(journals.since(FRONT, 10), Some(vec!["a", "c"]));
        assert_eq!(journals.since(FRONT, 11), Some(vec!["c"]));
        assert_eq!(journals.since(FRONT, 13), Some(vec![]));
        assert_eq!(journals.since(BACK, 10), Some(vec!["b"]));
        assert_eq!(journals.since(NetworkId::new(3), 10), Some(vec![]));
        assert_eq!(journals.since(FRONT, 9), None, "what came before is not known");
    }

    #[test]
    fn a_network_that_is_to_be_told_anew_is_so_for_who_has_not_heard_since() {
        let mut journals = Journals::from(0, 100);
        journals.write(FRONT, 1, "a", 1);
        journals.anew(FRONT, 2);
        journals.write(FRONT, 3, "b", 1);
        assert_eq!(journals.since(FRONT, 1), None);
        assert_eq!(journals.since(FRONT, 2), Some(vec!["b"]));
        assert_eq!(journals.since(BACK, 0), Some(vec![]));
    }

    #[test]
    fn the_oldest_is_lost_where_there_is_too_much() {
        let mut journals = Journals::from(0, 10);
        journals.write(FRONT, 1, "a", 4);
        journals.write(BACK, 2, "b", 4);
        journals.write(BACK, 3, "c", 4);
        assert_eq!(journals.since(FRONT, 0), None);
        assert_eq!(journals.since(FRONT, 1), Some(vec![]), "and that alone");
        assert_eq!(journals.since(BACK, 0), Some(vec!["b", "c"]));
        journals.write(FRONT, 4, "larger than all", 11);
        assert_eq!(journals.since(FRONT, 3), None);
        assert_eq!(journals.since(FRONT, 4), Some(vec![]));
        assert_eq!(journals.since(BACK, 2), None);
    }

    #[test]
    fn what_was_of_a_network_that_is_gone_makes_room() {
        let mut journals = Journals::from(0, 10);
        journals.write(FRONT, 1, "a", 4);
        journals.write(BACK, 2, "b", 4);
        journals.forget(FRONT);
        journals.write(BACK, 3, "c", 6);
        assert_eq!(journals.since(BACK, 0), Some(vec!["b", "c"]));
    }
}
