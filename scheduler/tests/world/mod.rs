//! A random swarm: a state, a scheduler that follows its events, and what may happen to both.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use skep_scheduler::cluster::Cluster;
use skep_scheduler::{Decision, Host, Needs, Round, Scheduler, Tuning};
use skep_state::{Action, Change, State, Transaction};
use skep_types::node::{NodeDescription, NodeStatus};
use skep_types::service::{EndpointSpec, PortConfig, PublishMode};
use skep_types::task::Slot;
use skep_types::*;

/// One thing that happens; the numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub what: u8,
    pub which: u32,
    pub how: u32,
}

pub fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<u8>(), any::<u32>(), any::<u32>());
    prop::collection::vec(step.prop_map(|(what, which, how)| Step { what, which, how }), 1..count)
}

/// A number that is cut into choices.
struct Dice(u32);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        let rest = self.0 % bound;
        self.0 /= bound;
        rest
    }
}

pub struct World {
    pub state: State,
    pub scheduler: Scheduler,
    pub now: Timestamp,
    next: u128,
}

impl World {
    pub fn with(tuning: Tuning) -> Self {
        let state = State::default();
        let scheduler = Scheduler::with(&state, tuning);
        Self { state, scheduler, now: Timestamp(1_000_000_000_000), next: 1 }
    }

