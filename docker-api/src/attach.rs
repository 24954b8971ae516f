//! The streams of a command that a client is attached to, as a backend gives them.

use std::pin::Pin;

use bytes::Bytes;
use tokio::io::AsyncWrite;

use crate::logs::LogSource;
use crate::stream::Flow;

/// What goes to a command and what comes from it. Dropping it lets the command go on without its client.
pub struct Streams {
    /// One terminal: its output is all [`LogSource::Stdout`], and goes out without frames.
    pub tty: bool,
    /// Ends with the command, also where no output was asked for.
    pub output: Flow<(LogSource, Bytes)>,
    /// None where input was not asked for; shut down when the client has said all.
    pub input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
}
