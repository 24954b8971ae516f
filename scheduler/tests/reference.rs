//! Every decision is the one that a plain scheduler makes, which looks at every node for every task
//! and keeps nothing: the same node, ties included, and the same reason.

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use skep_scheduler::defaults::{FAILURE_WINDOW, FAILURES_MAX};
use skep_scheduler::{Constraint, Decision, Tuning};
use skep_state::State;
use skep_types::service::{Protocol, PublishMode};
use skep_types::task::Slot;
use skep_types::*;
use world::{World, steps};

/// A node as a plain reader of the state sees it.
struct Plain {
    node: Arc<Node>,
    nano_cpus: i64,
    memory_bytes: i64,
    tasks: u64,
    of_service: BTreeMap<ServiceId, u64>,
    failures: BTreeMap<ServiceId, u32>,
    ports: Vec<(Protocol, u16)>,
}

fn ports(spec: &ServiceSpec) -> Vec<(Protocol, u16)> {
    let ports = spec.endpoint.ports.iter();
    let host = ports.filter(|it| it.publish_mode == PublishMode::Host && it.published_port != 0);
    host.map(|port| (port.protocol, port.published_port)).collect()
}

impl Plain {
    fn of(state: &State, node: &Arc<Node>, now: Timestamp) -> Self {
        let resources =
            node.description.as_ref().map(|it| it.resources.clone()).unwrap_or_default();
        let mut plain = Self {
            node: Arc::clone(node),
            nano_cpus: resources.nano_cpus,
            memory_bytes: resources.memory_bytes,
            tasks: 0,
            of_service: BTreeMap::new(),
            failures: BTreeMap::new(),
            ports: Vec::new(),
        };
        for task in state.tasks().iter().filter(|task| task.node_id == Some(node.id)) {
            let spec = state.spec(task.service_id, task.spec_version).unwrap();
            let stays = task.desired_state < DesiredState::Shutdown;
            match task.status.state {
                TaskState::Failed | TaskState::Rejected
                    if now.saturating_since(task.status.timestamp) < FAILURE_WINDOW =>
                {
                    *plain.failures.entry(task.service_id).or_default() += 1;
                }
                TaskState::Assigned | TaskState::Running => {
                    plain.take(task.service_id, spec, stays)
                }
                _ => {}
            }
        }
        plain
    }

    fn take(&mut self, service: ServiceId, spec: &ServiceSpec, stays: bool) {
        self.nano_cpus -= spec.task.resources.reservations.nano_cpus;
        self.memory_bytes -= spec.task.resources.reservations.memory_bytes;
        self.ports.extend(ports(spec));
        if stays {
            self.tasks += 1;
            *self.of_service.entry(service).or_default() += 1;
        }
    }

    fn count(&self, service: ServiceId) -> u64 {
        self.of_service.get(&service).copied().unwrap_or(0)
    }

    /// What refuses, as (order of telling, words without amounts).
    fn refusal(&self, service: ServiceId, spec: &ServiceSpec) -> Option<(u8, String)> {
        let description = self.node.description.as_ref().unwrap();
        let reserved = &spec.task.resources.reservations;
        let placement = &spec.task.placement;
        let ready = self.node.status.state == NodeState::Ready
            && self.node.spec.availability == Availability::Active;
        if !ready {
            return Some((0, "not available".to_owned()));
        }
        let mut platforms = placement.platforms.iter();
        if !placement.platforms.is_empty() && !platforms.any(|(os, _)| *os == description.os) {
            return Some((3, "another platform".to_owned()));
        }
        for text in &placement.constraints {
            if !Constraint::parse(text).unwrap().holds(&self.node) {
                return Some((4, format!("match {text}")));
            }
        }
        if reserved.nano_cpus > self.nano_cpus.max(0) {
            return Some((1, "cpu".to_owned()));
        }
        if reserved.memory_bytes > self.memory_bytes.max(0) {
            return Some((2, "memory".to_owned()));
        }
        if let Some((_, port)) = ports(spec).iter().find(|port| self.ports.contains(port)) {
            return Some((5, format!("host port {port} in use")));
        }
        let max = placement.max_replicas_per_node;
        if max > 0 && self.count(service) >= max {
            return Some((6, format!("the most replicas allowed ({max})")));
        }
        None
    }
}

struct Reference {
    nodes: BTreeMap<NodeId, Plain>,
}

impl Reference {
    fn of(state: &State, now: Timestamp) -> Self {
        let nodes = state.nodes().iter();
        Self { nodes: nodes.map(|node| (node.id, Plain::of(state, node, now))).collect() }
    }

    fn best(&self, service: ServiceId, spec: &ServiceSpec) -> Option<NodeId> {
        let mut all: Vec<&Plain> = self.nodes.values().collect();
        let fits = |plain: &&Plain| plain.refusal(service, spec).is_none();
        for preference in &spec.task.placement.spread {
            let mut branches: BTreeMap<String, Vec<&Plain>> = BTreeMap::new();
            for plain in all {
                let key = preference.to_lowercase().replace("node.labels.", "");
                let value = plain.node.spec.annotations.labels.get(&key).cloned();
                branches.entry(value.unwrap_or_default()).or_default().push(plain);
            }
            let with_room = branches.into_iter().filter(|(_, nodes)| nodes.iter().any(fits));
            all = with_room
                .min_by_key(|(_, nodes)| nodes.iter().map(|it| it.count(service)).sum::<u64>())?
                .1;
        }
        let best = all.into_iter().filter(fits).min_by_key(|plain| {
            let failures = plain.failures.get(&service).copied().unwrap_or(0);
            let failures = if failures < FAILURES_MAX { 0 } else { failures };
            (failures, plain.count(service), plain.tasks, plain.node.id)
        });
        best.map(|plain| plain.node.id)
    }

