//! What there is to look at: marks that events leave and a pass takes away.
//!
//! Not what comes of it. A mark too many costs a look; one too few would leave something undone
//! until the next leadership.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::state::Named;
use skep_state::{Action, Change, Delta, Event, State};
use skep_types::{
    Attachment, Cluster, DesiredState, Network, NetworkId, Node, NodeId, NodeState, Service,
    ServiceId, Task, TaskId, TaskState, down_grace,
};

use crate::allocator::is_allocated;
use crate::constraint_enforcer;
use crate::reconcilers::publishes;
use crate::slot::{has_ended, node_keeps};

/// Objects by what is to be looked at of them.
#[derive(Debug, Default)]
pub struct Dirty {
    pub services: BTreeSet<ServiceId>,
    /// Services whose ports and virtual addresses are to be looked at.
    pub endpoints: BTreeSet<ServiceId>,
    pub networks: BTreeSet<NetworkId>,
    /// Tasks to which nothing is allocated yet.
    pub new_tasks: BTreeSet<TaskId>,
    /// Tasks whose service is gone.
    pub orphans: BTreeSet<TaskId>,
    pub removable: BTreeSet<TaskId>,
    /// Nodes that are gone, or down: their tasks are given up, now or in time.
    pub lost_nodes: BTreeSet<NodeId>,
    /// Nodes that may have less room than their tasks hold.
    pub nodes: BTreeSet<NodeId>,
    /// What there was nothing left for; looked at again when anything is given back.
    pub starved_endpoints: BTreeSet<ServiceId>,
    pub starved_networks: BTreeSet<NetworkId>,
    pub starved_tasks: BTreeSet<TaskId>,
    /// Tasks that may not begin yet, by the name of the service that has not come far enough.
    pub waiting_tasks: BTreeMap<String, BTreeSet<TaskId>>,
    /// Services with a task for each node: a node concerns all of them.
    on_each_node: BTreeSet<ServiceId>,
    /// Services that publish ports on every node: the ingress network concerns all of them.
    publishers: BTreeSet<ServiceId>,
}

impl Dirty {
    /// Everything that stands.
    pub fn all(state: &State) -> Self {
        let mut dirty = Self::default();
        for service in state.services().iter() {
            dirty.services.insert(service.id);
            dirty.endpoints.insert(service.id);
            dirty.class(service);
        }
        for node in state.nodes().iter() {
            dirty.nodes.insert(node.id);
            if node.status.state == NodeState::Down {
                dirty.lost_nodes.insert(node.id);
            }
        }
        for attachment in state.attachments().iter() {
            dirty.attachment_stands(state, attachment);
        }
        dirty.networks.extend(state.networks().iter().map(|network| network.id));
        for task in state.tasks().iter() {
            dirty.task_stands(state, task);
            if is_new(task) {
                dirty.new_tasks.insert(task.id);
            }
        }
        dirty
    }

    /// Marks what a change makes worth a look.
    pub fn observe(&mut self, state: &State, event: &Event) {
        match event {
            Event::Cluster(delta) => self.cluster_changed(state, delta),
            Event::Service(delta) => {
                self.services.extend(delta.after.as_ref().map(|service| service.id));
                self.service_changed(state, delta);
            }
            Event::Node(delta) => self.node_changed(state, delta),
            Event::Network(delta) => self.network_changed(state, delta),
            Event::Task(delta) => {
                self.task_changed(state, delta);
                self.come_further(state, delta);
                self.task_placed(state, delta);
                match &delta.after {
                    Some(task) => {
                        self.task_stands(state, task);
                        if delta.before.is_none() && is_new(task) {
                            self.new_tasks.insert(task.id);
                        }
                    }
                    None => self.task_gone(delta.before.as_ref()),
                }
                let holds = |task: &Option<Arc<Task>>| {
                    task.as_ref()
                        .is_some_and(|it| !it.status.state.is_terminal() && !it.networks.is_empty())
                };
                if holds(&delta.before) && !holds(&delta.after) {
                    self.retry();
                }
            }
            Event::Attachment(delta) => match &delta.after {
                Some(attachment) => self.attachment_stands(state, attachment),
                None => self.retry(),
            },
            Event::Secret(_) | Event::Config(_) => {}
        }
    }

