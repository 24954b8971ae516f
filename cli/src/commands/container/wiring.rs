//! Our standard streams and a container's, joined over one connection.
//!
//! Invariant: whatever ends it, the terminal has its settings back.

use std::io::{IsTerminal, Write};

use bytes::BytesMut;
use skep_docker_api::logs::{LogFrame, LogSource, decode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::failure::{Failure, Outcome};
use crate::terminal::keys::{Keys, Typed};
use crate::terminal::{input, raw};

/// Which streams are joined, and how.
#[derive(Debug, Clone, Default)]
pub struct Wiring {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
    /// As the user writes them; empty: Docker's.
    pub detach_keys: String,
}

#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The container, or the connection, has no more to say.
    Finished,
    /// The user typed the keys that leave it to itself.
    Detached,
}

/// What is read of the connection at once.
const CHUNK_BYTES: usize = 32 * 1024;

/// For commands that want a terminal: it must be there before anything is made.
pub fn check_terminal(stdin: bool, tty: bool) -> Outcome {
    if stdin && tty && !std::io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

impl Wiring {
    pub async fn join<S>(&self, stream: S) -> Outcome<End>
    where
        S: AsyncRead + AsyncWrite,
    {
        let raw = if self.stdin && self.tty { raw::Raw::enter()? } else { None };
        let (reader, writer) = tokio::io::split(stream);
        let output = async {
            tokio::pin!(reader);
            match self.stdout || self.stderr {
                true => self.output(reader).await,
                // Who only speaks is done when all is said.
                false => std::future::pending().await,
            }
        };
        let input = async {
            tokio::pin!(writer);
            self.input(writer).await
        };
        tokio::pin!(output, input);
        let end = tokio::select! {
            done = &mut output => done.map(|()| End::Finished),
            end = &mut input => match end {
                End::Finished if self.stdout || self.stderr => {
                    output.await.map(|()| End::Finished)
                }
                end => Ok(end),
            },
        };
        drop(raw);
        end
    }

    async fn input(&self, mut to: impl AsyncWrite + Unpin) -> End {
        if self.stdin {
            let mut chunks = input::chunks();
            let mut keys = self.tty.then(|| Keys::new(&self.detach_keys));
            while let Some(chunk) = chunks.recv().await {
                let typed = match &mut keys {
                    Some(keys) => keys.look(&chunk),
                    None => Typed::Pass(chunk),
                };
                let (bytes, detach) = match typed {
                    Typed::Pass(bytes) => (bytes, false),
                    Typed::Detach(bytes) => (bytes, true),
                };
                // A connection that takes no more is at its end, which its output tells.
                let sent = to.write_all(&bytes).await;
                if detach {
                    return End::Detached;
                }
                if sent.is_err() || to.flush().await.is_err() {
                    break;
                }
            }
        }
        let _ = to.shutdown().await;
        End::Finished
    }

    async fn output(&self, mut from: impl AsyncRead + Unpin) -> Outcome {
        let mut held = BytesMut::with_capacity(CHUNK_BYTES);
        loop {
            let read = match from.read_buf(&mut held).await {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
                Err(error) => {
                    return Err(Failure::new(format!(
                        "failed to read from the container: {error}"
                    )));
                }
            };
            if self.tty {
                write(LogSource::Stdout, &held)?;
                held.clear();
            } else {
                while let Some(LogFrame { source, text }) =
                    decode(&mut held).map_err(|error| Failure::new(error.to_string()))?
                {
                    write(source, &text)?;
                }
            }
            if read == 0 {
                return Ok(());
            }
        }
    }
}

/// At once to the stream it is from.
pub fn write(source: LogSource, text: &[u8]) -> Outcome {
    match source {
        LogSource::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(text)?;
            out.flush()?;
        }
        LogSource::Stderr => std::io::stderr().lock().write_all(text)?,
    }
    Ok(())
}
