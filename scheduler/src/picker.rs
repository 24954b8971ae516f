//! The next best host for a group of tasks, again and again, while the group fills them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::iter::Peekable;

use crate::hash::IdMap;
use crate::spread::{BranchId, Demand, Load, ROOT, Tree};

/// How an index's order relates to the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is the service's own.
    Own,
    /// It knows neither the service's tasks nor its failures, and so is the service's order of the
    /// hosts that have none of them, which come first.
    Shared,
    /// The same, and it knows nothing of the needs either: each host must be tested, but no more
    /// than so many in vain.
    Untested(usize),
}

/// What came of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    Host(Load),
    /// No host fits.
    None,
    /// Too many hosts were tested in vain: there must be a better index.
    TooFar,
}

/// Goes through an index without changing it; what the group takes is kept here.
pub struct Picker<'i> {
    tree: &'i Tree,
    order: Order,
    /// Tasks of the service on each branch, on hosts that do not fit too.
    tasks: Vec<u32>,
    inner: IdMap<BranchId, BTreeSet<Even>>,
    innermost: IdMap<BranchId, Hosts<'i>>,
}

/// A branch among its siblings: by tasks, then by the label's value.
type Even = (u32, usize, BranchId);

/// The hosts of an innermost branch.
struct Hosts<'i> {
    /// As the index has them: each once.
    listed: Peekable<std::collections::btree_set::Iter<'i, Load>>,
    /// Those whose load is not what the index says.
    others: BinaryHeap<Reverse<Load>>,
    /// All that the index does not have in the service's order are among the others.
    complete: bool,
}

impl<'i> Picker<'i> {
    pub fn new(tree: &'i Tree, order: Order, demand: &Demand<'_>) -> Self {
        let mut tasks = Vec::new();
        if !demand.needs.spread.is_empty() {
            tasks = vec![0; tree.branches()];
            for (place, count) in demand.counts.hosts() {
                let mut at = tree.branch_of(place);
                while let Some(branch) = at {
                    tasks[branch] += count;
                    at = tree.parent(branch);
                }
            }
        }
        let (inner, innermost) = Default::default();
        Self { tree, order, tasks, inner, innermost }
    }

    /// The host that shall have the next task; it is taken to have it.
    pub fn next(&mut self, demand: &Demand<'_>) -> Pick {
        self.next_beneath(ROOT, demand)
    }

    fn next_beneath(&mut self, at: BranchId, demand: &Demand<'_>) -> Pick {
        if self.tree.children(at).len() == 0 {
            return self.next_of(at, demand);
        }
        let mut children = self.inner.remove(&at).unwrap_or_else(|| self.children(at));
        let mut pick = Pick::None;
        while let Some((tasks, rank, child)) = children.pop_first() {
            pick = self.next_beneath(child, demand);
            // A branch without room has none for the rest of the group.
            if pick != Pick::None {
                children.insert((tasks + 1, rank, child));
                break;
            }
        }
        self.inner.insert(at, children);
        pick
    }

    fn children(&self, at: BranchId) -> BTreeSet<Even> {
        let children = self.tree.children(at).enumerate();
        children.map(|(rank, child)| (self.tasks[child], rank, child)).collect()
    }

    fn next_of(&mut self, branch: BranchId, demand: &Demand<'_>) -> Pick {
        let tree = self.tree;
        let hosts = self.innermost.entry(branch).or_insert_with(|| Hosts {
            listed: tree.hosts(branch).peekable(),
            others: BinaryHeap::new(),
            complete: self.order == Order::Own,
        });
        loop {
            let other = hosts.others.peek().map(|Reverse(load)| load);
            match (hosts.listed.peek(), other) {
                (Some(listed), other) if other.is_none_or(|other| *listed < other) => {
                    let load = **listed;
                    hosts.listed.next();
                    if self.order == Order::Own {
                        return Pick::Host(load);
                    }
                    let counted = demand.counts.tasks_on(load.place) > 0;
                    if counted || demand.failures(load.place) > 0 {
                        continue;
                    }
                    match &mut self.order {
                        Order::Untested(left) if !demand.fits(load.place) => match left {
                            0 => return Pick::TooFar,
                            _ => *left -= 1,
                        },
                        _ => return Pick::Host(load),
                    }
                }
                (_, Some(other)) => {
                    let load = *other;
                    hosts.others.pop();
                    return Pick::Host(load);
                }
                (_, None) if hosts.complete => return Pick::None,
                // Only those are left that the index does not have in the service's order.
                (_, None) => {
                    hosts.complete = true;
                    let counted = demand.counts.hosts().map(|(place, _)| place);
                    let failing = demand.counts.failing().map(|(place, _)| place);
                    let failing = failing.filter(|place| {
                        demand.failures(*place) > 0 && demand.counts.tasks_on(*place) == 0
                    });
                    let others = counted.chain(failing).filter(|place| {
                        tree.branch_of(*place) == Some(branch) && demand.fits(*place)
                    });
                    hosts.others = others.map(|place| Reverse(demand.load(place))).collect();
                }
            }
        }
    }

    /// The host has one task more now; it may be picked again.
    pub fn took(&mut self, load: &Load, demand: &Demand<'_>) {
        let branch = self.tree.branch_of(load.place);
        let Some(hosts) = branch.and_then(|branch| self.innermost.get_mut(&branch)) else { return };
        if hosts.complete && demand.fits(load.place) {
            hosts.others.push(Reverse(demand.load(load.place)));
        }
    }
}