    /// Ids in no order, as real ones are.
    fn mint(&mut self) -> u128 {
        self.next += 1;
        self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    /// What the rules refuse does not happen.
    fn act(&mut self, action: impl Into<Action>) {
        let transaction = Transaction { epoch: 1, now: self.now, actions: vec![action.into()] };
        let Ok(events) = self.state.apply(&transaction) else { return };
        for event in &events {
            self.scheduler.observe(event);
        }
    }

    pub fn step(&mut self, step: Step) {
        let dice = &mut Dice(step.how);
        match step.what % 16 {
            0 | 1 => self.create_node(dice),
            2 | 3 => self.update_node(step.which, dice),
            4 if dice.below(3) == 0 => self.remove_node(step.which),
            5 | 6 => self.create_service(dice),
            7 => self.update_service(step.which, dice),
            8 if dice.below(3) == 0 => self.remove_service(step.which),
            9..=11 => self.create_tasks(step.which, dice),
            12..=14 => self.move_task(step.which, dice),
            _ => self.now = self.now.saturating_add(Duration::from_millis(step.how.into())),
        }
    }

    fn create_node(&mut self, dice: &mut Dice) {
        let mut node = Node {
            status: NodeStatus { state: NodeState::Ready, ..NodeStatus::default() },
            ..Node::new(NodeId::new(self.mint()), NodeSpec::default())
        };
        describe(&mut node, dice);
        self.act(Change::Create(Arc::new(node)));
    }

    fn update_node(&mut self, which: u32, dice: &mut Dice) {
        let Some(mut node) = self.nth(which, |state| state.nodes().iter().cloned().collect())
        else {
            return;
        };
        let node_mut = Arc::make_mut(&mut node);
        match dice.below(5) {
            0 => node_mut.spec.availability = Availability::Drain,
            1 => node_mut.spec.availability = Availability::Active,
            2 => node_mut.status.state = NodeState::Down,
            3 => node_mut.status.state = NodeState::Ready,
            _ => describe(node_mut, dice),
        }
        self.act(Change::Update(node));
    }

    fn remove_node(&mut self, which: u32) {
        let nodes = |state: &State| state.nodes().iter().cloned().collect();
        let Some(node) = self.nth::<Arc<Node>>(which, nodes) else { return };
        self.act(Change::<Node>::Remove(node.id, None));
    }

    fn create_service(&mut self, dice: &mut Dice) {
        let id = ServiceId::new(self.mint());
        let annotations = Annotations { name: format!("s{}", self.next), ..Annotations::default() };
        self.act(Change::Create(Arc::new(Service::new(id, Arc::new(spec(annotations, dice))))));
    }

    fn update_service(&mut self, which: u32, dice: &mut Dice) {
        let services = |state: &State| state.services().iter().cloned().collect();
        let Some(mut service) = self.nth::<Arc<Service>>(which, services) else { return };
        let annotations = service.spec.annotations.clone();
        Arc::make_mut(&mut service).spec = Arc::new(spec(annotations, dice));
        self.act(Change::Update(service));
    }

    fn remove_service(&mut self, which: u32) {
        let services = |state: &State| state.services().iter().cloned().collect();
        let Some(service) = self.nth::<Arc<Service>>(which, services) else { return };
        self.act(Change::<Service>::Remove(service.id, None));
    }

    /// Some replicas, or a task for a given node, of a version that is still known.
    fn create_tasks(&mut self, which: u32, dice: &mut Dice) {
        let versions =
            |state: &State| state.specs().map(|(id, version, _)| (id, version)).collect();
        let Some((service, version)) = self.nth(which, versions) else { return };
        let count = dice.below(6) + 1;
        let bound = dice.below(4) == 0;
        let node = match bound {
            true => self.nth(dice.0, |state| state.nodes().iter().map(|node| node.id).collect()),
            false => None,
        };
        for _ in 0..count {
            let id = self.mint();
            let slot = node.map_or(Slot::Replica(self.next as u64), Slot::Node);
            self.act(Change::Create(Arc::new(Task {
                id: TaskId::new(id),
                meta: Meta::default(),
                service_id: service,
                slot,
                spec_version: version,
                node_id: node,
                status: TaskStatus { state: TaskState::Pending, ..TaskStatus::default() },
                desired_state: DesiredState::Running,
                networks: vec![],
                job_iteration: None,
                generic: vec![],
            })));
        }
    }

    fn move_task(&mut self, which: u32, dice: &mut Dice) {
        let tasks = |state: &State| state.tasks().iter().cloned().collect();
        let Some(mut task) = self.nth::<Arc<Task>>(which, tasks) else { return };
        let task_mut = Arc::make_mut(&mut task);
        task_mut.status.timestamp = self.now;
        match dice.below(8) {
            0 => task_mut.status.state = TaskState::Running,
            1 | 2 => task_mut.status.state = TaskState::Failed,
            3 => task_mut.status.state = TaskState::Rejected,
            4 => task_mut.status.state = TaskState::Shutdown,
            5 => task_mut.desired_state = DesiredState::Shutdown,
            6 => task_mut.status.error = "something else".to_owned(),
            _ => return self.act(Change::<Task>::Remove(task.id, None)),
        }
        self.act(Change::Update(task));
    }

    fn nth<T>(&self, which: u32, all: impl Fn(&State) -> Vec<T>) -> Option<T> {
        let mut all = all(&self.state);
        (!all.is_empty()).then(|| all.swap_remove(which as usize % all.len()))
    }

    /// A pass, whose decisions are carried out but for one in `lost`, which a race overtook.
    pub fn pass(&mut self, lost: Option<u32>) -> Round {
        let round = self.scheduler.schedule(self.now);
        for (at, decision) in round.decisions.iter().enumerate() {
            if lost.is_none_or(|lost| at as u32 % 8 != lost) {
                self.carry_out(decision);
            }
        }
        round
    }

    /// What the scheduler knows but for what it decided and did not see.
    pub fn settled(&mut self) -> Contents {
        self.scheduler.settle(self.now);
        contents(self.scheduler.cluster())
    }

    /// The same of one built from the state.
    pub fn anew(&self) -> Contents {
        let mut cluster = Cluster::of(&self.state);
        cluster.pass_time(self.now);
        contents(&cluster)
    }

    fn carry_out(&mut self, decision: &Decision) {
        let mut task = Task::clone(self.state.tasks().get(decision.task).unwrap());
        match &decision.node {
            Ok(node) => {
                task.node_id = Some(*node);
                task.status.state = TaskState::Assigned;
                task.status.error.clear();
            }
            Err(pending) => task.status.error = pending.to_string(),
        }
        self.act(Change::Update(Arc::new(task)));
    }
}

fn describe(node: &mut Node, dice: &mut Dice) {
    let zone = ["", "east", "west", "north"][dice.below(4) as usize];
    let rack = ["", "r1", "r2"][dice.below(3) as usize];
    let labels =
        [("zone", zone), ("rack", rack)].into_iter().filter(|(_, value)| !value.is_empty());
    node.spec.annotations.labels =
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    node.description = Some(NodeDescription {
        os: ["linux", "windows"][usize::from(dice.below(5) == 0)].to_owned(),
        resources: Resources {
            nano_cpus: i64::from(dice.below(5)) * 1_000_000_000,
            memory_bytes: i64::from(dice.below(5)) << 30,
            ..Resources::default()
        },
        ..NodeDescription::default()
    });
}

fn spec(annotations: Annotations, dice: &mut Dice) -> ServiceSpec {
    let mut task = TaskSpec::default();
    let reserved = &mut task.resources.reservations;
    reserved.nano_cpus = [0, 0, 500_000_000, 1_500_000_000][dice.below(4) as usize];
    reserved.memory_bytes = [0, 0, 1 << 29, 3 << 29][dice.below(4) as usize];
    let placement = &mut task.placement;
    let texts =
        ["", "", "node.labels.zone==east", "node.labels.zone!=west", "node.labels.rack==r1"];
    let text = texts[dice.below(5) as usize];
    placement.constraints = (!text.is_empty()).then(|| text.to_owned()).into_iter().collect();
    let spread: &[&str] = match dice.below(6) {
        0 => &["node.labels.zone"],
        1 => &["Node.Labels.zone", "node.labels.rack"],
        2 => &["node.labels.nowhere", "nonsense"],
        _ => &[],
    };
    placement.spread = spread.iter().map(|it| (*it).to_owned()).collect();
    placement.max_replicas_per_node = [0, 0, 0, 1, 2][dice.below(5) as usize];
    if dice.below(6) == 0 {
        placement.platforms = vec![("linux".to_owned(), String::new())];
    }
    let port = |port| PortConfig {
        target_port: 80,
        published_port: port,
        publish_mode: PublishMode::Host,
        ..PortConfig::default()
    };
    let ports = match dice.below(6) {
        0 => vec![port(8080)],
        1 => vec![port(8081), port(8080)],
        2 => vec![port(0)],
        _ => vec![],
    };
    ServiceSpec {
        task,
        endpoint: EndpointSpec { ports, ..EndpointSpec::default() },
        ..ServiceSpec::new(annotations, ServiceMode::Replicated { replicas: 1 })
    }
}

/// What a cache knows, in terms of the state.
#[derive(Debug, PartialEq)]
pub struct Contents {
    hosts: BTreeMap<NodeId, Host>,
    services: BTreeMap<ServiceId, Counted>,
    waiting: BTreeSet<(ServiceId, Revision)>,
}

#[derive(Debug, PartialEq)]
struct Counted {
    tasks: BTreeMap<NodeId, u32>,
    failures: BTreeMap<NodeId, u32>,
    versions: BTreeMap<Revision, Version>,
}

#[derive(Debug, PartialEq)]
struct Version {
    needs: Needs,
    max_replicas: u64,
    untold: usize,
    free: BTreeSet<TaskId>,
    bound: BTreeSet<TaskId>,
}

pub fn contents(cluster: &Cluster) -> Contents {
    let id = |place| cluster.hosts.get(place).id();
    let services = cluster.services.iter().map(|(service, tally)| {
        let versions = tally.versions().iter().map(|version| {
            let needs = Needs::clone(cluster.kinds.needs(version.kind));
            let free = version.free.keys().copied().collect();
            let bound = version.bound.keys().copied().collect();
            let (max_replicas, untold) = (version.max_replicas, version.untold);
            (version.revision, Version { needs, max_replicas, untold, free, bound })
        });
        let counted = Counted {
            tasks: tally.counts.hosts().map(|(place, tasks)| (id(place), tasks)).collect(),
            failures: tally.counts.failing().map(|(place, count)| (id(place), count)).collect(),
            versions: versions.collect(),
        };
        (*service, counted)
    });
    Contents {
        services: services.collect(),
        hosts: cluster.hosts.iter().map(|(_, host)| (host.id(), host.clone())).collect(),
        waiting: cluster.waiting.clone(),
    }
}
