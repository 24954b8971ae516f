//! What events make the reconcilers look at: here what there is too little of, and what comes back.

mod support;

use std::sync::Arc;

use skep_orchestrator::{Plan, Reconcilers};
use skep_state::{Change, Event, Transaction};
use skep_types::network::IpamConfig;
use skep_types::*;
use support::{Swarm, WEB, replicas};

/// A swarm whose reconcilers follow the events.
struct Followed {
    swarm: Swarm,
    reconcilers: Reconcilers,
}

impl Followed {
    fn of(swarm: Swarm) -> Self {
        let reconcilers = Reconcilers::of(&swarm.state);
        let mut followed = Self { swarm, reconcilers };
        followed.settle();
        followed
    }

    /// Passes until there is nothing to look at.
    fn settle(&mut self) {
        for _ in 0..10 {
            let ids = &mut self.swarm.ids;
            let mut mint = || {
                *ids += 1;
                *ids
            };
            let mut plan = Plan::new(self.swarm.state.clone(), self.swarm.now, &mut mint);
            self.reconcilers.pass(&mut plan);
            let (actions, _) = plan.finish();
            self.apply(actions);
            if self.reconcilers.is_idle() {
                return;
            }
        }
        panic!("the reconcilers never come to rest");
    }

    fn apply(&mut self, actions: Vec<skep_state::Action>) -> Vec<Event> {
        let transaction = Transaction { epoch: 1, now: self.swarm.now, actions };
        self.swarm.state.apply(&transaction).unwrap()
    }

    /// Somebody else's change.
    fn act(&mut self, action: impl Into<skep_state::Action>) {
        for event in self.apply(vec![action.into()]) {
            self.reconcilers.observe(&self.swarm.state, &event);
        }
        self.settle();
    }

    fn pending(&self) -> usize {
        let tasks = self.swarm.all().into_iter();
        tasks.filter(|task| task.status.state == TaskState::Pending).count()
    }
}

fn network(id: u128, name: &str, subnet: &[&str]) -> Network {
    let ipam = |it: &&str| IpamConfig { subnet: it.parse().unwrap(), range: None, gateway: None };
    Network::new(
        NetworkId::new(id),
        NetworkSpec {
            annotations: Annotations { name: name.to_owned(), ..Annotations::default() },
            ipam: subnet.iter().map(ipam).collect(),
            ..NetworkSpec::default()
        },
    )
}

#[test]
fn a_task_without_an_address_gets_the_one_that_another_gives_back() {
    let mut swarm = Swarm::new(1);
    swarm.act(Change::Create(Arc::new(network(7, "narrow", &["10.9.0.0/29"]))));
    swarm.service(replicas(5), |spec| {
        let target = NetworkId::new(7);
        let at = skep_types::service::NetworkAttachmentConfig { target, aliases: vec![] };
        spec.task.networks = vec![at];
        spec.task.restart.condition = RestartCondition::None;
    });
    let mut followed = Followed::of(swarm);
    // Six addresses: the gateway's, the service's own, and four for tasks.
    assert_eq!(followed.pending(), 4);
    let all = followed.swarm.all();
    let starved = all.iter().find(|task| task.status.state == TaskState::New).unwrap();
    assert_eq!(starved.status.error, "network narrow has no free address left");
    let starved = starved.id;
    let mut ended = all.iter().find(|it| it.status.state == TaskState::Pending).cloned().unwrap();
    Arc::make_mut(&mut ended).status.state = TaskState::Failed;
    followed.act(Change::Update(Arc::clone(&ended)));
    let now = followed.swarm.state.tasks().get(starved).unwrap();
    assert_eq!(now.status.state, TaskState::Pending);
    assert_eq!(now.networks[0].addresses, ended.networks[0].addresses);
}