    /// Whether a text says for each filter how many nodes it refused, and no more.
    fn explains(&self, text: &str, service: ServiceId, spec: &ServiceSpec, only: &[NodeId]) {
        let mut refused: BTreeMap<(u8, String), Vec<&Plain>> = BTreeMap::new();
        for plain in self.nodes.values() {
            if only.is_empty() || only.contains(&plain.node.id) {
                let refusal = plain.refusal(service, spec).expect("a node that refuses");
                refused.entry(refusal).or_default().push(plain);
            }
        }
        let text = text.strip_prefix("no suitable node: ").expect("Docker's words come first");
        if refused.is_empty() {
            return assert_eq!(text, "the swarm has no nodes");
        }
        // Commas within brackets part amounts, not reasons.
        let parts: Vec<&str> = text.split(", ").filter(|part| !part.starts_with("most")).collect();
        assert_eq!(parts.len(), refused.len(), "{text}");
        for (((order, words), nodes), part) in refused.iter().zip(parts) {
            assert!(part.starts_with(&format!("{} ", nodes.len())), "{part}: {}", nodes.len());
            assert!(part.contains(words), "{part}: {words}");
            let most = match order {
                1 => nodes.iter().map(|it| it.nano_cpus).max().unwrap().max(0) as f64 / 1e9,
                2 => nodes.iter().map(|it| it.memory_bytes).max().unwrap().max(0) as f64,
                _ => continue,
            };
            let most = match order {
                1 => format!("most free {most})"),
                _ if most == 0.0 => "most free 0 B)".to_owned(),
                _ if most < f64::from(1 << 30) => format!("most free {} MiB)", most / 1048576.0),
                _ => format!("most free {} GiB)", most / 1073741824.0),
            };
            assert!(text.contains(&most), "{text}: {most}");
        }
    }

    fn check(&mut self, state: &State, decision: &Decision) {
        let task = state.tasks().get(decision.task).expect("a task that stands");
        let spec = state.spec(task.service_id, task.spec_version).unwrap();
        let service = task.service_id;
        let given = task.node_id.or(match task.slot {
            Slot::Node(node) => Some(node),
            Slot::Replica(_) => None,
        });
        let expected = match given {
            None => self.best(service, spec),
            Some(node) => {
                let plain = self.nodes.get(&node);
                plain.filter(|it| it.refusal(service, spec).is_none()).map(|_| node)
            }
        };
        assert_eq!(decision.node.as_ref().ok(), expected.as_ref(), "{task:?} of {spec:?}");
        match (&decision.node, given) {
            (Ok(node), _) => self.nodes.get_mut(node).unwrap().take(service, spec, true),
            (Err(why), Some(node)) if !self.nodes.contains_key(&node) => {
                assert_eq!(why.as_str(), "no suitable node: its node is gone");
            }
            (Err(why), given) => {
                self.explains(why.as_str(), service, spec, given.as_slice());
            }
        }
    }
}

/// A pass of the scheduler beside the plain one's.
fn check_pass(world: &mut World, lost: Option<u32>) {
    let before = world.state.clone();
    let mut reference = Reference::of(&before, world.now);
    let round = world.pass(lost);
    for decision in &round.decisions {
        reference.check(&before, decision);
    }
    let decided = |task: &Task| round.decisions.iter().any(|decision| decision.task == task.id);
    for task in before.tasks().iter() {
        let waits =
            task.status.state == TaskState::Pending && task.desired_state < DesiredState::Shutdown;
        if !waits || decided(task) {
            continue;
        }
        assert!(!task.status.error.is_empty(), "a task that was never told why it waits: {task:?}");
        let spec = before.spec(task.service_id, task.spec_version).unwrap();
        if let Some(node) = task.node_id {
            let plain = reference.nodes.get(&node);
            let refusal = plain.map(|it| it.refusal(task.service_id, spec));
            assert_ne!(refusal, Some(None), "{task:?} was passed over");
            // What it was told is still so, unless this pass took more of the node since.
            if plain.is_some() && round.decisions.iter().all(|it| it.node.is_err()) {
                reference.explains(&task.status.error, task.service_id, spec, &[node]);
            }
        } else {
            assert_eq!(reference.best(task.service_id, spec), None, "{task:?} was passed over");
        }
    }
}

fn check(tuning: Tuning, steps: Vec<world::Step>) {
    let mut world = World::with(tuning);
    for (at, step) in steps.into_iter().enumerate() {
        world.step(step);
        if at % 4 == 0 {
            check_pass(&mut world, (step.which % 3 == 0).then_some(step.which % 8));
        }
    }
    check_pass(&mut world, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn decisions_are_those_of_a_plain_scheduler(steps in steps(150)) {
        check(Tuning::default(), steps);
    }

    #[test]
    fn indexes_make_no_difference(
        steps in steps(150),
        own_hosts_min in 0usize..4,
        tests_max in 0usize..4,
        index_entries_max in 0usize..60,
    ) {
        check(Tuning { own_hosts_min, tests_max, index_entries_max }, steps);
    }
}
