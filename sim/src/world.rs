//! The simulated swarm.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use skep_agent_plan::{Observed, Step, next_step};
use skep_dispatch::assignment::AssignedTask;
use skep_dispatch::{Assignments, Report, reported};
use skep_orchestrator::{Plan, Reconcilers, reconcile, taken_back};
use skep_scheduler::Scheduler;
use skep_state::{Action, Change, Speculation, State, Ticket, Transaction};
use skep_types::node::NodeStatus;
use skep_types::service::{EndpointSpec, NetworkAttachmentConfig, PortConfig};
use skep_types::*;

use crate::rng::Rng;

/// More than any pass of these small swarms has in flight.
const IN_FLIGHT_MAX: usize = 64;

/// Managers, nodes, and the log between them.
pub struct World {
    rng: Rng,
    now: Timestamp,
    epoch: u64,
    /// Entries that a majority has: never lost.
    log: Vec<Transaction>,
    /// What each manager has applied so far, and up to which entry.
    replicas: Vec<(State, usize)>,
    /// The leader's view, and the entries that only it has.
    leader: Speculation,
    in_flight: VecDeque<(Ticket, Transaction)>,
    /// None: to be begun anew with the leader's view.
    led: Option<Led>,
    /// Services whose creation was acknowledged.
    acknowledged: Vec<ServiceId>,
    awaited: Vec<(Ticket, ServiceId)>,
    /// Nodes that are cut off.
    away: Vec<NodeId>,
    /// What each node's engine has.
    containers: BTreeMap<(NodeId, TaskId), Observed>,
}

/// What follows the leader's view.
struct Led {
    reconcilers: Reconcilers,
    scheduler: Scheduler,
}

