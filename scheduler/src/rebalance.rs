//! Which tasks of a service are to move so that they are spread again as if all were placed now.
//!
//! Placement evens out what is new and leaves what stands: after nodes came, or came back, their
//! tasks are elsewhere. What is even is what placement would make: at each label that the placement
//! preferences name, and then among nodes, whoever has least gets the next task, as long as there is
//! room. Of all such spreads the one is chosen that keeps most tasks where they are.
//!
//! Tasks on nodes that are down or paused stay, and count; so does everything of other services.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use skep_state::State;
use skep_types::{Availability, NodeId, NodeState, Service, Task, TaskId, TaskState, Timestamp};

use crate::cluster::Cluster;
use crate::filter::Needs;
use crate::hosts::Place;
use crate::spread::{Demand, value};

/// A task that is to leave its node, and the node that its successor goes to if that still fits then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub task: TaskId,
    pub from: NodeId,
    pub to: NodeId,
}

/// The fewest moves that even a service's tasks out; none if they are even. `now` tells which failures
/// still count.
pub fn rebalance(state: &State, service: &Service, now: Timestamp) -> Vec<Move> {
    let mut cluster = Cluster::of(state);
    cluster.pass_time(now);
    let mut on: BTreeMap<NodeId, Vec<Arc<Task>>> = BTreeMap::new();
    for task in
        state.tasks_of_service(service.id).filter(|task| task.has_place() && task.is_wanted())
    {
        let Some(node) = task.node_id else { continue };
        on.entry(node).or_default().push(Arc::clone(task));
    }
    let Some(tally) = cluster.services.get(&service.id) else { return Vec::new() };
    let Some(version) = tally.version(service.spec_version) else { return Vec::new() };
    let needs = cluster.kinds.needs(version.kind);
    let demand = Demand { hosts: &cluster.hosts, needs, counts: &tally.counts, max_replicas: 0 };
    let mut sites: Vec<Site> = cluster
        .hosts
        .iter()
        .filter(|(_, host)| host.node().is_some())
        .map(|(place, host)| {
            let has = on.get(&host.id()).map_or(0, Vec::len) as u64;
            Site::of(&demand, place, has, version.max_replicas)
        })
        .collect();
    sites.sort_by_key(|site| site.node);
    let total: u64 = sites.iter().map(|site| site.has).sum();
    // Where nothing is reserved, room has no end.
    let most = sites.iter().fold(0, |sum: u64, site| sum.saturating_add(site.most));
    if most < total {
        // More than the most replicas allowed: what has no other place stays where it is.
        for site in &mut sites {
            site.most = site.most.max(site.has);
        }
    }
    let plot = Plot::of(&sites, &demand);
    let mut target = vec![0; sites.len()];
    plot.divide(&sites, total, &mut target);
    moves(&sites, &target, on)
}

/// A node, and how many of the service's tasks it has and may have.
#[derive(Debug)]
struct Site {
    node: NodeId,
    place: Place,
    has: u64,
    /// Tasks that stay whatever happens.
    least: u64,
    most: u64,
    /// Tasks of all services: of two nodes that are as good otherwise the one with fewer is chosen.
    in_all: u32,
}

impl Site {
    fn of(demand: &Demand<'_>, place: Place, has: u64, max_replicas: u64) -> Self {
        let host = demand.hosts.get(place);
        let stays = host.node().is_none_or(|node| {
            node.status.state != NodeState::Ready || node.spec.availability != Availability::Active
        });
        let room = match demand.failures(place) {
            0 => demand.needs.room(host),
            // Placement would take it last of all.
            _ => 0,
        };
        let mut most = has.saturating_add(room);
        if max_replicas > 0 {
            most = most.min(max_replicas);
        }
        let least = if stays { has } else { 0 };
        Self { node: host.id(), place, has, least, most: most.max(least), in_all: host.tasks() }
    }
}

/// Sites by the labels that tasks are spread over.
#[derive(Debug)]
enum Plot {
    Site(usize),
    Branch { parts: Vec<Plot>, least: u64, most: u64 },
}

impl Plot {
    fn of(sites: &[Site], demand: &Demand<'_>) -> Self {
        Self::within((0..sites.len()).collect(), &demand.needs.spread, sites, demand)
    }

    fn within(of: Vec<usize>, preferences: &[String], sites: &[Site], demand: &Demand<'_>) -> Self {
        let parts = match preferences.split_first() {
            None => of.iter().map(|site| Self::Site(*site)).collect(),
            Some((preference, inner)) => {
                let mut by_value: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
                for site in &of {
                    let node = demand.hosts.get(sites[*site].place).node();
                    let value = node.map_or("", |node| value(preference, node));
                    by_value.entry(value).or_default().push(*site);
                }
                let parts = by_value.into_values();
                parts.map(|part| Self::within(part, inner, sites, demand)).collect()
            }
        };
        let sum = |of_site: fn(&Site) -> u64| {
            of.iter().fold(0, |sum: u64, site| sum.saturating_add(of_site(&sites[*site])))
        };
        Self::Branch { parts, least: sum(|site| site.least), most: sum(|site| site.most) }
    }