    /// Marks what was decided and not taken.
    pub fn refused(&mut self, state: &State, action: &Action) {
        match action {
            Action::Task(Change::Create(task) | Change::Update(task)) => {
                self.services.insert(task.service_id);
                if let Some(task) = state.tasks().get(task.id) {
                    self.task_stands(state, task);
                    if is_new(task) {
                        self.new_tasks.insert(task.id);
                    }
                }
            }
            Action::Task(Change::Remove(id, _)) => {
                if let Some(task) = state.tasks().get(*id) {
                    self.services.insert(task.service_id);
                    self.task_stands(state, task);
                }
            }
            Action::Service(Change::Create(service) | Change::Update(service)) => {
                self.services.insert(service.id);
                self.endpoints.insert(service.id);
            }
            Action::Network(Change::Create(network) | Change::Update(network)) => {
                self.networks.insert(network.id);
            }
            // Nothing else is ever planned.
            _ => {}
        }
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.endpoints.is_empty()
            && self.networks.is_empty()
            && self.new_tasks.is_empty()
            && self.nodes.is_empty()
            && self.orphans.is_empty()
            && self.removable.is_empty()
    }

    fn task_stands(&mut self, state: &State, task: &Task) {
        if let Some(node) = task.node_id.filter(|node| state.nodes().get(*node).is_none())
            && !task.status.state.is_terminal()
        {
            self.lost_nodes.insert(node);
        }
        if task.desired_state == DesiredState::Remove {
            if has_ended(task) {
                self.removable.insert(task.id);
            }
        } else if state.services().get(task.service_id).is_none() {
            self.orphans.insert(task.id);
        }
    }

    fn attachment_stands(&mut self, state: &State, attachment: &Attachment) {
        if state.nodes().get(attachment.node_id).is_none() {
            self.lost_nodes.insert(attachment.node_id);
        }
    }

    fn task_gone(&mut self, task: Option<&Arc<Task>>) {
        let Some(task) = task else { return };
        for set in
            [&mut self.removable, &mut self.orphans, &mut self.new_tasks, &mut self.starved_tasks]
        {
            set.remove(&task.id);
        }
        for tasks in self.waiting_tasks.values_mut() {
            tasks.remove(&task.id);
        }
    }

    /// Tasks that wait for the service of a task may begin when that comes further.
    fn come_further(&mut self, state: &State, delta: &Delta<Task>) {
        let came = |task: &Option<Arc<Task>>| task.as_ref().map(|task| task.status.state);
        if self.waiting_tasks.is_empty() || came(&delta.before) == came(&delta.after) {
            return;
        }
        let task = delta.after.as_ref().or(delta.before.as_ref());
        let service = task.and_then(|task| state.services().get(task.service_id));
        if let Some(service) = service {
            self.look_at_waiting(service);
        }
    }

    /// A node that is given a task may have come to have less room for it meanwhile.
    fn task_placed(&mut self, state: &State, delta: &Delta<Task>) {
        let Some(task) = &delta.after else { return };
        let assigned = |task: &Task| task.status.state >= TaskState::Assigned;
        if !assigned(task) || delta.before.as_ref().is_some_and(|before| assigned(before)) {
            return;
        }
        let spec = state.spec(task.service_id, task.spec_version);
        if spec.is_some_and(|spec| constraint_enforcer::holds_room(spec)) {
            self.nodes.extend(task.node_id);
        }
    }

    fn look_at_waiting(&mut self, service: &Service) {
        let tasks = self.waiting_tasks.remove(&service.spec.annotations.name);
        self.new_tasks.extend(tasks.into_iter().flatten());
    }

    /// Whether a change of a task can make its service's reconcilers decide anything.
    fn task_changed(&mut self, state: &State, delta: &Delta<Task>) {
        let (Some(before), Some(after)) = (&delta.before, &delta.after) else {
            let task = delta.after.as_ref().or(delta.before.as_ref());
            self.services.extend(task.map(|task| task.service_id));
            return;
        };
        let Some(service) = state.services().get(after.service_id) else { return };
        let ended = after.status.state.is_terminal() && before.status != after.status;
        let runs =
            after.status.state == TaskState::Running && before.status.state != TaskState::Running;
        let concerns = ended
            || before.desired_state != after.desired_state
            // How far an update has come is read from its tasks.
            || service.update_status.is_some()
            || (before.node_id != after.node_id && !node_keeps(state, after))
            // It takes over from another one of its slot.
            || (runs && state.tasks_in_slot(after.service_id, after.slot).filter(|it| it.is_wanted()).count() > 1);
        if concerns {
            self.services.insert(after.service_id);
        }
    }

