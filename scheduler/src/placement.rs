//! Tasks that are all alike: each to the best node, or all the rest told why there is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_types::task::Slot;
use skep_types::{NodeId, Revision, ServiceId, Task, TaskId, Timestamp};

use crate::cluster::Cluster;
use crate::defaults::{REASON_INTERVAL, REASON_INTERVAL_PER_TASK, Tuning};
use crate::filter::Needs;
use crate::hash::IdMap;
use crate::hosts::{Hosts, Moment, Place};
use crate::index::Indexes;
use crate::kinds::Kind;
use crate::picker::{Order, Pick, Picker};
use crate::scheduler::{Decision, Round};
use crate::spread::Demand;
use crate::tally::{Counts, Told, Version, Waiting, bound_node};
use crate::why::Pending;

/// What is kept from group to group.
#[derive(Debug)]
pub struct Kept {
    tuning: Tuning,
    indexes: Indexes,
    /// Why no host fits a kind, and when that was found.
    reasons: IdMap<Kind, (Moment, Pending)>,
}

impl Kept {
    pub fn new(tuning: Tuning) -> Self {
        Self { tuning, indexes: Indexes::new(tuning.index_entries_max), reasons: IdMap::default() }
    }
}

/// Tasks of one version of a service's spec, and what they need of the cluster.
pub struct Group<'a> {
    hosts: &'a mut Hosts,
    counts: &'a mut Counts,
    version: &'a mut Version,
    /// Counts what is decided.
    placed: &'a mut usize,
    service: ServiceId,
    needs: Arc<Needs>,
    pins: Arc<BTreeMap<Slot, NodeId>>,
}

