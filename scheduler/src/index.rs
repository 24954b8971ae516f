//! Hosts in the order in which they shall have tasks, kept from pass to pass.
//!
//! An index is for all services with the same needs, or for one service. Before it is used it
//! tests again what changed since it was used last, and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use skep_types::ServiceId;

use crate::filter::Needs;
use crate::hosts::{Hosts, Moment, Place};
use crate::kinds::Kind;
use crate::spread::{BranchId, Demand, Load, Tree};
use crate::tally::Counts;

#[derive(Debug)]
pub struct Index {
    /// What it was built for: a kind's number may come to stand for other needs.
    needs: Arc<Needs>,
    max_replicas: u64,
    tree: Tree,
    /// Where each host stands in the tree, by place.
    stands: Vec<Option<(BranchId, Load)>>,
    /// Changes up to here are in it.
    seen: Moment,
    /// When it was used last, counted in uses.
    used: u64,
}

impl Index {
    /// Tests every host.
    fn new(needs: Arc<Needs>, demand: &Demand<'_>, seen: Moment) -> Self {
        let mut index = Self {
            needs,
            max_replicas: demand.max_replicas,
            tree: Tree::default(),
            stands: vec![None; demand.hosts.places()],
            seen,
            used: 0,
        };
        let mut loads = Vec::new();
        for (place, host) in demand.hosts.iter() {
            index.tree.set_branch(place, &index.needs.spread, host.node().map(Arc::as_ref));
            if demand.fits(place)
                && let Some(branch) = index.tree.branch_of(place)
            {
                let stand = (branch, demand.load(place));
                index.stands[place.index()] = Some(stand);
                loads.push(stand);
            }
        }
        index.tree.fill(loads);
        index
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    fn is_for(&self, needs: &Arc<Needs>, max_replicas: u64) -> bool {
        Arc::ptr_eq(&self.needs, needs)
            && self.max_replicas == max_replicas
            // Branches of labels that no node has any more are not taken out one by one.
            && self.tree.branches() <= 2 * self.stands.len() + 64
    }

    /// Tests one host again.
    fn test(&mut self, place: Place, demand: &Demand<'_>) {
        if self.stands.len() <= place.index() {
            self.stands.resize(place.index() + 1, None);
        }
        let node = demand.hosts.get(place).node();
        self.tree.set_branch(place, &self.needs.spread, node.map(Arc::as_ref));
        let fits = demand.fits(place);
        let branch = self.tree.branch_of(place).filter(|_| fits);
        let stand = branch.map(|branch| (branch, demand.load(place)));
        let stood = std::mem::replace(&mut self.stands[place.index()], stand);
        if stood == stand {
            return;
        }
        if let Some((branch, load)) = stood {
            self.tree.remove(branch, &load);
        }
        if let Some((branch, load)) = stand {
            self.tree.insert(branch, load);
        }
    }
}

/// For whom an index is: all services of a kind, or one; none: all services.
pub type Owner = Option<(Kind, Option<ServiceId>)>;

/// The indexes that were used of late.
#[derive(Debug)]
pub struct Indexes {
    by_owner: HashMap<Owner, Index>,
    /// Hosts in all of them together, but for the one in use.
    entries_max: usize,
    uses: u64,
}

/// Of an index for several services: none of them has tasks or failures in it.
static NOBODYS: LazyLock<Counts> = LazyLock::new(Counts::default);
/// The needs of the index for all services: only that a node is available.
static ANYTHING: LazyLock<Arc<Needs>> = LazyLock::new(Arc::default);

impl Indexes {
    pub fn new(entries_max: usize) -> Self {
        Self { by_owner: HashMap::new(), entries_max, uses: 0 }
    }

    /// Whether there is an index of all services of a kind.
    pub fn has_kind(&self, kind: Kind) -> bool {
        self.by_owner.contains_key(&Some((kind, None)))
    }

