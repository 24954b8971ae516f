//! The leader looks at what changed and at nothing else; a pass over everything finds nothing more.

use skep_sim::World;

#[test]
fn no_change_is_overlooked() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3, 4);
        for step in 0..120 {
            world.step();
            if step % 3 != 0 {
                continue;
            }
            let overlooked = world.overlooked();
            assert!(
                overlooked.is_empty(),
                "seed {seed}, step {step}: a full pass does {overlooked:#?}"
            );
        }
    }
}
