//! What an agent decides: from what a node was assigned and what it observes, the next thing to do
//! for each task, and what to report.
//!
//! **Invariant:** a pure function of what it is given. Each step is safe to do again, so an agent
//! that was killed at any point goes on from what it observes.

pub mod health;
pub mod life;

pub use health::{Health, HealthCheck, HealthStatus};
pub use life::{Observed, Step, next_step};
