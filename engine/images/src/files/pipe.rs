//! Between the runtime, which waits for a network, and a thread, which waits for a disk.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use tokio::sync::mpsc;

use crate::limits::PIECES_IN_FLIGHT;

/// What is sent at once: small writes, such as headers, are gathered.
const PIECE_BYTES: usize = 64 << 10;

/// An archive in the making, piece by piece. When it is dropped, the making ends.
#[derive(Debug)]
pub struct ArchiveStream {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

impl Stream for ArchiveStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_recv(context)
    }
}

/// Runs what writes an archive on a thread of its own. An error is the stream's last item.
pub(super) fn stream(
    work: impl FnOnce(Sending) -> io::Result<Sending> + Send + 'static,
) -> ArchiveStream {
    let (sender, pieces) = mpsc::channel(PIECES_IN_FLIGHT);
    let sending = Sending { sender: sender.clone(), gathered: BytesMut::new() };
    // It ends when the stream's other end is dropped: its next write fails.
    drop(tokio::task::spawn_blocking(move || {
        if let Err(error) = work(sending).and_then(|mut sending| sending.flush()) {
            // Nobody may be there to be told.
            let _ = sender.blocking_send(Err(error));
        }
    }));
    ArchiveStream { pieces }
}

/// The thread's end of a stream.
pub(super) struct Sending {
    sender: mpsc::Sender<io::Result<Bytes>>,
    gathered: BytesMut,
}

impl Write for Sending {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(piece);
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = self.gathered.split().freeze();
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The thread's end of a stream that comes in.
pub(crate) struct Receiving {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

/// A way for pieces to a thread.
pub(crate) fn channel() -> (mpsc::Sender<io::Result<Bytes>>, Receiving) {
    let (sender, pieces) = mpsc::channel(PIECES_IN_FLIGHT);
    (sender, Receiving { pieces, piece: Bytes::new() })
}

impl Read for Receiving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let bytes = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..bytes]);
        Ok(bytes)
    }
}
