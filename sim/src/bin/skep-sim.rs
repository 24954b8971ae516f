//! Simulates many swarms, some at a time, and stops at the first that breaks an invariant.
//!
//! `skep-sim [COUNT [FIRST]]`; `SEED=n` simulates that one alone and says what it came to, and with
//! `TRACE=text` every change whose line has that text.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use skep_sim::{Summary, Violation, run, run_traced};

const COUNT: u64 = 10_000;

fn main() -> std::process::ExitCode {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        if let Ok(text) = std::env::var("TRACE") {
            let (_, lines) = run_traced(seed);
            lines.iter().filter(|line| line.contains(&text)).for_each(|line| println!("{line}"));
        }
        return match simulate(seed) {
            Ok(summary) => {
                println!("seed {seed}: {summary:?}");
                std::process::ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("{why}");
                std::process::ExitCode::FAILURE
            }
        };
    }
    let mut numbers = std::env::args().skip(1).map(|it| it.parse().expect("a number of seeds"));
    let (count, first) = (numbers.next().unwrap_or(COUNT), numbers.next().unwrap_or(0));
    let next = AtomicU64::new(first);
    let sum = Mutex::new((Summary::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = simulate(seed);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(summary) => add(&mut sum.0, &summary),
                        Err(why) => {
                            eprintln!("{why}");
                            sum.1.push(seed);
                        }
                    }
                }
            });
        }
    });
    let (summary, failed) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{count} seeds from {first}: {} failed {failed:?}", failed.len());
    println!("{summary:?}");
    match failed.is_empty() {
        true => std::process::ExitCode::SUCCESS,
        false => std::process::ExitCode::FAILURE,
    }
}

/// A panic of what is simulated is a fault like any other, and names its seed.
fn simulate(seed: u64) -> Result<Summary, String> {
    let outcome = std::panic::catch_unwind(|| run(seed));
    let outcome = outcome.unwrap_or_else(|_| {
        let why = "a panic, shown above".to_owned();
        Err(Violation { seed, at: std::time::Duration::ZERO, invariant: "panic", why })
    });
    outcome.map_err(|violation| violation.to_string())
}

fn add(sum: &mut Summary, one: &Summary) {
    sum.events += one.events;
    sum.entries += one.entries;
    sum.passes += one.passes;
    sum.leaders += one.leaders;
    sum.tasks += one.tasks;
    sum.updates_completed += one.updates_completed;
    sum.updates_paused += one.updates_paused;
    sum.rollbacks += one.rollbacks;
    sum.completions += one.completions;
    sum.given += one.given;
    sum.waited += one.waited;
    sum.rebalances += one.rebalances;
    sum.moving += one.moving;
    sum.settled = sum.settled.max(one.settled);
}
