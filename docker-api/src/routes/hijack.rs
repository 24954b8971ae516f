//! The streams of a command on a connection that is taken for them: frames out, typing in.
//!
//! Invariant: nothing is read ahead of what the other side has taken, so a slow peer costs no memory; a client that is gone, or has
//! typed the keys that detach, ends the session and not the command.

use std::pin::Pin;

use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Answer, ApiVersion};
use crate::attach::Streams;
use crate::defaults;
use crate::detach::DetachKeys;
use crate::error::ApiError;
use crate::logs::{self, LogSource};
use crate::server::{Door, Session, Taken};
use crate::stream::Flow;

/// What is read of a client at once.
const READ_BYTES: usize = 16 * 1024;

/// What ends a session beside the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    OutputEnds,
    /// No output was asked for: when the client has said all.
    InputEnds,
}

/// Who asks, and how.
pub(super) struct Asked {
    pub version: ApiVersion,
    pub headers: HeaderMap,
    pub door: Option<Door>,
}

impl Asked {
    /// Whether the connection can be taken at all; to be asked before anything is begun.
    pub fn check(&self) -> Answer<()> {
        match self.door {
            Some(_) => Ok(()),
            None => Err(ApiError::system("this connection cannot be taken for streams")),
        }
    }

    /// The answer's head in Docker's words. Clients that ask for no upgrade get what they got before there was one.
    fn head(&self, tty: bool) -> String {
        let raw = "application/vnd.docker.raw-stream";
        if !self.headers.contains_key(http::header::UPGRADE) {
            return format!("HTTP/1.1 200 OK\r\nContent-Type: {raw}\r\n\r\n");
        }
        let kind = match tty || self.version < ApiVersion(1, 42) {
            true => raw,
            false => "application/vnd.docker.multiplexed-stream",
        };
        format!(
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
    }

    /// Takes the connection, answers with a head as it is, and goes on with what remains of it. It is back only if it could not.
    pub async fn take(
        self,
        head: String,
        run: impl FnOnce(Taken) -> BoxFuture<'static, ()> + Send + 'static,
    ) -> ApiError {
        if let Some(door) = &self.door {
            door.leave(Session { head, run: Box::new(run) }).await;
        }
        ApiError::system("this connection was taken already")
    }

    /// Takes the connection for the streams. It is back only if it could not.
    pub async fn answer(
        self,
        streams: Streams,
        keys: DetachKeys,
        until: Until,
    ) -> Answer<Response> {
        let tty = streams.tty;
        self.answer_then(tty, std::future::ready(streams).boxed(), keys, until).await
    }

    /// As [`Self::answer`], with what begins once the head is out: clients that read the head through a buffer lose what comes with
    /// it.
    pub async fn answer_then(
        self,
        tty: bool,
        begin: BoxFuture<'static, Streams>,
        keys: DetachKeys,
        until: Until,
    ) -> Answer<Response> {
        self.check()?;
        let head = self.head(tty);
        let run =
            move |taken| async move { session(begin.await, keys, until, taken).await }.boxed();
        Err(self.take(head, run).await)
    }
}

/// An answer that is one text on standard output: why a command did not start.
pub(super) fn told(tty: bool, error: &ApiError) -> Streams {
    let text = Bytes::from(format!("{error}\r\n"));
    let output = futures::stream::iter([Ok((LogSource::Stdout, text))]).boxed();
    Streams { tty, output, input: None }
}

/// An answer without a word.
pub(super) fn silent(tty: bool) -> Streams {
    Streams { tty, output: futures::stream::empty().boxed(), input: None }
}

async fn session(streams: Streams, keys: DetachKeys, until: Until, taken: Taken) {
    let (mut incoming, mut outgoing, gone) = taken.split();
    let Streams { tty, output, input } = streams;
    let typed = async {
        let end = match input {
            Some(input) => receive(&mut incoming, input, tty.then_some(keys)).await,
            None => std::future::pending().await,
        };
        if end == Heard::All && until == Until::OutputEnds {
            std::future::pending::<()>().await;
        }
    };
    let said = async {
        if send(output, tty, &mut outgoing).await.is_ok() && until == Until::InputEnds {
            std::future::pending::<()>().await;
        }
    };
    // Who only speaks may have said all and be gone: what was said is still to be read.
    let gone = async {
        match until {
            Until::InputEnds => std::future::pending().await,
            Until::OutputEnds => gone.await,
        }
    };
    // Whatever is first ends the others, and lets go of the command.
    tokio::select! {
        () = gone => return,
        () = typed => {}
        () = said => {}
    }
    let mut thrown = [0; READ_BYTES];
    let farewell = async {
        let _ = outgoing.shutdown().await;
        while incoming.read(&mut thrown).await.is_ok_and(|length| length > 0) {}
    };
    let _ = tokio::time::timeout(defaults::LINGER, farewell).await;
}

/// Sends output until it ends; an error of the client is an error, one of the output is told.
async fn send(
    mut output: Flow<(LogSource, Bytes)>,
    tty: bool,
    client: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    while let Some(item) = output.next().await {
        let (bytes, last) = match item {
            Ok((_, text)) if text.is_empty() => continue,
            Ok((_, text)) if tty => (text, false),
            Ok((source, text)) => (logs::frame(logs::number(source), b"", &text), false),
            Err(error) => (logs::encode_stream_error(&error, tty), true),
        };
        client.write_all(&bytes).await?;
        client.flush().await?;
        if last {
            break;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Or as much as the command wants to hear.
    All,
    Detach,
    /// The client broke off, which over TLS an end without a farewell is too.
    Gone,
}

async fn receive(
    client: &mut (impl AsyncRead + Unpin),
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    mut keys: Option<DetachKeys>,
) -> Heard {
    let mut buffer = vec![0; READ_BYTES];
    let mut through = Vec::new();
    loop {
        let Ok(length) = client.read(&mut buffer).await else { return Heard::Gone };
        let typed = &buffer[..length];
        let (text, detach) = match &mut keys {
            None => (typed, false),
            Some(keys) => {
                through.clear();
                let detach = keys.pass(typed, &mut through);
                if typed.is_empty() {
                    through.extend_from_slice(keys.rest());
                }
                (&through[..], detach)
            }
        };
        // A command that does not listen any more is told no more.
        let written = async {
            input.write_all(text).await?;
            input.flush().await
        };
        let written = written.await;
        if detach {
            return Heard::Detach;
        }
        if written.is_err() || length == 0 {
            let _ = input.shutdown().await;
            return Heard::All;
        }
    }
}
