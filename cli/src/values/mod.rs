//! What stands behind flags, parsed once: lengths of time, amounts, filters, mounts, ports. Errors are in the words of Docker's flags.

pub mod address;
pub mod amount;
pub mod capability;
pub mod duration;
pub mod fields;
pub mod filter;
pub mod image;
pub mod mount;
pub mod network;
pub mod pairs;
pub mod port;
pub mod reference;
pub mod ulimit;
pub mod words;
