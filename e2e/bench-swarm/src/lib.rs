//! A whole control plane in one process, for benchmarks and tests of its speed: managers with their
//! logs on disk and mutual TLS between them, and simulated nodes that hold sessions with the leader
//! and report their tasks running. No container runs.
//!
//! Each manager has a runtime of its own, as in a daemon of its own, and so have the nodes: whose
//! processor time it was can be told apart ([`Cost`]).

mod cost;
mod crowd;
mod node;
mod progress;
mod swarm;

pub use cost::{Cost, resident_bytes};
pub use crowd::{Counts, Crowd, Way};
pub use progress::{Progress, Reached};
pub use swarm::{Host, Swarm};
