//! Nodes and tasks as placement needs them: a cache of the state, fed with its events.
//!
//! **Invariant:** it holds nothing that does not follow from the state. One that was fed with every
//! event since it was built is the same as one built from the state that came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::{Delta, Event, State};
use skep_types::{NodeId, Revision, Service, ServiceId, Task, TaskId, TaskState, Timestamp};

use crate::defaults::FAILURE_WINDOW;
use crate::hash::IdMap;
use crate::hosts::{Hosts, Place};
use crate::kinds::Kinds;
use crate::tally::{Tally, Version};

#[derive(Debug, Default)]
pub struct Cluster {
    pub hosts: Hosts,
    pub kinds: Kinds,
    pub services: IdMap<ServiceId, Tally>,
    /// Versions of services of which tasks wait.
    pub waiting: BTreeSet<(ServiceId, Revision)>,
    /// Failures, oldest first, until they count no more.
    failures: BTreeMap<(Timestamp, TaskId), (ServiceId, Place)>,
    /// Waiting tasks that are counted where the last pass decided that they go.
    pub placed: usize,
}

impl Cluster {
    pub fn of(state: &State) -> Self {
        let mut cluster = Self::default();
        for node in state.nodes().iter() {
            let place = cluster.hosts.place(node.id);
            cluster.hosts.change(place, |host| host.set_node(Some(Arc::clone(node))));
        }
        for (service, revision, spec) in state.specs() {
            cluster.services.entry(service).or_default().add(revision, spec, &mut cluster.kinds);
        }
        for task in state.tasks().iter() {
            cluster.task(None, Some(task));
        }
        // Last, for it drops what nothing was made from.
        for service in state.services().iter() {
            cluster.service(service.id, Some(service));
        }
        cluster
    }

    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Node(Delta { before, after }) => {
                let Some(node) = after.as_ref().or(before.as_ref()) else { return };
                let place = self.hosts.place(node.id);
                self.hosts.change(place, |host| host.set_node(after.clone()));
            }
            Event::Service(Delta { before, after }) => {
                let Some(service) = after.as_ref().or(before.as_ref()) else { return };
                self.service(service.id, after.as_deref());
            }
            Event::Task(Delta { before, after }) => self.task(before.as_ref(), after.as_ref()),
            // Nothing of these matters to where a task goes.
            Event::Cluster(_)
            | Event::Network(_)
            | Event::Secret(_)
            | Event::Config(_)
            | Event::Attachment(_) => {}
        }
    }

    fn service(&mut self, id: ServiceId, service: Option<&Service>) {
        let tally = self.services.entry(id).or_default();
        tally.stand(service, &mut self.kinds);
        if tally.is_empty() {
            self.services.remove(&id);
        }
    }

    fn task(&mut self, before: Option<&Arc<Task>>, after: Option<&Arc<Task>>) {
        let Some(task) = after.or(before) else { return };
        let (service, revision) = (task.service_id, task.spec_version);
        // A task cannot stand without the spec that it was made from.
        let Some(tally) = self.services.get_mut(&service) else { return };
        if before.is_none() {
            tally.count_task(revision, true, &mut self.kinds);
        }
        let Some(version) = tally.version_mut(revision) else { return };

        let mut decided = None;
        if let Some(before) = before
            && is_waiting(before)
        {
            decided = version.unwait(before).and_then(|waiting| waiting.placed);
            if !version.anybody_waits() {
                self.waiting.remove(&(service, revision));
            }
        }
        if let Some(after) = after
            && is_waiting(after)
        {
            version.wait(after);
            self.waiting.insert((service, revision));
        }
        let was = before.and_then(|task| Room::of(task));
        let is = after.and_then(|task| Room::of(task));
        // What a pass decided is counted already, as a task that stays.
        self.placed -= usize::from(decided.is_some());
        let was = match decided {
            Some(place) => Some(Room { node: self.hosts.get(place).id(), stays: true }),
            None => was,
        };
        if was != is {
            if let Some(room) = was {
                let place = self.hosts.place(room.node);
                self.release(service, revision, place, room.stays);
            }
            if let Some(room) = is {
                let place = self.hosts.place(room.node);
                self.take(service, revision, place, room.stays);
            }
        }
        self.failure(before, after);
        if after.is_none()
            && let Some(tally) = self.services.get_mut(&service)
        {
            tally.count_task(revision, false, &mut self.kinds);
            if tally.is_empty() {
                self.services.remove(&service);
            }
        }
    }

    fn failure(&mut self, before: Option<&Arc<Task>>, after: Option<&Arc<Task>>) {
        let (was, is) = (before.and_then(|it| failed_at(it)), after.and_then(|it| failed_at(it)));
        if was == is {
            return;
        }
        if let (Some((at, _)), Some(task)) = (was, before) {
            self.forget_failure(at, task.id);
        }
        if let (Some((at, node)), Some(task)) = (is, after) {
            let place = self.hosts.place(node);
            self.failures.insert((at, task.id), (task.service_id, place));
            if let Some(tally) = self.services.get_mut(&task.service_id) {
                tally.counts.add_failure(place);
            }
            self.hosts.change(place, crate::host::Host::add_failure);
        }
    }

    fn forget_failure(&mut self, at: Timestamp, task: TaskId) {
        // One that counted no more is forgotten already.
        let Some((service, place)) = self.failures.remove(&(at, task)) else { return };
        if let Some(tally) = self.services.get_mut(&service) {
            tally.counts.remove_failure(place);
            if tally.is_empty() {
                self.services.remove(&service);
            }
        }
        self.hosts.change(place, crate::host::Host::remove_failure);
    }

    /// Forgets failures that are too long ago to count.
    pub fn pass_time(&mut self, now: Timestamp) {
        while let Some((&(at, task), _)) = self.failures.first_key_value()
            && now.saturating_since(at) >= FAILURE_WINDOW
        {
            self.forget_failure(at, task);
        }
    }

    /// Counts a task of a service on a host.
    fn take(&mut self, service: ServiceId, revision: Revision, place: Place, stays: bool) {
        let Some(tally) = self.services.get_mut(&service) else { return };
        if stays {
            tally.counts.add_task(place);
        }
        let Some(version) = tally.version(revision) else { return };
        let needs = self.kinds.needs(version.kind);
        self.hosts.change(place, |host| host.take(needs, stays));
    }

    fn release(&mut self, service: ServiceId, revision: Revision, place: Place, stayed: bool) {
        let Some(tally) = self.services.get_mut(&service) else { return };
        if stayed {
            tally.counts.remove_task(place);
        }
        let Some(version) = tally.version(revision) else { return };
        let needs = self.kinds.needs(version.kind);
        self.hosts.change(place, |host| host.release(needs, stayed));
    }

    /// Takes back what was decided and did not come to stand.
    pub fn undo_decisions(&mut self) {
        if self.placed == 0 {
            return;
        }
        let mut undone = Vec::with_capacity(self.placed);
        for (service, revision) in &self.waiting {
            let version = self.services.get_mut(service).and_then(|it| it.version_mut(*revision));
            let Some(Version { free, bound, .. }) = version else { continue };
            for waiting in free.values_mut().chain(bound.values_mut()) {
                if let Some(place) = waiting.placed.take() {
                    undone.push((*service, *revision, place));
                }
            }
        }
        for (service, revision, place) in undone {
            self.release(service, revision, place, true);
        }
        self.placed = 0;
    }
}

/// Whether the scheduler has yet to say where a task goes.
pub fn is_waiting(task: &Task) -> bool {
    task.status.state == TaskState::Pending
        && TaskState::from(task.desired_state) < TaskState::Shutdown
}

/// What a task takes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    node: NodeId,
    /// It is not on its way out: only such tasks count for evenness and for the most replicas.
    stays: bool,
}

impl Room {
    /// A task holds what it reserved from when it was assigned until its container has ended. One
    /// that waits for its given node to be confirmed holds nothing yet.
    fn of(task: &Task) -> Option<Self> {
        let node = task.node_id.filter(|_| task.has_place())?;
        Some(Self { node, stays: task.is_wanted() })
    }
}

/// When and where a task failed.
fn failed_at(task: &Task) -> Option<(Timestamp, NodeId)> {
    let failed = matches!(task.status.state, TaskState::Failed | TaskState::Rejected);
    task.node_id.filter(|_| failed).map(|node| (task.status.timestamp, node))
}
