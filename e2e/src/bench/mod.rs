//! Benchmarks on the local fleet, of skep and of a peer in the same run.
//!
//! Each is a function over a [`Side`] in a file of its own, named in [`ALL`]; what it measures are
//! [`Figure`]s. A figure of the peer by the same name becomes a ratio.
//!
//! **Invariant:** both sides are driven by the same code through the Docker Engine API, on hosts of
//! the same kind, one side after the other and never at once.

mod containers;
mod data_path;
mod failover;
mod figures;
mod forming;
mod images;
mod memory;
mod replicas;
mod side;
mod wait;

use anyhow::Result;

pub use figures::{Figure, Report, Unit};
pub use side::{Engine, Side};

use side::HOSTS;

/// One benchmark: its name, on how many hosts, and what measures it.
pub struct Benchmark {
    pub name: &'static str,
    pub hosts: usize,
    pub measure: fn(&Side) -> Result<Vec<Figure>>,
}

/// In the order in which they run.
pub const ALL: &[Benchmark] = &[
    Benchmark { name: "forming", hosts: HOSTS, measure: forming::measure },
    Benchmark { name: "one-task", hosts: HOSTS, measure: replicas::one_task },
    Benchmark { name: "replicas", hosts: HOSTS, measure: replicas::many },
    Benchmark { name: "replicas-overlay", hosts: HOSTS, measure: replicas::many_on_an_overlay },
    Benchmark { name: "memory", hosts: HOSTS, measure: memory::measure },
    Benchmark { name: "failover", hosts: HOSTS, measure: failover::measure },
    Benchmark { name: "data-path", hosts: 2, measure: data_path::measure },
    Benchmark { name: "run", hosts: 1, measure: containers::run },
    Benchmark { name: "run-many", hosts: 1, measure: containers::many },
    Benchmark { name: "exec", hosts: 1, measure: containers::exec },
    Benchmark { name: "names", hosts: 1, measure: containers::names },
    Benchmark { name: "log", hosts: 1, measure: containers::log },
    Benchmark { name: "image-large", hosts: 1, measure: images::large },
    Benchmark { name: "image-deep", hosts: 1, measure: images::deep },
    Benchmark { name: "crowd-created", hosts: 1, measure: containers::listed },
    Benchmark { name: "crowd-running", hosts: 1, measure: containers::running },
];
