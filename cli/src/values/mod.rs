//! What stands behind flags, parsed once: lengths of time, amounts, filters, pairs. Errors are in the words of Docker's flags.

pub mod address;
pub mod duration;
pub mod filter;
pub mod pairs;
