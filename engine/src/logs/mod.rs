//! The output of containers: written by the shim as Docker's json-file driver does, read back by
//! the daemon from disk, also while the shim goes on writing and rotating.

mod entry;
mod files;
mod lines;
mod stream;
mod tail;
mod writer;

pub use entry::{LogEntry, Stdio};
pub use stream::{LogQuery, LogStream};

pub(crate) use lines::Lines;
pub use stream::open;
pub(crate) use writer::Writer;
