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
    (0..4u128, 0..4u128, 0..10u8, 0..14usize)
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
                update(moved)
            }
            None => remove::<Task>(TaskId::new(a)),
        },
        7 => remove::<Task>(TaskId::new(a)),
        8 => create(network(a, &format!("n{a}"), 4096 + b as u32, &format!("10.0.{b}.0/24"))),
        _ => remove::<Network>(NetworkId::new(a)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn replicas_agree_and_snapshots_are_whole(
        batches in prop::collection::vec(prop::collection::vec(any_choice(), 1..4), 1..40),
    ) {
        let (mut one, mut other) = (State::default(), State::default());
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
        }
        prop_assert_eq!(&one, &other);
        let restored = State::from_objects(one.to_objects());
        prop_assert_eq!(restored.as_ref(), Ok(&one));
    }
}