    /// The index of all services of a kind, up to date.
    pub fn of_kind(&mut self, kind: Kind, needs: &Arc<Needs>, hosts: &mut Hosts) -> &Index {
        self.bring(Some((kind, None)), needs, hosts, &NOBODYS, 0)
    }

    /// The index of all nodes that may have tasks at all, up to date.
    pub fn of_all(&mut self, hosts: &mut Hosts) -> &Index {
        self.bring(None, &ANYTHING, hosts, &NOBODYS, 0)
    }

    /// The index of one service, up to date.
    pub fn of_service(
        &mut self,
        owner: (Kind, ServiceId),
        needs: &Arc<Needs>,
        hosts: &mut Hosts,
        counts: &Counts,
        max_replicas: u64,
    ) -> &Index {
        self.bring(Some((owner.0, Some(owner.1))), needs, hosts, counts, max_replicas)
    }

    fn bring(
        &mut self,
        owner: Owner,
        needs: &Arc<Needs>,
        hosts: &mut Hosts,
        counts: &Counts,
        max_replicas: u64,
    ) -> &Index {
        let now = hosts.seen_all();
        let demand = Demand { hosts, needs, counts, max_replicas };
        self.uses += 1;
        let kept = self.by_owner.remove(&owner).filter(|it| it.is_for(needs, max_replicas));
        let changes = kept.as_ref().and_then(|index| hosts.since(index.seen));
        let mut index = match (changes, kept) {
            (Some(changes), Some(mut index)) => {
                changes.for_each(|place| index.test(place, &demand));
                index.seen = now;
                index
            }
            _ => {
                self.make_room(hosts.places());
                Index::new(Arc::clone(needs), &demand, now)
            }
        };
        index.used = self.uses;
        self.by_owner.entry(owner).insert_entry(index).into_mut()
    }

