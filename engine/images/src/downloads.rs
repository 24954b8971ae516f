//! Layers on their way from registries, and what broken pulls brought of them for the next ones.
//!
//! `downloads/HEX` is what has come of the blob of that digest, checked by nobody yet. It is removed
//! with the pull that made it, unless the registry was lost or the process ended: then whoever pulls
//! next goes on with it.
//!
//! **Invariant:** a file here has one writer, who holds its lock; and nothing here is taken for
//! content before its digest was compared.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};

use crate::blobs::{Spool, Spooled};
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::scratch::{Temporary, sync_dir};
use crate::store::{Inner, Store};

/// So long nobody went on with it: nobody will.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Of what a pull has begun; removed with it.
#[derive(Debug)]
pub(crate) struct Begun {
    inner: Arc<Inner>,
    digests: Mutex<BTreeSet<Digest>>,
}

impl Begun {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, digests: Mutex::default() }
    }

    fn note(&self, digest: Digest) {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
    }

    /// Leaves it for the next pull.
    pub(crate) fn leave(&self) {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in digests.iter() {
            drop(Temporary::at(self.inner.download_path(*digest)));
        }
    }
}

impl Inner {
    fn download_path(&self, digest: Digest) -> PathBuf {
        self.root.join("downloads").join(digest.hex())
    }

    /// Goes on with what was begun of a blob, or begins it. Waits for whoever still writes.
    pub(crate) fn begin_download(&self, digest: Digest, limit: u64) -> Result<Spool> {
        let path = self.download_path(digest);
        let context = || format!("open {}", path.display());
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .context(context)?;
            let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
            let lock = lock.context(context)?;
            let ours = lock.metadata().context(context)?;
            match fs::metadata(&path) {
                Ok(there) if there.ino() == ours.ino() => {}
                // Whoever had it has removed it.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context(context);
                }
                _ => continue,
            }
            if ours.len() > limit {
                lock.set_len(0).context(context)?;
            }
            return Spool::resume(lock, Temporary::at(path), limit);
        }
    }

    /// Gives a download that was checked its name. Its digest must be pinned. What was begun stays
    /// as long as the pull, for whoever comes after it if the registry is lost.
    pub(crate) fn keep_download(&self, spooled: Spooled, begun: &Begun) -> Result<()> {
        let place = self.blob_path(spooled.digest);
        begun.note(spooled.digest);
        match fs::hard_link(spooled.path(), &place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).context(|| format!("name {}", place.display()))
            }
            _ => {
                spooled.file.leave();
                sync_dir(place.parent().expect("a blob is in a directory"))
            }
        }
    }

    /// Removes what nobody went on with.
    pub(crate) fn remove_old_downloads(&self, now: SystemTime) -> Result<()> {
        let dir = self.root.join("downloads");
        let context = || format!("clear {}", dir.display());
        for entry in fs::read_dir(&dir).context(context)? {
            let entry = entry.context(context)?;
            let changed = entry.metadata().and_then(|it| it.modified()).context(context)?;
            if now.duration_since(changed).is_ok_and(|age| age <= KEPT) {
                continue;
            }
            let file = File::open(entry.path()).context(context)?;
            // Whoever writes holds the lock, however slowly it comes.
            if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                fs::remove_file(entry.path()).context(context)?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// Removes what broken pulls left and nobody went on with for a day.
    pub async fn remove_old_downloads(&self) -> Result<()> {
        self.blocking(|inner| inner.remove_old_downloads(SystemTime::now())).await
    }

    /// How full the disk is that the store is on, in percent of what is not kept for root alone.
    pub async fn disk_percent(&self) -> Result<u64> {
        self.blocking(|inner| {
            let root = &inner.root;
            let found = nix::sys::statvfs::statvfs(root);
            let found = found.context(|| format!("see how full {} is", root.display()))?;
            let used = found.blocks().saturating_sub(found.blocks_free());
            let all = used + found.blocks_available();
            Ok((used * 100).div_ceil(all.max(1)))
        })
        .await
    }
}
