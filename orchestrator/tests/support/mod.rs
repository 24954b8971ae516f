//! A small swarm that scripts drive.
#![allow(dead_code, reason = "each script uses a part")]

use std::sync::Arc;

use skep_orchestrator::{Plan, reconcile};
use skep_state::{Action, Change, State, Transaction};
use skep_types::node::NodeStatus;
use skep_types::service::JobStatus;
use skep_types::*;

pub struct Swarm {
    pub state: State,
    pub now: Timestamp,
    pub ids: u128,
    pub wake: Option<Timestamp>,
}

pub const WEB: ServiceId = ServiceId::new(1);

impl Swarm {
    pub fn new(nodes: u128) -> Self {
        let mut swarm = Self { state: State::default(), now: Timestamp(0), ids: 1000, wake: None };
        for id in 1..=nodes {
            swarm.join(id);
        }
        swarm
    }

    pub fn join(&mut self, id: u128) {
        self.act(Change::Create(Arc::new(Node {
            status: NodeStatus { state: NodeState::Ready, ..NodeStatus::default() },
            ..Node::new(NodeId::new(id), NodeSpec::default())
        })));
    }

    pub fn act(&mut self, action: impl Into<Action>) {
        let actions = vec![action.into()];
        self.state.apply(&Transaction { epoch: 1, now: self.now, actions }).unwrap();
    }

    /// Makes the swarm's own object, with these labels.
    pub fn found(&mut self, labels: &[(&str, &str)]) {
        let mut spec = ClusterSpec::default();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        spec.annotations.labels = labels.collect();
        self.act(Change::Create(Arc::new(Cluster {
            id: ClusterId::new(1),
            meta: Meta::default(),
            spec,
            root_ca: cluster::RootCa {
                certificate: vec![],
                key: Payload::default(),
                join_tokens: JoinTokens::default(),
            },
            feature_level: feature::NEWEST,
            data_path_port: defaults::DATA_PATH_PORT,
            address_pools: vec![],
            subnet_length: defaults::SUBNET_LENGTH,
        })));
    }

    /// A node misses its heartbeats.
    pub fn lose(&mut self, id: u128) {
        let now = self.now;
        self.node(id, |node| {
            node.status.state = NodeState::Down;
            node.status.since = now;
        });
    }

    /// A node registers again.
    pub fn regain(&mut self, id: u128) {
        let now = self.now;
        self.node(id, |node| {
            node.status.state = NodeState::Ready;
            node.status.since = now;
        });
    }

    pub fn wait(&mut self, after: std::time::Duration) {
        self.now = self.now.saturating_add(after);
    }

    pub fn network(&mut self, id: u128, name: &str, ingress: bool) {
        let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
        self.act(Change::Create(Arc::new(Network::new(
            NetworkId::new(id),
            NetworkSpec { annotations, ingress, ..NetworkSpec::default() },
        ))));
    }

    pub fn service(&mut self, mode: ServiceMode, change: impl FnOnce(&mut ServiceSpec)) {
        let mut spec = ServiceSpec::new(
            Annotations { name: "web".to_owned(), ..Annotations::default() },
            mode,
        );
        change(&mut spec);
        self.act(Change::Create(Arc::new(Service {
            job: mode.is_job().then(JobStatus::default),
            ..Service::new(WEB, Arc::new(spec))
        })));
    }

    pub fn respec(&mut self, change: impl FnOnce(&mut ServiceSpec)) {
        let mut service = Service::clone(self.state.services().get(WEB).unwrap());
        change(Arc::make_mut(&mut service.spec));
        service.update_status = None;
        if let Some(job) = &mut service.job {
            *job = JobStatus { iteration: job.iteration + 1, last_execution: self.now };
        }
        self.act(Change::Update(Arc::new(service)));
    }

    /// One pass, applied; asserts that a second one finds nothing left to do.
    pub fn pass(&mut self) {
        for settled in [false, true] {
            let ids = &mut self.ids;
            let mut mint = || {
                *ids += 1;
                *ids
            };
            let mut plan = Plan::new(self.state.clone(), self.now, &mut mint);
            self.wake = reconcile(&mut plan);
            let (actions, rejections) = plan.finish();
            assert_eq!(rejections, []);
            assert!(!settled || actions.is_empty(), "a second pass did {actions:?}");
            self.state.apply(&Transaction { epoch: 1, now: self.now, actions }).unwrap();
        }
    }

    pub fn task(&mut self, task: TaskId, change: impl FnOnce(&mut Task)) {
        let mut changed = Task::clone(self.state.tasks().get(task).unwrap());
        change(&mut changed);
        self.act(Change::Update(Arc::new(changed)));
    }

    pub fn node(&mut self, id: u128, change: impl FnOnce(&mut Node)) {
        let mut changed = Node::clone(self.state.nodes().get(NodeId::new(id)).unwrap());
        change(&mut changed);
        self.act(Change::Update(Arc::new(changed)));
    }

    /// Puts pending tasks on the nodes in turn and has all that are let go run.
    pub fn run(&mut self) {
        let nodes = self.state.nodes().len() as u128;
        for task in self.all() {
            if matches!(task.desired_state, DesiredState::Running | DesiredState::Complete)
                && (TaskState::Pending..TaskState::Running).contains(&task.status.state)
            {
                let node = task.node_id.unwrap_or(NodeId::new(task.id.bits() % nodes + 1));
                self.task(task.id, |task| {
                    task.node_id = Some(node);
                    task.status.state = TaskState::Running;
                });
            }
        }
    }

    pub fn end(&mut self, task: TaskId, state: TaskState) {
        self.task(task, |task| task.status.state = state);
    }

    pub fn all(&self) -> Vec<Arc<Task>> {
        self.state.tasks().iter().cloned().collect()
    }

    pub fn wanted(&self) -> Vec<Arc<Task>> {
        self.all().into_iter().filter(|task| task.desired_state < DesiredState::Shutdown).collect()
    }
}

pub fn replicas(replicas: u64) -> ServiceMode {
    ServiceMode::Replicated { replicas }
}