#[test]
fn a_network_without_a_subnet_gets_one_when_another_is_removed() {
    let mut swarm = Swarm::new(1);
    let cluster = Cluster {
        id: ClusterId::new(1),
        meta: Meta::default(),
        spec: ClusterSpec::default(),
        root_ca: skep_types::cluster::RootCa {
            certificate: vec![],
            key: Payload(b"".as_slice().into()),
            join_tokens: skep_types::cluster::JoinTokens::default(),
        },
        feature_level: 0,
        data_path_port: defaults::DATA_PATH_PORT,
        address_pools: vec!["10.50.0.0/24".parse().unwrap()],
        subnet_length: 24,
    };
    swarm.act(Change::Create(Arc::new(cluster)));
    swarm.act(Change::Create(Arc::new(network(1, "one", &[]))));
    swarm.act(Change::Create(Arc::new(network(2, "two", &[]))));
    let mut followed = Followed::of(swarm);
    let ipam = |followed: &Followed| {
        let two = followed.swarm.state.networks().by_name("two").unwrap();
        two.ipam.iter().map(|it| it.subnet.to_string()).collect::<Vec<_>>()
    };
    assert!(ipam(&followed).is_empty());
    followed.act(Change::<Network>::Remove(NetworkId::new(1), None));
    assert_eq!(ipam(&followed), ["10.50.0.0/24"]);
}

#[test]
fn a_task_that_is_made_and_changed_in_one_plan_is_one_action() {
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(2), |_| {});
    let mut id = 0;
    let mut mint = || {
        id += 1;
        id
    };
    let mut plan = Plan::new(swarm.state.clone(), swarm.now, &mut mint);
    Reconcilers::of(&swarm.state).pass(&mut plan);
    let tasks: Vec<TaskId> = plan.view().tasks_of_service(WEB).map(|task| task.id).collect();
    for task in tasks {
        plan.assign(task, NodeId::new(1), vec![]);
    }
    let (actions, refused) = plan.finish();
    assert_eq!(refused, []);
    let made: Vec<TaskState> = actions
        .iter()
        .filter_map(|action| match action {
            skep_state::Action::Task(Change::Create(task)) => Some(task.status.state),
            _ => None,
        })
        .collect();
    assert_eq!(made, [TaskState::Assigned; 2]);
    assert!(actions.len() == 3, "the tasks, and the service's endpoint: {actions:?}");
    swarm.state.apply(&Transaction { epoch: 1, now: swarm.now, actions }).unwrap();
}

#[test]
fn a_starved_task_keeps_the_reason_it_was_told_while_it_holds() {
    let mut swarm = Swarm::new(1);
    swarm.act(Change::Create(Arc::new(network(7, "narrow", &["10.9.0.0/29"]))));
    // One address beside the gateway's: the service's own.
    swarm.act(Change::Create(Arc::new(network(8, "full", &["10.9.1.0/30"]))));
    let on = |ids: &[u128]| {
        let at = |id: &u128| skep_types::service::NetworkAttachmentConfig {
            target: NetworkId::new(*id),
            aliases: vec![],
        };
        ids.iter().map(at).collect::<Vec<_>>()
    };
    swarm.service(replicas(1), |spec| spec.task.networks = on(&[7, 8]));
    let mut followed = Followed::of(swarm);
    let told = |followed: &Followed| {
        let mut tasks = followed.swarm.state.tasks_of_service(WEB);
        tasks.next().unwrap().status.error.clone()
    };
    assert_eq!(told(&followed), "network full has no free address left");

    let web = Service::clone(followed.swarm.state.services().get(WEB).unwrap());
    let mut spec = ServiceSpec::clone(&web.spec);
    spec.annotations.name = "other".to_owned();
    spec.mode = replicas(9);
    spec.task.networks = on(&[7]);
    let id = ServiceId::new(2);
    let other = Service { id, spec: Arc::new(spec), endpoint: None, ..web };
    followed.act(Change::Create(Arc::new(other)));
    assert_eq!(told(&followed), "network full has no free address left");
    let mut mint = || unreachable!("nothing is to be made");
    let mut plan = Plan::new(followed.swarm.state.clone(), followed.swarm.now, &mut mint);
    skep_orchestrator::reconcile(&mut plan);
    assert_eq!(plan.finish().0, [], "a look at everything says nothing else");
}

