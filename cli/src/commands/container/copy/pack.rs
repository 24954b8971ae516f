//! Files here as an archive, written while it is sent.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::DuplexStream;
use tokio_util::io::SyncIoBridge;

use super::plan::Plan;
use crate::failure::{Failure, Outcome};

/// What is packed ahead of the sending.
const AHEAD_BYTES: usize = 256 * 1024;

struct Counted<W> {
    to: W,
    bytes: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(chunk)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

fn write(source: &str, plan: &Plan, to: impl Write) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(to);
    archive.follow_symlinks(false);
    let path = Path::new(source);
    let inside = source.trim_end_matches("/.");
    let name = match plan.to.as_str() {
        "." | "" => ".",
        name => name,
    };
    // A link is itself, unless it is a folder that is meant.
    if std::fs::symlink_metadata(inside)?.is_dir() {
        archive.append_dir_all(name, inside)?;
    } else {
        archive.append_path_with_name(path, name)?;
    }
    archive.finish()
}

/// The archive, and how many bytes it had.
pub fn pack(source: String, plan: Plan) -> (DuplexStream, impl Future<Output = Outcome<u64>>) {
    let (near, far) = tokio::io::duplex(AHEAD_BYTES);
    let bytes = Arc::new(AtomicU64::new(0));
    let counter = bytes.clone();
    let task = tokio::task::spawn_blocking(move || {
        write(&source, &plan, Counted { to: SyncIoBridge::new(near), bytes: counter })
    });
    let done = async move {
        let done = task.await.map_err(|error| Failure::new(error.to_string()))?;
        match done {
            // The daemon had its reason to stop listening, and says it.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            done => done.map_err(|error| Failure::new(format!("failed to read files: {error}")))?,
        }
        Ok(bytes.load(Ordering::Relaxed))
    };
    (far, done)
}
