//! What a node is to run and read: its tasks, the attachments of its containers, and only the secrets
//! and configs that its tasks use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::State;
use skep_types::service::Endpoint;
use skep_types::{
    Attachment, AttachmentId, Config, ConfigId, DesiredState, Network, NetworkAttachment, NodeId,
    Secret, SecretId, ServiceSpec, Task, TaskId, TaskState,
};

use crate::concern::Whom;

/// A task as its node sees it: with the spec that it is made from, and what was allocated.
#[derive(Debug, Clone)]
pub struct AssignedTask {
    pub task: Arc<Task>,
    pub spec: Arc<ServiceSpec>,
    pub endpoint: Option<Endpoint>,
    pub networks: Vec<Arc<Network>>,
}

impl AssignedTask {
    /// None if it is not the node's, or not any more.
    fn of(state: &State, task: &Arc<Task>) -> Option<Self> {
        let spec = state.spec(task.service_id, task.spec_version).filter(|_| is_the_nodes(task))?;
        let service = state.services().get(task.service_id);
        let networks = task.networks.iter();
        Some(Self {
            task: Arc::clone(task),
            spec: Arc::clone(spec),
            endpoint: service.and_then(|it| it.endpoint.clone()),
            networks: networks.filter_map(|at| state.networks().get(at.network).cloned()).collect(),
        })
    }

    fn hold_back(&mut self) {
        let mut task = Task::clone(&self.task);
        task.desired_state = DesiredState::Running;
        self.task = Arc::new(task);
    }

    fn names_payloads(&self) -> bool {
        let container = &self.spec.task.container;
        !container.secrets.is_empty() || !container.configs.is_empty()
    }

    /// What a change of makes the node look again; its own reports do not.
    fn concern(&self) -> (DesiredState, &[NetworkAttachment], &Option<Endpoint>) {
        (self.task.desired_state, &self.task.networks, &self.endpoint)
    }
}

/// An attachment as its node sees it.
#[derive(Debug, Clone)]
pub struct AssignedAttachment {
    pub attachment: Arc<Attachment>,
    pub network: Arc<Network>,
}

impl AssignedAttachment {
    /// None if it is not the node's, or not any more.
    fn of(state: &State, node: NodeId, id: AttachmentId) -> Option<Self> {
        let attachment = state.attachments().get(id).filter(|it| it.node_id == node)?;
        let network = Arc::clone(state.networks().get(attachment.network)?);
        Some(Self { attachment: Arc::clone(attachment), network })
    }
}

/// All that one node is to have.
#[derive(Debug, Clone, Default)]
pub struct Assignments {
    pub tasks: BTreeMap<TaskId, AssignedTask>,
    pub attachments: BTreeMap<AttachmentId, AssignedAttachment>,
    pub secrets: BTreeMap<SecretId, Arc<Secret>>,
    pub configs: BTreeMap<ConfigId, Arc<Config>>,
}

/// What has to be told to a node that has one set to have it have another. Payloads come before
/// the tasks that read them, and go after.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    pub secrets: Vec<Arc<Secret>>,
    pub configs: Vec<Arc<Config>>,
    pub tasks: Vec<AssignedTask>,
    pub attachments: Vec<AssignedAttachment>,
    pub removed_tasks: Vec<TaskId>,
    pub removed_attachments: Vec<AttachmentId>,
    pub removed_secrets: Vec<SecretId>,
    pub removed_configs: Vec<ConfigId>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
            && self.configs.is_empty()
            && self.tasks.is_empty()
            && self.attachments.is_empty()
            && self.removed_tasks.is_empty()
            && self.removed_attachments.is_empty()
            && self.removed_secrets.is_empty()
            && self.removed_configs.is_empty()
    }
}

impl Assignments {
    /// What a node shall have by a view of the state.
    pub fn of(state: &State, node: NodeId) -> Self {
        let mut set = Self::default();
        let tasks = state.tasks_on_node(node);
        set.tasks.extend(tasks.filter_map(|task| Some((task.id, AssignedTask::of(state, task)?))));
        let attachments = state.attachments_on_node(node).map(|it| it.id);
        set.attachments.extend(
            attachments.filter_map(|id| Some((id, AssignedAttachment::of(state, node, id)?))),
        );
        set.read_payloads(state);
        set
    }

    /// Has the node not hear yet that these of its tasks, which run, are to stop.
    pub fn hold_back(&mut self, state: &State, tasks: &BTreeSet<TaskId>) {
        for id in tasks {
            if let Some(assigned) = self.tasks.get_mut(id) {
                assigned.hold_back();
            }
        }
        self.read_payloads(state);
    }

    /// The payloads that its tasks read.
    fn read_payloads(&mut self, state: &State) {
        (self.secrets, self.configs) = (BTreeMap::new(), BTreeMap::new());
        let reading = self.tasks.values().filter(|it| reads_payloads(&it.task));
        for spec in reading.map(|it| Arc::clone(&it.spec)).collect::<Vec<_>>() {
            self.add_payloads(state, &spec);
        }
    }

    fn add_payloads(&mut self, state: &State, spec: &ServiceSpec) {
        for reference in &spec.task.container.secrets {
            if let Some(secret) = state.secrets().get(reference.secret_id) {
                self.secrets.insert(secret.id, Arc::clone(secret));
            }
        }
        for reference in &spec.task.container.configs {
            if let Some(config) = state.configs().get(reference.config_id) {
                self.configs.insert(config.id, Arc::clone(config));
            }
        }
    }

