//! A client's connection, whichever way it came, and the moment it is gone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Socket::Unix($stream) => $call,
            Socket::Tcp($stream) => $call,
            Socket::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl Socket {
    /// A watch on the client, apart from what is read and written.
    fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let fd = match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        };
        // The kernel tells of a hang-up whatever is asked for; urgent data, which nobody sends, asks for nothing else.
        let fd = fd.try_clone_to_owned()?;
        // SAFETY: the descriptor is the value's own, and stays the same and open until it is dropped.
        let watch = unsafe { AsyncFd::register_with_interest(fd, Interest::PRIORITY) };
        Ok(watch?)
    }
}

/// A connection that HTTP has been left on, with what was received behind the request.
pub(crate) struct Taken {
    early: Bytes,
    socket: Socket,
    watch: io::Result<AsyncFd<OwnedFd>>,
}

impl Taken {
    pub(super) fn new(early: Bytes, socket: Socket) -> Self {
        let watch = socket.watch();
        Self { early, socket, watch }
    }

    /// Both ways, and a wait for the client to be gone: not when it has only said all it has to say. One that went away over TCP
    /// is known by its refusal of what is sent to it.
    pub fn split(self) -> (Incoming, Outgoing, impl Future<Output = ()>) {
        let Self { early, socket, watch } = self;
        let (read, write) = tokio::io::split(socket);
        let gone = async move {
            let hung_up = match &watch {
                Ok(watch) => watch.ready(Interest::PRIORITY).await.map(drop),
                Err(_) => std::future::pending().await,
            };
            if hung_up.is_err() {
                std::future::pending::<()>().await;
            }
        };
        (Incoming { early, read }, write, gone)
    }
}

pub(crate) type Outgoing = tokio::io::WriteHalf<Socket>;

/// What the client says.
pub(crate) struct Incoming {
    early: Bytes,
    read: tokio::io::ReadHalf<Socket>,
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.read).poll_read(cx, buf);
        }
        let length = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..length]);
        self.early.advance(length);
        Poll::Ready(Ok(()))
    }
}