impl World {
    /// A swarm of so many managers and nodes, with an ingress network.
    pub fn new(seed: u64, managers: usize, nodes: u128) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            now: Timestamp(0),
            epoch: 1,
            log: Vec::new(),
            replicas: vec![(State::default(), 0); managers],
            leader: Speculation::new(1, State::default(), IN_FLIGHT_MAX),
            in_flight: VecDeque::new(),
            led: None,
            acknowledged: Vec::new(),
            awaited: Vec::new(),
            away: Vec::new(),
            containers: BTreeMap::new(),
        };
        let mut actions: Vec<Action> =
            (1..=nodes).map(|id| Change::Create(Arc::new(node(id))).into()).collect();
        actions.push(Change::Create(Arc::new(network(1, "ingress", true))).into());
        actions.push(Change::Create(Arc::new(network(2, "front", false))).into());
        world.propose(actions);
        world.commit_all();
        world
    }

    /// What the leader would show.
    pub fn view(&self) -> &State {
        self.leader.view()
    }

    /// Services whose creation was acknowledged and that were not removed since.
    pub fn acknowledged(&self) -> &[ServiceId] {
        &self.acknowledged
    }

    /// Every manager's state once it has applied all that is committed.
    pub fn caught_up(&mut self) -> Vec<&State> {
        for manager in 0..self.replicas.len() {
            self.catch_up(manager, self.log.len());
        }
        self.replicas.iter().map(|(state, _)| state).collect()
    }

    /// One step: time passes, then a user, a node, the network or a manager does something, then
    /// the leader looks.
    pub fn step(&mut self) {
        let elapsed = Duration::from_millis(self.rng.below(2_000));
        self.pass_time(elapsed);
        match self.rng.below(15) {
            0 => self.create_service(),
            1 => self.scale_service(),
            2 => self.remove_service(),
            3 => self.change_leader(),
            4 => self.cut_node(),
            5 => self.heal_node(),
            6 => self.drain_or_activate(),
            7..=9 => self.update_service(),
            _ => self.agents(true),
        }
        if self.rng.once_in(2) {
            self.lead(true);
        }
        let committed = self.rng.below(self.in_flight.len() as u64 + 1);
        for _ in 0..committed {
            self.commit_oldest();
        }
        let manager = self.rng.below(self.replicas.len() as u64) as usize;
        let upto = self.replicas[manager].1
            + self.rng.below((self.log.len() - self.replicas[manager].1) as u64 + 1) as usize;
        self.catch_up(manager, upto);
    }

    /// Ends all trouble and lets the swarm settle.
    pub fn heal(&mut self) {
        let away: Vec<NodeId> = self.away.clone();
        for _ in away {
            self.heal_node();
        }
        let drained: Vec<_> = self.view().nodes().iter().cloned().collect();
        for node in drained {
            let mut active = Node::clone(&node);
            active.spec.availability = Availability::Active;
            self.propose(vec![Change::Update(Arc::new(active)).into()]);
        }
        for _ in 0..60 {
            self.pass_time(Duration::from_secs(5));
            self.agents(false);
            self.lead(false);
            self.commit_all();
        }
    }

    fn pass_time(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
    }

    fn propose(&mut self, actions: Vec<Action>) -> Option<Ticket> {
        let mut transaction = Transaction { epoch: 0, now: self.now, actions };
        let ticket = self.leader.propose(&mut transaction).ok()?;
        self.in_flight.push_back((ticket, transaction));
        Some(ticket)
    }

    fn commit_oldest(&mut self) {
        let Some((ticket, transaction)) = self.in_flight.pop_front() else { return };
        assert!(self.leader.applied(ticket), "entries are applied in the order of proposing");
        self.log.push(transaction);
        if let Some(place) = self.awaited.iter().position(|(awaited, _)| *awaited == ticket) {
            self.acknowledged.push(self.awaited.swap_remove(place).1);
        }
    }

    fn commit_all(&mut self) {
        while !self.in_flight.is_empty() {
            self.commit_oldest();
        }
    }

    fn catch_up(&mut self, manager: usize, upto: usize) {
        let (state, applied) = &mut self.replicas[manager];
        for transaction in &self.log[*applied..upto] {
            state.apply(transaction).expect("what the leader's view took, every manager takes");
        }
        *applied = upto;
    }

    /// The leader dies: some of what is in flight was committed all the same, the rest is lost.
    /// The new leader has applied everything committed before it begins.
    fn change_leader(&mut self) {
        for _ in 0..self.rng.below(self.in_flight.len() as u64 + 1) {
            self.commit_oldest();
        }
        self.in_flight.clear();
        self.awaited.clear();
        self.epoch += 1;
        let next = self.rng.below(self.replicas.len() as u64) as usize;
        self.catch_up(next, self.log.len());
        // Any manager may have been restored from a snapshot of itself.
        let state = State::from_objects(self.replicas[next].0.to_objects());
        let state = state.expect("a snapshot of a state is one");
        assert_eq!(state, self.replicas[next].0);
        self.leader = Speculation::new(self.epoch, state, IN_FLIGHT_MAX);
        self.led = None;
    }

    /// The leader's pass: reconcile, then schedule, what changed since the last one.
    fn lead(&mut self, trouble: bool) {
        let mut led = self.follow();
        let mut mint = || self.rng.bits();
        let mut plan = Plan::new(self.leader.view().clone(), self.now, &mut mint);
        led.reconcilers.pass(&mut plan);
        for event in plan.events() {
            led.scheduler.observe(event);
        }
        let planned = plan.events().len();
        for decision in led.scheduler.schedule(self.now).decisions {
            match decision.node {
                Ok(node) => plan.assign(decision.task, node, vec![]),
                Err(pending) => plan.leave_pending(decision.task, pending.to_string()),
            }
        }
        for event in &plan.events()[planned..] {
            led.scheduler.observe(event);
        }
        led.reconcilers.placed(&mut plan);
        let events = plan.events().to_vec();
        let (actions, _) = plan.finish();
        if trouble && self.rng.once_in(3) {
            // Nodes report while the leader thinks.
            self.agents(true);
        }
        if actions.is_empty() {
            self.led = Some(led);
            return;
        }
        let mut transaction = Transaction { epoch: 0, now: self.now, actions };
        // Otherwise too much is under way, and all of it is to be decided anew.
        if let Ok((ticket, refused)) = self.leader.propose_plan(&mut transaction) {
            self.in_flight.extend(ticket.map(|ticket| (ticket, transaction)));
            for event in taken_back(&events, &refused) {
                led.scheduler.observe(&event);
            }
            for action in &refused {
                assert!(matches!(action, Action::Task(_)), "nodes report of tasks alone");
                led.reconcilers.refused(self.leader.view(), action);
            }
            self.led = Some(led);
        }
    }

    /// The leader's followers of its view, with all that changed taken in.
    fn follow(&mut self) -> Led {
        let news = self.leader.take_news();
        let view = self.leader.view();
        match (news, self.led.take()) {
            (Some(news), Some(mut led)) => {
                for event in &news {
                    led.reconcilers.observe(view, event);
                    led.scheduler.observe(event);
                }
                led
            }
            _ => Led { reconcilers: Reconcilers::of(view), scheduler: Scheduler::of(view) },
        }
    }

    /// Has the leader look until it finds nothing more, and gives what a pass over everything would
    /// do all the same: nothing, if no change was overlooked.
    pub fn overlooked(&mut self) -> Vec<Action> {
        for _ in 0..10 {
            self.commit_all();
            self.lead(false);
            if self.led.as_ref().is_some_and(|led| led.reconcilers.is_idle()) {
                break;
            }
        }
        let mut id = 0;
        let mut mint = || {
            id += 1;
            id
        };
        let mut plan = Plan::new(self.view().clone(), self.now, &mut mint);
        reconcile(&mut plan);
        for decision in Scheduler::of(plan.view()).schedule(self.now).decisions {
            match decision.node {
                Ok(node) => plan.assign(decision.task, node, vec![]),
                Err(pending) => plan.leave_pending(decision.task, pending.to_string()),
            }
        }
        plan.finish().0
    }

    /// Every node that is there takes a step for some of its tasks; some containers fail.
    fn agents(&mut self, trouble: bool) {
        let nodes: Vec<NodeId> = self.view().nodes().iter().map(|node| node.id).collect();
        for node in nodes {
            if !self.away.contains(&node) {
                self.agent(node, trouble);
            }
        }
    }

    fn agent(&mut self, node: NodeId, trouble: bool) {
        let assigned = Assignments::of(self.view(), node);
        // What is no longer assigned is stopped and removed.
        self.containers.retain(|(at, task), _| *at != node || assigned.tasks.contains_key(task));
        let mut reports = Vec::new();
        for AssignedTask { task, .. } in assigned.tasks.values() {
            if trouble && self.rng.once_in(3) {
                continue;
            }
            let mut container =
                self.containers.get(&(node, task.id)).copied().unwrap_or(Observed::Absent);
            if trouble && matches!(container, Observed::Running { .. }) && self.rng.once_in(8) {
                container = Observed::Exited { code: 1 };
            }
            match next_step(task.desired_state, task.status.state, container) {
                Step::Wait => {}
                Step::Report(state) => {
                    let timestamp = self.now;
                    let status = TaskStatus { state, timestamp, ..task.status.clone() };
                    reports.push(Report { task: task.id, status });
                }
                Step::Create => container = Observed::Created,
                Step::Start => container = Observed::Running { healthy: true },
                Step::Stop => container = Observed::Exited { code: 143 },
                Step::Remove => container = Observed::Absent,
            }
            self.containers.insert((node, task.id), container);
        }
        let actions = reported(self.view(), node, &reports).expect("nodes report on their own");
        if !actions.is_empty() {
            self.propose(actions);
        }
    }

    fn create_service(&mut self) {
        if self.view().services().len() >= 6 {
            return;
        }
        let id = ServiceId::new(self.rng.bits());
        let mode = if self.rng.once_in(4) {
            ServiceMode::Global
        } else {
            ServiceMode::Replicated { replicas: self.rng.below(6) }
        };
        let service = service(id, mode, self.rng.once_in(2));
        if let Some(ticket) = self.propose(vec![Change::Create(Arc::new(service)).into()]) {
            self.awaited.push((ticket, id));
        }
    }

    fn any_service(&mut self) -> Option<Arc<Service>> {
        let count = self.view().services().len() as u64;
        let place = self.rng.below(count) as usize;
        self.view().services().iter().nth(place).cloned()
    }

    fn scale_service(&mut self) {
        let Some(service) = self.any_service() else { return };
        let mut scaled = Service::clone(&service);
        let spec = Arc::make_mut(&mut scaled.spec);
        if let ServiceMode::Replicated { replicas } = &mut spec.mode {
            *replicas = self.rng.below(6);
        }
        scaled.update_status = None;
        self.propose(vec![Change::Update(Arc::new(scaled)).into()]);
    }

    /// A user wants another image, rolled out in one of the ways there are.
    fn update_service(&mut self) {
        let Some(service) = self.any_service() else { return };
        let mut updated = Service::clone(&service);
        let spec = Arc::make_mut(&mut updated.spec);
        spec.task.container.image = format!("image:{}", self.rng.below(4));
        let config = UpdateConfig {
            parallelism: self.rng.below(3),
            delay: Duration::from_secs(self.rng.below(3)),
            failure_action: match self.rng.below(3) {
                0 => FailureAction::Pause,
                1 => FailureAction::Continue,
                _ => FailureAction::Rollback,
            },
            order: match self.rng.once_in(2) {
                true => UpdateOrder::StartFirst,
                false => UpdateOrder::StopFirst,
            },
            ..UpdateConfig::default()
        };
        spec.update = config.clone();
        spec.rollback = config;
        updated.update_status = None;
        self.propose(vec![Change::Update(Arc::new(updated)).into()]);
    }

    fn remove_service(&mut self) {
        let Some(service) = self.any_service() else { return };
        if self.propose(vec![Change::<Service>::Remove(service.id, None).into()]).is_some() {
            // From here on it may be gone; whether it is, is no longer a matter of loss.
            self.acknowledged.retain(|id| *id != service.id);
            self.awaited.retain(|(_, id)| *id != service.id);
        }
    }

    fn any_node(&mut self) -> Arc<Node> {
        let place = self.rng.below(self.view().nodes().len() as u64) as usize;
        Arc::clone(self.view().nodes().iter().nth(place).expect("the swarm has nodes"))
    }

    fn cut_node(&mut self) {
        let node = self.any_node();
        if !self.away.contains(&node.id) {
            self.away.push(node.id);
            self.set_node_state(node.id, NodeState::Down);
        }
    }

    fn heal_node(&mut self) {
        if let Some(node) = self.away.pop() {
            self.set_node_state(node, NodeState::Ready);
        }
    }

    fn set_node_state(&mut self, id: NodeId, state: NodeState) {
        let Some(node) = self.view().nodes().get(id) else { return };
        let mut changed = Node::clone(node);
        changed.status.state = state;
        let actions = vec![Change::Update(Arc::new(changed)).into()];
        // The dispatcher says it again until it holds; a leader change does not lose it for good.
        if self.propose(actions).is_some() {
            self.commit_all();
        }
    }

    fn drain_or_activate(&mut self) {
        let mut node = Node::clone(&self.any_node());
        node.spec.availability = match node.spec.availability {
            Availability::Active => Availability::Drain,
            _ => Availability::Active,
        };
        self.propose(vec![Change::Update(Arc::new(node)).into()]);
    }
}

