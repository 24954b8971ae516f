//! A whole swarm of the pure crates under a seeded clock: managers with a replicated log, a leader
//! that changes, nodes that run tasks, fail and come back.
//!
//! The log is a model (entries in flight are committed or lost when the leader changes), the state
//! machine, the reconcilers, the scheduler, the dispatcher and the agents' plans are the real ones.
//!
//! **Invariant:** a run is a function of its seed.

pub mod rng;
pub mod world;

pub use rng::Rng;
pub use world::World;
