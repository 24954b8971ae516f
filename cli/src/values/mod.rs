//! What stands behind flags, parsed once: lengths of time, amounts, filters, mounts, ports. Errors are in the words of Docker's flags.

pub mod address;
pub mod amount;
pub mod capability;
pub mod device;
pub mod duration;
pub mod endpoint;
pub mod fields;
pub mod filter;
pub mod generic;
pub mod host;
pub mod image;
pub mod integer;
pub mod moment;
pub mod mount;
pub mod network;
pub mod pairs;
pub mod port;
pub mod publish;
pub mod reference;
pub mod restart;
pub mod ulimit;
pub mod volume;
pub mod words;