#[test]
fn the_grace_of_nodes_that_are_down_is_read_again_when_the_swarms_label_changes() {
    let mut swarm = Swarm::new(2);
    swarm.found(&[(down_grace::LABEL, "1h")]);
    swarm.service(replicas(4), |_| {});
    swarm.pass();
    swarm.run();
    let mut followed = Followed::of(swarm);
    let mut node = Node::clone(followed.swarm.state.nodes().get(NodeId::new(1)).unwrap());
    node.status.state = NodeState::Down;
    followed.act(Change::Update(Arc::new(node)));
    let before = followed.swarm.all();
    let mut cluster = Cluster::clone(followed.swarm.state.cluster().unwrap());
    cluster.spec.annotations.labels.insert("other".to_owned(), "label".to_owned());
    followed.act(Change::Update(Arc::new(cluster)));
    assert_eq!(followed.swarm.all(), before);
    let mut cluster = Cluster::clone(followed.swarm.state.cluster().unwrap());
    cluster.spec.annotations.labels.clear();
    followed.swarm.wait(defaults::DOWN_GRACE);
    followed.act(Change::Update(Arc::new(cluster)));
    let wanted = followed.swarm.wanted();
    assert!(wanted.iter().all(|task| task.node_id != Some(NodeId::new(1))));
    assert_eq!(wanted.len(), 4);
}

/// Plans, has part of the plan refused as if somebody had been faster, and gives the rest and what
/// stands of it.
fn refuse(followed: &mut Followed, is_refused: impl Fn(&skep_state::Action) -> bool) -> usize {
    let swarm = &mut followed.swarm;
    let ids = &mut swarm.ids;
    let mut mint = || {
        *ids += 1;
        *ids
    };
    let mut plan = Plan::new(swarm.state.clone(), swarm.now, &mut mint);
    followed.reconcilers.pass(&mut plan);
    let events = plan.events().to_vec();
    let planned = plan.view().clone();
    let (actions, _) = plan.finish();
    let (refused, kept): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_refused);
    followed.apply(kept);
    let taken_back = skep_orchestrator::taken_back(&events, &refused);
    // Backwards, the changes of what was refused lead from what was planned to what stands.
    let mut tasks: std::collections::BTreeMap<TaskId, Option<Arc<Task>>> = Default::default();
    for event in &taken_back {
        let Event::Task(skep_state::Delta { before, after }) = event else { unreachable!() };
        let id = before.as_ref().or(after.as_ref()).unwrap().id;
        let known = tasks.entry(id).or_insert_with(|| planned.tasks().get(id).cloned());
        assert_eq!(known, before);
        known.clone_from(after);
    }
    for (id, task) in &tasks {
        assert_eq!(task.as_ref(), followed.swarm.state.tasks().get(*id));
    }
    for action in &refused {
        followed.reconcilers.refused(&followed.swarm.state, action);
    }
    assert!(!followed.reconcilers.is_idle(), "there is something to decide anew");
    tasks.len()
}

fn other(followed: &mut Followed, change: impl FnOnce(&mut ServiceSpec)) {
    let mut web = Service::clone(followed.swarm.state.services().get(WEB).unwrap());
    change(Arc::make_mut(&mut web.spec));
    web.update_status = None;
    for event in followed.apply(vec![Change::Update(Arc::new(web)).into()]) {
        followed.reconcilers.observe(&followed.swarm.state, &event);
    }
}

