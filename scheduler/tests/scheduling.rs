//! Where tasks go and what pending ones say: small swarms, one rule each.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_scheduler::Claims;
use skep_scheduler::Scheduler;
use skep_scheduler::Tuning;
use skep_scheduler::defaults::FAILURE_WINDOW;
use skep_state::{Action, Change, Event, State, Transaction};
use skep_types::node::{NodeDescription, NodeStatus};
use skep_types::service::{
    LogDriver, Moving, NetworkAttachmentConfig, PortConfig, PublishMode, UpdateState, UpdateStatus,
};
use skep_types::task::Slot;
use skep_types::*;

const NOW: Timestamp = Timestamp(1_000_000_000_000);
const GIB: i64 = 1 << 30;

struct Swarm(State);

impl Swarm {
    fn new() -> Self {
        Self(State::default())
    }

    fn act(&mut self, action: impl Into<Action>) {
        self.events(action);
    }

    fn events(&mut self, action: impl Into<Action>) -> Vec<Event> {
        let actions = vec![action.into()];
        self.0.apply(&Transaction { epoch: 1, now: Timestamp(1), actions }).unwrap()
    }

    fn node(mut self, id: u128, change: impl FnOnce(&mut Node)) -> Self {
        let resources =
            Resources { nano_cpus: 2_000_000_000, memory_bytes: 2 * GIB, ..Resources::default() };
        let mut node = Node {
            description: Some(NodeDescription {
                hostname: format!("host{id}"),
                os: "linux".to_owned(),
                architecture: "x86_64".to_owned(),
                resources,
                ..NodeDescription::default()
            }),
            status: NodeStatus { state: NodeState::Ready, ..NodeStatus::default() },
            ..Node::new(NodeId::new(id), NodeSpec::default())
        };
        change(&mut node);
        self.act(Change::Create(Arc::new(node)));
        self
    }

    /// A service with `tasks` pending tasks, whose ids are 100 times the service's and up.
    fn service(mut self, id: u128, tasks: u64, change: impl FnOnce(&mut ServiceSpec)) -> Self {
        let mut spec = ServiceSpec::new(
            Annotations { name: format!("s{id}"), ..Annotations::default() },
            ServiceMode::Replicated { replicas: tasks },
        );
        change(&mut spec);
        self.act(Change::Create(Arc::new(Service::new(ServiceId::new(id), Arc::new(spec)))));
        self.tasks(id, 1..=tasks)
    }

    /// Pending tasks of a service, by slot.
    fn tasks(mut self, id: u128, slots: std::ops::RangeInclusive<u64>) -> Self {
        for slot in slots {
            self.task_events(id, slot);
        }
        self
    }

    fn task_events(&mut self, id: u128, slot: u64) -> Vec<Event> {
        self.events(Change::Create(Arc::new(Task {
            id: TaskId::new(id * 100 + u128::from(slot)),
            meta: Meta::default(),
            service_id: ServiceId::new(id),
            slot: Slot::Replica(slot),
            spec_version: Revision(1),
            node_id: None,
            status: TaskStatus { state: TaskState::Pending, ..TaskStatus::default() },
            desired_state: DesiredState::Running,
            networks: vec![],
            job_iteration: None,
            generic: vec![],
        })))
    }

    fn change(&mut self, task: u128, change: impl FnOnce(&mut Task)) {
        let mut task = Task::clone(self.0.tasks().get(TaskId::new(task)).unwrap());
        change(&mut task);
        self.act(Change::Update(Arc::new(task)));
    }

    /// Tasks that each node gets, ascending by node, and the reasons of those that got none.
    fn placed(&self) -> (Vec<usize>, Vec<String>) {
        let mut counts: BTreeMap<NodeId, usize> =
            self.0.nodes().iter().map(|node| (node.id, 0)).collect();
        let mut reasons = Vec::new();
        for decision in Scheduler::of(&self.0).schedule(NOW).decisions {
            match decision.node {
                Ok(node) => *counts.get_mut(&node).unwrap() += 1,
                Err(pending) => reasons.push(pending.to_string()),
            }
        }
        reasons.dedup();
        (counts.into_values().collect(), reasons)
    }

    fn check(&self, counts: &[usize], reasons: &[&str]) {
        let (got, why) = self.placed();
        assert_eq!(got, counts);
        assert_eq!(why, reasons);
    }
}

