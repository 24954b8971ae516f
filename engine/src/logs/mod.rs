//! The output of containers: written by the shim as Docker's json-file driver does, read back by
//! the daemon from disk, also while the shim goes on writing and rotating; or sent to a service of
//! the host, and then not read back.

mod driver;
mod entry;
mod files;
mod lines;
mod remote;
mod sink;
mod stream;
mod tail;
mod writer;

use crate::config::ContainerConfig;
use crate::error::Result;

pub use driver::{IMAGE as IMAGE_ANNOTATION, NAME as NAME_ANNOTATION};
pub use entry::{LogEntry, Stdio};
pub use stream::{LogQuery, LogStream};

pub(crate) use lines::Lines;
pub(crate) use sink::Sink;
pub use stream::open;

/// Refuses options that a driver does not know, or cannot carry out.
pub(crate) fn check(config: &ContainerConfig) -> Result<()> {
    driver::read(config, "").map(drop)
}
