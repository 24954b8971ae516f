//! Where tasks go: filters, spread, placement preferences, and why a task is pending.
//!
//! [`schedule`] looks at a view of the state and gives the decisions; it changes nothing itself.
//!
//! **Invariant:** the same view and the same failures give the same decisions: no clock, no
//! entropy, and ties are broken by node id.

pub mod constraint;
pub mod defaults;
pub mod filter;
pub mod host;
pub mod placement;
pub mod spread;
pub mod why;

pub use constraint::Constraint;
pub use host::Host;
pub use placement::{Decision, Failures, schedule};
pub use why::Pending;
