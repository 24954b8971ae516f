//! The replicated state machine: tables, their indexes, `apply`, and the events it gives.
//!
//! A change is a [`Transaction`]: a list of [`Action`]s, each with the revision it expects, that
//! holds as a whole or not at all. [`State::apply`] decides the same on every manager.
//!
//! **Invariant:** `apply` is total and deterministic. It reads no clock and draws no entropy (time
//! and ids ride inside the transaction), it never panics on contents, and a rejected transaction
//! leaves the state as it was.
//!
//! **Invariant:** a [`State`] is an immutable view. Cloning one costs a few pointers, so readers
//! and snapshots never hold `apply` up.

pub mod action;
pub mod apply;
pub mod clock;
pub mod event;
pub mod object;
pub mod pools;
pub mod rejection;
mod rules;
pub mod speculation;
pub mod state;
pub mod table;
pub mod tally;

pub use action::{Action, Change, Transaction};
pub use clock::Clock;
pub use event::{Delta, Event};
pub use object::Object;
pub use rejection::{Reason, Rejection};
pub use speculation::{Speculation, Ticket};
pub use state::State;
pub use table::Table;
pub use tally::Tally;
