//! Where tasks go: filters, spread, placement preferences, and why a task is pending.
//!
//! A [`Scheduler`] is built from the state when a leadership begins, follows the state's events
//! ([`Scheduler::observe`]) and gives decisions ([`Scheduler::schedule`]); it changes nothing
//! itself. A pass costs what changed since the last one, not what there is.
//!
//! **Invariant:** it is a cache of the state and nothing else: one built anew decides the same.
//!
//! **Invariant:** no clock, no entropy: `now` comes in, and ties are broken by node id.

pub mod claims;
pub mod cluster;
pub mod defaults;
pub mod filter;
pub mod hash;
pub mod host;
pub mod hosts;
pub mod index;
pub mod kinds;
pub mod picker;
pub mod placement;
pub mod rebalance;
pub mod scheduler;
pub mod spread;
pub mod tally;
pub mod why;

pub use claims::Claims;
pub use cluster::Cluster;
pub use defaults::Tuning;
pub use filter::{Needs, Refusal};
pub use host::Host;
pub use rebalance::{Move, rebalance};
pub use scheduler::{Decision, Round, Scheduler};
pub use skep_types::constraint::{self, Constraint};
pub use why::Pending;
