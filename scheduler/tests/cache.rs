//! The scheduler is a cache of the state: fed with events, it knows what one built anew does.

mod world;

use proptest::prelude::*;
use skep_scheduler::Tuning;
use world::{World, steps};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_events_made_is_what_the_state_says(steps in steps(120)) {
        let mut world = World::with(Tuning::default());
        for step in steps {
            world.step(step);
            if step.how % 5 == 0 {
                world.pass((step.which % 3 == 0).then_some(step.which % 8));
            }
            prop_assert_eq!(world.settled(), world.anew());
            let specs = world.state.specs().count();
            let known = world.scheduler.cluster().services.values();
            prop_assert_eq!(known.map(|tally| tally.versions().len()).sum::<usize>(), specs);
        }
    }
}