#[test]
fn what_was_refused_of_a_plan_is_decided_anew() {
    use skep_state::Action;
    let mut swarm = Swarm::new(2);
    swarm.act(Change::Create(Arc::new(network(7, "front", &["10.9.0.0/29"]))));
    swarm.service(replicas(2), |spec| {
        let at = skep_types::service::NetworkAttachmentConfig {
            target: NetworkId::new(7),
            aliases: vec![],
        };
        spec.task.networks = vec![at];
    });
    let mut followed = Followed::of(swarm);
    followed.swarm.run();
    followed = Followed::of(followed.swarm);
    assert_eq!(followed.swarm.wanted().len(), 2);

    // Tasks that are made: with them their addresses are free again.
    other(&mut followed, |spec| spec.mode = replicas(4));
    let made = |action: &Action| matches!(action, Action::Task(Change::Create(_)));
    assert_eq!(refuse(&mut followed, made), 2);
    assert_eq!(followed.swarm.all().len(), 2);
    followed.settle();
    assert_eq!((followed.swarm.wanted().len(), followed.pending()), (4, 2));

    // Tasks that change.
    followed.swarm.run();
    followed = Followed::of(followed.swarm);
    other(&mut followed, |spec| spec.mode = replicas(1));
    let changed = |action: &Action| matches!(action, Action::Task(Change::Update(_)));
    assert_eq!(refuse(&mut followed, changed), 3);
    assert_eq!(followed.swarm.wanted().len(), 4);
    followed.settle();
    assert_eq!(followed.swarm.wanted().len(), 1);

    // Tasks that go.
    let removed = followed.swarm.all().into_iter().find(|it| !it.is_wanted()).unwrap();
    let mut ended = Task::clone(&removed);
    ended.status.state = TaskState::Shutdown;
    for event in followed.apply(vec![Change::Update(Arc::new(ended)).into()]) {
        followed.reconcilers.observe(&followed.swarm.state, &event);
    }
    let gone = |action: &Action| matches!(action, Action::Task(Change::Remove(..)));
    assert_eq!(refuse(&mut followed, gone), 1);
    assert!(followed.swarm.state.tasks().get(removed.id).is_some());
    followed.settle();
    assert_eq!(followed.swarm.state.tasks().get(removed.id), None);

    // What is allocated to services and networks.
    other(&mut followed, |spec| {
        let port = skep_types::service::PortConfig { target_port: 80, ..Default::default() };
        spec.endpoint.ports = vec![port];
    });
    let endpoint = |action: &Action| matches!(action, Action::Service(_));
    assert_eq!(refuse(&mut followed, endpoint), 0);
    let ports = |followed: &Followed| {
        let service = followed.swarm.state.services().get(WEB).unwrap();
        service.endpoint.as_ref().unwrap().ports.len()
    };
    assert_eq!(ports(&followed), 0);
    followed.settle();
    assert_eq!(ports(&followed), 1);
    let mut ingress = network(8, "ingress", &[]);
    ingress.spec.ingress = true;
    for event in followed.apply(vec![Change::Create(Arc::new(ingress)).into()]) {
        followed.reconcilers.observe(&followed.swarm.state, &event);
    }
    assert_eq!(refuse(&mut followed, |action| matches!(action, Action::Network(_))), 0);
    followed.settle();
    assert!(followed.swarm.state.networks().by_name("ingress").unwrap().vni.is_some());
}

/// A followed swarm of one node that has 8 bytes, and a service whose task reserves 4 and waits.
fn reserving() -> (Followed, Task) {
    let mut swarm = Swarm::new(1);
    swarm.node(1, |node| {
        let mut description = skep_types::node::NodeDescription::default();
        description.resources.memory_bytes = 8;
        node.description = Some(description);
    });
    swarm.service(replicas(1), |spec| spec.task.resources.reservations.memory_bytes = 4);
    let followed = Followed::of(swarm);
    let task = Task::clone(&followed.swarm.wanted()[0]);
    (followed, task)
}

