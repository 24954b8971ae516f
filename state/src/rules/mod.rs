//! What must hold of each table beyond ids, names and revisions, and the indexes that hold it.
//!
//! A rule looks at the state with the change already in its table. It may refuse: `apply` works on
//! a copy, so a refusal undoes everything.

pub mod cluster;
pub mod networks;
pub mod nodes;
pub mod secrets;
pub mod services;
pub mod tasks;
