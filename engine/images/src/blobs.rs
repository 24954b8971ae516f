//! Content as it came, by the digest of its bytes.
//!
//! **Invariant:** a blob is checked against its digest before it has its name.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::mpsc;

use crate::digest::{Digest, Digester};
use crate::error::{Context, Error, Result};
use crate::growth::{Growing, Growth};
use crate::limits::PIECES_IN_FLIGHT;
use crate::scratch::Temporary;
use crate::store::{Inner, Store, blocking};

/// What is read at once of a file that is gone on with.
const RESUME_BYTES: usize = 256 << 10;

/// Content on disk that has no name yet.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) file: Temporary,
    pub digest: Digest,
    pub bytes: u64,
}

impl Spooled {
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Content being written to disk.
pub(crate) struct Spool {
    /// Removed, if it is, before its lock is let go.
    temporary: Temporary,
    file: Flock<File>,
    digester: Digester,
    bytes: u64,
    limit: u64,
    growing: Growing,
}

impl Spool {
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.limit {
            return Err(Error::Archive(format!("larger than {} bytes", self.limit)));
        }
        self.digester.update(piece);
        self.file
            .write_all(piece)
            .context(|| format!("write {}", self.temporary.path().display()))?;
        self.growing.grown(self.bytes);
        Ok(())
    }

    /// Takes over what a file holds that was begun before.
    pub(crate) fn resume(mut file: Flock<File>, temporary: Temporary, limit: u64) -> Result<Self> {
        let context = || format!("read {}", temporary.path().display());
        let mut digester = Digester::default();
        let mut bytes = 0;
        let mut piece = vec![0; RESUME_BYTES];
        loop {
            let read = file.read(&mut piece).context(context)?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            digester.update(&piece[..read]);
        }
        Ok(Self { temporary, file, digester, bytes, limit, growing: Growing::of(bytes) })
    }

    /// For whoever reads what is written, while it is.
    pub(crate) fn growth(&self) -> Arc<Growth> {
        self.growing.watch()
    }

    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Stays as it is, for somebody who goes on with it later.
    pub(crate) fn leave(self) {
        self.temporary.leave();
    }

    /// What was written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Everything was written.
    pub(crate) fn finish(self) -> Result<Spooled> {
        self.growing.end();
        self.file.sync_all().context(|| format!("sync {}", self.temporary.path().display()))?;
        Ok(Spooled { file: self.temporary, digest: self.digester.finish(), bytes: self.bytes })
    }
}

impl Write for Spool {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        Spool::write(self, piece).map_err(std::io::Error::other)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Inner {
    pub(crate) fn spool(&self, limit: u64) -> Result<Spool> {
        let temporary = self.scratch.path();
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(temporary.path())
            .context(|| format!("make {}", temporary.path().display()))?;
        let file = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)
            .context(|| format!("lock {}", temporary.path().display()))?;
        Spool::resume(file, temporary, limit)
    }

    /// Gives content its name. Its digest must be pinned.
    pub(crate) fn keep(&self, spooled: Spooled) -> Result<()> {
        let place = self.blob_path(spooled.digest);
        // The same name is the same content.
        if place.exists() { Ok(()) } else { spooled.file.settle(&place) }
    }

    /// Keeps bytes at hand. Their digest must be pinned.
    pub(crate) fn keep_bytes(&self, bytes: &[u8]) -> Result<()> {
        let place = self.blob_path(Digest::of(bytes));
        if place.exists() { Ok(()) } else { self.scratch.write(&place, bytes) }
    }

    /// Reads a small blob, which is checked again: disks decay.
    pub(crate) fn small_blob(&self, digest: Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).context(|| format!("read blob {digest}"))?;
        let got = Digest::of(&bytes);
        if got != digest {
            return Err(Error::Damaged(format!("blob {digest} has become {got}")));
        }
        Ok(bytes)
    }
}

impl Store {
    /// Writes what comes behind what came before. If the stream breaks off, what it brought is kept
    /// beside its error; when the disk fails, all is lost. `progress` is told the bytes in all.
    pub(crate) async fn fill(
        &self,
        mut spool: Spool,
        stream: impl Stream<Item = Result<Bytes>>,
        mut progress: impl FnMut(u64),
    ) -> Result<(Spool, Result<()>)> {
        let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES_IN_FLIGHT);
        let mut bytes = spool.bytes;
        let writer = blocking(move || {
            while let Some(piece) = pieces.blocking_recv() {
                spool.write(&piece)?;
            }
            Ok(spool)
        });
        let reader = async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(piece) = stream.next().await {
                let piece = piece?;
                bytes += piece.len() as u64;
                // A writer that has given up says why itself.
                if sender.send(piece).await.is_err() {
                    break;
                }
                progress(bytes);
            }
            Ok(())
        };
        let (spool, read) = futures::join!(writer, reader);
        Ok((spool?, read))
    }
}