fn labelled(zone: &str) -> impl FnOnce(&mut Node) {
    let zone = zone.to_owned();
    |node| drop(node.spec.annotations.labels.insert("zone".to_owned(), zone))
}

fn plain(_: &mut Node) {}

#[test]
fn tasks_spread_evenly() {
    let swarm = Swarm::new().node(1, plain).node(2, plain).node(3, plain);
    swarm.service(1, 7, |_| {}).check(&[3, 2, 2], &[]);
}

#[test]
fn a_swarm_without_nodes_says_so() {
    Swarm::new().service(1, 2, |_| {}).check(&[], &["no suitable node: the swarm has no nodes"]);
}

#[test]
fn only_ready_and_active_nodes_get_tasks() {
    let swarm = Swarm::new()
        .node(1, |node| node.spec.availability = Availability::Drain)
        .node(2, |node| node.status.state = NodeState::Down)
        .node(3, |node| node.spec.availability = Availability::Pause);
    let why = "no suitable node: 3 nodes are not available";
    swarm.service(1, 1, |_| {}).check(&[0, 0, 0], &[why]);
}

#[test]
fn reservations_fill_nodes_and_the_rest_says_what_lacks() {
    let swarm = Swarm::new().node(1, plain).node(2, plain).service(1, 5, |spec| {
        spec.task.resources.reservations.memory_bytes = GIB + GIB / 2;
    });
    let why = "no suitable node: 2 nodes lack memory (need 1.5 GiB, most free 512 MiB)";
    swarm.check(&[1, 1], &[why]);
}

fn declaring(terms: &'static str) -> impl FnOnce(&mut Node) {
    move |node| {
        let resources = &mut node.description.as_mut().unwrap().resources;
        resources.generic = generic::parse(terms.split(' ')).unwrap();
    }
}

#[test]
fn generic_resources_are_counted_and_given_by_name_once() {
    let mut swarm = Swarm::new()
        .node(1, declaring("gpu=A gpu=B gpu=C ssd=2"))
        .node(2, declaring("gpu=A"))
        .node(3, plain)
        .service(1, 4, |spec| {
            spec.task.resources.reservations.generic = generic::parse(["gpu=1"]).unwrap();
        })
        .service(2, 1, |spec| {
            let both = generic::parse(["gpu=2", "ssd=1"]).unwrap();
            spec.task.resources.reservations.generic = both;
        });
    swarm.check(&[3, 1, 0], &["no suitable node: 3 nodes lack gpu (need 2, most free 0)"]);
    let small = Swarm::new().node(1, plain).node(2, declaring("gpu=A")).service(1, 1, |spec| {
        spec.task.resources.reservations.generic = generic::parse(["gpu=2"]).unwrap();
    });
    small.check(&[0, 0], &["no suitable node: 2 nodes lack gpu (need 2, most free 1)"]);

    let mut claims = Claims::default();
    let mut given = Vec::new();
    for decision in Scheduler::of(&swarm.0).schedule(NOW).decisions {
        let Ok(node) = decision.node else { continue };
        let task = Arc::clone(swarm.0.tasks().get(decision.task).unwrap());
        let claimed = claims.claim(&swarm.0, &task, node).unwrap();
        given.extend(claimed.clone().into_iter().map(|resource| (node, resource)));
        swarm.change(task.id.bits(), |task| {
            task.node_id = Some(node);
            task.status.state = TaskState::Assigned;
            task.generic = claimed;
        });
    }
    let distinct: std::collections::BTreeSet<_> = given.iter().cloned().collect();
    assert_eq!((given.len(), distinct.len()), (4, 4), "{given:?}");
    // What a task that ended had is free for others, and a new pass knows what is held.
    let first = given.iter().position(|(node, _)| *node == NodeId::new(1)).unwrap();
    let task = swarm.0.tasks().iter().find(|it| it.generic.contains(&given[first].1)).unwrap();
    let id = task.id.bits();
    swarm.change(id, |task| task.status.state = TaskState::Failed);
    let mut waiting = Task::clone(swarm.0.tasks().get(TaskId::new(101)).unwrap());
    waiting.id = TaskId::new(1);
    let node = NodeId::new(1);
    let mut claims = Claims::default();
    assert_eq!(claims.claim(&swarm.0, &waiting, node), Some(vec![given[first].1.clone()]));
    assert_eq!(claims.claim(&swarm.0, &waiting, node), None, "there is no other");
}

