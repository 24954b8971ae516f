//! User namespaces: which ids of a container are which of the host, and the namespaces themselves.
//!
//! What it is not: it reads no account files and decides for nobody whether to remap. Whoever
//! writes or reads files for a container asks [`IdMaps`]; whoever makes a namespace for one asks
//! [`make`].

mod maps;
mod namespace;

pub use maps::{IdMaps, IdRange, OVERFLOW_ID};
pub use namespace::{Made, Owner, is_own, make, owner_of};
