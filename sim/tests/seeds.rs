//! A share of the swarms that `make sim` simulates: every invariant holds in each, after every
//! change and at rest.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use skep_sim::{Summary, Violation, run, run_traced};

/// As many as take some twenty seconds of two cores without optimisation.
const SEEDS: u64 = 150;

fn simulate(count: u64) -> Result<Vec<Summary>, Violation> {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    let outcome = run(seed);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap().into_iter().collect()
}

#[test]
fn every_invariant_holds() {
    let summaries = simulate(SEEDS).unwrap_or_else(|violation| panic!("{violation}"));
    let sum = |of: fn(&Summary) -> u64| summaries.iter().map(of).sum::<u64>();
    // What the invariants are about has happened.
    for (what, count) in [
        ("changes of leader", sum(|it| it.leaders) - SEEDS),
        ("tasks", sum(|it| it.tasks)),
        ("completed updates", sum(|it| it.updates_completed)),
        ("paused updates", sum(|it| it.updates_paused)),
        ("rollbacks", sum(|it| it.rollbacks)),
        ("completed tasks of jobs", sum(|it| it.completions)),
        ("generic resources given", sum(|it| it.given)),
        ("tasks that waited for a service", sum(|it| it.waited)),
        ("rebalances", sum(|it| it.rebalances)),
    ] {
        assert!(count > 0, "no {what} in {SEEDS} swarms");
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let (first, lines) = run_traced(7);
    let (again, same) = run_traced(7);
    assert_eq!(first, again);
    assert!(lines == same && !lines.is_empty());
    assert_ne!(lines, run_traced(8).1);
}