#[test]
fn drivers_of_logs_networks_and_volumes_must_be_there() {
    let with = |plugins: &'static [(&str, &str)]| {
        move |node: &mut Node| {
            let own = |(kind, name): &(&str, &str)| ((*kind).to_owned(), (*name).to_owned());
            node.description.as_mut().unwrap().plugins = plugins.iter().map(own).collect();
        }
    };
    let swarm = || {
        Swarm::new()
            .node(1, plain)
            .node(2, with(&[("Log", "json-file"), ("Volume", "nfs:latest")]))
            .node(3, with(&[("Log", "gelf"), ("Volume", "local"), ("Network", "overlay")]))
    };
    let log = |name: &'static str| {
        move |spec: &mut ServiceSpec| {
            let options = BTreeMap::new();
            spec.task.log_driver = Some(LogDriver { name: name.to_owned(), options });
        }
    };
    let volume = |driver: &'static str| {
        move |spec: &mut ServiceSpec| {
            let volume_driver = Some((driver.to_owned(), BTreeMap::new()));
            let mount = Mount { volume_driver, target: "/data".to_owned(), ..Mount::default() };
            spec.task.container.mounts = vec![mount];
        }
    };
    swarm().service(1, 2, log("gelf")).check(&[0, 0, 2], &[]);
    swarm().service(1, 3, log("none")).check(&[1, 1, 1], &[]);
    swarm().service(1, 2, volume("nfs")).check(&[0, 2, 0], &[]);
    swarm().service(1, 3, volume("local")).check(&[1, 1, 1], &[]);
    let port = |publish_mode| {
        move |spec: &mut ServiceSpec| {
            let port = PortConfig { target_port: 80, published_port: 8080, ..Default::default() };
            spec.endpoint.ports = vec![PortConfig { publish_mode, ..port }];
        }
    };
    swarm().service(1, 1, port(PublishMode::Ingress)).check(&[0, 0, 1], &[]);
    swarm().service(1, 3, port(PublishMode::Host)).check(&[1, 1, 1], &[]);
    let network = |id: u128, name: &str| {
        let annotations = Annotations { name: name.to_owned(), ..Annotations::default() };
        Network::new(NetworkId::new(id), NetworkSpec { annotations, ..NetworkSpec::default() })
    };
    let mut networked = swarm().node(4, |node| node.description = None);
    networked.act(Change::Create(Arc::new(network(1, "front"))));
    let on_front = |spec: &mut ServiceSpec| {
        let target = NetworkId::new(1);
        spec.task.networks = vec![NetworkAttachmentConfig { target, aliases: vec![] }];
    };
    networked.service(1, 2, on_front).check(&[0, 0, 1, 1], &[]);
    let mut without = Swarm::new().node(1, plain);
    without.act(Change::Create(Arc::new(network(1, "front"))));
    let why = "no suitable node: 1 node lacks the network driver overlay";
    without.service(1, 1, on_front).check(&[0], &[why]);
    let why = "no suitable node: 3 nodes lack the volume driver ceph";
    swarm().service(1, 1, volume("ceph")).check(&[0, 0, 0], &[why]);
}

