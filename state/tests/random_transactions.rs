//! Random transactions: whatever comes, `apply` does not panic, a rejection changes nothing, two
//! replicas agree, and a snapshot gives the same state back, indexes included.

mod support;

use proptest::prelude::*;
use skep_state::{Action, State, Transaction};
use skep_types::*;
use support::*;

/// What to do: ids of two objects, which kind of change, and a task state's place.
type Choice = (u128, u128, u8, usize);

fn any_choice() -> impl Strategy<Value = Choice> {
    (0..4u128, 0..4u128, 0..20u8, 0..14usize)
}

fn role(b: u128) -> NodeRole {
    if b.is_multiple_of(2) { NodeRole::Manager } else { NodeRole::Worker }
}

fn manager(b: u128) -> skep_types::node::ManagerStatus {
    skep_types::node::ManagerStatus { raft_id: b as u64, addr: "10.0.0.1:2377".to_owned() }
}

fn managing(mut node: Node, b: u128) -> Node {
    node.manager = (b > 1).then(|| manager(b));
    node
}

fn action((a, b, kind, task_state): Choice, now: &State) -> Action {
    match kind {
        0 => create(publishing(&service(a, &format!("s{b}")), 80 + b as u16)),
        1 => match now.services().get(ServiceId::new(a)) {
            Some(there) => update(publishing(there, 80 + b as u16)),
            None => update(service(a, "absent")),
        },
        2 => remove::<Service>(ServiceId::new(a)),
        3 | 4 => {
            let version = now.services().get(ServiceId::new(b)).map_or(9, |s| s.spec_version.0);
            let mut made = task(a, ServiceId::new(b), version, a as u64 % 2);
            made.job_iteration = [None, Some(0), Some(1)][task_state % 3];
            made.networks = vec![NetworkAttachment {
                network: NetworkId::new(b),
                addresses: vec![format!("10.0.{b}.{a}/24").parse().unwrap()],
                aliases: vec![],
            }];
            create(made)
        }
        5 | 6 => match now.tasks().get(TaskId::new(a)) {
            Some(there) => {
                let mut moved = Task::clone(there);
                moved.status.state = TaskState::ALL[task_state];
                moved.node_id = Some(NodeId::new(b));
                if task_state == 13 {
                    moved.desired_state = DesiredState::Shutdown;
                }
                update(moved)
            }
            None => remove::<Task>(TaskId::new(a)),
        },
        7 => remove::<Task>(TaskId::new(a)),
        8 => {
            let mut made = network(a, &format!("n{a}"), 4096 + b as u32, &format!("10.0.{b}.0/24"));
            made.spec.attachable = a != 0;
            create(made)
        }
        9 => remove::<Network>(NetworkId::new(a)),
        10 => match now.networks().get(NetworkId::new(a)) {
            Some(there) => {
                let mut moved = Network::clone(there);
                moved.vni = Some(Vni(4096 + b as u32));
                moved.ipam[0].subnet = format!("10.0.{b}.0/{}", 16 + 4 * (a % 3)).parse().unwrap();
                update(moved)
            }
            None => remove::<Network>(NetworkId::new(a)),
        },
        11 => match now.services().get(ServiceId::new(a)) {
            // The spec before it falls away, unless a task was made from it.
            Some(there) => update(respec(there, |spec| {
                spec.task.force_update += 1;
                spec.task.networks = vec![skep_types::service::NetworkAttachmentConfig {
                    target: NetworkId::new(b),
                    aliases: vec![],
                }];
            })),
            None => create(service(a, &format!("s{b}"))),
        },
        12 => create(secret(a, &format!("secret{b}"))),
        13 => remove::<Secret>(SecretId::new(a)),
        14 => create(managing(node(a, role(b)), b)),
        15 => match now.nodes().get(NodeId::new(a)) {
            Some(there) => {
                let mut changed = Node::clone(there);
                changed.status.state = [NodeState::Ready, NodeState::Down][task_state % 2];
                changed.spec.role = role(b);
                changed.manager = (b > 1).then(|| manager(b));
                update(changed)
            }
            None => create(node(a, NodeRole::Worker)),
        },
        17 => create(Attachment {
            id: AttachmentId::new(a),
            meta: Meta::default(),
            node_id: NodeId::new(b),
            network: NetworkId::new(b),
            container_id: format!("c{}", a % 2),
            names: vec![],
            addresses: vec![format!("10.0.{b}.{}/24", task_state % 4).parse().unwrap()],
        }),
        18 => remove::<Attachment>(AttachmentId::new(a)),
        19 => match now.attachments().get(AttachmentId::new(a)) {
            Some(there) => {
                update(Attachment { names: vec![b.to_string()], ..Attachment::clone(there) })
            }
            None => remove::<Attachment>(AttachmentId::new(b)),
        },
        _ => remove::<Node>(NodeId::new(a)),
    }
}

/// Running, completed, wanted, unfinished, as the state has counted them.
fn tally(state: &State, service: ServiceId, iteration: Option<u64>) -> [usize; 4] {
    let tally = state.tally(service, iteration);
    [tally.running, tally.completed, tally.wanted, tally.unfinished].map(|count| count as usize)
}

/// The same by going through the tasks.
fn counted(state: &State, service: ServiceId, iteration: Option<u64>) -> [usize; 4] {
    let lives = |task: &Task| {
        let node = task.node_id.and_then(|id| state.nodes().get(id));
        node.is_some_and(|node| node.status.state != NodeState::Down)
    };
    let tests: [&dyn Fn(&Task) -> bool; 4] = [
        &|task| task.status.state == TaskState::Running && lives(task),
        &|task| task.status.state == TaskState::Complete,
        &|task| task.desired_state == DesiredState::Running,
        &|task| {
            task.desired_state <= DesiredState::Complete && task.status.state <= TaskState::Running
        },
    ];
    let tasks = state.tasks_of_service(service).filter(|it| it.job_iteration == iteration);
    let tasks: Vec<_> = tasks.collect();
    tests.map(|test| tasks.iter().filter(|task| test(task)).count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn replicas_agree_and_snapshots_are_whole(
        batches in prop::collection::vec(prop::collection::vec(any_choice(), 1..6), 1..60),
    ) {
        let mut one = State::default();
        apply(&mut one, vec![create(cluster(feature::NEWEST))]).unwrap();
        let mut other = one.clone();
        let mut taken = 0;
        for batch in batches {
            let actions = batch.iter().map(|choice| action(*choice, &one)).collect();
            let transaction = Transaction { epoch: 1, now: Timestamp(taken), actions };
            let before = one.clone();
            let reply = one.apply(&transaction);
            prop_assert_eq!(&reply, &other.apply(&transaction));
            match reply {
                Ok(events) => {
                    taken += 1;
                    prop_assert_eq!(events.len(), transaction.actions.len());
                }
                Err(_) => prop_assert_eq!(&one, &before),
            }
            for service in (0..4).map(ServiceId::new) {
                for iteration in [None, Some(0), Some(1)] {
                    let counted = counted(&one, service, iteration);
                    prop_assert_eq!(counted, tally(&one, service, iteration));
                }
            }
        }
        prop_assert_eq!(&one, &other);
        let restored = State::from_objects(one.to_objects());
        prop_assert_eq!(restored.as_ref(), Ok(&one));
    }
}
