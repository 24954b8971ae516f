//! All nodes, each at a place of its own, and which of them changed in what order.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use skep_types::NodeId;

use crate::hash::IdMap;
use crate::host::Host;

/// Where a host stands in the list, counted from one; small enough to be kept millions of times,
/// and an `Option` of it is no larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(NonZeroU32);

impl Place {
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A moment in the order of changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// The hosts, and a log of their changes that whoever keeps them in an order follows.
#[derive(Debug, Default)]
pub struct Hosts {
    hosts: Vec<Host>,
    /// When each host changed last.
    changed: Vec<Moment>,
    by_id: IdMap<NodeId, Place>,
    vacant: Vec<Place>,
    log: VecDeque<Place>,
    /// The moment of the log's first entry; entries before it were dropped.
    first: u64,
    /// Changes before it were read by somebody: a host that changed since needs no second entry.
    read: u64,
}

/// A reader that is further behind than the log is long starts anew, which costs about as much as
/// to read so much; so the log need not be longer than a few entries for each host.
const LOG_ENTRIES_PER_HOST: usize = 2;
/// Of swarms so small that it does not matter.
const LOG_ENTRIES_MIN: usize = 64;

impl Hosts {
    pub fn get(&self, place: Place) -> &Host {
        &self.hosts[place.index()]
    }

    pub fn find(&self, id: NodeId) -> Option<Place> {
        self.by_id.get(&id).copied()
    }

    /// Places that were ever given, vacant ones included.
    pub fn places(&self) -> usize {
        self.hosts.len()
    }

    /// Every host that is a node or that a task names, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Host)> {
        self.by_id.values().map(|place| (*place, self.get(*place)))
    }

    /// The host of that id, made if it is new.
    pub(crate) fn place(&mut self, id: NodeId) -> Place {
        if let Some(place) = self.find(id) {
            return place;
        }
        let place = match self.vacant.pop() {
            Some(place) => {
                self.hosts[place.index()] = Host::new(id);
                place
            }
            None => {
                self.hosts.push(Host::new(id));
                self.changed.push(Moment(0));
                let count = u32::try_from(self.hosts.len()).ok().and_then(NonZeroU32::new);
                Place(count.expect("fewer hosts than 2^32, and one"))
            }
        };
        self.by_id.insert(id, place);
        self.note(place);
        place
    }

    /// Changes a host, and notes it.
    pub(crate) fn change(&mut self, place: Place, change: impl FnOnce(&mut Host)) {
        let host = &mut self.hosts[place.index()];
        change(host);
        if host.is_vacant() {
            self.by_id.remove(&host.id());
            self.vacant.push(place);
        }
        self.note(place);
    }

    /// Notes that something about a host changed that is not kept here.
    pub(crate) fn note(&mut self, place: Place) {
        let changed = &mut self.changed[place.index()];
        // Moments begin with one, so zero is a host that was not noted yet.
        if changed.0 > self.read {
            return;
        }
        self.log.push_back(place);
        changed.0 = self.first + self.log.len() as u64;
        let bound = self.hosts.len() * LOG_ENTRIES_PER_HOST + LOG_ENTRIES_MIN;
        while self.log.len() > bound {
            self.log.pop_front();
            self.first += 1;
        }
    }

    /// The moment of the last change, for a reader that looks at all changes up to it now. Hosts
    /// that change again have a later one.
    pub fn seen_all(&mut self) -> Moment {
        self.read = self.first + self.log.len() as u64;
        Moment(self.read)
    }

    /// When a host changed last.
    pub fn changed(&self, place: Place) -> Moment {
        self.changed[place.index()]
    }

    /// What changed since a moment, each host once; none if the log does not reach back so far.
    pub fn since(&self, seen: Moment) -> Option<impl Iterator<Item = Place>> {
        let skip = usize::try_from(seen.0.checked_sub(self.first)?).ok()?;
        let entries = self.log.iter().enumerate().skip(skip);
        // An entry that a later one follows says nothing more.
        let last = move |(at, place): (usize, &Place)| {
            let moment = Moment(self.first + at as u64 + 1);
            (self.changed(*place) == moment).then_some(*place)
        };
        Some(entries.filter_map(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::Node;
    use std::sync::Arc;

    fn hosts(count: u128) -> (Hosts, Vec<Place>) {
        let mut hosts = Hosts::default();
        let places = (1..=count).map(NodeId::new).map(|id| {
            let place = hosts.place(id);
            let node = Node::new(id, skep_types::NodeSpec::default());
            hosts.change(place, |host| host.set_node(Some(Arc::new(node))));
            place
        });
        let places = places.collect();
        (hosts, places)
    }

    fn since(hosts: &Hosts, seen: Moment) -> Option<Vec<Place>> {
        hosts.since(seen).map(Iterator::collect)
    }

    #[test]
    fn a_reader_is_told_each_host_once_that_changed_since_it_read() {
        let (mut hosts, places) = hosts(3);
        assert_eq!(since(&hosts, Moment::default()), Some(places.clone()));
        let first = hosts.seen_all();
        assert_eq!(since(&hosts, first), Some(vec![]));
        for place in [places[2], places[0], places[2]] {
            hosts.note(place);
        }
        assert_eq!(since(&hosts, first), Some(vec![places[2], places[0]]));
        assert!(hosts.changed(places[1]) <= first && hosts.changed(places[0]) > first);
        let second = hosts.seen_all();
        hosts.note(places[2]);
        assert_eq!(since(&hosts, second), Some(vec![places[2]]));
        // Who is further behind hears of the later change alone.
        assert_eq!(since(&hosts, first), Some(vec![places[0], places[2]]));
    }

    #[test]
    fn the_log_is_no_longer_than_its_bound_and_tells_nothing_that_it_forgot() {
        let (mut hosts, places) = hosts(10);
        let bound = 10 * LOG_ENTRIES_PER_HOST + LOG_ENTRIES_MIN;
        let first = hosts.seen_all();
        for at in 0..bound {
            hosts.note(places[at % 10]);
            hosts.seen_all();
        }
        assert_eq!(hosts.log.len(), bound);
        let last = hosts.seen_all();
        assert_eq!(since(&hosts, first).map(|it| it.len()), Some(10));
        hosts.note(places[3]);
        assert_eq!(hosts.log.len(), bound);
        assert_eq!(since(&hosts, first), None);
        assert_eq!(since(&hosts, last), Some(vec![places[3]]));
        // Without a reader a host stands in it once.
        (0..1000).for_each(|at| hosts.note(places[at % 10]));
        assert_eq!(since(&hosts, last).map(|it| it.len()), Some(10));
    }

    #[test]
    fn the_place_of_one_that_is_gone_is_given_again() {
        let (mut hosts, places) = hosts(3);
        hosts.change(places[1], |host| host.set_node(None));
        assert_eq!(hosts.find(NodeId::new(2)), None);
        assert_eq!(hosts.iter().count(), 2);
        assert_eq!(hosts.place(NodeId::new(4)), places[1]);
        assert_eq!((hosts.places(), hosts.get(places[1]).id()), (3, NodeId::new(4)));
    }
}
