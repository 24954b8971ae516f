//! What goes between a running container and those who are attached to it.

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::io::AsyncWrite;

use crate::logs::Stdio;

/// Which of a container's streams are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Bytes to a command; shutting it down is the end of its input.
pub type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// The streams of a command. Dropping it detaches and ends nothing.
pub struct Attached {
    /// What it says from now on, in order for each stream; with a terminal all of it is standard
    /// output. Ends with the command.
    pub output: BoxStream<'static, io::Result<(Stdio, Bytes)>>,
    /// None where it was not asked for, or the container takes no input.
    pub input: Option<Input>,
}