    /// Drops those that were not used for longest, until one with so many entries has room.
    fn make_room(&mut self, entries: usize) {
        let mut kept: usize = self.by_owner.values().map(|index| index.stands.len()).sum();
        while kept + entries > self.entries_max
            && let Some(owner) =
                self.by_owner.iter().min_by_key(|(_, index)| index.used).map(|(owner, _)| *owner)
        {
            kept -= self.by_owner.remove(&owner).map_or(0, |index| index.stands.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kinds;
    use crate::picker::{Order, Pick, Picker};
    use skep_types::{Node, NodeId, NodeSpec, NodeState};

    fn set(hosts: &mut Hosts, id: u128, zone: usize) {
        let mut node = Node::new(NodeId::new(id), NodeSpec::default());
        node.status.state = NodeState::Ready;
        node.spec.annotations.labels.insert("zone".to_owned(), zone.to_string());
        let place = hosts.place(node.id);
        hosts.change(place, |host| host.set_node(Some(Arc::new(node))));
    }

    fn hosts(count: u128) -> Hosts {
        let mut hosts = Hosts::default();
        (1..=count).for_each(|id| set(&mut hosts, id, 0));
        hosts
    }

    fn spread_needs(kinds: &mut Kinds) -> (Kind, Arc<Needs>) {
        let spread = vec!["node.labels.zone".to_owned()];
        let kind = kinds.enter(Needs { spread, ..Needs::default() });
        (kind, Arc::clone(kinds.needs(kind)))
    }

    #[test]
    fn an_index_is_followed_and_not_made_anew_until_it_is_full_of_branches_of_old() {
        let mut hosts = hosts(3);
        let (kind, needs) = spread_needs(&mut Kinds::default());
        let mut indexes = Indexes::new(1000);
        let mut branches = |hosts: &mut Hosts| {
            let tree = indexes.of_kind(kind, &needs, hosts).tree();
            let fit: usize = tree.children(0).map(|child| tree.hosts(child).len()).sum();
            assert_eq!(fit, 3, "each host stands on one branch");
            tree.branches()
        };
        assert_eq!(branches(&mut hosts), 2, "the root, and the one zone");
        // One label after the other: those that no node has any more stay, up to a bound.
        let bound = 2 * 3 + 64;
        for zone in 1..=bound - 1 {
            set(&mut hosts, 1, zone);
            assert_eq!(branches(&mut hosts), 2 + zone);
        }
        set(&mut hosts, 1, bound);
        assert_eq!(branches(&mut hosts), 3, "made anew: two zones are left");
    }

    #[test]
    fn an_index_serves_only_the_needs_that_it_was_made_for() {
        let mut hosts = hosts(2);
        let mut kinds = Kinds::default();
        let (kind, needs) = spread_needs(&mut kinds);
        let mut indexes = Indexes::new(1000);
        assert_eq!(indexes.of_kind(kind, &needs, &mut hosts).tree().branches(), 2);
        kinds.leave(kind);
        let other = kinds.enter(Needs::default());
        assert_eq!(other, kind, "the number stands for other needs now");
        let needs = Arc::clone(kinds.needs(other));
        assert_eq!(indexes.of_kind(other, &needs, &mut hosts).tree().branches(), 1);
        // Nor for other limits: with one replica on each host none fits any more.
        let mut counts = Counts::default();
        hosts.iter().for_each(|(place, _)| counts.add_task(place));
        let owner = (kind, ServiceId::new(1));
        for (most, fit) in [(0, 2), (1, 0), (2, 2)] {
            let index = indexes.of_service(owner, &needs, &mut hosts, &counts, most);
            assert_eq!(index.tree().hosts(0).len(), fit, "at most {most}");
        }
    }

    #[test]
    fn no_more_hosts_are_tested_in_vain_than_was_said() {
        let mut hosts = hosts(4);
        let needs = Needs { nano_cpus: 1, ..Needs::default() };
        let counts = Counts::default();
        let mut indexes = Indexes::new(1000);
        let index = indexes.of_all(&mut hosts);
        let demand = Demand { hosts: &hosts, needs: &needs, counts: &counts, max_replicas: 0 };
        for (most, expected) in [(0, Pick::TooFar), (3, Pick::TooFar), (4, Pick::None)] {
            let mut picker = Picker::new(index.tree(), Order::Untested(most), &demand);
            assert_eq!(picker.next(&demand), expected, "{most} of four");
        }
    }

    #[test]
    fn those_that_were_not_used_for_longest_are_dropped_when_there_are_too_many() {
        let mut hosts = hosts(4);
        let mut kinds = Kinds::default();
        let all: Vec<(Kind, Arc<Needs>)> = (1..=4)
            .map(|nano_cpus| {
                let kind = kinds.enter(Needs { nano_cpus, ..Needs::default() });
                (kind, Arc::clone(kinds.needs(kind)))
            })
            .collect();
        // Room for three, to the entry.
        let mut indexes = Indexes::new(12);
        let use_one = |indexes: &mut Indexes, at: usize, hosts: &mut Hosts| {
            indexes.of_kind(all[at].0, &all[at].1, hosts);
        };
        for at in [0, 1, 2, 0] {
            use_one(&mut indexes, at, &mut hosts);
        }
        let kept = |indexes: &Indexes| -> Vec<bool> {
            all.iter().map(|(kind, _)| indexes.has_kind(*kind)).collect()
        };
        assert_eq!(kept(&indexes), [true, true, true, false]);
        use_one(&mut indexes, 3, &mut hosts);
        assert_eq!(kept(&indexes), [true, false, true, true]);
        // A larger one takes the place of two.
        for at in [0, 1, 2] {
            use_one(&mut indexes, at, &mut hosts);
        }
        (5..=8).for_each(|id| set(&mut hosts, id, 0));
        use_one(&mut indexes, 3, &mut hosts);
        assert_eq!(kept(&indexes), [false, false, true, true]);
        // One that has room for one index only, and then not even for that.
        for most in [15, 7] {
            let mut indexes = Indexes::new(most);
            for at in 0..4 {
                use_one(&mut indexes, at, &mut hosts);
                assert_eq!(indexes.by_owner.len(), 1);
            }
        }
    }
}
