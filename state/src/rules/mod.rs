//! What must hold of each table beyond ids, names and revisions, and the indexes that say so.
//!
//! A `check` looks at the state as it is before the change, and changes nothing. An `index` moves
//! what an object claims from the object before to the one after, and cannot fail.
//!
//! **Invariant:** no rule looks at more than the change names: what it needs beyond that stands in an
//! index.

pub mod attachments;
mod claims;
pub mod cluster;
pub mod networks;
pub mod nodes;
pub mod secrets;
pub mod services;
pub mod tasks;
