//! Benchmarks on the local fleet, of skep and of a peer in the same run.
//!
//! Each is a function over a [`Side`] in a file of its own, named in [`ALL`]; what it measures are
//! [`Figure`]s. A figure of the peer by the same name becomes a ratio.
//!
//! **Invariant:** both sides are driven by the same code through the Docker Engine API, on hosts of
//! the same kind, one side after the other and never at once.

mod failover;
mod figures;
mod forming;
mod memory;
mod replicas;
mod side;
mod wait;

use anyhow::Result;

pub use figures::{Figure, Report, Unit};
pub use side::{Engine, Side};

/// One benchmark: its name, and what measures it.
pub struct Benchmark {
    pub name: &'static str,
    pub measure: fn(&Side) -> Result<Vec<Figure>>,
}

/// In the order in which they run.
pub const ALL: &[Benchmark] = &[
    Benchmark { name: "forming", measure: forming::measure },
    Benchmark { name: "one-task", measure: replicas::one_task },
    Benchmark { name: "replicas", measure: replicas::many },
    Benchmark { name: "replicas-overlay", measure: replicas::many_on_an_overlay },
    Benchmark { name: "memory", measure: memory::measure },
    Benchmark { name: "failover", measure: failover::measure },
];
