//! What goes between a running container and those who are attached to it.
//!
//! On the shim's socket, after the request and its reply: frames of output (one byte that names the
//! stream, four that tell the length, the bytes) one way, bare input the other way.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt, try_unfold};
use nix::sys::socket::{Shutdown, shutdown};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use crate::defaults::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::logs::Stdio;
use crate::protocol::{Reply, Request};

/// Which of a container's streams are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Bytes to a command; shutting it down is the end of its input, and so is dropping it.
pub type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// The streams of a command. Dropping it detaches and ends nothing, but for the input of a
/// container that takes input once.
pub struct Attached {
    /// What it says from now on, in order for each stream; with a terminal all of it is standard
    /// output. Ends with the command.
    pub output: BoxStream<'static, io::Result<(Stdio, Bytes)>>,
    /// None where it was not asked for, or the container takes no input.
    pub input: Option<Input>,
}

const HEAD_BYTES: usize = 5;

/// One look at a command's pipe takes this much.
const PIECE_BYTES: usize = 16 * 1024;

/// What stands before the bytes of a frame.
pub(crate) fn frame_head(stdio: Stdio, length: usize) -> [u8; HEAD_BYTES] {
    let number = match stdio {
        Stdio::Stdout => 1,
        Stdio::Stderr => 2,
    };
    let mut head = [number; HEAD_BYTES];
    // A frame is as long as one look at a pipe.
    head[1..].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    head
}

/// What comes from a reader, to its end.
pub(crate) fn pieces(
    reader: impl AsyncRead + Send + Unpin + 'static,
    stdio: Stdio,
) -> BoxStream<'static, io::Result<(Stdio, Bytes)>> {
    let next = move |mut reader| async move {
        let mut bytes = BytesMut::with_capacity(PIECE_BYTES);
        let length = AsyncReadExt::read_buf(&mut reader, &mut bytes).await?;
        Ok((length > 0).then(|| ((stdio, bytes.freeze()), reader)))
    };
    try_unfold(reader, next).boxed()
}

/// Says a request on a shim's connection.
pub(crate) async fn say(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// Waits for the other side to close a connection on which it says nothing.
pub(crate) async fn closed(mut stream: UnixStream) {
    // An error is an end as well.
    let _ = stream.read_u8().await;
}

/// Says a request on a shim's connection and hears the answer.
pub(crate) async fn ask(stream: UnixStream, request: &Request) -> io::Result<(Reply, Connection)> {
    let (read, mut write) = stream.into_split();
    say(&mut write, request).await?;
    let mut read = BufReader::new(read);
    let mut reply = String::new();
    let length = (&mut read).take(MESSAGE_BYTES_MAX as u64).read_line(&mut reply).await?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((serde_json::from_str(&reply)?, Connection { read, write }))
}

/// A connection whose request was answered.
pub(crate) struct Connection {
    read: BufReader<OwnedReadHalf>,
    write: tokio::net::unix::OwnedWriteHalf,
}

impl Connection {
    pub fn attached(self, options: AttachOptions) -> Attached {
        let Connection { read, write } = self;
        let (input, kept): (Option<Input>, _) = match options.stdin {
            true => (Some(Box::pin(write)), None),
            false => (None, Some(write)),
        };
        let output = Output { read, _write: kept };
        let output = try_unfold(output, |mut output| async move {
            Ok(output.frame().await?.map(|frame| (frame, output)))
        });
        Attached { output: output.boxed(), input }
    }
}

struct Output {
    read: BufReader<OwnedReadHalf>,
    /// Dropping it would be the end of an input that nobody asked for.
    _write: Option<tokio::net::unix::OwnedWriteHalf>,
}

impl Output {
    async fn frame(&mut self) -> io::Result<Option<(Stdio, Bytes)>> {
        let mut head = [0; HEAD_BYTES];
        if self.read.read(&mut head[..1]).await? == 0 {
            return Ok(None);
        }
        self.read.read_exact(&mut head[1..]).await?;
        let [number, length @ ..] = head;
        let stdio = match number {
            1 => Stdio::Stdout,
            2 => Stdio::Stderr,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        self.read.read_exact(&mut bytes).await?;
        Ok(Some((stdio, bytes.into())))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // The input may live on; the shim must not wait for a reader that is gone.
        let socket: &UnixStream = self.read.get_ref().as_ref();
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Read);
    }
}
