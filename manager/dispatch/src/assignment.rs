//! What a node is to run and read: its tasks, and only the secrets and configs that these use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_state::State;
use skep_types::service::Endpoint;
use skep_types::{
    Config, ConfigId, DesiredState, Network, NetworkAttachment, NodeId, Secret, SecretId,
    ServiceSpec, Task, TaskId, TaskState,
};

/// A task as its node sees it: with the spec that it is made from, and what was allocated.
#[derive(Debug, Clone)]
pub struct AssignedTask {
    pub task: Arc<Task>,
    pub spec: Arc<ServiceSpec>,
    pub endpoint: Option<Endpoint>,
    pub networks: Vec<Arc<Network>>,
}

impl AssignedTask {
    /// What a change of makes the node look again; its own reports do not.
    fn concern(&self) -> (DesiredState, &[NetworkAttachment], &Option<Endpoint>) {
        (self.task.desired_state, &self.task.networks, &self.endpoint)
    }
}

/// All that one node is to have.
#[derive(Debug, Clone, Default)]
pub struct Assignments {
    pub tasks: BTreeMap<TaskId, AssignedTask>,
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
    pub removed_tasks: Vec<TaskId>,
    pub removed_secrets: Vec<SecretId>,
    pub removed_configs: Vec<ConfigId>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
            && self.configs.is_empty()
            && self.tasks.is_empty()
            && self.removed_tasks.is_empty()
            && self.removed_secrets.is_empty()
            && self.removed_configs.is_empty()
    }
}

impl Assignments {
    /// What a node shall have by a view of the state.
    pub fn of(state: &State, node: NodeId) -> Self {
        let mut set = Self::default();
        for task in state.tasks_on_node(node).filter(|task| is_the_nodes(task)) {
            let Some(spec) = state.spec(task.service_id, task.spec_version) else { continue };
            if reads_payloads(task) {
                set.add_payloads(state, spec);
            }
            let networks = task.networks.iter();
            set.tasks.insert(
                task.id,
                AssignedTask {
                    task: Arc::clone(task),
                    spec: Arc::clone(spec),
                    endpoint: state
                        .services()
                        .get(task.service_id)
                        .and_then(|s| s.endpoint.clone()),
                    networks: networks
                        .filter_map(|at| state.networks().get(at.network).cloned())
                        .collect(),
                },
            );
        }
        set
    }

    /// Has the node not hear yet that these of its tasks, which run, are to stop.
    pub fn hold_back(&mut self, state: &State, tasks: &BTreeSet<TaskId>) {
        for id in tasks {
            let Some(assigned) = self.tasks.get_mut(id) else { continue };
            let mut task = Task::clone(&assigned.task);
            task.desired_state = DesiredState::Running;
            assigned.task = Arc::new(task);
            let spec = Arc::clone(&assigned.spec);
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
            removed_tasks: gone(&self.tasks, &next.tasks),
            removed_secrets: gone(&self.secrets, &next.secrets),
            removed_configs: gone(&self.configs, &next.configs),
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