#[test]
fn a_node_that_is_given_a_task_is_looked_at_for_it_may_have_less_room_by_now() {
    let (mut followed, mut task) = reserving();
    let mut node = Node::clone(followed.swarm.state.nodes().get(NodeId::new(1)).unwrap());
    node.description.as_mut().unwrap().resources.memory_bytes = 3;
    followed.act(Change::Update(Arc::new(node)));
    assert!(task.is_wanted());
    // Decided before, and only now committed.
    task.node_id = Some(NodeId::new(1));
    task.status.state = TaskState::Assigned;
    let id = task.id;
    followed.act(Change::Update(Arc::new(task)));
    assert!(!followed.swarm.state.tasks().get(id).unwrap().is_wanted());
    assert_eq!(followed.swarm.wanted().len(), 1, "another one waits");
}

#[test]
fn what_is_placed_after_a_pass_is_looked_at_by_the_next() {
    let (mut followed, task) = reserving();
    assert!(followed.reconcilers.is_idle());
    let mut mint = || unreachable!("nothing is to be made");
    let mut plan = Plan::new(followed.swarm.state.clone(), followed.swarm.now, &mut mint);
    followed.reconcilers.pass(&mut plan);
    plan.assign(task.id, NodeId::new(1), vec![]);
    followed.reconcilers.placed(&mut plan);
    assert!(!followed.reconcilers.is_idle());
}

#[test]
fn why_a_task_waits_is_written_when_it_is_news() {
    let (followed, task) = reserving();
    let mut mint = || unreachable!("nothing is to be made");
    let mut plan = Plan::new(followed.swarm.state.clone(), Timestamp(9), &mut mint);
    for why in ["no room", "no room", "no node"] {
        plan.leave_pending(task.id, why.to_owned());
        let status = &plan.view().tasks().get(task.id).unwrap().status;
        assert_eq!((status.error.as_str(), status.timestamp), (why, Timestamp(9)));
    }
    assert_eq!(plan.finish().0.len(), 2);
}

#[test]
fn a_node_that_is_back_is_not_given_up_later() {
    let mut swarm = Swarm::new(2);
    swarm.service(replicas(2), |spec| {
        // So that nothing moves meanwhile.
        spec.annotations.labels.insert(down_grace::LABEL.to_owned(), "24h".to_owned());
    });
    swarm.pass();
    swarm.run();
    let mut followed = Followed::of(swarm);
    let before: Vec<TaskState> =
        followed.swarm.all().iter().map(|task| task.status.state).collect();
    for state in [NodeState::Down, NodeState::Ready] {
        let mut node = Node::clone(followed.swarm.state.nodes().get(NodeId::new(1)).unwrap());
        node.status.state = state;
        node.status.since = followed.swarm.now;
        followed.act(Change::Update(Arc::new(node)));
        for _ in 0..3 {
            followed.swarm.wait(defaults::NODE_DOWN_PERIOD / 4);
            followed.settle();
        }
    }
    followed.swarm.wait(defaults::NODE_DOWN_PERIOD);
    followed.settle();
    let after: Vec<TaskState> = followed.swarm.all().iter().map(|task| task.status.state).collect();
    assert_eq!(after, before);
}

#[test]
fn a_task_whose_address_was_refused_is_given_one_again() {
    use skep_state::Action;
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(1), |spec| {
        let label = dependency::LABEL.to_owned();
        spec.annotations.labels.insert(label, "db:service_started".to_owned());
    });
    let mut followed = Followed::of(swarm);
    assert_eq!(followed.pending(), 0);
    other(&mut followed, |spec| spec.annotations.labels.clear());
    let given = |action: &Action| matches!(action, Action::Task(Change::Update(_)));
    assert_eq!(refuse(&mut followed, given), 1);
    assert_eq!(followed.pending(), 0);
    followed.settle();
    assert_eq!(followed.pending(), 1);
}