    fn node_changed(&mut self, state: &State, delta: &Delta<Node>) {
        if let (Some(before), Some(after)) = (&delta.before, &delta.after)
            && before.spec == after.spec
            && before.status.state == after.status.state
            && before.description == after.description
        {
            return;
        }
        let Some(node) = delta.after.as_ref().or(delta.before.as_ref()) else { return };
        if delta.after.as_ref().is_none_or(|node| node.status.state == NodeState::Down) {
            self.lost_nodes.insert(node.id);
        }
        self.nodes.insert(node.id);
        self.services.extend(&self.on_each_node);
        self.services.extend(state.tasks_on_node(node.id).map(|task| task.service_id));
    }

    fn service_changed(&mut self, state: &State, delta: &Delta<Service>) {
        match (&delta.before, &delta.after) {
            (before, Some(service)) => {
                self.look_at_waiting(service);
                let same = before.as_ref().is_some_and(|before| before.spec == service.spec);
                if !same {
                    self.endpoints.insert(service.id);
                    self.class(service);
                    if before.is_some() {
                        // It may wait for something else now, or for nothing.
                        let tasks = state.tasks_of_service(service.id).filter(|it| is_new(it));
                        self.new_tasks.extend(tasks.map(|task| task.id));
                        // Perhaps it gave something back.
                        self.retry();
                    }
                }
            }
            (Some(service), None) => {
                self.look_at_waiting(service);
                for set in [
                    &mut self.services,
                    &mut self.endpoints,
                    &mut self.starved_endpoints,
                    &mut self.on_each_node,
                    &mut self.publishers,
                ] {
                    set.remove(&service.id);
                }
                let orphans = state.tasks_of_service(service.id);
                let orphans = orphans.filter(|it| it.desired_state != DesiredState::Remove);
                self.orphans.extend(orphans.map(|task| task.id));
                self.retry();
            }
            (None, None) => {}
        }
    }

    fn network_changed(&mut self, state: &State, delta: &Delta<Network>) {
        let Some(network) = delta.after.as_ref().or(delta.before.as_ref()) else { return };
        if let Some(after) = &delta.after
            && !is_allocated(after)
            && delta.before.as_ref().is_none_or(|before| before.spec != after.spec)
        {
            self.networks.insert(after.id);
        }
        let users = state.services_naming(Named::Network(network.id));
        self.endpoints.extend(users.map(|service| service.id));
        if network.spec.ingress {
            self.endpoints.extend(&self.publishers);
        }
        // Of its own numbers a network that lacks some can make no use.
        let starved = std::mem::take(&mut self.starved_networks);
        self.retry();
        match &delta.after {
            Some(after) if !is_allocated(after) => self.starved_networks.extend(starved),
            _ => self.networks.extend(starved),
        }
    }

    fn cluster_changed(&mut self, state: &State, delta: &Delta<Cluster>) {
        let concerns = |it: &Option<Arc<Cluster>>| {
            let spec = it.as_ref().map(|it| &it.spec)?;
            let grace = spec.annotations.labels.get(down_grace::LABEL).cloned();
            Some((spec.task_history_limit, grace))
        };
        if concerns(&delta.before) != concerns(&delta.after) {
            self.services.extend(state.services().iter().map(|service| service.id));
        }
        self.networks.append(&mut self.starved_networks);
    }

    /// Something was given back: whoever lacks something may have it now.
    fn retry(&mut self) {
        self.endpoints.append(&mut self.starved_endpoints);
        self.networks.append(&mut self.starved_networks);
        self.new_tasks.append(&mut self.starved_tasks);
    }

    fn class(&mut self, service: &Service) {
        use skep_types::ServiceMode::{Global, GlobalJob};
        let sets = [
            (matches!(service.spec.mode, Global | GlobalJob), &mut self.on_each_node),
            (publishes(service), &mut self.publishers),
        ];
        for (belongs, set) in sets {
            if belongs {
                set.insert(service.id);
            } else {
                set.remove(&service.id);
            }
        }
    }
}

/// Whether a task lacks what is to be allocated to it.
pub(crate) fn is_new(task: &Task) -> bool {
    task.status.state == TaskState::New && task.is_wanted()
}
