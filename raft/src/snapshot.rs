//! Snapshots as files: sealed in pieces, synced, and renamed into place.
//!
//! **Invariant:** a file that has a snapshot's name is whole; what a crash left half-written has
//! another name and is removed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use crate::defaults;
use crate::error::OpenError;
use crate::record::{SnapshotHead, decode_snapshot_meta, encode_snapshot_meta};
use crate::seal::{Place, Vault};
use crate::types::{LogId, Snapshot, SnapshotMeta};

const MAGIC: &[u8; 8] = b"SKEPSNP1";
const EXTENSION: &str = "snap";
/// A sealed piece is at most a chunk and the seal's own few bytes; anything longer is damage.
const PIECE_MAX: usize = defaults::SNAPSHOT_CHUNK_BYTES + (64 << 10);

#[derive(Clone)]
pub(crate) struct Snapshots {
    dir: PathBuf,
    vault: Vault,
}

impl Snapshots {
    /// Opens the directory and verifies the newest snapshot. Blocks.
    pub fn open(dir: &Path, vault: Vault) -> Result<Self, OpenError> {
        let dir = dir.join("snapshots");
        let io_error = |source| OpenError::Io { path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(io_error)?;
        let this = Self { dir: dir.clone(), vault };
        for entry in fs::read_dir(&dir).map_err(io_error)? {
            let path = entry.map_err(io_error)?.path();
            if path.extension().is_some_and(|e| e == "tmp") {
                fs::remove_file(&path).map_err(io_error)?;
            }
        }
        if let Some(path) = this.newest().map_err(io_error)? {
            this.read(&path).map_err(|e| match e {
                ReadError::Io(source) => OpenError::Io { path: path.clone(), source },
                ReadError::Corrupt { what, reason } => {
                    OpenError::Corrupt { path: path.clone(), what, reason }
                }
            })?;
        }
        Ok(this)
    }

    fn path(&self, last: Option<LogId>) -> PathBuf {
        let name = match last {
            // Zero-padded, so that names sort as log positions do.
            Some(l) => {
                format!("{:020}-{:020}-{:020}", l.index, l.leader_id.term, l.leader_id.node_id)
            }
            None => "0".repeat(20),
        };
        self.dir.join(name).with_extension(EXTENSION)
    }

    fn newest(&self) -> io::Result<Option<PathBuf>> {
        let mut newest: Option<PathBuf> = None;
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == EXTENSION) {
                newest = newest.max(Some(path));
            }
        }
        Ok(newest)
    }

    /// The newest snapshot, if there is one. Blocks.
    pub fn current(&self) -> io::Result<Option<Snapshot>> {
        let Some(path) = self.newest()? else { return Ok(None) };
        self.read(&path).map(Some).map_err(|e| match e {
            ReadError::Io(e) => e,
            ReadError::Corrupt { what, reason } => io::Error::other(format!(
                "raft snapshot {} is corrupt at {what}: {reason}",
                path.display()
            )),
        })
    }

    /// Saves a snapshot and removes the older ones. Blocks; on disk when it returns.
    pub fn save(&self, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(meta.last_log_id);
        if !path.exists() {
            let tmp = path.with_extension("tmp");
            self.write(&tmp, meta, bytes)?;
            fs::rename(&tmp, &path)?;
            File::open(&self.dir)?.sync_all()?;
        }
        for entry in fs::read_dir(&self.dir)? {
            let other = entry?.path();
            if other.extension().is_some_and(|e| e == EXTENSION) && other < path {
                fs::remove_file(other)?;
            }
        }
        Ok(())
    }

    fn write(&self, tmp: &Path, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        let count = bytes.len().div_ceil(defaults::SNAPSHOT_CHUNK_BYTES) as u64;
        let head = SnapshotHead {
            meta: encode_snapshot_meta(meta),
            chunks: count,
            bytes: bytes.len() as u64,
        };
        let mut file = io::BufWriter::new(File::create(tmp)?);
        file.write_all(MAGIC)?;
        let mut piece = |place: Place, plain: &[u8]| -> io::Result<()> {
            let sealed = self.vault.seal(&place, plain);
            let len = u32::try_from(sealed.len()).map_err(io::Error::other)?;
            file.write_all(&len.to_be_bytes())?;
            file.write_all(&sealed)
        };
        piece(Place::SnapshotHead, &head.encode_to_vec())?;
        let last = meta.last_log_id;
        for (index, chunk) in (0..).zip(bytes.chunks(defaults::SNAPSHOT_CHUNK_BYTES)) {
            piece(Place::SnapshotChunk { last, index, count }, chunk)?;
        }
        file.into_inner().map_err(|e| e.into_error())?.sync_all()
    }

    fn read(&self, path: &Path) -> Result<Snapshot, ReadError> {
        let mut file = io::BufReader::new(File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        fill(&mut file, &mut magic, "its first bytes")?;
        if &magic != MAGIC {
            return Err(corrupt("its first bytes", "not a snapshot of this version"));
        }
        let head = self.piece(&mut file, Place::SnapshotHead, "its head")?;
        let head = SnapshotHead::decode(head.as_slice())
            .map_err(|e| corrupt("its head", e.to_string()))?;
        let meta = decode_snapshot_meta(&head.meta).map_err(|e| corrupt("its head", e))?;
        let (last, count) = (meta.last_log_id, head.chunks);
        let mut bytes = Vec::with_capacity(usize::try_from(head.bytes).unwrap_or(0));
        for index in 0..count {
            let place = Place::SnapshotChunk { last, index, count };
            bytes.extend(self.piece(&mut file, place, &format!("chunk {index}"))?);
        }
        if bytes.len() as u64 != head.bytes {
            let reason = format!("expected {} bytes, got {}", head.bytes, bytes.len());
            return Err(corrupt("its end", reason));
        }
        Ok(Snapshot { meta, snapshot: Bytes::from(bytes) })
    }

    fn piece(&self, file: &mut impl Read, place: Place, what: &str) -> Result<Vec<u8>, ReadError> {
        let mut len = [0; 4];
        fill(file, &mut len, what)?;
        let len = u32::from_be_bytes(len) as usize;
        if len > PIECE_MAX {
            return Err(corrupt(what, format!("expected at most {PIECE_MAX} bytes, got {len}")));
        }
        let mut sealed = vec![0; len];
        fill(file, &mut sealed, what)?;
        self.vault.open(&place, &sealed).map_err(|reason| corrupt(what, reason))
    }
}

enum ReadError {
    Io(io::Error),
    Corrupt { what: String, reason: String },
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        ReadError::Io(e)
    }
}

fn corrupt(what: &str, reason: impl Into<String>) -> ReadError {
    ReadError::Corrupt { what: what.into(), reason: reason.into() }
}

fn fill(file: &mut impl Read, buf: &mut [u8], what: &str) -> Result<(), ReadError> {
    file.read_exact(buf).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(what, "the file ends too early"),
        _ => ReadError::Io(e),
    })
}