    fn least(&self, sites: &[Site]) -> u64 {
        match self {
            Self::Site(site) => sites[*site].least,
            Self::Branch { least, .. } => *least,
        }
    }

    fn most(&self, sites: &[Site]) -> u64 {
        match self {
            Self::Site(site) => sites[*site].most,
            Self::Branch { most, .. } => *most,
        }
    }

    /// How many of so many tasks stay where they are, at best.
    fn kept(&self, sites: &[Site], tasks: u64) -> u64 {
        match self {
            Self::Site(site) => tasks.min(sites[*site].has),
            Self::Branch { parts, .. } => {
                let shares = shares(parts, sites, tasks);
                parts.iter().zip(shares).map(|(part, share)| part.kept(sites, share)).sum()
            }
        }
    }

    /// Writes down how many of so many tasks each site is to have.
    fn divide(&self, sites: &[Site], tasks: u64, target: &mut [u64]) {
        match self {
            Self::Site(site) => target[*site] = tasks,
            Self::Branch { parts, .. } => {
                for (part, share) in parts.iter().zip(shares(parts, sites, tasks)) {
                    part.divide(sites, share, target);
                }
            }
        }
    }

    /// Who is given one more first, where it makes no other difference.
    fn rank(&self, sites: &[Site]) -> u32 {
        match self {
            Self::Site(site) => sites[*site].in_all,
            Self::Branch { .. } => 0,
        }
    }
}

/// How many of so many tasks each part gets: as even as what they must and may have allows. Where some
/// get one more than others, it is those that have one more to keep.
///
/// That is the best choice because one more for a part never keeps fewer, and one more at most.
fn shares(parts: &[Plot], sites: &[Site], tasks: u64) -> Vec<u64> {
    let bounds: Vec<(u64, u64)> =
        parts.iter().map(|part| (part.least(sites), part.most(sites))).collect();
    let filled = |level: u64| {
        bounds
            .iter()
            .fold(0, |sum: u64, (least, most)| sum.saturating_add(level.clamp(*least, *most)))
    };
    // The highest level that there are tasks enough for.
    let (mut level, mut above) = (0, tasks.saturating_add(1));
    while above - level > 1 {
        let middle = level + (above - level) / 2;
        if filled(middle) <= tasks {
            level = middle;
        } else {
            above = middle;
        }
    }
    let mut shares: Vec<u64> =
        bounds.iter().map(|(least, most)| level.clamp(*least, *most)).collect();
    let left = tasks.saturating_sub(filled(level));
    if left == 0 {
        return shares;
    }
    let mut open: Vec<(Reverse<u64>, u32, usize)> = (0..parts.len())
        .filter(|part| bounds[*part].0 <= level && level < bounds[*part].1)
        .map(|at| {
            let part = &parts[at];
            let gain = part.kept(sites, level + 1).saturating_sub(part.kept(sites, level));
            (Reverse(gain), part.rank(sites), at)
        })
        .collect();
    open.sort_unstable();
    for (_, _, part) in open.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        shares[part] += 1;
    }
    shares
}

/// Who leaves a node that has too many: those that do not run yet, then the youngest.
fn moves(sites: &[Site], target: &[u64], mut on: BTreeMap<NodeId, Vec<Arc<Task>>>) -> Vec<Move> {
    let mut wanted: Vec<(u64, u32, NodeId)> = Vec::new();
    for (site, target) in sites.iter().zip(target) {
        for nth in site.has..*target {
            wanted.push((nth, site.in_all, site.node));
        }
    }
    // As placement would: the node with the fewest first.
    wanted.sort_unstable();
    let mut wanted = wanted.into_iter();
    let mut moves = Vec::new();
    for (site, target) in sites.iter().zip(target) {
        let Some(mut tasks) = on.remove(&site.node) else { continue };
        tasks.sort_by_key(|task| {
            (task.status.state == TaskState::Running, Reverse((task.meta.created_at, task.id)))
        });
        let leaving = site.has.saturating_sub(*target);
        for task in tasks.iter().take(usize::try_from(leaving).unwrap_or(usize::MAX)) {
            let Some((_, _, to)) = wanted.next() else { return moves };
            moves.push(Move { task: task.id, from: site.node, to });
        }
    }
    moves
}

impl Needs {
    /// How many more tasks with these needs a host has room for.
    fn room(&self, host: &crate::host::Host) -> u64 {
        if self.check(host).is_err() {
            return 0;
        }
        let times = |free: i64, need: i64| match need {
            1.. => u64::try_from(free / need).unwrap_or(0),
            _ => u64::MAX,
        };
        let generic =
            self.generic.iter().map(|(kind, count)| times(host.free_generic(kind), *count));
        let ports = if self.host_ports.is_empty() { u64::MAX } else { 1 };
        generic
            .chain([
                times(host.free_nano_cpus(), self.nano_cpus),
                times(host.free_memory_bytes(), self.memory_bytes),
                ports,
            ])
            .min()
            .unwrap_or(u64::MAX)
    }
}