#[test]
fn privileges_are_where_the_operator_allows_them() {
    let allows = |words: &'static str| {
        move |node: &mut Node| {
            let labels = &mut node.description.as_mut().unwrap().engine_labels;
            labels.insert(privilege::ALLOWED.to_owned(), words.to_owned());
        }
    };
    let swarm = || {
        Swarm::new()
            .node(1, plain)
            .node(2, allows("devices"))
            .node(3, allows("devices,gpus,privileged"))
            .node(4, allows("everything"))
    };
    let asks = |labels: &'static [(&str, &str)]| {
        move |spec: &mut ServiceSpec| {
            let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            spec.task.container.labels = labels.iter().map(own).collect();
        }
    };
    swarm().service(1, 4, asks(&[])).check(&[1, 1, 1, 1], &[]);
    swarm().service(1, 2, asks(&[(privilege::DEVICES, "/dev/fuse")])).check(&[0, 1, 1, 0], &[]);
    swarm().service(1, 2, asks(&[(privilege::PRIVILEGED, "true")])).check(&[0, 0, 2, 0], &[]);
    swarm().service(1, 2, asks(&[(privilege::GPUS, "all")])).check(&[0, 0, 2, 0], &[]);
    let why = "no suitable node: 1 node does not allow GPUs in tasks";
    let none = Swarm::new().node(1, allows("devices,privileged"));
    none.service(1, 1, asks(&[(privilege::GPUS, "device=0")])).check(&[0], &[why]);
    let why = "no suitable node: 2 nodes do not allow privileged tasks";
    let none = Swarm::new().node(1, plain).node(2, allows("devices"));
    none.service(1, 1, asks(&[(privilege::PRIVILEGED, "true")])).check(&[0, 0], &[why]);
    let why = "no suitable node: 1 node does not allow devices in tasks";
    let none = Swarm::new().node(1, allows("privileged"));
    none.service(1, 1, asks(&[(privilege::DEVICES, "/dev/fuse")])).check(&[0], &[why]);
}

#[test]
fn each_reason_is_counted() {
    let swarm = Swarm::new()
        .node(1, labelled("east"))
        .node(2, labelled("west"))
        .node(3, |node| node.status.state = NodeState::Down)
        .service(1, 1, |spec| {
            spec.task.placement.constraints = vec!["node.labels.zone == east".to_owned()];
            spec.task.resources.reservations.nano_cpus = 2_500_000_000;
        });
    swarm.check(
        &[0, 0, 0],
        &["no suitable node: 1 node is not available, \
           1 lacks cpu (need 2.5, most free 2), \
           1 does not match node.labels.zone == east"],
    );
}

#[test]
fn host_ports_and_max_replicas_bound_a_node() {
    let port = |spec: &mut ServiceSpec| {
        spec.endpoint.ports = vec![PortConfig {
            target_port: 80,
            published_port: 8080,
            publish_mode: PublishMode::Host,
            ..PortConfig::default()
        }];
    };
    let two = || Swarm::new().node(1, plain).node(2, plain);
    two()
        .service(1, 3, port)
        .check(&[1, 1], &["no suitable node: 2 nodes have host port 8080 in use"]);
    // Without a number each task is given another one by its node.
    let open = |spec: &mut ServiceSpec| {
        port(spec);
        spec.endpoint.ports[0].published_port = 0;
    };
    two().service(1, 4, open).check(&[2, 2], &[]);
    two()
        .service(1, 5, |spec| spec.task.placement.max_replicas_per_node = 2)
        .check(&[2, 2], &["no suitable node: 2 nodes have the most replicas allowed (2)"]);
}

#[test]
fn preferences_even_their_branches() {
    let swarm = Swarm::new()
        .node(1, labelled("east"))
        .node(2, labelled("east"))
        .node(3, labelled("east"))
        .node(4, labelled("west"))
        .service(1, 6, |spec| {
            spec.task.placement.spread = vec!["node.labels.zone".to_owned()];
        });
    swarm.check(&[1, 1, 1, 3], &[]);
}

#[test]
fn a_node_that_keeps_failing_a_service_comes_last() {
    for (failures, age, expected) in
        [(5, 0, [0, 3]), (4, 0, [2, 1]), (5, FAILURE_WINDOW.as_nanos() as i64, [2, 1])]
    {
        let mut swarm = Swarm::new().node(1, plain).node(2, plain).service(1, failures, |_| {});
        for task in 101..=100 + u128::from(failures) {
            swarm.change(task, |task| {
                task.node_id = Some(NodeId::new(1));
                task.status.state = TaskState::Failed;
                task.status.timestamp = Timestamp(NOW.0 - age);
            });
        }
        let swarm = swarm.tasks(1, 11..=13);
        assert_eq!(swarm.placed().0, expected, "{failures} failures, {age} ns ago");
    }
}

#[test]
fn what_runs_already_counts() {
    let mut swarm = Swarm::new().node(1, plain).node(2, plain).service(1, 2, |_| {});
    for task in [101, 102] {
        swarm.change(task, |task| {
            task.node_id = Some(NodeId::new(1));
            task.status.state = TaskState::Running;
        });
    }
    swarm.service(2, 1, |_| {}).check(&[0, 1], &[]);
}