    /// What to tell a node that has `self` so that it has `next`.
    pub fn difference(&self, next: &Self) -> Difference {
        let news = |task: &AssignedTask| {
            self.tasks.get(&task.task.id).is_none_or(|known| known.concern() != task.concern())
        };
        Difference {
            // A payload's content never changes under its id.
            secrets: absent(&self.secrets, &next.secrets),
            configs: absent(&self.configs, &next.configs),
            tasks: next.tasks.values().filter(|task| news(task)).cloned().collect(),
            // What a node is told of an attachment never changes while it stands.
            attachments: next
                .attachments
                .iter()
                .filter(|(id, _)| !self.attachments.contains_key(id))
                .map(|(_, it)| it.clone())
                .collect(),
            removed_tasks: gone(&self.tasks, &next.tasks),
            removed_attachments: gone(&self.attachments, &next.attachments),
            removed_secrets: gone(&self.secrets, &next.secrets),
            removed_configs: gone(&self.configs, &next.configs),
        }
    }
}

/// What a node has been told to have, brought up to date by what has changed.
#[derive(Debug, Clone, Default)]
pub struct ToldAssignments {
    has: Assignments,
    /// Tasks of which it has not heard that they are to stop.
    held: BTreeSet<TaskId>,
}

impl ToldAssignments {
    pub fn has(&self) -> &Assignments {
        &self.has
    }

    /// Only these of the node's tasks may be to be told otherwise than before, and those in `held`,
    /// which are not to hear yet that they are to stop. Gives what is to be told.
    pub fn renew(
        &mut self,
        state: &State,
        node: NodeId,
        touched: &Whom<TaskId>,
        held: &BTreeSet<TaskId>,
    ) -> Difference {
        let difference = match touched {
            Whom::All => {
                let mut next = Assignments::of(state, node);
                next.hold_back(state, held);
                let difference = self.has.difference(&next);
                self.has = next;
                difference
            }
            Whom::Some(touched) => {
                let otherwise = self.held.symmetric_difference(held);
                let touched = touched.iter().chain(otherwise).copied().collect();
                self.renew_some(state, node, touched, held)
            }
        };
        self.held.clone_from(held);
        difference
    }

    fn renew_some(
        &mut self,
        state: &State,
        node: NodeId,
        touched: BTreeSet<TaskId>,
        held: &BTreeSet<TaskId>,
    ) -> Difference {
        let mut difference = Difference::default();
        let mut payloads = false;
        for id in touched {
            if self.renew_attachment(state, node, AttachmentId::of_task(id), &mut difference) {
                continue;
            }
            let task = state.tasks().get(id).filter(|task| task.node_id == Some(node));
            let mut next = task.and_then(|task| AssignedTask::of(state, task));
            if let Some(next) = next.as_mut().filter(|_| held.contains(&id)) {
                next.hold_back();
            }
            let known = self.has.tasks.get(&id);
            payloads |= known.into_iter().chain(&next).any(AssignedTask::names_payloads);
            match next {
                Some(next) => {
                    if known.is_none_or(|known| known.concern() != next.concern()) {
                        difference.tasks.push(next.clone());
                    }
                    self.has.tasks.insert(id, next);
                }
                None => difference.removed_tasks.extend(self.has.tasks.remove(&id).map(|_| id)),
            }
        }
        if payloads {
            let (secrets, configs) = (self.has.secrets.clone(), self.has.configs.clone());
            self.has.read_payloads(state);
            difference.secrets = absent(&secrets, &self.has.secrets);
            difference.configs = absent(&configs, &self.has.configs);
            difference.removed_secrets = gone(&secrets, &self.has.secrets);
            difference.removed_configs = gone(&configs, &self.has.configs);
        }
        difference
    }

    /// Whether it is, or was, one.
    fn renew_attachment(
        &mut self,
        state: &State,
        node: NodeId,
        id: AttachmentId,
        difference: &mut Difference,
    ) -> bool {
        let known = self.has.attachments.contains_key(&id);
        match AssignedAttachment::of(state, node, id) {
            Some(next) => {
                if !known {
                    difference.attachments.push(next.clone());
                }
                self.has.attachments.insert(id, next);
                true
            }
            None => {
                difference.removed_attachments.extend(self.has.attachments.remove(&id).map(|_| id));
                known
            }
        }
    }
}

/// From the moment that a node was chosen until the task is removed from the state: a node keeps
/// what ended too, for its logs.
pub(crate) fn is_the_nodes(task: &Task) -> bool {
    task.status.state >= TaskState::Assigned && task.status.state != TaskState::Orphaned
}

/// A secret leaves the node with the last task that runs, or is to run, with it.
pub(crate) fn reads_payloads(task: &Task) -> bool {
    !task.status.state.is_terminal() && TaskState::from(task.desired_state) <= TaskState::Complete
}

fn absent<K: Ord, V>(known: &BTreeMap<K, Arc<V>>, next: &BTreeMap<K, Arc<V>>) -> Vec<Arc<V>> {
    next.iter().filter(|(id, _)| !known.contains_key(id)).map(|(_, it)| Arc::clone(it)).collect()
}

fn gone<K: Ord + Copy, V>(known: &BTreeMap<K, V>, next: &BTreeMap<K, V>) -> Vec<K> {
    known.keys().filter(|id| !next.contains_key(id)).copied().collect()
}