fn node(id: u128) -> Node {
    Node {
        id: NodeId::new(id),
        meta: Meta::default(),
        spec: NodeSpec { role: NodeRole::Manager, ..NodeSpec::default() },
        description: None,
        status: NodeStatus { state: NodeState::Ready, ..NodeStatus::default() },
        manager: None,
        certificate: vec![],
    }
}

fn network(id: u128, name: &str, ingress: bool) -> Network {
    let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
    Network {
        id: NetworkId::new(id),
        meta: Meta::default(),
        spec: NetworkSpec { annotations, ingress, ..NetworkSpec::default() },
        vni: None,
        ipam: vec![],
    }
}

fn service(id: ServiceId, mode: ServiceMode, published: bool) -> Service {
    let target = NetworkId::new(2);
    let task = TaskSpec {
        networks: vec![NetworkAttachmentConfig { target, aliases: vec![] }],
        ..TaskSpec::default()
    };
    let ports = vec![PortConfig { target_port: 80, ..PortConfig::default() }];
    Service {
        id,
        meta: Meta::default(),
        spec: Arc::new(ServiceSpec {
            annotations: Annotations { name: format!("s{id}"), ..Annotations::default() },
            task,
            mode,
            update: UpdateConfig::default(),
            rollback: UpdateConfig::default(),
            endpoint: EndpointSpec {
                ports: if published { ports } else { vec![] },
                ..Default::default()
            },
        }),
        spec_version: Revision(0),
        previous_spec: None,
        previous_spec_version: None,
        endpoint: None,
        update_status: None,
        job: None,
    }
}