#[test]
fn a_node_that_keeps_failing_is_better_than_none() {
    let mut swarm = Swarm::new().node(1, plain).service(1, 5, |_| {});
    for task in 101..=105 {
        swarm.change(task, |task| {
            task.node_id = Some(NodeId::new(1));
            task.status.state = TaskState::Failed;
            task.status.timestamp = NOW;
        });
    }
    swarm.tasks(1, 11..=13).check(&[3], &[]);
}

#[test]
fn a_task_for_a_given_node_is_held_to_all_filters() {
    let given = |spec: &mut ServiceSpec| spec.task.resources.reservations.memory_bytes = 3 * GIB;
    let mut swarm = Swarm::new().node(1, plain).node(2, plain).service(1, 1, given);
    swarm.change(101, |task| task.node_id = Some(NodeId::new(2)));
    let why = "no suitable node: 1 node lacks memory (need 3 GiB, most free 2 GiB)";
    swarm.check(&[0, 0], &[why]);
    let unreadable =
        |spec: &mut ServiceSpec| spec.task.placement.constraints = vec!["node.role".to_owned()];
    let mut swarm = Swarm::new().node(1, plain).service(1, 2, unreadable);
    swarm.change(101, |task| task.node_id = Some(NodeId::new(1)));
    let why = "no suitable node: constraint expected one operator from ==, !=: \"node.role\"";
    swarm.check(&[0], &[why]);
}

/// Reasons name amounts that change with every task: they are told again, but not at once.
#[test]
fn reasons_are_told_again_in_their_time() {
    let large = |spec: &mut ServiceSpec| spec.task.resources.reservations.memory_bytes = 4 * GIB;
    let mut swarm = Swarm::new().node(1, plain).service(1, 2, large);
    let mut scheduler = Scheduler::of(&swarm.0);
    let free = |gib: i64| {
        format!("no suitable node: 1 node lacks memory (need 4 GiB, most free {gib} GiB)")
    };
    let mut pass = |swarm: &mut Swarm, now: i64, change: &dyn Fn(&mut Swarm) -> Vec<Event>| {
        for event in change(swarm) {
            scheduler.observe(&event);
        }
        let round = scheduler.schedule(Timestamp(now));
        let mut told = Vec::new();
        for decision in &round.decisions {
            let why = decision.node.clone().unwrap_err().to_string();
            let mut task = Task::clone(swarm.0.tasks().get(decision.task).unwrap());
            task.status.error.clone_from(&why);
            told.push((decision.task.bits(), why));
            let action: Action = Change::Update(Arc::new(task)).into();
            swarm.events(action).iter().for_each(|event| scheduler.observe(event));
        }
        (told, round.wake)
    };
    let memory = |gib: i64| {
        move |swarm: &mut Swarm| {
            let mut node = Node::clone(swarm.0.nodes().get(NodeId::new(1)).unwrap());
            node.description.as_mut().unwrap().resources.memory_bytes = gib * GIB;
            swarm.events(Change::Update(Arc::new(node)))
        }
    };
    let nothing = |_: &mut Swarm| Vec::new();
    let start = NOW.0;
    // A second, and a thousandth for each of two tasks.
    let again = start + 1_002_000_000;

    let (told, wake) = pass(&mut swarm, start, &nothing);
    assert_eq!(told, [(101, free(2)), (102, free(2))]);
    assert_eq!(wake, None);
    assert_eq!(pass(&mut swarm, start + 1, &nothing), (vec![], None));
    assert_eq!(pass(&mut swarm, start + 2, &memory(3)), (vec![], Some(Timestamp(again))));
    // A new one is told at once, the others still later.
    let one_more = |swarm: &mut Swarm| swarm.task_events(1, 3);
    let (told, wake) = pass(&mut swarm, start + 3, &one_more);
    assert_eq!((told, wake), (vec![(103, free(3))], Some(Timestamp(again))));
    assert_eq!(pass(&mut swarm, again - 1, &nothing), (vec![], Some(Timestamp(again))));
    let (told, wake) = pass(&mut swarm, again, &nothing);
    assert_eq!((told, wake), (vec![(101, free(3)), (102, free(3))], None));
    // And from then on another while, by now for three.
    let next = again + 1_003_000_000;
    assert_eq!(pass(&mut swarm, again + 1, &memory(1)), (vec![], Some(Timestamp(next))));
    let (told, wake) = pass(&mut swarm, next, &nothing);
    assert_eq!((told.len(), told[0].1.clone(), wake), (3, free(1), None));
    assert_eq!(pass(&mut swarm, next + 5_000_000_000, &nothing), (vec![], None));
}