/// Runs `act` on a group, if there is one.
pub fn with_group(
    cluster: &mut Cluster,
    (service, revision): (ServiceId, Revision),
    act: impl FnOnce(&mut Group<'_>),
) {
    let Some(tally) = cluster.services.get_mut(&service) else { return };
    let pins = Arc::clone(&tally.pins);
    let (counts, version) = tally.counts_and_version(revision);
    let Some(version) = version else { return };
    let needs = Arc::clone(cluster.kinds.needs(version.kind));
    let (hosts, placed) = (&mut cluster.hosts, &mut cluster.placed);
    act(&mut Group { hosts, counts, version, placed, service, needs, pins });
}

impl Group<'_> {
    fn demand(&self) -> Demand<'_> {
        Demand {
            hosts: self.hosts,
            needs: &self.needs,
            counts: self.counts,
            max_replicas: self.version.max_replicas,
        }
    }

    /// Tasks whose node is given go there or nowhere.
    pub fn confirm(&mut self, round: &mut Round) {
        if self.version.bound.is_empty() {
            return;
        }
        let moment = self.hosts.seen_all();
        // One that was told its reason has it as long as its node is as it was.
        let waiting = self.version.bound.iter().filter_map(|(id, waiting)| {
            let place = bound_node(&waiting.task).and_then(|node| self.hosts.find(node));
            let unchanged = waiting.checked.is_some_and(|checked| {
                place.is_none_or(|place| self.hosts.changed(place) <= checked)
            });
            (!unchanged).then_some((*id, place))
        });
        let mut tasks: Vec<(TaskId, Option<Place>)> = waiting.collect();
        tasks.sort_unstable();
        for (id, place) in tasks {
            let place = place.filter(|place| self.hosts.get(*place).node().is_some());
            let checked = place.map(|place| (place, self.demand().check(place)));
            let node = match (&self.needs.unreadable, checked) {
                (Some(error), _) => Err(Pending::unreadable(error)),
                (None, None) => Err(Pending::node_gone()),
                (None, Some((place, Ok(())))) => {
                    take(self.hosts, self.counts, &self.needs, place);
                    if let Some(waiting) = self.version.bound.get_mut(&id) {
                        waiting.placed = Some(place);
                        *self.placed += 1;
                    }
                    Ok(self.hosts.get(place).id())
                }
                (None, Some((place, Err(refusal)))) => {
                    let refusals = [(self.hosts.get(place), refusal)].into_iter();
                    Err(Pending::refused(&self.needs, self.version.max_replicas, refusals))
                }
            };
            let Some(waiting) = self.version.bound.get_mut(&id) else { continue };
            let told = waiting.task.status.error.as_str();
            if node.as_ref().is_err_and(|pending| pending.as_str() == told) {
                waiting.checked = Some(moment);
            } else {
                round.decisions.push(Decision { task: id, node });
            }
        }
    }

    /// Tasks that may go anywhere are spread.
    pub fn place(&mut self, kept: &mut Kept, now: Timestamp, round: &mut Round) {
        let unplaced = match self.needs.unreadable {
            None => self.spread(kept, round),
            Some(_) => self.version.free.len(),
        };
        if unplaced > 0 {
            self.explain(unplaced, kept, now, round);
        }
    }

    /// Gives each task the best host, and says how many are left when no host fits.
    fn spread(&mut self, kept: &mut Kept, round: &mut Round) -> usize {
        let (hosts, counts) = (&mut *self.hosts, &mut *self.counts);
        let (needs, max_replicas, kind) =
            (&self.needs, self.version.max_replicas, self.version.kind);
        let mut tasks: Vec<(TaskId, &mut Waiting)> =
            self.version.free.iter_mut().map(|(id, waiting)| (*id, waiting)).collect();
        tasks.sort_unstable_by_key(|(id, _)| *id);
        if !self.pins.is_empty() {
            // What a rebalance planned goes where it said, as long as that is a good place.
            tasks.retain_mut(|(id, waiting)| {
                let node = self.pins.get(&waiting.task.slot);
                let place = node.and_then(|node| hosts.find(*node));
                let demand = Demand { hosts, needs, counts, max_replicas };
                let fits = |place: &Place| demand.fits(*place) && demand.failures(*place) == 0;
                let Some(place) = place.filter(fits) else { return true };
                take(hosts, counts, needs, place);
                waiting.placed = Some(place);
                *self.placed += 1;
                let node = hosts.get(place).id();
                round.decisions.push(Decision { task: *id, node: Ok(node) });
                false
            });
        }
        let mut left = tasks.into_iter();

        // Another index takes over where the first finds that it is a bad one.
        let mut order = Some(choose(left.len(), hosts, counts, needs, kind, kept));
        while let Some(chosen) = order.take() {
            let index = match chosen {
                Order::Own => {
                    let owner = (kind, self.service);
                    kept.indexes.of_service(owner, needs, hosts, counts, max_replicas)
                }
                Order::Shared => kept.indexes.of_kind(kind, needs, hosts),
                Order::Untested(_) => kept.indexes.of_all(hosts),
            };
            let demand = Demand { hosts, needs, counts, max_replicas };
            let mut picker = Picker::new(index.tree(), chosen, &demand);
            while left.len() > 0 {
                let load = match picker.next(&Demand { hosts, needs, counts, max_replicas }) {
                    Pick::Host(load) => load,
                    Pick::None => return left.len(),
                    Pick::TooFar => {
                        order = Some(Order::Shared);
                        break;
                    }
                };
                take(hosts, counts, needs, load.place);
                if let Some((id, waiting)) = left.next() {
                    waiting.placed = Some(load.place);
                    *self.placed += 1;
                    round.decisions.push(Decision { task: id, node: Ok(load.node) });
                }
                picker.took(&load, &Demand { hosts, needs, counts, max_replicas });
            }
        }
        left.len()
    }

    /// Tells those that found no node why. Nothing frees room within a pass, so one reason holds
    /// for all of them.
    fn explain(&mut self, unplaced: usize, kept: &mut Kept, now: Timestamp, round: &mut Round) {
        let moment = self.hosts.seen_all();
        let untold = self.version.untold > 0;
        let told = self.version.told.as_ref();
        let due = told.is_none_or(|told| told.again <= now);
        let current = told.is_some_and(|told| told.at == moment);
        let behind = told.is_some_and(|told| told.behind || !current);
        if !untold && !due {
            if behind {
                round.wake = round.wake.into_iter().chain(told.map(|told| told.again)).min();
            }
            return;
        }
        if !untold && !behind && told.is_some() {
            return;
        }
        let pending = match told {
            Some(told) if current => told.pending.clone(),
            _ => self.why(moment, kept),
        };
        let news = |task: &Task| match task.status.error.as_str() {
            // New ones are told at once; the others when it is their time.
            "" => true,
            error => due && error != pending.as_str(),
        };
        let waiting = self.version.free.values().filter(|it| it.placed.is_none());
        let tasks = waiting.map(|it| &it.task).filter(|task| news(task)).map(|task| task.id);
        let mut tasks: Vec<TaskId> = tasks.collect();
        tasks.sort_unstable();
        let decide = |task| Decision { task, node: Err(pending.clone()) };
        round.decisions.extend(tasks.into_iter().map(decide));

        let again = match told {
            Some(told) if !due => told.again,
            _ => {
                let tasks = u32::try_from(unplaced).unwrap_or(u32::MAX);
                let for_all = REASON_INTERVAL_PER_TASK.saturating_mul(tasks);
                now.saturating_add(REASON_INTERVAL + for_all)
            }
        };
        let behind = behind && !due;
        if behind {
            round.wake = round.wake.into_iter().chain([again]).min();
        }
        self.version.told = Some(Told { pending, at: moment, behind, again });
    }

    /// Asks every host; once for all services of a kind, unless the service's own tasks matter.
    fn why(&self, moment: Moment, kept: &mut Kept) -> Pending {
        if let Some(error) = &self.needs.unreadable {
            return Pending::unreadable(error);
        }
        let (kind, max) = (self.version.kind, self.version.max_replicas);
        if let Some((at, pending)) = kept.reasons.get(&kind)
            && *at == moment
            && max == 0
        {
            return pending.clone();
        }
        let demand = self.demand();
        let nodes = self.hosts.iter().filter(|(_, host)| host.node().is_some());
        let refusals = nodes.filter_map(|(place, host)| Some((host, demand.check(place).err()?)));
        let pending = Pending::refused(&self.needs, max, refusals);
        if max == 0 {
            // What was found earlier is of no use to anybody.
            kept.reasons.retain(|_, (at, _)| *at == moment);
            kept.reasons.insert(kind, (moment, pending.clone()));
        }
        pending
    }
}

/// Which index to go through for so many tasks.
fn choose(
    tasks: usize,
    hosts: &Hosts,
    counts: &Counts,
    needs: &Needs,
    kind: Kind,
    kept: &Kept,
) -> Order {
    // A shared index is gone through past the hosts that have tasks of the service, and these are
    // put in order anew. Where they are many and the tasks to place few, one of its own pays.
    let own = counts.hosts().len();
    if own > hosts.places() / 16 + kept.tuning.own_hosts_min && own > 4 * tasks {
        return Order::Own;
    }
    if !needs.spread.is_empty() || kept.indexes.has_kind(kind) {
        return Order::Shared;
    }
    Order::Untested(kept.tuning.tests_max.saturating_add(tasks))
}

fn take(hosts: &mut Hosts, counts: &mut Counts, needs: &Needs, place: Place) {
    counts.add_task(place);
    hosts.change(place, |host| host.take(needs, true));
}
