//! Under leader changes, cut nodes, drains and failing tasks: managers agree, nothing acknowledged
//! is lost, and after the heal every service has its tasks.
//!
//! A failure names its seed; `SEED=n cargo test -p skep-sim` runs that one alone.

use skep_sim::World;
use skep_types::{ServiceMode, TaskState};

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..60).collect(),
    }
}

#[test]
fn managers_agree_and_nothing_acknowledged_is_lost() {
    for seed in seeds() {
        let mut world = World::new(seed, 3, 4);
        for _ in 0..150 {
            world.step();
        }
        world.heal();
        let acknowledged = world.acknowledged().to_vec();
        let states = world.caught_up();
        for state in &states {
            assert_eq!(state, &states[0], "seed {seed}: two managers differ");
            for id in &acknowledged {
                assert!(state.services().get(*id).is_some(), "seed {seed}: lost service {id}");
            }
        }
    }
}

#[test]
fn after_the_heal_every_service_has_its_tasks() {
    for seed in seeds() {
        let mut world = World::new(seed, 3, 4);
        for _ in 0..150 {
            world.step();
        }
        world.heal();
        let view = world.view();
        for service in view.services().iter() {
            let running = view
                .tasks_of_service(service.id)
                .filter(|task| task.status.state == TaskState::Running)
                .count() as u64;
            let expected = match service.spec.mode {
                ServiceMode::Replicated { replicas } => replicas,
                _ => view.nodes().len() as u64,
            };
            assert_eq!(running, expected, "seed {seed}: {}", service.spec.annotations.name);
        }
        let strays = view.tasks().iter().filter(|t| view.services().get(t.service_id).is_none());
        assert_eq!(strays.count(), 0, "seed {seed}: tasks of removed services are left");
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let run = |seed| {
        let mut world = World::new(seed, 3, 3);
        for _ in 0..100 {
            world.step();
        }
        world.view().clone()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