#[test]
fn platforms_are_met_by_name_and_by_any_name_of_an_architecture() {
    let arm = |node: &mut Node| {
        let description = node.description.as_mut().unwrap();
        description.architecture = "aarch64".to_owned();
    };
    let windows = |node: &mut Node| {
        let description = node.description.as_mut().unwrap();
        (description.os, description.architecture) = ("windows".to_owned(), "amd64".to_owned());
    };
    let silent = |node: &mut Node| node.description = None;
    for (platforms, expected) in [
        (&[][..], [1, 1, 1, 1]),
        (&[("linux", "")], [2, 2, 0, 0]),
        (&[("Linux", "arm64")], [0, 4, 0, 0]),
        (&[("", "amd64")], [2, 0, 2, 0]),
        (&[("linux", "x86_64"), ("windows", "x86_64")], [2, 0, 2, 0]),
        (&[("linux", "arm64"), ("windows", "")], [0, 2, 2, 0]),
        (&[("", "")], [2, 1, 1, 0]),
    ] {
        let swarm = Swarm::new().node(1, plain).node(2, arm).node(3, windows).node(4, silent);
        let own = |(os, arch): &(&str, &str)| ((*os).to_owned(), (*arch).to_owned());
        let swarm = swarm.service(1, 4, |spec| {
            spec.task.placement.platforms = platforms.iter().map(own).collect();
        });
        assert_eq!(swarm.placed().0, expected, "{platforms:?}");
    }
}

#[test]
fn a_task_that_was_told_to_stop_before_it_had_a_node_gets_none() {
    let mut swarm = Swarm::new().node(1, plain).service(1, 2, |_| {});
    swarm.change(101, |task| task.desired_state = DesiredState::Shutdown);
    swarm.check(&[1], &[]);
}

/// Has tasks run on a node, without a look at whether they fit.
fn run_on(swarm: &mut Swarm, node: u128, tasks: impl IntoIterator<Item = u128>) {
    for task in tasks {
        swarm.change(task, |task| {
            task.node_id = Some(NodeId::new(node));
            task.status.state = TaskState::Running;
        });
    }
}

/// The nodes that tasks got in one pass of a scheduler of that tuning.
fn chosen(swarm: &Swarm, tuning: Tuning) -> Vec<u128> {
    let decisions = Scheduler::with(&swarm.0, tuning).schedule(NOW).decisions;
    decisions.iter().map(|decision| decision.node.as_ref().unwrap().bits()).collect()
}

#[test]
fn the_fewest_come_first_in_a_services_own_order_too() {
    let mut swarm = Swarm::new();
    for id in 1..=18 {
        swarm = swarm.node(id, plain);
    }
    // Three on each node but the last, which has none: its own order pays.
    let mut swarm = swarm.service(1, 51, |_| {});
    for node in 1..=17 {
        run_on(&mut swarm, node, (0..3).map(|nth| 100 + (node - 1) * 3 + nth + 1));
    }
    let swarm = swarm.tasks(1, 61..=64);
    let tuning = Tuning { own_hosts_min: 0, ..Tuning::default() };
    assert_eq!(chosen(&swarm, tuning), [18, 18, 18, 1]);
    assert_eq!(chosen(&swarm, Tuning::default()), [18, 18, 18, 1]);
}

#[test]
fn nodes_that_keep_failing_share_what_is_left() {
    let mut swarm = Swarm::new().node(1, plain).node(2, plain).service(1, 12, |_| {});
    for (node, first) in [(1, 101), (2, 106)] {
        for task in first..first + 5 {
            swarm.change(task, |task| {
                task.node_id = Some(NodeId::new(node));
                task.status.state = TaskState::Failed;
                task.status.timestamp = NOW;
            });
        }
    }
    run_on(&mut swarm, 1, [111]);
    run_on(&mut swarm, 2, [112]);
    assert_eq!(chosen(&swarm.tasks(1, 21..=24), Tuning::default()), [1, 2, 1, 2]);
}

