//! Seeds that failed once, each with the fault that it found.

use skep_sim::run;

#[test]
fn seeds_that_failed_once_do_not_again() {
    for (seed, fault) in [
        (1, "history of a global service stayed when its node was removed"),
        (3, "a change of scale forgot the slots that an update had taken down"),
        (4, "tasks of a removed node were never given up, nor their addresses"),
        (9, "a drained node's task ran on beside its successor"),
        (10, "a third task of a start-first update started before the second had ended"),
        (13, "a global task that waited when its node was drained did not come back"),
        (22004, "the successor of a start-first update that had no room was never made again"),
        (2517, "a global start-first successor without room was never made again"),
        (105, "a node counted no more for a network that it had not confirmed to be gone"),
        (224, "a job's successor ran on when the task before it had completed all the same"),
        (1378, "a job gave up on a task that failed after it had been told to stop"),
        (15, "a leader whose clock was behind held a successor for ever"),
        (16, "a global update forgot the slots that the one before it had taken down"),
        (151, "the successor of a rejected one started beside the one that was stopping"),
        (339, "a rebalance after one that was broken off forgot the slot that was down"),
        (497, "a rollback stopped the task that it went back to beside its successor"),
        (392, "a task that failed beside its start-first successor stayed wanted"),
        (1132, "a held task that was lost with its node was never made again"),
        (1972, "a starved task was told another reason by a pass over everything"),
        (3609, "the same, of a global service"),
        (6829, "a node whose removal was not heard of stayed in session"),
        (7276, "a global slot was filled beside a task that was on its way"),
        (7503, "a starved task was told another reason by a pass over everything"),
        (7841, "a global slot that served was filled again and again"),
        (9649, "the same, with another way to it"),
        (9964, "a rebalance was over at once where an earlier one had failed"),
    ] {
        if let Err(violation) = run(seed) {
            panic!("once more: {fault}\n{violation}");
        }
    }
}