#[test]
fn a_task_that_comes_to_a_node_which_is_emptied_by_now_goes_elsewhere() {
    let (mut followed, mut task) = reserving();
    let mut node = Node::clone(followed.swarm.state.nodes().get(NodeId::new(1)).unwrap());
    node.spec.availability = Availability::Drain;
    followed.act(Change::Update(Arc::new(node)));
    assert_eq!(followed.swarm.wanted()[0].id, task.id);
    task.node_id = Some(NodeId::new(1));
    task.status.state = TaskState::Assigned;
    let id = task.id;
    followed.act(Change::Update(Arc::new(task)));
    assert!(!followed.swarm.state.tasks().get(id).unwrap().is_wanted());
}

#[test]
fn tasks_of_a_node_that_stays_away_are_given_up_in_time() {
    let mut swarm = Swarm::new(1);
    swarm.service(replicas(1), |_| {});
    swarm.pass();
    swarm.run();
    let id = swarm.wanted()[0].id;
    let mut followed = Followed::of(swarm);
    let mut node = Node::clone(followed.swarm.state.nodes().get(NodeId::new(1)).unwrap());
    node.status.state = NodeState::Down;
    node.status.since = followed.swarm.now;
    followed.act(Change::Update(Arc::new(node)));
    let second = std::time::Duration::from_secs(1);
    for (wait, expected) in
        [(defaults::NODE_DOWN_PERIOD - second, TaskState::Running), (second, TaskState::Orphaned)]
    {
        followed.swarm.wait(wait);
        followed.settle();
        assert_eq!(followed.swarm.state.tasks().get(id).unwrap().status.state, expected);
    }
}

#[test]
fn what_is_given_back_is_given_to_the_next() {
    let mut swarm = Swarm::new(1);
    swarm.act(Change::Create(Arc::new(network(1, "one", &[]))));
    swarm.act(Change::Create(Arc::new(network(2, "two", &[]))));
    let at =
        skep_types::service::NetworkAttachmentConfig { target: NetworkId::new(2), aliases: vec![] };
    swarm.service(replicas(0), |spec| spec.task.networks = vec![at]);
    let mut followed = Followed::of(swarm);
    let web = Service::clone(followed.swarm.state.services().get(WEB).unwrap());
    let make = |followed: &mut Followed, id: u128| -> String {
        let mut spec = ServiceSpec::clone(&web.spec);
        spec.annotations.name = format!("s{id}");
        let id = ServiceId::new(id);
        let made = Service::new(id, Arc::new(spec));
        followed.act(Change::Create(Arc::new(made)));
        let service = followed.swarm.state.services().get(id).unwrap();
        service.endpoint.as_ref().unwrap().virtual_ips[0].address.to_string()
    };
    // The first is the first service's own.
    assert_eq!(make(&mut followed, 2), "10.0.1.3");
    assert_eq!(make(&mut followed, 3), "10.0.1.4");
    followed.act(Change::<Service>::Remove(ServiceId::new(2), None));
    assert_eq!(make(&mut followed, 4), "10.0.1.3");

    followed.act(Change::<Network>::Remove(NetworkId::new(1), None));
    followed.act(Change::Create(Arc::new(network(3, "three", &[]))));
    let three = followed.swarm.state.networks().by_name("three").unwrap();
    assert_eq!(three.vni, Some(Vni(defaults::VNI_FIRST)));
    assert_eq!(three.ipam[0].subnet.to_string(), "10.0.0.0/24");
}

#[test]
fn a_subnet_that_a_user_named_and_another_had_is_had_when_that_goes() {
    let mut swarm = Swarm::new(1);
    swarm.act(Change::Create(Arc::new(network(1, "one", &["10.9.0.0/24"]))));
    swarm.act(Change::Create(Arc::new(network(2, "two", &["10.9.0.0/16"]))));
    let mut followed = Followed::of(swarm);
    let has = |followed: &Followed, name: &str| {
        followed.swarm.state.networks().by_name(name).is_some_and(|it| !it.ipam.is_empty())
    };
    assert!(has(&followed, "one") && !has(&followed, "two"));
    followed.act(Change::<Network>::Remove(NetworkId::new(1), None));
    assert!(has(&followed, "two"));
}