/// A service whose slots are to move to a node.
fn pinned(mut swarm: Swarm, to: u128, slots: &[u64]) -> Swarm {
    let mut service = Service::clone(swarm.0.services().get(ServiceId::new(1)).unwrap());
    let moving = slots.iter().map(|slot| {
        let to = NodeId::new(to);
        (TaskId::new(1000 + u128::from(*slot)), Moving { slot: *slot, to })
    });
    service.update_status = Some(UpdateStatus {
        state: UpdateState::Updating,
        started_at: NOW,
        completed_at: None,
        message: String::new(),
        moving: moving.collect(),
    });
    swarm.act(Change::Update(Arc::new(service)));
    swarm
}

#[test]
fn what_is_rebalanced_goes_where_it_was_planned_if_that_is_a_good_place() {
    let swarm = || Swarm::new().node(1, plain).node(2, plain).service(1, 3, |_| {});
    assert_eq!(swarm().placed().0, [2, 1]);
    assert_eq!(pinned(swarm(), 2, &[1, 2, 3]).placed().0, [0, 3]);
    assert_eq!(pinned(swarm(), 2, &[3]).placed().0, [2, 1], "the others are spread");
    assert_eq!(pinned(swarm(), 9, &[1, 2, 3]).placed().0, [2, 1], "there is no such node");
    let mut drained = pinned(swarm(), 2, &[1, 2, 3]);
    let mut node = Node::clone(drained.0.nodes().get(NodeId::new(2)).unwrap());
    node.spec.availability = Availability::Drain;
    drained.act(Change::Update(Arc::new(node)));
    assert_eq!(drained.placed().0, [3, 0]);
    // One that keeps failing is none, though it would fit.
    let mut failing = Swarm::new().node(1, plain).node(2, plain).service(1, 5, |_| {});
    for task in 101..=105 {
        failing.change(task, |task| {
            task.node_id = Some(NodeId::new(2));
            task.status.state = TaskState::Failed;
            task.status.timestamp = NOW;
        });
    }
    assert_eq!(pinned(failing.tasks(1, 11..=12), 2, &[11, 12]).placed().0, [2, 0]);
    // What was decided and did not come to stand is decided again.
    let swarm = pinned(swarm(), 2, &[1, 2, 3]);
    let mut scheduler = Scheduler::of(&swarm.0);
    let decided = scheduler.schedule(NOW).decisions;
    assert_eq!(scheduler.schedule(NOW).decisions, decided);
    scheduler.settle(NOW);
    let host = scheduler.cluster().hosts.find(NodeId::new(2)).unwrap();
    assert_eq!(scheduler.cluster().hosts.get(host).tasks(), 0);
}

#[test]
fn what_no_task_and_no_service_has_any_more_is_forgotten() {
    let mut swarm = Swarm::new().node(1, plain).service(1, 2, |_| {});
    let mut scheduler = Scheduler::of(&swarm.0);
    let mut known = |swarm: &mut Swarm, action: Action| {
        for event in swarm.events(action) {
            scheduler.observe(&event);
        }
        let tally = scheduler.cluster().services.get(&ServiceId::new(1));
        let mut versions: Vec<u64> =
            tally.map_or(Vec::new(), |it| it.versions().iter().map(|of| of.revision.0).collect());
        versions.sort_unstable();
        versions
    };
    for (image, expected) in [("two", &[1, 2][..]), ("three", &[1, 2, 3])] {
        let mut service = Service::clone(swarm.0.services().get(ServiceId::new(1)).unwrap());
        Arc::make_mut(&mut service.spec).task.container.image = image.to_owned();
        assert_eq!(known(&mut swarm, Change::Update(Arc::new(service)).into()), expected);
    }
    let gone = |id| Change::<Task>::Remove(TaskId::new(id), None).into();
    assert_eq!(known(&mut swarm, gone(101)), [1, 2, 3], "the other was made from it, too");
    assert_eq!(known(&mut swarm, gone(102)), [2, 3]);
    let removed = Change::<Service>::Remove(ServiceId::new(1), None).into();
    assert_eq!(known(&mut swarm, removed), [0; 0]);
}
