//! A whole swarm of the pure crates under a seeded clock: managers with a replicated log, a leader
//! that changes, nodes that run tasks, fail and come back, and users who change their minds.
//!
//! The log is a model, and so are hosts and the network between them; the state machine, the
//! reconcilers, the scheduler, the dispatcher and the agents' plans are the real ones. Events happen
//! in the order of virtual time. After each the [`invariants`] are asked; at the end the faults stop,
//! and the swarm has to become what its users want, and then be silent.
//!
//! **Invariant:** a run is a function of its seed.

mod agents;
mod balancers;
mod containers;
mod faults;
pub mod invariants;
mod leader;
mod managers;
mod network;
mod objects;
mod queue;
mod rebalances;
mod rng;
mod shape;
mod trace;
mod user;
mod world;

pub use rng::Rng;
pub use shape::{Faults, Shape};
pub use world::{Summary, Violation, World, run, run_traced};
