//! The terminal at our end: questions, raw mode, its size, what is typed, and the keys that detach.

mod ask;
pub mod input;
pub mod keys;
pub mod raw;

pub use ask::{agreed, confirmed, hidden, read};
