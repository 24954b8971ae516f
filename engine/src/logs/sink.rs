//! Where the shim puts a container's entries, by its driver.

use std::io;
use std::path::PathBuf;

use time::OffsetDateTime;

use super::driver;
use super::entry::Stdio;
use super::remote::Remote;
use super::writer::Writer;
use crate::config::{ContainerConfig, LogDriver};

#[derive(Debug)]
pub enum Sink {
    File(Writer),
    Remote(Box<Remote>),
    Nowhere,
}

impl Sink {
    pub fn new(config: &ContainerConfig, path: PathBuf) -> io::Result<Sink> {
        let host = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        match driver::read(config, &host).map_err(io::Error::other)? {
            Some((address, format)) => Ok(Sink::Remote(Box::new(Remote::new(address, format)?))),
            None if config.log_driver == LogDriver::None => Ok(Sink::Nowhere),
            None => Ok(Sink::File(Writer::new(path, config.log.clone()))),
        }
    }

    /// Takes an entry; what goes to a file is written by [`Sink::flush`].
    pub fn add(&mut self, now: OffsetDateTime, stdio: Stdio, text: &[u8]) {
        match self {
            Sink::File(writer) => writer.add(now, stdio, text),
            Sink::Remote(remote) => remote.add(now, stdio, text),
            Sink::Nowhere => {}
        }
    }

    pub fn flush(&mut self) {
        if let Sink::File(writer) = self {
            writer.flush();
        }
    }

    /// Entries that were lost.
    pub fn dropped(&self) -> u64 {
        match self {
            Sink::File(writer) => writer.dropped(),
            Sink::Remote(remote) => remote.dropped(),
            Sink::Nowhere => 0,
        }
    }
}
